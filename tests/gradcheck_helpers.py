"""A right layer, wrong ones made of it, and what the gradient checker says of them."""

from __future__ import annotations

import minigan as mg
from minigan.layers.base import Cache


class Own(mg.Layer):
    """A right layer: y = x^2 * w, w a parameter of one number a channel. Subclasses break it."""

    def setup(self, input_shape, key):
        self.add("w", (input_shape[-1],), "ones", key, (1, 1))
        return input_shape

    def compute(self, x, training, rng, keep):
        return x * x * self.params["w"], Cache(x if keep else None)

    def pullback(self, dy, saved, to_input, to_params):
        x = saved
        dx = 2 * x * self.params["w"] * dy if to_input else None
        axes = tuple(range(dy.ndim - 1))
        return dx, {"w": (x * x * dy).sum(axis=axes)} if to_params else {}


def failing(layer, shape=(3, 2), **options):
    report = mg.check_gradients(layer, shape, **options)
    assert not report.ok, str(report)
    assert report.failures and all(row.verdict == "FAIL" for row in report.failures)
    return report


def notes(report):
    return " | ".join(f"{row.quantity}: {row.note}" for row in report.failures)


def changed(**what):
    """Own with dx or dw replaced by a function of the right one (and of x)."""

    class Wrong(Own):
        def pullback(self, dy, saved, to_input, to_params):
            dx, grads = super().pullback(dy, saved, to_input, to_params)
            if to_input and "dx" in what:
                dx = what["dx"](dx, saved)
            if to_params and "dw" in what:
                grads = {"w": what["dw"](grads["w"])}
            return dx, grads

    return Wrong()
