"""How parameters start: each initializer draws an array of a shape from a named stream.

fan_in and fan_out are the numbers of inputs and outputs that a weight connects: for a kernel
(..., in, out) they are in and out, each times the number of taps.  They are read off the kernel as
it is stored, which for transposed convolutions is (..., out, in): so do Keras and PyTorch.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np

from . import registry
from .backend import asarray
from .random import Key
from .spelling import Spelling


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out) of a kernel of this shape."""
    if len(shape) < 2:
        return shape[0], shape[0]
    taps = math.prod(shape[:-2])
    return shape[-2] * taps, shape[-1] * taps


class Initializer(metaclass=Spelling):
    """Draws the first value of a parameter."""

    def __call__(self, shape: tuple[int, ...], dtype: Any, key: Key, fans: tuple[int, int]) -> Any:
        """An array of this shape and dtype, drawn on the host, at home where new arrays are.

        key: names the draw.  fans: (fan_in, fan_out).
        """
        drawn = self.draw(shape, key.generator(), *fans)
        return asarray(drawn.astype(dtype))

    def draw(
        self, shape: tuple[int, ...], rng: np.random.Generator, fan_in: int, fan_out: int
    ) -> np.ndarray:
        """The values (shape) in float64, from the numbers of rng.

        fan_in, fan_out: see the top of this file.  Raises TypeError where a subclass does not
        define it.
        """
        raise TypeError(f"{type(self).__name__} does not define draw()")

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return dict(vars(self))


class Zeros(Initializer):
    """All zero."""

    def draw(self, shape, rng, fan_in, fan_out):
        return np.zeros(shape)


class Ones(Initializer):
    """All one."""

    def draw(self, shape, rng, fan_in, fan_out):
        return np.ones(shape)


class RandomNormal(Initializer):
    """N(mean, stddev^2)."""

    def __init__(self, *, mean: float = 0.0, stddev: float = 0.02) -> None:
        self.mean, self.stddev = mean, stddev

    def draw(self, shape, rng, fan_in, fan_out):
        return rng.normal(self.mean, self.stddev, shape)


class RandomUniform(Initializer):
    """U(low, high). Keras starts its Embedding so, with 0.05."""

    def __init__(self, *, low: float = -0.05, high: float = 0.05) -> None:
        self.low, self.high = low, high

    def draw(self, shape, rng, fan_in, fan_out):
        return rng.uniform(self.low, self.high, shape)


class GlorotUniform(Initializer):
    """U(-a, a), a = sqrt(6/(fan_in + fan_out)). Glorot and Bengio (2010), equation 16."""

    def draw(self, shape, rng, fan_in, fan_out):
        limit = math.sqrt(6 / (fan_in + fan_out))
        return rng.uniform(-limit, limit, shape)


class GlorotNormal(Initializer):
    """N(0, 2/(fan_in + fan_out)), the variance. Glorot and Bengio (2010), equation 12."""

    def draw(self, shape, rng, fan_in, fan_out):
        return rng.normal(0, math.sqrt(2 / (fan_in + fan_out)), shape)


class VarianceScaling(Initializer):
    """N(0, scale/fan_in): with scale=1 a linear layer keeps the variance, scale=2 is HeNormal.

    LeCun et al. (1998, "Efficient BackProp"), section 4.6; He et al. (2015), equation 10.
    Raises ValueError for a scale that is not positive and finite.
    """

    scale: float

    def __init__(self, *, scale: float = 1.0) -> None:
        if not (isinstance(scale, Real) and 0 < scale < math.inf):
            raise ValueError(f"VarianceScaling: scale={scale!r} should be positive and finite")
        self.scale = float(scale)

    def draw(self, shape, rng, fan_in, fan_out):
        return rng.normal(0, math.sqrt(self.scale / fan_in), shape)


class HeNormal(Initializer):
    """N(0, 2/fan_in). He et al. (2015), equation 10."""

    def draw(self, shape, rng, fan_in, fan_out):
        return rng.normal(0, math.sqrt(2 / fan_in), shape)


class HeUniform(Initializer):
    """U(-a, a), a = sqrt(6/fan_in): the variance of HeNormal. He et al. (2015), equation 10."""

    def draw(self, shape, rng, fan_in, fan_out):
        limit = math.sqrt(6 / fan_in)
        return rng.uniform(-limit, limit, shape)


class TorchUniform(Initializer):
    """U(-a, a), a = 1/sqrt(fan_in): PyTorch's start of weights and biases alike."""

    def draw(self, shape, rng, fan_in, fan_out):
        limit = 1 / math.sqrt(fan_in)
        return rng.uniform(-limit, limit, shape)


NAMES: dict[str, type[Initializer]] = {
    "zeros": Zeros,
    "ones": Ones,
    "random_normal": RandomNormal,
    "random_uniform": RandomUniform,
    "glorot_uniform": GlorotUniform,
    "glorot_normal": GlorotNormal,
    "variance_scaling": VarianceScaling,
    "he_normal": HeNormal,
    "he_uniform": HeUniform,
    "torch_uniform": TorchUniform,
}


def get(spec: Any) -> Initializer:
    """An initializer from an initializer, a name, or what `describe` gave.

    Raises ValueError for other names.
    """
    if isinstance(spec, Initializer):
        return spec
    if isinstance(spec, type) and issubclass(spec, Initializer):
        return spec()
    if isinstance(spec, dict):
        return registry.find("initializer", NAMES, spec.get("name"))(**spec.get("config", {}))
    return registry.find("initializer", NAMES, spec)()


def describe(initializer: Initializer) -> dict[str, Any]:
    """The initializer as JSON."""
    name = registry.name_of("initializer", NAMES, initializer)
    return {"name": name, "config": initializer.config()}
