"""Every kernel gives the same bits in any order of blocks and threads, and is launched here."""

from __future__ import annotations

import numpy as np
import pytest

from tests import gpu_calls as calls

pytestmark = pytest.mark.gpu

DTYPES = ("float32", "float64")
ORDERS = [("reversed", 0), *(("shuffled", seed) for seed in range(4))]


def bits(call):
    """The bytes of every result: those of zeros of both signs and of every NaN differ."""
    return [a.tobytes() for a in calls.run(call)[0]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order, seed", ORDERS)
def test_any_order_of_blocks_and_threads_gives_the_same_bits(dtype, order, seed, rig):
    for call in calls.small_calls(dtype):
        wanted = bits(call)
        with rig.order(order, seed):
            assert bits(call) == wanted, f"{call.name} in the order {order}, {seed}"


@pytest.mark.parametrize("order, seed", ORDERS)
def test_long_sums_in_any_order(order, seed, rig):
    for shape in ((2000, 40), (5000, 1)):
        for call in (*calls.reductions(shape, "float32"), *calls.biased(shape, "float32")):
            wanted = bits(call)
            with rig.order(order, seed):
                assert bits(call) == wanted, f"{call.name} in the order {order}, {seed}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_again_the_same_bits(dtype):
    """On any device: no result depends on timing."""
    for call in calls.small_calls(dtype):
        assert bits(call) == bits(call), call.name


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_element_of_a_result_is_written(dtype, rig):
    """New memory of the emulated device is full of NaN."""
    for call in calls.small_calls(dtype):
        for found in calls.run(call)[0]:
            assert not np.isnan(found.get()).any(), call.name


def launched(some):
    """The kernels that the comparisons of these calls launch."""
    from minigan.kernels.gpu import launch

    with launch.counted() as counts:
        for call in some:
            calls.compare(call)
    return {(file, name) for file, name, _ in counts}


def kernels_of_all_files():
    from minigan.kernels.gpu import launch

    return {(file, name) for file in launch.files() for name in launch.kernels(file)}


@pytest.mark.parametrize("few", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_kernel_is_launched_and_compared(dtype, few):
    missing = kernels_of_all_files() - launched(calls.small_calls(dtype, few))
    assert not missing, f"no comparison launches {sorted(missing)}"


def test_a_kernel_that_no_comparison_launches_is_named():
    some = [call for call in calls.small_calls(few=True) if call.name != "adam"]
    assert kernels_of_all_files() - launched(some) == {("optimizers", "adam")}
