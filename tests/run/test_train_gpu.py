"""Runs whose networks live on a GPU."""

from __future__ import annotations

import numpy as np
import pytest

import minigan as mg
from tests.run.conftest import small_gan
from tests.run.run_helpers import Killed, contents, kill_at

pytestmark = pytest.mark.gpu


def test_a_run_on_a_gpu_goes_on_to_the_same_bits(images, tmp_path, monkeypatch):
    monkeypatch.setattr("minigan.backend._module", np)  # restored at the end
    mg.use("cupy")
    recipe = {"update": "joint", "ema": 0.9, "instance_noise": (0.5, 9), "flip_labels": 0.2}
    settings = {"epochs": 3, "checkpoint_every": 1, "progress": False}
    for out, dies in (("whole", 99), ("broken", 4)):
        gan = small_gan(**recipe)
        kill_at(gan, monkeypatch, dies)
        try:
            mg.train(gan, images, out=tmp_path / out, **settings)
        except Killed:
            gan, _ = mg.resume(tmp_path / out, images, progress=False)
        assert type(gan.generator.params.flat).__module__.startswith("cupy")
        assert type(gan.g_optimizer.state["m.dense.kernel"]).__module__.startswith("cupy")
    assert contents(tmp_path / "whole") == contents(tmp_path / "broken")
