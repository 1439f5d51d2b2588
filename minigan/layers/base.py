"""The layer contract: pure passes, explicit caches.

A layer owns its parameters and its running state, and nothing of a call.  What backward needs is
returned by forward and given back to backward, so no call can read another call's values:

    y, cache  = layer.forward(x)
    dx, grads = layer.backward(dy, cache)

Subclasses write three methods: `setup` (shapes and parameters), `compute` (forward) and `pullback`
(backward); `commit` if they have running state; and list their constructor's `arguments`.  The base
class checks what goes in.
"""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from .. import initializers, random
from ..backend import DTYPES, check_dtype
from ..random import Key
from ..spelling import Spelling, did_you_mean

if TYPE_CHECKING:
    from typing_extensions import Self

Array = Any
Shape = tuple[int, ...]

WRT = ("both", "input", "params")


class Cache(NamedTuple):
    """What a forward pass leaves: `saved` for backward (None if not kept), `state` for commit."""

    saved: Any
    state: Any = None
    batch: int | None = None  # samples in y
    layer: Any = None  # whose forward pass it was


class Layer(metaclass=Spelling):
    """Base of all layers. Shapes are without the batch axis; arrays are NHWC."""

    arguments: ClassVar[tuple[str, ...]] = ()
    owns_output: ClassVar[bool] = False  # forward's result is new, and backward does not read it

    def __init__(self) -> None:
        self.name = snake_case(type(self).__name__)
        self.params: Any = {}  # name -> array; of networks a FlatDict
        self.state: Any = {}
        self.input_shape: Any = None
        self.output_shape: Any = None
        self.dtype = np.dtype("float32")

    # what a subclass writes

    def setup(self, input_shape: Any, key: Key) -> Any:
        """Create parameters and state for this input shape; return the output shape."""
        raise TypeError(f"{type(self).__name__} does not define setup()")

    def compute(self, x: Any, training: bool, rng: Any, keep: bool) -> tuple[Array, Cache]:
        """The forward pass. With keep=False the cache's `saved` must be None."""
        raise TypeError(f"{type(self).__name__} does not define compute()")

    def pullback(
        self, dy: Array, saved: Any, to_input: bool, to_params: bool
    ) -> tuple[Any, dict[str, Array]]:
        """The backward pass: (dx or None, gradients or {}), computing only what is asked for."""
        raise TypeError(f"{type(self).__name__} does not define pullback()")

    def commit(self, cache: Cache) -> None:
        """Move the running state to what this forward pass found."""

    # what a caller uses

    def build(self, input_shape: Any, dtype: Any = "float32", key: Key | None = None) -> Any:
        """Create the parameters for inputs of this shape (no batch axis); return the output shape.

        key: names the draw of the initial weights (default: a new one under the seed of mg.seed).
        """
        self.dtype = check_dtype(dtype)
        self.input_shape = as_shape(input_shape)
        self.params, self.state = {}, {}
        if key is None:
            key = random.as_key(None, "weights").child(self.name)
        self.output_shape = self.setup(self.input_shape, key)
        return self.output_shape

    def forward(
        self, x: Any, training: bool = True, rng: Any = None, keep: bool = True
    ) -> tuple[Array, Cache]:
        """y and the cache that backward needs. Pure: neither x nor the layer changes.

        keep=False saves nothing for backward.  rng: a minigan Key, an int or a NumPy Generator for
        the layers that draw (Dropout); None draws anew at each call.
        """
        x = self.check_input(x)
        y, cache = self.compute(x, training, rng, keep)
        return y, cache._replace(batch=len(y), layer=self)

    def backward(self, dy: Array, cache: Cache, wrt: str = "both") -> tuple[Any, Any]:
        """(dx, gradients), from dy = dLoss/dy and forward's cache. Pure.

        wrt="input" gives (dx, None) and wrt="params" (None, gradients), and computes no more.
        """
        if wrt not in WRT:
            raise ValueError(f"wrt={wrt!r} should be one of {', '.join(map(repr, WRT))}")
        if not isinstance(cache, Cache) or cache.saved is None:
            raise ValueError(
                f"{self.name}: backward needs the cache that forward returned; this one holds "
                "nothing (was forward called with keep=False?)"
            )
        if cache.layer is not self:
            raise ValueError(
                f"{self.name}: this cache is of a forward pass of {cache.layer.name}, or of a copy "
                "of this layer; give backward the cache of its own forward"
            )
        self.check_gradient(dy, cache.batch)
        dx, grads = self.pullback(dy, cache.saved, wrt != "params", wrt != "input")
        return (None if wrt == "params" else dx), (None if wrt == "input" else grads)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments as JSON."""
        return {name: describe(getattr(self, name)) for name in self.arguments}

    def count_params(self) -> tuple[int, int]:
        """(trainable, non-trainable) numbers."""
        return (
            sum(int(a.size) for a in self.params.values()),
            sum(int(a.size) for a in self.state.values()),
        )

    def astype(self, dtype: Any) -> Self:
        """A copy whose parameters and state have this dtype (float32, float64 or complex128)."""
        dtype = check_dtype(dtype)
        other = copy.copy(self)
        other.dtype = dtype
        other.params = {name: cast(a, dtype) for name, a in self.params.items()}
        other.state = {name: cast(a, dtype) for name, a in self.state.items()}
        return other

    @property
    def trainable(self) -> bool:
        """Always True: freezing is a matter of the call, not of the layer."""
        return True

    @trainable.setter
    def trainable(self, value: bool) -> None:
        raise AttributeError(
            f"{self.name}: layers have no trainable switch; to freeze one, call "
            'backward(dy, cache, wrt="input") and give its parameters to no optimizer'
        )

    def null_gradients(self) -> set[str]:
        """Names of parameters whose gradient is truly zero in training (the checker asserts it)."""
        return set()

    # helpers for subclasses

    def add(
        self, name: str, shape: Shape, initializer: Any, key: Key, fans: tuple[int, int]
    ) -> None:
        """Create a trainable parameter."""
        self.params[name] = initializers.get(initializer)(shape, self.dtype, key.child(name), fans)

    def check_input(self, x: Any) -> Any:
        """x, after its shape and dtype have been checked; a real x becomes complex if it must."""
        self.check_built()
        return check_array(self.name, x, self.input_shape, self.dtype)

    def check_built(self) -> None:
        """ValueError when the layer has not been built."""
        if self.output_shape is None:
            raise ValueError(
                f"{self.name}: not built yet; call build(input_shape) with the shape of one sample"
            )

    def check_gradient(self, dy: Any, batch: int | None) -> None:
        """ValueError or TypeError when dy cannot be the gradient of the output of this forward."""
        output = (batch, *self.output_shape)
        if getattr(dy, "shape", None) != output:
            raise ValueError(
                f"{self.name}: dy has shape {getattr(dy, 'shape', None)}, but the output of this "
                f"cache's forward was {output}; dy is the gradient of that output"
            )
        if dy.dtype != self.dtype:
            raise TypeError(
                f"{self.name}: dy is {dy.dtype}, the layer {self.dtype}; "
                f"convert it with .astype({self.dtype.name!r})"
            )


_registry: dict[str, type[Layer]] = {}


def register(cls: type[Layer]) -> type[Layer]:
    """Class decorator: lets save, load and from_config find the layer by its name."""
    _registry[cls.__name__] = cls
    return cls


def to_config(layer: Layer) -> dict[str, Any]:
    """The layer as JSON: {"class": name, "config": constructor arguments}."""
    name = type(layer).__name__
    if _registry.get(name) is not type(layer):
        raise TypeError(f"{name} is not registered: put @mg.register above the class")
    return {"class": name, "config": layer.config()}


def from_config(spec: Any) -> Layer:
    """The unbuilt layer that `to_config` described."""
    if not isinstance(spec, dict) or not isinstance(spec.get("config"), dict):
        raise ValueError(f"a layer's description has 'class' and 'config', got {spec!r:.80}")
    name = spec.get("class")
    if name not in _registry:
        raise ValueError(
            f"layer class {name!r} is unknown{did_you_mean(str(name), list(_registry))}; "
            "register your own layers with @mg.register before loading"
        )
    return _registry[name](**spec["config"])


def describe(value: Any) -> Any:
    """A constructor argument as JSON."""
    if isinstance(value, initializers.Initializer):
        return initializers.describe(value)
    if isinstance(value, Layer):
        return to_config(value)
    if isinstance(value, (list, tuple)):
        return [describe(v) for v in value]
    return value


def cast(array: Array, dtype: np.dtype) -> Array:
    """A copy in another dtype; from complex to real the real part."""
    if array.dtype.kind == "c" and dtype.kind != "c":
        array = array.real
    return array.astype(dtype)


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


def snake_case(name: str) -> str:
    """Conv2DTranspose -> conv2d_transpose, BatchNorm -> batch_normalization (Keras's names)."""
    special = {"BatchNorm": "batch_normalization", "ReLU": "re_lu", "LeakyReLU": "leaky_re_lu"}
    if name in special:
        return special[name]
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
