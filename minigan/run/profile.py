"""Where a step's time goes: each stage of both networks, each pass, its time and its products."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..gan import GAN
from ..layers.base import Layer
from ..layers.conv import Convolution
from ..layers.linear import Linear
from ..layers.stage import Wrapped
from ..layers.upsampled import UpsampledConv
from ..penalties import images_of
from .patches import Method, Patches, backward_passes

FORWARD, BACKWARD, UPDATE = "forward", "backward", "update"


@dataclass
class Spent:
    """The calls of one pass of one stage."""

    calls: int = 0
    seconds: float = 0.0
    flops: float = 0.0


class Profile:
    """Times the steps of a GAN inside a with block, stage by stage.

    rows: {(network, stage, pass): Spent}.  Stages of models inside models count as one.
    """

    def __init__(self, gan: GAN) -> None:
        self.gan = gan
        self.rows: dict[tuple[str, str, str], Spent] = {}
        self._patches = Patches()

    def __enter__(self) -> Profile:
        for network, model in (("G", self.gan.generator), ("D", self.gan.D)):
            for name, stage in model._stages:
                self._watch(stage, "compute", (network, name, FORWARD))
                for method in backward_passes(stage):
                    self._watch(stage, method, (network, name, BACKWARD))
        self._watch(self.gan, "update_d", ("D", "optimizer", UPDATE))
        self._watch(self.gan, "update_g", ("G", "optimizer", UPDATE))
        return self

    def __exit__(self, *exception: Any) -> None:
        self._patches.__exit__(*exception)

    def _watch(self, owner: Any, method: str, row: tuple[str, str, str]) -> None:
        spent = self.rows.setdefault(row, Spent())

        def around(inner: Method) -> Method:
            def timed(*args: Any) -> Any:
                start = time.perf_counter()
                result = inner(*args)
                spent.seconds += time.perf_counter() - start
                spent.calls += 1
                spent.flops += flops(owner, method, args)
                return result

            return timed

        self._patches.wrap(owner, method, around)

    def table(self) -> str:
        """The rows as text, the longest first."""
        total = sum(row.seconds for row in self.rows.values())
        lines = [f"{'stage':<34}{'pass':<10}{'calls':>6}{'ms':>9}{'share':>8}{'GFLOP/s':>10}"]
        for (network, name, what), row in sorted(
            self.rows.items(), key=lambda item: -item[1].seconds
        ):
            if row.seconds:
                rate = row.flops / row.seconds / 1e9
                lines.append(
                    f"{network + ' ' + name:<34}{what:<10}{row.calls:>6}{row.seconds * 1e3:>9.1f}"
                    f"{row.seconds / total:>8.1%}{rate:>10.0f}"
                )
        return "\n".join(lines)


def flops(owner: Any, method: str, args: tuple[Any, ...]) -> float:
    """Operations of the textbook products in a call of compute or pullback: 2 a multiply-add."""
    if not isinstance(owner, Layer):
        return 0.0
    products = 1 if method == "compute" else int(args[2]) + int(args[3])  # dx, dkernel
    return 2.0 * len(images_of(args[0])) * multiply_adds(owner) * products


def multiply_adds(layer: Any) -> int:
    """Of one sample's product."""
    if isinstance(layer, Wrapped):
        return multiply_adds(layer.layer)
    if isinstance(layer, UpsampledConv):
        return multiply_adds(layer.conv)
    if isinstance(layer, Convolution):
        rows, cols = layer.geometry
        return rows.out * cols.out * int(np.prod(layer.kernel.shape))
    if isinstance(layer, Linear):
        positions = int(np.prod(layer.input_shape[:-1]))
        return positions * layer.params["kernel"].size
    return sum(multiply_adds(inner) for inner in getattr(layer, "layers", ()))
