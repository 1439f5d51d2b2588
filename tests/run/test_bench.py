"""minigan bench: what it counts, what it prints, and how it refuses."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

import minigan as mg
from minigan.run import bench
from minigan.run.bench_worker import distance, make_gan, smooth
from minigan.run.cli import main
from minigan.run.profile import Profile
from tests.gan_helpers import images, make


def test_a_step_of_the_smallest_pair(capsys):
    assert main(["bench", "mlp_digits", "--batch-size", "8", "--rounds", "2"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["pair", "batch", "ms/step"]
    name, batch, ms, rate, gflops, _ = row.split()
    assert (name, batch) == ("mlp_digits", "8")
    assert float(rate) == pytest.approx(8e3 / float(ms), rel=0.05) and float(gflops) > 0


def test_json(capsys):
    assert main(["bench", "mlp_digits", "--batch-size", "4", "--rounds", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (pair,) = found["pairs"]
    assert pair["name"] == "mlp_digits" and pair["images_per_second"] > 0
    assert found["geometric_mean"] is None and "threads" in pair["configuration"]


def test_what_is_refused(capsys, monkeypatch):
    assert main(["bench", "digit"]) == 2
    assert "did you mean 'digits'?" in capsys.readouterr().err
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["bench", "digits", "--against", "torch"]) == 2
    assert "pip install 'minigan[bench]'" in capsys.readouterr().err


def test_the_plan_names_every_convolution_of_a_pair(capsys):
    assert main(["bench", "upsample64", "--plan"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert len(lines) == 3 * 6  # three upsampled, three plain
    assert sum("upsampled" in line for line in lines) == 9
    assert any("toom F(4x4, 5x5) inwards" in line for line in lines)


@pytest.mark.cpu("the profile of its stages")
def test_the_profile_counts_every_product():
    """By hand: 2 a multiply-add, in each pass that a step makes."""
    gan = make("separate")
    with Profile(gan) as profile:
        gan.train_step(images())
    rows = {(n, s): 0.0 for n, s, _ in profile.rows}
    for (network, stage, _), row in profile.rows.items():
        rows[network, stage] += row.flops
        assert (row.calls > 0) and row.seconds > 0
    n = 6
    dense = 3 * 12  # G's first layer: forward for D's fakes and for G, then its kernel's gradient
    assert rows["G", "dense"] == 2 * n * dense * (1 + 1 + 1)
    assert not vars(gan).get("update_d") and "compute" not in vars(gan.D._stages[0][1])
    assert "forward" in profile.table() and "%" in profile.table()


def test_smooth_networks_are_the_same_but_for_what_selects():
    gan = make_gan("upsample64", dropout=0.0)
    twin = smooth(gan)
    kinds = {type(layer) for m in (twin.generator, twin.discriminator) for layer in m.layers}
    assert mg.AveragePooling2D in kinds and mg.Tanh in kinds
    assert not kinds & {mg.LeakyReLU, mg.ReLU, mg.MaxPooling2D}
    np.testing.assert_array_equal(twin.generator.params.flat, gan.generator.params.flat)
    assert isinstance(twin.d_optimizer, mg.SGD)


def test_distance_is_relative_to_what_was_moved():
    start = np.zeros(4)
    exact = np.array([3.0, 4.0, 0.0, 0.0])
    assert distance(exact, exact, start) == 0
    assert distance(exact + [0, 0, 1, 0], exact, start) == pytest.approx(0.2)
    far = {"minigan G": 3e-3, "torch G": 1e-3, "minigan D": 0.0, "torch D": 0.0}
    assert bench.too_far(far) and not bench.too_far({**far, "minigan G": 1.9e-3})
    assert bench.too_far({**far, "minigan G": float("nan")})
    shared = {"minigan G": 1e-3, "torch G": 0.8, "minigan D": 0.0, "torch D": 0.0}
    assert bench.too_far(shared)  # a mistake of ours in both precisions drives PyTorch away


def test_a_worker_that_stops_says_so(capfd):
    with pytest.raises(RuntimeError, match="the nonsense side of the benchmark stopped"):
        bench.Side("nonsense", "digits", 4)
    assert "KeyError" in capfd.readouterr().err
