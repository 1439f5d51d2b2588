"""Embedding: a row of a table for each whole number."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import home
from ..initializers import get
from ..kernels import ops
from .arguments import positive, show_shape
from .base import Cache, Fixed
from .configuration import register


def check_range(name: str, labels: Any, classes: int) -> None:
    """ValueError for labels that name no class. Those on a GPU are not looked at: it would wait."""
    if isinstance(labels, np.ndarray) and labels.size:
        low, high = labels.min(), labels.max()
        if low < 0 or high >= classes:
            raise ValueError(f"{name}: labels run from 0 to {classes - 1}, got {low} to {high}")


@register
class Embedding(Fixed):
    """y = table[x] for whole numbers x from 0 to classes-1: (N, ...) -> (N, ..., units).

    Built with input_shape () for one label a sample.  classes: rows of the table, units: columns.
    embeddings_initializer: an Initializer, its name or its config.

    Derivation.  With the one-hot matrix E[n,k] = 1 if x[n] = k, y = E @ table, a product that is
    linear in the table: dtable = E^T @ dy.  Whole numbers have no gradient: dx is None.
    They do not move either: tx is None, ty = 0, and backward moves along ddy to backward(ddy).

    Raises ValueError for classes or units below 1; forward, TypeError for what are no whole numbers
    and ValueError for those outside of 0 to classes-1 (on a GPU they are not looked at); tangent,
    ValueError for a tx.

        >>> mg.Embedding(10, 50).build(())
        (50,)
    """

    arguments = ("classes", "units", "embeddings_initializer")

    def __init__(
        self, classes: int, units: int, *, embeddings_initializer: Any = "random_uniform"
    ) -> None:
        super().__init__()
        self.classes = positive(classes, "classes", "Embedding")
        self.units = positive(units, "units", "Embedding")
        self.embeddings_initializer = get(embeddings_initializer)

    def setup(self, input_shape, key):
        shape = (self.classes, self.units)
        self.add("embeddings", shape, self.embeddings_initializer, key, shape)
        return (*input_shape, self.units)

    def check_input(self, x):
        self.check_built()
        kind = getattr(getattr(x, "dtype", None), "kind", None)
        if kind not in ("i", "u"):
            raise TypeError(
                f"{self.name}: labels are whole numbers, got {getattr(x, 'dtype', type(x))}"
            )
        if x.ndim < 1 or x.shape[1:] != self.input_shape:
            raise ValueError(
                f"{self.name}: expected labels of shape {show_shape(self.input_shape)}, "
                f"got {x.shape}"
            )
        check_range(self.name, x, self.classes)
        return x

    def compute(self, x, training, rng, keep):
        return self.params["embeddings"][x], Cache(x if keep else None)

    def pullback(self, dy, saved, to_input, to_params):
        if not to_params:
            return None, {}
        one_hot = saved.reshape(-1, 1) == home(dy).arange(self.classes)  # (M, classes)
        rows = dy.reshape(-1, self.units)  # (M, units)
        return None, {"embeddings": ops(dy).matmul(one_hot.T.astype(dy.dtype), rows)}

    def check_tangent(self, tx, batch):
        if tx is not None:
            raise ValueError(f"{self.name}: labels cannot move; their tangent is None")
        return None

    def pushforward(self, tx, saved):
        return self.params["embeddings"][saved] * 0, None
