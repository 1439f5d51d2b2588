"""Activations, products, dropout and Adam: an element a thread."""

from __future__ import annotations

from typing import Any

import cupy

from .arrays import alike, contiguous, into, room
from .launch import kernel
from .reduce import chunks, combine

Array = Any
KINDS = {"leaky_relu": 0, "tanh": 1, "sigmoid": 2, "silu": 3}  # as in activations.cu

_activation = kernel("activations", "activation")
_backward = kernel("activations", "activation_backward")
_tangent = kernel("activations", "activation_tangent")
_biased = kernel("activations", "biased_activation")
_biased_backward = kernel("activations", "biased_activation_backward")
_multiply = kernel("normalise", "multiply")
_dropout = kernel("dropout", "dropout")
_adam = kernel("optimizers", "adam")


def _apply(kind: str, x: Array, slope: float = 0.0, out: Array | None = None) -> Array:
    x = contiguous(x)
    y = room(x, out)
    _activation(x.size, x, y, KINDS[kind], slope)
    return into(y, out)


def _pull(kind: str, dy: Array, a: Array, slope: float = 0.0, out: Array | None = None) -> Array:
    dy, a = alike(dy, a)
    dx = room(dy, out)
    _backward(dy.size, dy, a, dx, KINDS[kind], slope)
    return into(dx, out)


def _move(kind: str, dy: Array, ddy: Array, a: Array, ta: Array) -> Array:
    ddx = cupy.empty(ddy.shape, ddy.dtype)
    _tangent(ddx.size, *alike(dy, ddy, a, ta), ddx, KINDS[kind])
    return ddx


def leaky_relu(x: Array, slope: float, out: Array | None = None) -> Array:
    """x where x > 0, else slope*x."""
    return _apply("leaky_relu", x, slope, out)


def leaky_relu_backward(dy: Array, y: Array, slope: float, out: Array | None = None) -> Array:
    """dy where y > 0, else slope*dy (at the kink itself: slope)."""
    return _pull("leaky_relu", dy, y, slope, out)


def tanh(x: Array, out: Array | None = None) -> Array:
    """The hyperbolic tangent."""
    return _apply("tanh", x, out=out)


def tanh_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """tanh' = 1 - tanh^2."""
    return _pull("tanh", dy, y, out=out)


def tanh_tangent(dy: Array, ddy: Array, y: Array, ty: Array) -> Array:
    """The derivative of tanh_backward(dy, y) along (ddy, ty)."""
    return _move("tanh", dy, ddy, y, ty)


def sigmoid(x: Array, out: Array | None = None) -> Array:
    """1/(1 + e^-x), computed from e^-|x| so that nothing overflows."""
    return _apply("sigmoid", x, out=out)


def sigmoid_backward(dy: Array, y: Array, out: Array | None = None) -> Array:
    """sigmoid' = sigmoid * (1 - sigmoid)."""
    return _pull("sigmoid", dy, y, out=out)


def sigmoid_tangent(dy: Array, ddy: Array, y: Array, ty: Array) -> Array:
    """The derivative of sigmoid_backward(dy, y) along (ddy, ty)."""
    return _move("sigmoid", dy, ddy, y, ty)


def silu(x: Array) -> Array:
    """x * sigmoid(x)."""
    return _apply("silu", x)


def silu_backward(dy: Array, x: Array) -> Array:
    """With s = sigmoid(x): silu' = s + x s (1 - s)."""
    return _pull("silu", dy, x)


def silu_tangent(dy: Array, ddy: Array, x: Array, tx: Array) -> Array:
    """The derivative of silu_backward(dy, x) along (ddy, tx)."""
    return _move("silu", dy, ddy, x, tx)


def add_bias(y: Array, bias: Array) -> Array:
    """y + bias along the last axis. May write into y."""
    return biased_activation(y, bias, "leaky_relu", 1.0)  # of slope 1, which changes nothing


def biased_activation(z: Array, bias: Array, kind: str, slope: float) -> Array:
    """f(z + bias), f by its name. May write into z."""
    z = contiguous(z)
    if bias.shape != z.shape[-1:]:
        raise ValueError(f"a bias of shape {bias.shape} does not fit {z.shape[-1]} channels")
    _biased(z.size, z, contiguous(bias), z.shape[-1], KINDS[kind], slope)
    return z


def biased_activation_backward(
    dy: Array, y: Array, kind: str, slope: float, out: Array | None = None
) -> tuple[Array, Array]:
    """(dz = dy * f'(z) from y = f(z), dbias = the sum of dz over all axes but the last)."""
    (dy, y), C = alike(dy, y), dy.shape[-1]
    M, width = dy.size // C, -(-C // 32)
    rows, number = chunks(M, 1, width)
    partial = cupy.empty((1, number, C), dy.dtype)
    dz = room(dy, out)
    grid, threads = (width, number), (32, 8)
    _biased_backward.blocks(grid, threads, dy, y, dz, partial, M, C, rows, KINDS[kind], slope)
    return into(dz, out), combine(partial).reshape(C)


def multiply(a: Array, b: Array) -> Array:
    """Elementwise product of arrays of one shape."""
    a, b = alike(a, b)
    y = cupy.empty_like(a)
    _multiply(y.size, a, b, y)
    return y


def scaled_mask(x: Array, key: Any, rate: float) -> Array:
    """1/(1 - rate) where key.keep_mask(x.shape, rate) says so, else 0, drawn on the device."""
    scaled = cupy.empty(x.shape, x.dtype)
    words, least = key.words(), round(rate * (1 << 16))
    step = key.step % (1 << 64)
    _dropout(-(-x.size // 16), scaled, x.size, *words, step, least, 1 / (1 - rate))
    return scaled


def adam(
    p: Array, g: Array, m: Array, v: Array, rate: float, betas: tuple[float, float],
    root: float, epsilon: float,
) -> None:  # fmt: skip
    """In place: m, v <- moments of g;  p -= rate * m / (sqrt(v)*root + epsilon)."""
    _adam(p.size, p, contiguous(g), m, v, rate, 1 - betas[0], 1 - betas[1], root, epsilon)
