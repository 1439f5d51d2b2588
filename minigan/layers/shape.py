"""Layers that only rename axes: their backward is the renaming undone."""

from __future__ import annotations

import math

from .arguments import positive, show_shape
from .base import Cache, Fixed
from .configuration import register


class Renaming(Fixed):
    """Base: y is x in another shape, dx is dy in x's shape."""

    def compute(self, x, training, rng, keep):
        return x.reshape(len(x), *self.output_shape), Cache(True if keep else None)

    def pullback(self, dy, saved, to_input, to_params):
        return (dy.reshape(len(dy), *self.input_shape) if to_input else None), {}

    def pushforward(self, tx, saved):
        return tx.reshape(len(tx), *self.output_shape), None


@register
class Flatten(Renaming):
    """(N, ...) -> (N, product of the rest), in row-major order.

    dx is dy in x's shape.

        >>> mg.Flatten().build((7, 7, 64))
        (3136,)
    """

    def setup(self, input_shape, key):
        return (math.prod(input_shape),)


@register
class Reshape(Renaming):
    """(N, ...) -> (N, *target_shape), in row-major order; one side may be -1.

    target_shape: without the batch axis; a side of -1 takes what the others leave.
    Raises ValueError for a second -1 and for other sides below 1; build, where the values of a
    sample do not fill it.

        >>> mg.Reshape((7, 7, -1)).build(3136)
        (7, 7, 64)
    """

    arguments = ("target_shape",)

    def __init__(self, target_shape: tuple[int, ...]) -> None:
        super().__init__()
        sides = (target_shape,) if isinstance(target_shape, int) else tuple(target_shape)
        if sum(side == -1 for side in sides) > 1:
            raise ValueError(f"Reshape: target_shape={sides} has more than one -1")
        self.target_shape = tuple(
            -1 if side == -1 else positive(side, "target_shape", "Reshape") for side in sides
        )

    def setup(self, input_shape, key):
        total = math.prod(input_shape)
        known = math.prod(side for side in self.target_shape if side != -1)
        target = tuple(total // known if side == -1 else side for side in self.target_shape)
        if math.prod(target) != total:
            raise ValueError(
                f"{self.name}: {show_shape(input_shape)} has {total} values a sample, "
                f"which do not fill {show_shape(self.target_shape)}"
            )
        return target
