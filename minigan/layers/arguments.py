"""What users hand to a layer: its shapes, its arrays, its constructor's numbers; checked here."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np

from ..backend import DTYPES

Array = Any
Shape = tuple[int, ...]


def as_shape(shape: Any) -> Any:
    """A shape without the batch axis; a number means one axis, and a tuple of shapes stays one."""
    if isinstance(shape, (int, np.integer)):
        shape = (shape,)
    if any(isinstance(side, (tuple, list)) for side in shape):
        return tuple(as_shape(s) for s in shape)
    if any(not isinstance(side, (int, np.integer)) or side < 1 for side in shape):
        raise ValueError(
            f"input_shape {tuple(shape)} should be whole numbers, one for each axis of a sample "
            "(without the batch axis)"
        )
    return tuple(int(side) for side in shape)


def show_shape(shape: Any) -> str:
    """A shape with its batch axis, as error messages and tables show it: (None, 28, 28, 1)."""
    if shape and isinstance(shape[0], tuple):
        return ", ".join(show_shape(s) for s in shape)
    return f"({', '.join(['None', *map(str, shape)])}{'' if shape else ','})"


def check_array(name: str, x: Any, shape: Shape, dtype: np.dtype) -> Any:
    """x if it has this shape behind its batch axis, and this dtype."""
    if not hasattr(x, "dtype") or not hasattr(x, "shape"):
        raise TypeError(f"{name}: the input is a {type(x).__name__}; give an array (np.asarray)")
    if x.ndim < 1 or x.shape[1:] != shape:
        raise ValueError(
            f"{name}: expected an input of shape {show_shape(shape)}, got {x.shape}"
            + _shape_advice(x.shape, shape)
        )
    if len(x) == 0:
        raise ValueError(f"{name}: the batch is empty (shape {x.shape})")
    if x.dtype != dtype:
        if dtype.kind == "c" and x.dtype.kind == "f":
            return x.astype(dtype)
        other = f", or build(..., dtype={x.dtype.name!r})" if x.dtype.name in DTYPES else ""
        raise TypeError(
            f"{name}: the input is {x.dtype}, the layer {dtype}; convert it with "
            f"x.astype({dtype.name!r}){other}"
        )
    return x


def check_alike(
    name: str, what: str, a: Any, shape: Shape, dtype: np.dtype, role: str, side: str
) -> None:
    """ValueError or TypeError when `a` has not the shape and dtype of a pass's input or output."""
    if getattr(a, "shape", None) != shape:
        found = a.shape if hasattr(a, "shape") else f"{type(a).__name__}, no shape"
        raise ValueError(
            f"{name}: {what} has shape {found}, but the {side} of this cache's forward was "
            f"{shape}; {what} is {role} that {side}"
        )
    if a.dtype != dtype:
        raise TypeError(
            f"{name}: {what} is {a.dtype}, the layer {dtype}; "
            f"convert it with .astype({dtype.name!r})"
        )


def _shape_advice(got: Shape, shape: Shape) -> str:
    if got == shape:
        return "; the batch axis is missing: x[None] is a batch of one"
    if len(got) == 4 and len(shape) == 3 and (got[2], got[3], got[1]) == shape:
        return "; channels come last here: x.transpose(0, 2, 3, 1)"
    return "; build the layer for another shape, or reshape the input"


def pair(value: Any, what: str, where: str) -> tuple[int, int]:
    """(v, v) from a whole number, or the pair itself; ValueError unless both are 1 or more."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2 or any(not isinstance(v, (int, np.integer)) or v < 1 for v in values):
        raise ValueError(f"{where}: {what}={value!r} should be a whole number of 1 or more, or two")
    return int(values[0]), int(values[1])


def positive(value: Any, what: str, where: str) -> int:
    """The value if it is a whole number of 1 or more."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{where}: {what}={value!r} should be a whole number of 1 or more")
    return int(value)


def one_of(value: Any, known: tuple[str, ...], what: str, where: str) -> str:
    """The value if it is one of the known names."""
    if value not in known:
        raise ValueError(
            f"{where}: {what}={value!r} is unknown; choose one of {', '.join(map(repr, known))}"
        )
    return value


def is_number(value: Any) -> bool:
    """Whether the value is a real number, and no boolean."""
    return isinstance(value, Real) and not isinstance(value, bool)


def bound(value: Any, what: str, where: str) -> float | None:
    """The value if it is None or a positive, finite number."""
    if value is not None and not (is_number(value) and 0 < value < math.inf):
        raise ValueError(f"{where}: {what}={value!r} should be a positive number, or None")
    return value
