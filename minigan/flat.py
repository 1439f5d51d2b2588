"""Dictionaries of arrays that are views into one vector.

A network's parameters, its gradients and Adam's moments have the same keys and shapes.  Laid out
side by side in one vector each, an update, an average or a check of the whole network is one pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .backend import home, move
from .kernels import ops

Array = Any


class Views(dict):
    """name -> array, each a view into memory that others see too: assignment writes into it."""

    def __setitem__(self, name: str, value: Any) -> None:
        """Copy the value into the array of this name; KeyError or ValueError if it does not fit."""
        if name not in self:
            raise KeyError(f"no array {name!r} here; there are {', '.join(self)}")
        if np.shape(value) != self[name].shape:
            raise ValueError(f"{name} has shape {self[name].shape}, got {np.shape(value)}")
        write(self[name], value)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Assign every entry."""
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    def __ior__(self, other: Any) -> Any:  # type: ignore[misc]  # writes, makes no dict
        self.update(other)
        return self

    def __reduce__(self) -> Any:
        return Views, (dict(self),)


class FlatDict(Views):
    """name -> array, each array a view into the vector `flat`, in the order of the keys."""

    flat: Array

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], flat: Array) -> None:
        """Lay out arrays of these shapes in the vector `flat`."""
        super().__init__()
        self.flat = flat
        start = 0
        for name, shape in shapes.items():
            size = int(np.prod(shape, dtype=np.int64))
            dict.__setitem__(self, name, flat[start : start + size].reshape(shape))
            start += size

    def __reduce__(self) -> Any:
        return FlatDict, ({name: a.shape for name, a in self.items()}, self.flat)

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> FlatDict:
        """A copy of the arrays in one new vector."""
        return cls.laid_out_as(arrays).fill(arrays)

    @classmethod
    def laid_out_as(cls, arrays: Mapping[str, Array], zeros: bool = False) -> FlatDict:
        """New arrays of the same names, shapes, dtype and home."""
        shapes = {name: a.shape for name, a in arrays.items()}
        size = sum(a.size for a in arrays.values())
        like = next(iter(arrays.values()), np.empty(0, np.float32))
        new = np.zeros_like(like, shape=(size,)) if zeros else ops(like).empty_like(like, (size,))
        return cls(shapes, new)

    def fill(self, arrays: Mapping[str, Array]) -> FlatDict:
        """Copy the arrays of the same names into this one's."""
        for name, array in arrays.items():
            write(self[name], array)
        return self


def write(target: Array, value: Any) -> None:
    """target[...] = value, wherever the two live."""
    target[...] = move(value, home(target)) if hasattr(value, "dtype") else value
