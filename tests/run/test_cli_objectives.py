"""minigan train --objective, --penalty: what they change, what is logged, what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import minigan as mg
from minigan import recipes
from minigan.run import imaging

WORDS = ("train", "mlp_digits", "--epochs", "1", "--batch-size", "64")


@pytest.fixture
def train(run, tmp_path, digits_npz):
    """train(options...) -> (exit code, stderr, config's gan, the epoch's log, the weights)."""

    def call(*options, words=WORDS):
        name = "_".join(options).replace(":", "") or "plain"
        out = tmp_path / name
        code, _, err = run(*words, "--data", digits_npz, "--out", out, *options)
        if code:
            assert not out.exists()
            return code, err, None, None, None
        gan = json.loads((out / "config.json").read_text())["gan"]
        log = json.loads((out / "log.jsonl").read_text().splitlines()[-1])
        weights = mg.load(out / "generator.safetensors").params.flat
        return code, err, gan, log, weights

    return call


def test_every_objective_trains_and_is_written_down(train):
    found = []
    for name in ("minimax", "least_squares", "hinge", "relativistic_pairing"):
        code, err, gan, log, weights = train("--objective", name)
        assert code == 0 and gan["objective"]["name"] == name, err
        assert "penalty" not in log and np.isfinite(log["d_loss"])
        found.append(weights)
    assert all((a != b).any() for i, a in enumerate(found) for b in found[:i])


def test_penalties_are_applied_and_logged(train):
    *_, plain = train()
    code, _, gan, log, weights = train("--penalty", "r1:5", "--penalty", "r2")
    assert code == 0
    assert gan["penalty"] == [
        {"kind": "r1", "weight": 5.0, "every": 1},
        {"kind": "r2", "weight": 10.0, "every": 1},
    ]
    assert log["penalty"] > 0 and (weights != plain).any()
    assert log["d_loss"] > log["penalty"]
    code, _, gan, log, _ = train("--objective", "wasserstein", "--penalty", "wgan-gp:2")
    assert code == 0 and gan["penalty"][0]["weight"] == 2 and log["penalty"] > 0


def test_a_critic_that_ties_its_batch_together_is_noted(train):
    tied = ("train", "digits", *WORDS[2:])
    for i, (words, options, noted) in enumerate(
        [(tied, (), False), (WORDS, ("--penalty", "r1"), False), (tied, ("--penalty", "r2"), True)]
    ):
        assert ("has BatchNorm" in train(*options, words=words)[1]) == noted, i


def test_the_epochs_line_names_the_penalty(run, digits_npz):
    _, out, _ = run(*WORDS, "--data", digits_npz, "--penalty", "r1")
    assert " penalty " in out.splitlines()[0]


@pytest.mark.parametrize(
    "options, expected",
    [
        (("--objective", "hinges"), "did you mean 'hinge'?"),
        (("--objective", "wasserstein"), "add --penalty wgan-gp"),
        (("--penalty", "r3"), "'wgan-gp', 'r1', 'r2'"),
        (("--penalty", "r1:x"), "should be a kind and a weight, as r1:5"),
        (("--objective", "wasserstein", "--penalty", "r1:0"), "add --penalty wgan-gp"),
        (("--penalty", "r1:-1"), "weight=-1.0 should be a number of 0 or more"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(train, options, expected):
    code, err, *_ = train(*options)
    assert code == 2 and expected in err


def test_a_recipe_is_fitted_to_the_objective(train):
    words = ("train", "digits", "--recipe", "reference", "--epochs", "1", "--batch-size", "64")
    code, err, gan, *_ = train("--objective", "relativistic_pairing", words=words)
    assert code == 0
    assert gan["update"] == "joint" and gan["fakes_per_real"] == 1
    assert "update='joint' instead of 'separate'" in err
    assert "fakes_per_real=1.0 instead of 0.5" in err


def test_with_objective_changes_nothing_it_need_not():
    recipe = recipes.get("dcgan64")
    assert recipes.with_objective(recipe, None, None) == (recipe, [])
    squares, changed = recipes.with_objective(recipe, "least_squares", "r1")
    assert changed == ["no logit_clip"] and squares["real_targets"] == recipe["real_targets"]
    assert squares["penalty"] == "r1" and "penalty" not in recipe
    hinge, changed = recipes.with_objective(recipe, "hinge", None)
    assert len(changed) == 3 and hinge["real_targets"] == (1.0, 1.0)
    assert recipe["objective"]["name"] == "non_saturating"  # the given one is as it was


def test_with_objective_keeps_the_options_that_both_know():
    recipe = recipes.get("dcgan64")
    for name in ("minimax", "non_saturating"):
        other, changed = recipes.with_objective(recipe, name, None)
        assert changed == [] and other["objective"] == {"name": name, "logit_clip": 16.118}
    pairing, changed = recipes.with_objective(
        recipes.get("mlp_digits"), "relativistic_pairing", None
    )
    assert pairing["d_loss_weight"] == 1 and changed == ["d_loss_weight=1.0 instead of 0.5"]


def test_curves_show_the_penalty_and_scores_beyond_probabilities(tmp_path):
    history = [
        {"epoch": e, "d_loss": 1 / e, "g_loss": 2 / e, "d_real": 0.9, "d_fake": 0.1}
        for e in (1, 2, 3)
    ]
    pictures = []
    for name, change in (
        ("plain", {}),
        ("penalty", {"penalty": 0.7}),
        ("scores", {"d_real": 7.0}),
    ):
        imaging.save_curves(tmp_path / f"{name}.png", [row | change for row in history])
        pictures.append(np.asarray(Image.open(tmp_path / f"{name}.png")))
    plain, penalty, scores = pictures
    half = plain.shape[1] // 2
    assert (plain[:, :half] != penalty[:, :half]).any()
    assert (plain[:, half:] == penalty[:, half:]).all()
    assert (plain[:, half:] != scores[:, half:]).any()
