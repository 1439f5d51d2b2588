"""The layer contract: pure passes, explicit caches.

A layer owns its parameters and its running state, and nothing of a call.  What backward needs is
returned by forward and given back to backward, so no call can read another call's values:

    y, cache  = layer.forward(x)
    dx, grads = layer.backward(dy, cache)

Subclasses write three methods: `setup` (shapes and parameters), `compute` (forward) and `pullback`
(backward); `commit` if they have running state; and list their constructor's `arguments`.  The base
class checks what goes in.

Second order.  Let the input move along tx, and dy along ddy.  Forward and backward then move along

    ty          = layer.tangent(tx, cache)                     d forward(x + h tx)/dh
    ddx, dgrads = layer.backward_tangent(dy, ddy, tx, cache)   d backward(x + h tx, dy + h ddy)/dh

both at h = 0: the product rule, applied once to each pass (Pearlmutter, 1994).  For this a subclass
writes `pushforward` and `pullback_tangent`.  A gradient penalty needs nothing else: see
minigan/penalties.py.
"""

from __future__ import annotations

import copy
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from .. import initializers, random
from ..backend import check_dtype, home, module_named, move, on_gpu, xp
from ..random import Key
from ..spelling import Spelling
from .arguments import Array, Shape, as_shape, check_alike, check_array
from .configuration import snake_case, to_config

if TYPE_CHECKING:
    from typing_extensions import Self

WRT = ("both", "input", "params")


class Cache(NamedTuple):
    """What a forward pass leaves: `saved` for backward (None if not kept), `state` for commit.

    batch and layer tell a later pass what it must be given with it: how many samples y has, and
    whose forward pass it was.
    """

    saved: Any
    state: Any = None
    batch: int | None = None  # samples in y
    layer: Any = None  # whose forward pass it was


class First(NamedTuple):
    """What `input_gradient` leaves of a first backward pass, for `backward_tangent`."""

    kept: Any
    cache: Cache


class Layer(metaclass=Spelling):
    """Base of all layers. Shapes are without the batch axis; arrays are NHWC.

    Built for an input shape, it takes arrays of this shape with a batch axis, and of its dtype.
    """

    arguments: ClassVar[tuple[str, ...]] = ()
    owns_output: ClassVar[bool] = False  # forward's result is new, and backward does not read it
    fresh_dx: ClassVar[bool] = False  # pullback's dx is new and nobody else's, or else dy itself
    second_order: ClassVar[tuple[str, ...]] = ("pushforward", "pullback_tangent")  # to be written

    def __init_subclass__(cls, **options: Any) -> None:
        """A class that writes a pass anew is not bypassed by what it inherits beside it."""
        super().__init_subclass__(**options)
        cls._forget("compute", compute_activated=Layer.compute_activated)
        cls._forget("pullback", pullback_over=Layer.pullback_over, fresh_dx=False)
        for written in ("pullback", "pullback_over"):
            cls._forget(written, pullback_activated=Layer.pullback_activated)

    @classmethod
    def _forget(cls, written: str, **shortcuts: Any) -> None:
        """Set each of these that was written for another method than the one that counts here."""

        def depth(name: str) -> int:
            return next(i for i, each in enumerate(cls.__mro__) if name in vars(each))

        for name, value in shortcuts.items():
            if depth(written) < depth(name):
                setattr(cls, name, value)

    def __init__(self) -> None:
        self.name = snake_case(type(self).__name__)
        self.params: Any = {}  # name -> array; of networks a FlatDict
        self.state: Any = {}
        self.input_shape: Any = None
        self.output_shape: Any = None
        self.dtype = np.dtype("float32")

    # what a subclass writes

    def setup(self, input_shape: Any, key: Key) -> Any:
        """Create parameters and state for this input_shape; return the output shape.

        key: names the draw of the weights.  Raises ValueError for a shape that the layer cannot
        take.  Layer's own raises TypeError, as all do that a subclass must write.
        """
        raise TypeError(f"{type(self).__name__} does not define setup()")

    def compute(self, x: Any, training: bool, rng: Any, keep: bool) -> tuple[Array, Cache]:
        """The forward pass: (y, its cache). With keep=False the cache's `saved` must be None.

        x, training, rng: as for forward, which has checked x.  Layer's own raises TypeError.
        """
        raise TypeError(f"{type(self).__name__} does not define compute()")

    def pullback(
        self, dy: Array, saved: Any, to_input: bool, to_params: bool
    ) -> tuple[Any, dict[str, Array]]:
        """The backward pass: (dx or None, gradients or {}), computing only what is asked for.

        dy: of y's shape.  saved: what compute left in its cache.  to_input, to_params: whether dx
        and the gradients are asked for.  Layer's own raises TypeError.
        """
        raise TypeError(f"{type(self).__name__} does not define pullback()")

    def pullback_over(
        self, dy: Array, saved: Any, to_input: bool, to_params: bool
    ) -> tuple[Any, dict[str, Array]]:
        """pullback, for a caller who has no more use for dy: it may be written over.

        Takes the arguments of pullback.
        """
        return self.pullback(dy, saved, to_input, to_params)

    def compute_activated(
        self, f: Any, x: Any, training: bool, rng: Any, keep: bool
    ) -> tuple[Array, Cache]:
        """(f(z), this layer's own cache) of an activation f behind it, computed in z if it can.

        Takes, behind f, the arguments of compute; keep too.
        """
        z, cache = self.compute(x, training, rng, keep)
        return f.apply(z, out=z), cache

    def pullback_activated(
        self, f: Any, dy: Array, y: Array, saved: Any, to_input: bool, to_params: bool, over: bool
    ) -> tuple[Any, dict[str, Array]]:
        """The backward pass of both, from y = f(z); with `over` dy may be written over.

        The rest are the arguments of pullback.
        """
        if over:
            return self.pullback_over(f.derivative_over(dy, y), saved, to_input, to_params)
        return self.pullback(f.derivative(dy, y), saved, to_input, to_params)

    def pushforward(self, tx: Any, saved: Any) -> tuple[Array, Any]:
        """(ty, what pullback_tangent needs of this pass): ty = J tx, J the Jacobian of compute.

        tx: of x's shape.  saved: what compute left in its cache.  Layer's own raises TypeError.
        """
        raise TypeError(
            f"{type(self).__name__} does not define pushforward() and pullback_tangent(), the "
            "derivatives of its two passes that gradient penalties need"
        )

    def pullback_kept(self, dy: Array, saved: Any) -> tuple[Any, Any]:
        """(dx, what pullback_tangent needs of this pass): pullback(dy, saved) to the input."""
        return self.pullback(dy, saved, True, False)[0], dy

    def pullback_tangent(
        self, ddy: Array, saved: Any, moved: Any, kept: Any, to_input: bool, to_params: bool
    ) -> tuple[Any, dict[str, Array]]:
        """The derivative of pullback's (dx, gradients) as x moves along tx and dy along ddy.

        moved and kept are what pushforward and pullback_kept returned with ty and dx: of most
        layers tx and dy themselves.  saved, to_input, to_params: as for pullback.  Layer's own
        raises TypeError.
        """
        raise TypeError(f"{type(self).__name__} does not define pullback_tangent()")

    def commit(self, cache: Cache) -> None:
        """Move the running state to what the forward pass of this cache found, once."""

    # what a caller uses

    def build(self, input_shape: Any, dtype: Any = "float32", key: Key | None = None) -> Any:
        """Create the parameters for inputs of this shape (no batch axis); return the output shape.

        input_shape: a tuple, or a number for one axis.  dtype: "float32", "float64", "complex128".
        key: names the draw of the initial weights (default: a new one under the seed of mg.seed).
        Raises ValueError for a shape that the layer cannot take, TypeError for another dtype.

            >>> mg.Conv2D(64, 3, strides=2, padding="same").build((28, 28, 1))
            (14, 14, 64)
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

        x: (N, *input_shape), or a tuple of such.  training=False is inference: BatchNorm takes its
        running statistics, Dropout drops nothing.  keep=False saves nothing for backward.  rng: a
        minigan Key, an int or a NumPy Generator for the layers that draw (Dropout); None draws anew
        at each call.
        Raises ValueError for another shape, an empty batch and a layer that is not built, TypeError
        for another dtype, and for an x that is not where the parameters are (CPU or GPU).
        """
        x = self.check_input(x)
        self._check_home(x)
        y, cache = self.compute(x, training, rng, keep)
        return y, cache._replace(batch=len(y), layer=self)

    def backward(self, dy: Array, cache: Cache, wrt: str = "both") -> tuple[Any, Any]:
        """(dx, gradients), from dy = dLoss/dy and forward's cache. Pure.

        wrt="input" gives (dx, None) and wrt="params" (None, gradients), and computes no more.
        gradients has the keys and shapes of layer.params, dx the shape of x (labels: None).
        Raises ValueError for a dy of another shape, for a cache of another layer or without
        anything in it, and for another wrt; TypeError for a dy of another dtype.

            >>> layer = mg.Dense(2, kernel_initializer="ones")
            >>> layer.build(3, dtype="float64")
            (2,)
            >>> y, cache = layer.forward(np.array([[1.0, 2.0, 3.0]]))
            >>> dx, grads = layer.backward(np.array([[1.0, 0.0]]), cache)
            >>> y.tolist(), dx.tolist(), grads["bias"].tolist()
            ([[6.0, 6.0]], [[1.0, 1.0, 1.0]], [1.0, 0.0])
        """
        self._check_pass("backward", cache, wrt)
        self.check_gradient(dy, cache.batch)
        dx, grads = self.pullback(dy, cache.saved, wrt != "params", wrt != "input")
        return (None if wrt == "params" else dx), (None if wrt == "input" else grads)

    def tangent(self, tx: Any, cache: Cache) -> Array:
        """ty = J tx: the derivative of forward as its input moves along tx. Pure.

        tx: of the input's shape and dtype (None where the input is labels).  cache: forward's.
        Raises ValueError or TypeError as backward does.
        """
        self._check_pass("tangent", cache)
        return self.pushforward(self.check_tangent(tx, cache.batch), cache.saved)[0]

    def input_gradient(self, dy: Array, cache: Cache) -> tuple[Any, First]:
        """(dx, first): backward to the input, and what backward_tangent can use again. Pure.

        dy, cache, and what it raises: as for backward.
        """
        self._check_pass("input_gradient", cache)
        self.check_gradient(dy, cache.batch)
        dx, kept = self.pullback_kept(dy, cache.saved)
        return copy.deepcopy(dx), First(kept, cache)  # `kept` may hold dx: the caller's is his own

    def backward_tangent(
        self, dy: Array | First, ddy: Array, tx: Any, cache: Cache, wrt: str = "both"
    ) -> tuple[Any, Any]:
        """(ddx, dgradients): the derivative of backward's result as x moves along tx, dy along ddy.

        dy: an array, or `first` from dx, first = input_gradient(dy, cache), which spares that pass.
        ddy: of dy's shape; since backward is linear in dy, its part of the result is backward(ddy).
        wrt: as for backward.  Pure.  Raises ValueError when `first` is of another cache, TypeError
        when dy is the pair (dx, first), and both as backward does.
        """
        self._check_pass("backward_tangent", cache, wrt)
        tx = self.check_tangent(tx, cache.batch)
        self.check_gradient(ddy, cache.batch, "ddy")
        if isinstance(dy, tuple) and not isinstance(dy, First):
            raise TypeError(
                f"{self.name}: dy is a tuple; of dx, first = input_gradient(dy, cache), give first"
            )
        first = dy if isinstance(dy, First) else self.input_gradient(dy, cache)[1]
        if first.cache is not cache:
            raise ValueError(
                f"{self.name}: this first backward pass was made with another cache than the one "
                "given here; they must belong together"
            )
        moved = self.pushforward(tx, cache.saved)[1]
        ddx, dgrads = self.pullback_tangent(
            ddy, cache.saved, moved, first.kept, wrt != "params", wrt != "input"
        )
        return (None if wrt == "params" else ddx), (None if wrt == "input" else dgrads)

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
        """A copy whose parameters and state have this dtype (float32, float64 or complex128).

        From complex to real the imaginary parts are dropped.  Raises TypeError for another dtype.
        """
        dtype = check_dtype(dtype)
        return self.converted(dtype, lambda a: cast(a, dtype))

    def to(self, backend: str) -> Self:
        """A copy whose parameters and state live on this backend: "numpy" or "cupy".

        RuntimeError, saying what is missing, when no GPU can be used; ValueError for other names.
        """
        module = module_named(backend)
        return self.converted(self.dtype, lambda a: move(a.copy(), module))

    def converted(self, dtype: np.dtype, convert: Any) -> Self:
        """A copy of this dtype whose arrays are convert(array)."""
        other = copy.copy(self)
        other.dtype = dtype
        other.params = {name: convert(a) for name, a in self.params.items()}
        other.state = {name: convert(a) for name, a in self.state.items()}
        return other

    @property
    def home(self) -> ModuleType:
        """The array module that the parameters belong to; without any, that of new arrays."""
        arrays = [*self.params.values(), *self.state.values()]
        return home(arrays[0]) if arrays else xp()

    @property
    def trainable(self) -> bool:
        """Always True: freezing is a matter of the call, not of the layer.

        Setting it raises AttributeError, which says how to freeze one.
        """
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
        """Create the trainable parameter params[name] of this shape.

        initializer: an object, a name or a config.  key: that of setup.  fans: (fan_in, fan_out),
        see minigan/initializers.py.  Raises ValueError for an unknown initializer.
        """
        self.params[name] = initializers.get(initializer)(shape, self.dtype, key.child(name), fans)

    def check_input(self, x: Any) -> Any:
        """x, after its shape and dtype have been checked; a real x becomes complex if it must.

        Raises ValueError and TypeError, see forward.
        """
        self.check_built()
        return check_array(self.name, x, self.input_shape, self.dtype)

    def _check_home(self, x: Any) -> None:
        """TypeError when the input lives elsewhere than the parameters, or cannot live there."""
        if self.dtype.kind == "c" and any(map(on_gpu, x if isinstance(x, tuple) else (x,))):
            raise TypeError(
                f"{self.name}: complex numbers do not run on the GPU, which has float32 and "
                'float64; complex models stay on the CPU: layer.to("numpy")'
            )
        own = next(iter(self.params.values()), None)
        for part in x if isinstance(x, tuple) else (x,):
            if own is not None and on_gpu(part) != on_gpu(own):
                here, there = ("GPU", "CPU") if on_gpu(part) else ("CPU", "GPU")
                raise TypeError(
                    f"{self.name}: the input is on the {here}, the parameters on the {there}; move "
                    "one: mg.asarray(x), mg.to_numpy(x), or a copy of the layer, layer.to(...)"
                )

    def check_built(self) -> None:
        """ValueError when the layer has not been built."""
        if self.output_shape is None:
            raise ValueError(
                f"{self.name}: not built yet; call build(input_shape) with the shape of one sample"
            )

    def check_gradient(self, dy: Any, batch: int | None, what: str = "dy") -> None:
        """ValueError or TypeError when dy cannot be the gradient of the output of this forward.

        batch: how many samples that had.  what: the name of dy in the message.
        """
        shape = (batch, *self.output_shape)
        check_alike(self.name, what, dy, shape, self.dtype, "the gradient of", "output")

    def check_tangent(self, tx: Any, batch: int | None) -> Any:
        """tx, after its shape and dtype have been found to be those of forward's input.

        batch: how many samples that had.  Raises ValueError or TypeError.
        """
        if self.dtype.kind == "c" and getattr(tx, "dtype", self.dtype).kind == "f":
            tx = tx.astype(self.dtype)
        shape = (batch, *self.input_shape)
        check_alike(self.name, "tx", tx, shape, self.dtype, "a direction of", "input")
        return tx

    def _check_pass(self, what: str, cache: Any, wrt: str = "both") -> None:
        """ValueError when the cache is not that of a forward pass of this layer, or wrt is odd."""
        if wrt not in WRT:
            raise ValueError(f"wrt={wrt!r} should be one of {', '.join(map(repr, WRT))}")
        if not isinstance(cache, Cache) or cache.saved is None:
            raise ValueError(
                f"{self.name}: {what} needs the cache that forward returned; this one holds "
                "nothing (was forward called with keep=False?)"
            )
        if cache.layer is not self:
            raise ValueError(
                f"{self.name}: this cache is of a forward pass of {cache.layer.name}, or of a copy "
                f"of this layer; give {what} the cache of its own forward"
            )


class Fixed(Layer):
    """Base of layers whose backward reads nothing that moves with the input.

    y = A x and dx = A^T dy with a fixed A: the derivative of forward along tx is A tx, and that of
    backward along ddy is A^T ddy, which is backward again.
    """

    def pullback_tangent(self, ddy, saved, moved, kept, to_input, to_params):
        return self.pullback(ddy, saved, to_input, to_params)


def lacks_second_order(layer: Layer) -> tuple[Layer, str] | None:
    """(a layer, this one or one inside it; the method of second order it does not write), or None.

    Where such a method comes first, in a base class, it only says that it is not defined.
    """
    for name in layer.second_order:
        if sum(name in vars(cls) for cls in type(layer).__mro__) == 1:
            return layer, name
    inside = map(lacks_second_order, getattr(layer, "layers", ()))
    return next((found for found in inside if found), None)


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
