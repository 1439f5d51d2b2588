"""Elementwise work in blocks that stay in cache, over threads.

`each` hands matching blocks of its arrays to a function that works in place with a scratch block,
so that an expression of several operations goes through memory once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from .. import reference
from . import pool, threads

BLOCK = 1 << 17  # elements: large enough that threads do not wait for the interpreter
ELEMENT = 1e-9  # seconds for an element, for deciding whether threads pay


def each(function: Callable[..., None], *arrays: np.ndarray) -> None:
    """function(*blocks) for matching blocks along the first axis of all the arrays."""
    rows, size = len(arrays[0]), arrays[0].size
    step = max(1, BLOCK * rows // max(size, 1))

    def share(first: int, last: int) -> None:
        for k in range(first, last, step):
            function(*(a[k : min(k + step, last)] for a in arrays))

    threads.run(share, rows, size * ELEMENT)


def flat(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """The arrays as vectors if that takes no copy (any block size fits then), else as they are."""
    if all(a.flags.c_contiguous for a in arrays):
        return tuple(a.reshape(-1) for a in arrays)
    return arrays


def matrices(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """The arrays as matrices (M, C) when that takes no copy, else as they are."""
    if all(a.flags.c_contiguous for a in arrays):
        return tuple(a.reshape(-1, a.shape[-1]) for a in arrays)
    return arrays


def _new(like: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    return pool.empty(like.shape, like.dtype) if out is None else out


def blocked(definition: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """The same function of arrays of one shape, a block that stays in cache at a time."""

    @wraps(definition)
    def fast(*arrays: np.ndarray) -> np.ndarray:
        out = pool.empty(arrays[0].shape, np.result_type(*arrays))
        each(lambda *a: np.copyto(a[-1], definition(*a[:-1])), *flat(*arrays, out))
        return out

    return fast


tanh_tangent = blocked(reference.tanh_tangent)
sigmoid_tangent = blocked(reference.sigmoid_tangent)
silu = blocked(reference.silu)
silu_backward = blocked(reference.silu_backward)
silu_tangent = blocked(reference.silu_tangent)


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Elementwise product of arrays of one shape."""
    out = pool.empty(a.shape, np.result_type(a, b))
    each(lambda a, b, out: np.multiply(a, b, out=out), *flat(a, b, out))
    return out


def scaled_mask(x: np.ndarray, key: Any, rate: float) -> np.ndarray:
    """1/(1 - rate) where key.keep_mask(x.shape, rate) says so, else 0: real, of x's precision."""
    mask, scale = key.keep_mask(x.shape, rate), x.real.dtype.type(1 / (1 - rate))
    out = pool.empty(mask.shape, scale.dtype)
    each(lambda mask, out: np.multiply(mask, scale, out=out), *flat(mask, out))
    return out


def add_bias(y: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """y += bias along the last axis, in place."""
    if y.shape[-1] == 1:
        each(lambda y: np.add(y, bias[0], out=y), *flat(y))
    else:
        each(lambda y: np.add(y, bias, out=y), *matrices(y))
    return y


def biased_activation(z: np.ndarray, bias: np.ndarray, kind: str, slope: float) -> np.ndarray:
    """f(z + bias), in place, f by its name: "leaky_relu" of this slope, "tanh" or "sigmoid"."""
    z = add_bias(z, bias)
    if kind == "leaky_relu":
        return leaky_relu(z, slope, z)
    return {"tanh": tanh, "sigmoid": sigmoid}[kind](z, z)


def _slopes(x: np.ndarray, slope: float) -> np.ndarray:
    """1 where x > 0, slope elsewhere. Only the real part decides."""
    factor = _positive(x)
    factor *= 1 - slope
    factor += slope
    return factor


def _positive(x: np.ndarray) -> np.ndarray:
    """1 where x > 0, else 0, as numbers. Only the real part decides."""
    return np.greater(x.real, 0, out=pool.empty(x.shape, x.real.dtype))


def leaky_relu(x: np.ndarray, slope: float, out: np.ndarray | None = None) -> np.ndarray:
    """x times 1 where x > 0, times slope elsewhere."""
    out = _new(x, out)
    each(lambda x, out: np.multiply(x, _slopes(x, slope), out=out), *flat(x, out))
    return out


def leaky_relu_backward(
    dy: np.ndarray, y: np.ndarray, slope: float, out: np.ndarray | None = None
) -> np.ndarray:
    """dy times 1 where y > 0, times slope elsewhere."""
    out = _new(dy, out)
    each(lambda dy, y, out: np.multiply(dy, _slopes(y, slope), out=out), *flat(dy, y, out))
    return out


def tanh(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """The hyperbolic tangent."""
    out = _new(x, out)
    each(lambda x, out: np.tanh(x, out=out), *flat(x, out))
    return out


def tanh_backward(dy: np.ndarray, y: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """dy * (1 - y^2)."""
    out = _new(dy, out)

    def block(dy: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
        slope = np.multiply(y, y, out=pool.empty(y.shape, y.dtype))
        np.subtract(1, slope, out=slope)
        np.multiply(dy, slope, out=out)

    each(block, *flat(dy, y, out))
    return out


def sigmoid(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """1/(1 + e^-x), computed from e^-|x| so that nothing overflows."""
    out = _new(x, out)

    def block(x: np.ndarray, out: np.ndarray) -> None:
        positive, small = _positive(x), pool.empty(x.shape, x.dtype)
        sign = 1 - 2 * positive
        np.exp(np.multiply(x, sign, out=small), out=small)  # e^-|x|
        np.subtract(1, positive, out=sign)
        np.multiply(small, sign, out=out)
        out += positive  # 1, or e^-|x| where x <= 0
        small += 1
        out /= small

    each(block, *flat(x, out))
    return out


def sigmoid_backward(dy: np.ndarray, y: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """dy * y * (1 - y)."""
    out = _new(dy, out)

    def block(dy: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
        slope = np.subtract(1, y, out=pool.empty(y.shape, y.dtype))
        slope *= y
        np.multiply(dy, slope, out=out)

    each(block, *flat(dy, y, out))
    return out


def adam(
    p: np.ndarray, g: np.ndarray, m: np.ndarray, v: np.ndarray, rate: float,
    betas: tuple[float, float], root: float, epsilon: float,
) -> None:  # fmt: skip
    """In place: m, v <- moments of g;  p -= rate * m / (sqrt(v)*root + epsilon)."""

    def block(p: np.ndarray, g: np.ndarray, m: np.ndarray, v: np.ndarray) -> None:
        t = np.subtract(g, m, out=pool.empty(p.shape, p.dtype))
        t *= 1 - betas[0]
        m += t
        np.multiply(g, g, out=t)
        t -= v
        t *= 1 - betas[1]
        v += t
        np.sqrt(v, out=t)
        t *= root
        t += epsilon
        np.divide(m, t, out=t)
        t *= rate
        p -= t

    each(block, *flat(p, g, m, v))
