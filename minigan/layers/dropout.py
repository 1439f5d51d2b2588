"""Dropout."""

from __future__ import annotations

from .. import random
from ..kernels import ops
from .base import Cache, Fixed
from .configuration import register


@register
class Dropout(Fixed):
    """In training, y = x * mask / (1 - rate), each mask element 1 with probability 1 - rate.

    Any shape.  Raises ValueError for a rate that is not in [0, 1).
    Srivastava et al. (2014), in the inverted form: the mean of y is x, so inference is y = x.
    The mask is a function of forward's `rng`: the same key gives the same mask.

    Derivation.  y is linear in x with the mask fixed: dx = dy * mask / (1 - rate), and
    tangents pass through the same mask.
    """

    arguments = ("rate",)
    fresh_dx = True

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"Dropout: rate={rate} should be at least 0 and less than 1")
        self.rate = float(rate)

    def setup(self, input_shape, key):
        return input_shape

    def compute(self, x, training, rng, keep):
        if not training or self.rate == 0:
            return x, Cache((None,) if keep else None)
        scaled = ops(x).scaled_mask(x, random.as_key(rng, "dropout"), self.rate)
        return ops(x).multiply(x, scaled), Cache((scaled,) if keep else None)

    def pullback(self, dy, saved, to_input, to_params):
        (scaled,) = saved
        if not to_input or scaled is None:
            return (dy if to_input else None), {}
        return ops(dy).multiply(dy, scaled), {}

    def pushforward(self, tx, saved):
        (scaled,) = saved
        return (tx if scaled is None else ops(tx).multiply(tx, scaled)), None
