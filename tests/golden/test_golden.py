"""The golden trace: ten steps of each reference pair give the numbers they have always given.

How close is close.  The order of a sum depends on the number of threads and on the kernels that
BLAS and NumPy choose for a processor.  Measured with 1, 2 and 3 threads, with OpenBLAS's kernels
for Nehalem, Sandybridge, Haswell and SkylakeX, and with NumPy's AVX2 and AVX-512 code switched off,
the losses differ by 1.2e-15 and the sums by 7e-14 after ten steps.  These traces are no chaos:
Adam's first steps are near lr * sign(g), but its epsilon keeps a g of rounding errors from moving
far, and parameters whose gradient is null are left out.  So the limit is 1e-12.  A difference above
it is a change of the mathematics or of the random numbers, not of the machine.
"""

from __future__ import annotations

import json
import math

import pytest

import minigan as mg

from . import record

GOLDEN = json.loads(record.FILE.read_text())
LIMIT = 1e-12


def differences(found, golden):
    """Everything that differs: sums are compared at the scale of their terms, not of their rest."""
    for step, (one, other) in enumerate(zip(found["steps"], golden["steps"], strict=True)):
        assert one.keys() == other.keys()
        for key, value in one.items():
            if not abs(value - other[key]) <= LIMIT * abs(other[key]):
                yield f"step {step}: {key} {value!r}, was {other[key]!r}"
    assert found["sums"].keys() == golden["sums"].keys()
    for model, sums in found["sums"].items():
        assert list(sums) == list(golden["sums"][model])
        for key, (total, squares) in sums.items():
            was, squares_were = golden["sums"][model][key]
            if not abs(total - was) <= LIMIT * max(abs(was), math.sqrt(squares_were)):
                yield f"{model} {key}: sum {total!r}, was {was!r}"
            if not abs(squares - squares_were) <= LIMIT * squares_were:
                yield f"{model} {key}: sum of squares {squares!r}, was {squares_were!r}"


@pytest.mark.parametrize("name", record.SIZES)
def test_ten_steps(name):
    assert len(GOLDEN[name]["steps"]) == record.STEPS == 10
    found = list(differences(record.trace(name), GOLDEN[name]))
    assert not found, f"{len(found)} numbers differ; the first ones:\n" + "\n".join(found[:8])


@pytest.mark.parametrize("name", record.SIZES)
def test_a_small_change_is_seen(name, monkeypatch):
    """A rate that is 1e-5 larger changes the losses and every array that it moves."""
    step = mg.Adam.step

    def faster(self, params, grads, at):
        rate = self.learning_rate
        self.learning_rate = rate * (1 + 1e-5)
        step(self, params, grads, at)
        self.learning_rate = rate

    monkeypatch.setattr(mg.Adam, "step", faster)
    found = " ".join(differences(record.trace(name), GOLDEN[name]))
    arrays = [k for sums in GOLDEN[name]["sums"].values() for k in sums]
    assert all(f" {key}: sum" in found for key in arrays if "moving" not in key)
    assert "d_loss" in found and "g_loss" in found


def test_the_arrays_and_the_losses_are_all_there():
    assert list(GOLDEN) == ["digits", "flowers", "dcgan64", "upsample64", "mlp_digits"]
    for name, golden in GOLDEN.items():
        pair = getattr(mg.models, name)(sizes=record.SIZES[name])
        for model in pair:
            left_out = {*model.params, *model.state} - set(golden["sums"][model.name])
            assert left_out == model.null_gradients()
        for logs in golden["steps"]:
            assert set(logs) == {"d_loss", "g_loss", "d_real", "d_fake"}
        assert len({logs["g_loss"] for logs in golden["steps"]}) == 10
