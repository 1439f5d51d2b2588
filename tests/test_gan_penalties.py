"""The adversarial step with penalties on D's slope: what enters D's update, and what stays."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigan as mg
from tests.gan_helpers import (
    LABELS,
    UPDATES,
    conditional,
    copies,
    every_update,
    images,
    latents,
    make,
    same,
    seen_by_d,
)
from tests.helpers import draw
from tests.penalty_helpers import TOLERANCE, H, formula, measured_slope

ALL = ["wgan-gp", {"kind": "r1", "weight": 3.0}, {"kind": "r2", "weight": 2.0}]
IDLE = {"name": "sgd", "learning_rate": 0.0}
LAST = {"separate": -2, "joint": -2, "simultaneous": -1}  # D's pass between: the one before G's


# D's gradient in drawn GANs

NORMS = {
    "none": lambda: mg.Activation("linear"),
    "batch": mg.BatchNorm,
    "layer": mg.LayerNorm,
    "sample": lambda: mg.LayerNorm(over="sample"),
    "instance": mg.InstanceNorm,
    "pixel": mg.PixelNorm,
}
ACTIVATIONS = {
    "leaky": lambda: mg.LeakyReLU(0.2),
    "tanh": mg.Tanh,
    "silu": mg.SiLU,
    "dropout": lambda: mg.Sequential([mg.SiLU(), mg.Dropout(0.3)]),
}
penalty_configs = st.fixed_dictionaries(
    {"kind": st.sampled_from(["wgan-gp", "r1", "r2"]), "weight": st.sampled_from([0.5, 10.0]),
     "every": st.sampled_from([1, 3])}
)  # fmt: skip


def features(kind, norm, activation, spectral):
    """The middle of a critic of vectors, or of images."""
    wrap = mg.SpectralNorm if spectral else lambda layer: layer
    if kind == "dense":
        norm = "layer" if norm == "instance" else norm  # vectors have no positions
        return [wrap(mg.Dense(6)), NORMS[norm](), ACTIVATIONS[activation]()]
    first = mg.Conv2D(4, 3, strides=2, padding="same")
    second = mg.Conv2D(2, 2, groups=2, bias_initializer="random_normal")
    return [wrap(first), NORMS[norm](), ACTIVATIONS[activation](), second, mg.Flatten(), mg.Tanh()]


@st.composite
def gans(draw_from):
    """(networks, recipe, labels or None)."""
    kind = draw_from(st.sampled_from(["dense", "conv"]))
    shape = (5,) if kind == "dense" else (4, 4, 2)
    norm, activation = (draw_from(st.sampled_from(list(n))) for n in (NORMS, ACTIVATIONS))
    middle = features(kind, norm, activation, draw_from(st.booleans()))
    body = [mg.Dense(int(np.prod(shape)), activation="tanh"), mg.Reshape(shape)]
    inputs, labels = ((3,), shape), None
    if draw_from(st.booleans()):
        labels = LABELS % 3
        middle = [mg.Parallel([mg.Sequential(middle), mg.Embedding(3, 2)])]
        body = [mg.Parallel([mg.Activation("linear"), mg.Embedding(3, 2)]), *body]
        inputs = ((3,), ()), (shape, ())
    middle = [*middle, mg.Dense(1, activation=draw_from(st.sampled_from([None, "sigmoid"])))]
    networks = []
    for layers, takes, name in zip((body, middle), inputs, "GD", strict=True):
        key = mg.random.Key(3, name)
        model = mg.Sequential(layers, input_shape=takes, dtype="float64", name=name, key=key)
        model.params.flat += 0.2 * draw(model.params.flat.shape, seed=8)
        networks.append(model)
    update = draw_from(st.sampled_from(UPDATES))
    objective = draw_from(st.sampled_from(list(mg.objectives.NAMES)))
    if objective == "relativistic_pairing" and update == "separate":
        update = "joint"
    recipe = {"update": update, "objective": objective, "g_optimizer": IDLE, "d_optimizer": IDLE,
              "penalty": draw_from(st.lists(penalty_configs, min_size=1, max_size=3)),
              "d_loss_weight": draw_from(st.sampled_from([1.0, 0.5]))}  # fmt: skip
    return networks, recipe, labels


def d_step(gan, batches):
    """(d_loss, gradient of all D's parameters) of a step that moves nothing."""
    grads = []
    gan.update_d = lambda found, *_: grads.append(found.flat.copy())
    return gan.train_step(**batches)["d_loss"], sum(grads)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(gans(), st.integers(0, 99))
def test_ds_gradient_is_the_complex_step_of_d_loss(drawn, seed):
    (g, d), recipe, labels = drawn
    z = [draw((6, 3), seed=seed + i) for i in (1, 2)]
    z = z if labels is None else [(a, labels[::-1]) for a in z]
    batches = {"real": draw((6, *g.output_shape), seed=seed), "labels": labels, "latents": z}
    logs, grads = d_step(mg.GAN(g, d, **recipe), batches)
    plain, without = d_step(mg.GAN(g, d, **recipe | {"penalty": None}), batches)
    assert logs > plain and np.abs(grads - without).max() > 1e-6  # there is something to check
    for direction in (draw(grads.shape, seed=seed + i) for i in range(3, 6)):
        twin = d.astype("complex128")
        twin.params.flat += 1j * H * direction
        value, _ = d_step(mg.GAN(g.astype("complex128"), twin, **recipe), batches)
        scale = max(np.abs(grads * direction).sum(), 1)
        assert abs((grads * direction).sum() - value.imag / H) <= TOLERANCE * scale


@every_update
def test_the_checker_checks_penalties_element_by_element(update):
    report = mg.check_gradients(make(update, penalty=ALL))
    assert report.ok and report.max_error <= TOLERANCE, str(report)


@every_update
@pytest.mark.parametrize("objective", mg.objectives.NAMES)
def test_every_objective_moves_both_networks_by_its_own_gradient(update, objective):
    """g_loss through D to each parameter of G, and d_loss to each of D; D stands still for G."""
    if objective == "relativistic_pairing" and update == "separate":
        pytest.skip("it pairs real images with fakes: D needs both at once")
    gan = make(update, objective=objective, penalty="r1")
    gan.D.params["conv2d_1.kernel"][...] *= 8  # so that hinge's margins cut real and fake logits
    report = mg.check_gradients(gan, batch=5, seed=1)  # unequally
    assert report.ok and report.max_error <= TOLERANCE, str(report)


@pytest.mark.parametrize("update", ["separate", "joint", "simultaneous"])
@pytest.mark.parametrize("objective", ["hinge", {"name": "wasserstein", "clip": 0.01}])
def test_the_checker_passes_correct_gans(objective, update):
    """D's last bias where hinge's halves cancel; statistics after parameters were clipped."""
    report = mg.check_gradients(make(update, objective=objective))
    assert report.ok, str(report)


def test_a_layer_without_second_order_is_refused_at_once():
    class Doubled(mg.layers.base.Layer):
        def setup(self, input_shape, key):
            return input_shape

        def compute(self, x, training, rng, keep):
            return 2 * x, mg.layers.base.Cache(True)

        def pullback(self, dy, saved, to_input, to_params):
            return 2 * dy, {}

    inner = mg.Sequential([Doubled(), mg.Flatten()])
    G = mg.Sequential([mg.Dense(4), mg.Reshape((2, 2, 1))], input_shape=(3,))
    D = mg.Sequential([inner, mg.Dense(1)], input_shape=(2, 2, 1))
    mg.GAN(G, D)
    with pytest.raises(TypeError, match=r"second order of doubled, but Doubled .* pushforward\(\)"):
        mg.GAN(G, D, penalty="r1")


@pytest.mark.parametrize("update", ["joint", "simultaneous"])
def test_relativistic_pairing_in_a_step(update, monkeypatch):
    gan = make(update, objective="relativistic_pairing")
    seen = seen_by_d(gan, monkeypatch)
    logs = gan.train_step(images())
    ys = [s["y"] for s in seen["D"]]
    real, fake = (ys[0][:6], ys[0][6:]) if update == "joint" else ys
    for_g = (ys[2], ys[1]) if update == "joint" else ys  # D again, on the real images last
    if update == "joint":
        assert np.array_equal(seen["D"][2]["x"], images())
    assert logs["d_loss"] == pytest.approx(np.log1p(np.exp(fake - real)).mean(), rel=1e-13)
    expected = np.log1p(np.exp(for_g[0] - for_g[1])).mean()
    assert logs["g_loss"] == pytest.approx(expected, rel=1e-13)


# the value, from D's probabilities alone


@every_update
@pytest.mark.parametrize("penalty", ALL, ids=["wgan-gp", "r1", "r2"])
def test_the_penalty_is_the_formula_of_the_slope_of_ds_logits(update, penalty, monkeypatch):
    gan = make(update, penalty=penalty, d_optimizer=IDLE)
    seen = seen_by_d(gan, monkeypatch)
    found = float(gan.train_step(images(3), latents=latents(3, 3))["penalty"])
    kind, weight = gan.penalties[0].kind, gan.penalties[0].weight
    at = {"wgan-gp": LAST[update], "r1": 0, "r2": 0 if update == "joint" else 1}[kind]
    twin = gan.discriminator.astype("complex128")  # ends in a sigmoid

    def logits(x):
        p = twin.forward(x)[0]
        return np.log(p / (1 - p))

    g = measured_slope(logits, seen["D"][at]["x"])
    if update == "joint" and kind != "wgan-gp":  # a batch of three real images and three fakes
        g = g[:3] if kind == "r1" else g[3:]
    assert found == pytest.approx(formula(kind, g, weight), rel=1e-10)


@every_update
def test_several_penalties_add_up(update):
    alone = [make(update, penalty=p, d_optimizer=IDLE).train_step(images()) for p in ALL]
    logs = make(update, penalty=ALL, d_optimizer=IDLE).train_step(images())
    plain = make(update, d_optimizer=IDLE).train_step(images())
    assert list(logs) == [*plain, "penalty"]
    assert logs["penalty"] == pytest.approx(sum(log["penalty"] for log in alone), rel=1e-13)
    for log in (*alone, logs):
        assert log["penalty"] > 0
        assert log["d_loss"] == pytest.approx(plain["d_loss"] + log["penalty"], rel=1e-14)


def test_in_float32_it_is_the_same_number_and_stays_float32():
    logs, exact = (
        make(penalty=ALL, dtype=d, d_optimizer=IDLE).train_step(images(dtype=d), latents=latents())
        for d in ("float32", "float64")
    )
    assert logs["penalty"].dtype == logs["d_loss"].dtype == np.float32
    assert float(logs["penalty"]) == pytest.approx(float(exact["penalty"]), rel=1e-5)


@pytest.mark.parametrize("kind", ["wgan-gp", "r1", "r2"])
def test_training_with_a_penalty_makes_it_small(kind):
    ends = []
    for weight in (0.0, 10.0):
        penalty = {"kind": kind, "weight": weight}
        gan = make(penalty=penalty, d_optimizer=mg.Adam(0.01), g_optimizer=IDLE)
        for step in range(60):
            gan.train_step(images(seed=step))
        gan.penalties[0].weight = 1.0
        ends.append(gan.train_step(images(seed=99))["penalty"])
    assert ends[1] < ends[0] / 3


# what stays


@every_update
@pytest.mark.parametrize("penalty", [*ALL, ALL], ids=["wgan-gp", "r1", "r2", "all"])
def test_gs_step_and_the_running_statistics_are_those_without_a_penalty(update, penalty):
    ends = []
    for chosen in (None, penalty):
        gan = make(update, dropout=0.3, penalty=chosen, d_optimizer=IDLE)
        state = gan.D.state.flat.copy()
        logs = gan.train_step(images())
        assert not np.array_equal(gan.D.state.flat, state)
        ends.append(copies(gan.generator) | {f"D.{k}": s.copy() for k, s in gan.D.state.items()})
        ends[-1] |= {k: logs[k] for k in ("g_loss", "d_real", "d_fake")}
    assert same(*ends)


def test_the_vector_of_a_spectral_norm_moves_once_for_each_batch():
    ends = []
    for penalty in (None, "wgan-gp"):
        g = mg.Sequential(
            [mg.Dense(4)], input_shape=(3,), dtype="float64", key=mg.random.Key(0, "g")
        )
        d = mg.Sequential(
            [mg.SpectralNorm(mg.Dense(5)), mg.SiLU(), mg.Dense(1)],
            input_shape=(4,), dtype="float64", key=mg.random.Key(0, "d"),
        )  # fmt: skip
        start = d.state.flat.copy()
        mg.GAN(g, d, penalty=penalty, d_optimizer=IDLE, seed=0).train_step(draw((6, 4)))
        assert not np.array_equal(d.state.flat, start)
        ends.append(d.state.flat)
    assert np.array_equal(*ends)


# the points between


def shares(gan, seen, real, n):
    """e of each pair, from D's pass at x = e real + (1 - e) fake."""
    passes, fakes = seen["D"], seen["G"][0]["y"][:n]
    x = passes[LAST[gan.update]]["x"]
    x = x[0] if isinstance(x, tuple) else x
    assert len(x) == n
    share = ((x - fakes) / (real[:n] - fakes)).reshape(n, -1)
    np.testing.assert_allclose(share, share[:, :1] + 0 * share, rtol=1e-8)  # one for all pixels
    return share[:, 0]


@every_update
def test_between_is_one_point_of_each_segment_drawn_repeatably(update, monkeypatch):
    found = []
    for step in (0, 0, 1):
        gan = make(update, penalty="wgan-gp", d_optimizer=IDLE)
        gan.step_count = step
        seen = seen_by_d(gan, monkeypatch)
        gan.train_step(images(), latents=latents())
        found.append(shares(gan, seen, images(), 6))
        assert (found[-1] > 0).all() and (found[-1] < 1).all() and np.ptp(found[-1]) > 0.1
    assert np.array_equal(found[0], found[1])
    assert np.abs(found[0] - found[2]).min() > 1e-4


@pytest.mark.parametrize("ratio, n", [(0.5, 3), (2, 6)])
def test_between_pairs_as_many_as_there_are_of_both(ratio, n, monkeypatch):
    gan = make(penalty="wgan-gp", fakes_per_real=ratio, d_optimizer=IDLE)
    seen = seen_by_d(gan, monkeypatch)
    gan.train_step(images())
    shares(gan, seen, images(), n)


@every_update
def test_between_has_the_labels_of_the_real_images(update, monkeypatch):
    gan = conditional(update, penalty="wgan-gp", d_optimizer=IDLE)
    seen = seen_by_d(gan, monkeypatch)
    z_d, z_g = latents()
    real = draw((6, 4))
    gan.train_step(real, LABELS, latents=((z_d, LABELS[::-1]), (z_g, LABELS)))
    shares(gan, seen, real, 6)
    assert np.array_equal(seen["D"][LAST[update]]["x"][1], LABELS)


def test_the_shares_are_uniform(monkeypatch):
    gan = conditional(penalty="wgan-gp", d_optimizer=IDLE)
    seen = seen_by_d(gan, monkeypatch)
    n = 4000
    real = 5 + draw((n, 4))
    gan.train_step(real, np.arange(n) % 3)
    tenths = np.histogram(shares(gan, seen, real, n), 10, (0, 1))[0]
    assert tenths.sum() == n and np.abs(tenths - 400).max() < 100  # five standard deviations


# every k steps


@every_update
def test_every_third_step_three_times_as_strong(update):
    each, third = (
        make(update, penalty={"kind": "wgan-gp", "every": k}, d_optimizer=IDLE, g_optimizer=IDLE)
        for k in (1, 3)
    )
    plain = make(update, d_optimizer=IDLE, g_optimizer=IDLE)
    for step in range(7):
        one, lazy, none = (gan.train_step(images()) for gan in (each, third, plain))
        factor = 3 if step % 3 == 0 else 0
        assert lazy["penalty"] == pytest.approx(factor * one["penalty"], rel=1e-13)
        assert lazy["d_loss"] == pytest.approx(none["d_loss"] + lazy["penalty"], rel=1e-14)


def test_a_step_without_its_penalty_is_the_ordinary_step():
    ends = []
    for penalty in (None, {"kind": "r1", "every": 2}):
        gan = make(penalty=penalty)
        gan.step_count = 1
        gan.train_step(images())
        ends.append(copies(gan.discriminator))
    assert same(*ends)


# clipping


@every_update
def test_wasserstein_clip_bounds_ds_parameters_after_each_update(update):
    gan = make(update, objective={"name": "wasserstein", "clip": 0.05}, d_optimizer=mg.SGD(0.1))
    gan.D.state.flat += 1
    updates = []
    step = gan.d_optimizer.step
    gan.d_optimizer.step = lambda *args: (updates.append(copies(gan.D)), step(*args))
    gan.train_step(images())
    sizes = np.abs(gan.D.params.flat)
    assert sizes.max() == 0.05 and (sizes == 0.05).any() and (sizes < 0.05).any()
    assert np.abs(gan.generator.params.flat).max() > 0.05 < np.abs(gan.D.state.flat).max()
    if update == "separate":  # already clipped before the second of its updates
        first, second = (max(np.abs(u[k]).max() for k in gan.D.params) for u in updates)
        assert first > 0.05 == second


# the recipe


@every_update
def test_a_recipe_with_penalties_survives_json(update):
    gan = make(update, penalty=[*ALL, {"kind": "r1", "every": 2}])
    config = json.loads(json.dumps(gan.config()))
    again = mg.GAN(*(m.astype("float64") for m in (gan.generator, gan.discriminator)), **config)
    assert [p.config() for p in again.penalties] == [p.config() for p in gan.penalties]
    for step in range(2):
        assert gan.train_step(images(seed=step)) == again.train_step(images(seed=step))
    assert make(update).config()["penalty"] is None


def test_recipes_that_the_objective_cannot_serve():
    pairing = {"objective": "relativistic_pairing"}
    with pytest.raises(ValueError, match='D needs both at once: update="joint"'):
        make("separate", **pairing)
    for update in ("joint", "simultaneous"):
        with pytest.raises(ValueError, match="pairs every image with a fake: fakes_per_real=1"):
            make(update, fakes_per_real=0.5, **pairing)
    for name in ("hinge", "wasserstein"):
        for targets in ({"real_targets": (0.9, 0.9)}, {"flip_labels": 0.1}):
            with pytest.raises(ValueError, match="has no targets; leave out real_targets"):
                make("separate", objective=name, **targets)
