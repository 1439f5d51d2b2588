"""Rows of `minigan check`: schedules, and how residual networks without normalisation start."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import optimizers
from ..numeric import Row
from ..r3gan import residual_block
from ..random import Key
from ..schedules import Cosine
from .check_critics import flat_gan, flat_slope
from .check_rows import agree, true

KEY = Key(0, "modern check")
FALL: dict[str, Any] = {"start": 0.8, "end": 0.2, "steps": 3}
FALLS = [0.8, 0.65, 0.35, 0.2, 0.2, 0.2]  # cos 0, pi/3, 2 pi/3, pi are 1, 1/2, -1/2, -1


def modern_rows() -> Iterator[Row]:
    """All of them."""
    yield from schedule_rows()
    yield from clock_rows()
    yield from residual_rows()


def schedule_rows() -> Iterator[Row]:
    """A cosine by its values; an Adam and a penalty that follow one."""
    yield agree("Cosine", "0 to 5", [Cosine(**FALL).at(step) for step in range(6)], FALLS)
    grads = KEY.generator().standard_normal((6, 4))
    for form in ("keras", "torch"):
        adam = optimizers.Adam(FALL, beta_1=FALL, beta_2=FALL, form=form, epsilon=0.01)
        p, m, v = np.ones(4), np.zeros(4), np.zeros(4)
        expected = p.copy()
        for t, (g, now) in enumerate(zip(grads, FALLS, strict=True), start=1):
            adam.step({"p": p}, {"p": g.copy()})
            m, v, c = now * m + (1 - now) * g, now * v + (1 - now) * g * g, 1 - now**t
            if form == "torch":
                expected -= now * (m / c) / (np.sqrt(v / c) + 0.01)
            else:
                expected -= now * math.sqrt(c) / c * m / (np.sqrt(v) + 0.01)
        yield agree(f"Adam, {form} form, with schedules", "six steps", p, expected)
    for name, make in (("SGD", optimizers.SGD), ("RMSprop", optimizers.RMSprop)):
        moved = [_moved(make, rate) for rate in (FALL, 1.0)]
        yield agree(f"{name}, with a schedule", "moves", moved[0], FALLS * moved[1])
    rng = KEY.child("penalty").generator()
    for every in (1, 2):
        penalty: dict[str, Any] = {"kind": "r1", "weight": FALL, "every": every}
        gan = flat_gan("joint", penalty)
        real, z = rng.standard_normal((4, 3)), rng.standard_normal((4, 2))
        square = (flat_slope(gan.D.params, real) ** 2).sum(axis=1).mean()
        found = [float(gan.train_step(real, latents=(z, z))["penalty"]) for _ in range(6)]
        expected = every / 2 * square * np.array(FALLS) * (np.arange(6) % every == 0)
        yield agree(f"penalty with a schedule, every {every}", "six steps", found, expected)


def clock_rows() -> Iterator[Row]:
    """Every schedule of a GAN is of its steps, however often a network moves in one."""
    rng = KEY.child("clock").generator()
    for update, d_steps, side in (("separate", 1, "d"), ("joint", 3, "g")):
        gan = flat_gan(update, None)
        gan.d_steps = d_steps
        optimizer = optimizers.SGD(FALL)
        setattr(gan, f"{side}_optimizer", optimizer)
        found = []
        for _ in range(6):
            gan.train_step(rng.standard_normal((4, 3)))
            found.append(optimizer.now(optimizer.learning_rate) if optimizer.t else 0.0)
        held = [0.0, 0.0, *[FALLS[2]] * 3, FALLS[5]]  # from one move to the next
        yield agree(
            f"rate of {side}, {update}", "six steps", found, FALLS if d_steps == 1 else held
        )


def _moved(make: Any, rate: Any) -> np.ndarray:
    """How far a number moves in each of six steps along a gradient that grows."""
    optimizer, p, seen = make(rate), np.zeros(1), [0.0]
    for step in range(6):
        optimizer.step({"p": p}, {"p": np.array([1.0 + step])})
        seen.append(float(p[0]))
    return np.diff(seen)


def residual_rows() -> Iterator[Row]:
    """Fixup: a block starts as the identity, and the layers in it as small as their depth asks."""
    for depth in (1, 16):
        block = residual_block(48, depth)
        block.build((3, 3, 48), dtype="float64", key=KEY.child("block"))
        x = KEY.child("input").generator().standard_normal((4, 3, 3, 48))
        what = f"residual block of {depth}"
        yield agree(what, "identity", block.forward(x)[0], x)
        first, _, second, *_ = block.layers[1].layers  # type: ignore[attr-defined]
        for name, conv in (("1x1", first), ("3x3", second)):
            gain = (conv.params["kernel"] ** 2).mean() * conv.params["kernel"][..., 0].size
            wanted = 2 / (1 + 0.2**2) / depth**0.5  # a deviation of depth^(-1/4) times
            near = abs(gain / wanted - 1) < 0.1
            yield true(what, f"gain of {name}", near, f"{gain} instead of {wanted}")
