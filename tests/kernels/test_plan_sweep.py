"""The planner's choices, timed on random shapes: none is much slower than the plain form."""

from __future__ import annotations

import time

import numpy as np
import pytest

from minigan.kernels import cpu
from minigan.kernels.cpu import plan
from minigan.kernels.geometry import Geometry, axis

from .test_conv import operands

pytestmark = pytest.mark.cpu("its planner")

WORST = 1.5  # times the plain form's time
ROUNDS = 4


def shapes(count, seed):
    """(geometry, images, channels, output channels) of moderate work that do not run plainly."""
    rng, found = np.random.default_rng(seed), []
    while len(found) < count:
        c, oc = (int(2 ** rng.uniform(4, 8.5)) for _ in range(2))
        kernel = int(rng.integers(2, 7))
        sides = rng.integers(max(kernel, 5), 70, 2)
        stride, padding = int(rng.integers(1, min(kernel, 3) + 1)), rng.choice(["same", "valid"])
        geo = Geometry(*(axis(int(side), kernel, stride, padding) for side in sides))
        per_image = kernel**2 * c * oc * geo.rows.out * geo.cols.out
        images = int(min(128, 10 ** rng.uniform(8.3, 9) / per_image)) or 1
        shape = plan.Shape(c, oc, geo, images)
        choices = (plan.forward(shape), plan.adjoint(shape), plan.dkernel(shape))
        if per_image < 2e9 and any(path.toom for path in choices):
            found.append((geo, images, c, oc))
    return found


def times(calls, rounds):
    """The quickest of each call in turns, as they are planned and plainly: [(planned, plain)]."""
    best = [[np.inf, np.inf] for _ in calls]
    for _ in range(rounds):
        for call, fastest in zip(calls, best, strict=True):
            for i, exact in enumerate((False, True)):
                start = time.perf_counter()
                if exact:
                    with plan.exactly():
                        call()
                else:
                    call()
                fastest[i] = min(fastest[i], time.perf_counter() - start)
    return best


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_no_choice_is_much_slower_than_the_plain_form(seed):
    slow = []
    for geo, n, c, oc in shapes(8, seed):
        x, kernel, y = (a.astype(np.float32) for a in operands(geo, n, c, oc))
        calls = {
            "conv2d": lambda x=x, k=kernel, geo=geo: cpu.conv2d(x, k, geo),
            "conv2d_adjoint": lambda y=y, k=kernel, geo=geo: cpu.conv2d_adjoint(y, k, geo),
            "conv2d_dkernel": lambda x=x, y=y, geo=geo: cpu.conv2d_dkernel(x, y, geo),
            "gradients": lambda x=x, y=y, k=kernel, geo=geo: cpu.conv2d_gradients(x, y, k, geo),
        }
        for rounds in (ROUNDS, 5 * ROUNDS):  # what seems slow is looked at again
            ratios = {
                name: planned / plain
                for name, (planned, plain) in zip(calls, times(calls.values(), rounds), strict=True)
            }
            print(geo, n, c, oc, {name: round(ratio, 2) for name, ratio in ratios.items()})
            calls = {name: calls[name] for name, ratio in ratios.items() if ratio > WORST}
        slow += [(geo, n, c, oc, name, ratios[name]) for name in calls]
    assert not slow
