"""Settings that change while a GAN trains."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import minigan as mg
from minigan.schedules import Cosine, at, check, config
from tests.helpers import draw


def test_the_cosine_is_the_docstrings_formula():
    fall = Cosine(1.0, 0.1, 40)
    for step in (0, 1, 7, 20, 39, 40, 41, 10**6):
        end, start, steps = 0.1, 1.0, 40
        expected = end + (start - end) * (1 + math.cos(math.pi * min(step / steps, 1))) / 2
        assert fall.at(step) == pytest.approx(expected, rel=1e-15)
    assert fall.at(0) == 1.0 and fall.at(20) == pytest.approx(0.55) and fall.at(99) == 0.1
    assert at(3.5, 7) == 3.5 and at(fall, 40) == 0.1


def test_there_and_back():
    fall = Cosine(0.9, 0.99, 100)
    described = json.loads(json.dumps(config(fall)))
    assert described == {"start": 0.9, "end": 0.99, "steps": 100}
    assert check(described, "x", 0.0) == fall == check(fall, "x", 0.0)
    assert config(2.5) == 2.5 and check(2, "x", 0.0) == 2.0


@pytest.mark.parametrize(
    "arguments",
    [(1, 0, 0), (1, 0, -3), (1, 0, 2.5), (1, 0, math.inf), (math.nan, 0, 5), (1, math.inf, 5),
     ("a", 0, 5), (10**400, 0, 5), (1, 0, None)],
)  # fmt: skip
def test_what_is_no_schedule(arguments):
    with pytest.raises(ValueError, match="should be finite|whole number of 1 or more"):
        Cosine(*arguments)
    with pytest.raises(ValueError, match=r"GradientPenalty: weight: Cosine: "):
        mg.GradientPenalty(weight=dict(zip(("start", "end", "steps"), arguments, strict=True)))


def test_large_ends_are_finite():
    assert Cosine(1e308, 1e308, 5).at(2) == 1e308


@pytest.mark.parametrize("given", [{}, {"start": 1}, {"start": 1, "end": 0, "steps": 2, "x": 0}])
def test_what_is_no_description_of_a_schedule(given):
    with pytest.raises(ValueError, match="SGD: learning_rate=.*has start, end and steps"):
        mg.SGD(given)


@pytest.mark.parametrize("given", [-0.1, 1.0, math.nan, 10**400, "a", None, True, [0.9, 0.99, 5]])
def test_what_is_no_setting(given):
    with pytest.raises(ValueError, match=r"Adam: beta_2=.* 0 or more, and less than 1, or a Cos"):
        mg.Adam(beta_2=given)


def test_both_ends_of_a_schedule_keep_to_the_limits():
    with pytest.raises(ValueError, match="beta_2=.* less than 1"):
        mg.Adam(beta_2=Cosine(0.9, 1.0, 5))
    with pytest.raises(ValueError, match="weight=.* 0 or more"):
        mg.GradientPenalty("r1", weight=Cosine(-1.0, 1.0, 5))


@pytest.mark.parametrize("form", ["keras", "torch"])
def test_adam_has_the_settings_of_each_step(form):
    """As an Adam whose settings are changed by hand before each step."""
    rate, beta = Cosine(0.1, 0.01, 4), Cosine(0.5, 0.95, 3)
    ours = mg.Adam(rate, beta_1=0.2, beta_2=beta, form=form)
    other = mg.Adam(0.1, beta_1=0.2, beta_2=0.5, form=form)
    p, q = {"a": draw((5,))}, {"a": draw((5,))}
    for step in range(6):
        other.learning_rate, other.beta_2 = rate.at(step), beta.at(step)
        for optimizer, params in ((ours, p), (other, q)):
            optimizer.step(params, {"a": draw((5,), seed=10 + step)})
        assert np.array_equal(p["a"], q["a"])
    fixed = {"a": draw((5,))}
    optimizer = mg.Adam(0.1, beta_1=0.2, beta_2=0.5, form=form)
    for step in range(6):
        optimizer.step(fixed, {"a": draw((5,), seed=10 + step)})
    assert np.abs(fixed["a"] - p["a"]).max() > 0.01


@pytest.mark.parametrize("make", [mg.SGD, mg.RMSprop])
def test_the_rate_of_the_other_optimizers(make):
    optimizer, params = make(Cosine(0.1, 0.0, 2)), {"a": draw((5,))}
    moved = []
    for _ in range(4):
        before = params["a"].copy()
        optimizer.step(params, {"a": np.ones(5)})
        moved.append(np.abs(params["a"] - before).max())
    assert moved[0] > moved[1] > 0 and moved[2] == moved[3] == 0


def test_a_penalty_fades_in_the_gans_steps():
    def trained(weight):
        g, d = mg.models.mlp_digits(sizes=((8,), (8,)), latent_dim=3, seed=0)
        sgd = {"name": "sgd", "learning_rate": 0.1}
        gan = mg.GAN(
            g, d, penalty=mg.GradientPenalty("r1", weight=weight), seed=1, update="joint",
            g_optimizer=sgd, d_optimizer=sgd,
        )  # fmt: skip
        logs = [gan.train_step(np.abs(draw((4, 784), "float32")) % 1) for _ in range(4)]
        return [float(log["penalty"]) for log in logs], gan

    faded, gan = trained(Cosine(3.0, 0.0, 2))
    assert faded[0] > faded[1] > 0 and faded[2] == faded[3] == 0
    assert faded[0] == trained(3.0)[0][0]
    assert gan.penalties[0].weight == Cosine(3.0, 0.0, 2)  # what is written down, not the present
    penalty, g = mg.GradientPenalty("r1", weight=Cosine(4.0, 2.0, 10), every=5), draw((3, 6))
    assert penalty.at(10)(g)[0] == pytest.approx(10 / 2 * (g**2).sum() / 3)  # 2 * 5 / 2 E|g|^2
    assert penalty.at(0)(g)[0] == pytest.approx(2 * penalty.at(10)(g)[0])
    with pytest.raises(ValueError, match=r"penalty.at\(step\)"):
        penalty(g)


@pytest.mark.parametrize("recipe", [{"update": "separate"}, {"update": "joint", "d_steps": 3}])
def test_all_schedules_of_a_gan_are_of_its_steps(recipe):
    """D moves twice a step, or G in every third: the settings are those of the GAN's step."""
    fall, seen = Cosine(0.1, 0.0, 6), []

    class Watched(mg.SGD):
        def now(self, setting):
            seen.append((self.name, super().now(setting)))
            return seen[-1][1]

    g, d = mg.models.mlp_digits(sizes=((8,), (8,)), latent_dim=3, seed=0)
    optimizers = {f"{side}_optimizer": Watched(fall) for side in "gd"}
    for side, optimizer in optimizers.items():
        optimizer.name = side[0]
    gan = mg.GAN(g, d, seed=1, **optimizers, **recipe)
    for step in range(8):
        gan.train_step(np.abs(draw((4, 784), "float32")) % 1)
        assert seen and {rate for _, rate in seen} == {fall.at(step)}
        moves = 2 if recipe["update"] == "separate" else 1
        assert [name for name, _ in seen].count("d") >= moves
        seen.clear()


def test_a_gan_with_schedules_goes_on_to_the_same_bits(tmp_path):
    def start():
        networks = mg.models.r3gan(size=8, width=2, latent_dim=3, seed=0)
        recipe = mg.recipes.get("r3gan")
        for optimizer in ("g_optimizer", "d_optimizer"):
            recipe[optimizer]["beta_2"]["steps"] = 5
        for penalty in recipe["penalty"]:
            penalty["weight"]["steps"] = 5
        return mg.GAN(*networks, **recipe, seed=0)

    data = draw((16, 8, 8, 1), "float32").clip(-1, 1)
    whole, broken = start(), start()
    mg.train(whole, data, epochs=4, batch_size=8, progress=False)
    mg.train(broken, data, epochs=2, batch_size=8, out=tmp_path / "run", progress=False)
    resumed, _ = mg.resume(tmp_path / "run", data, epochs=4, progress=False)
    for one, two in ((whole.generator, resumed.generator), (whole.D, resumed.D)):
        assert np.array_equal(mg.to_numpy(one.params.flat), mg.to_numpy(two.params.flat))
    assert resumed.config() == whole.config()
