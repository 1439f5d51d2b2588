"""Sequential: layers one after the other, and the tables that describe networks.

A Sequential is a layer.  Forward is the composition of its layers; backward is the chain rule, from
the last layer to the first.  So are their derivatives: tangents go up through the layers, and the
derivative of backward comes down through them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np

from . import random
from .backend import home, move, on_gpu, room_for
from .flat import FlatDict
from .layers.activations import Activation, Elementwise, Sigmoid
from .layers.arguments import Array, show_shape
from .layers.base import Cache, Layer
from .layers.configuration import from_config, register
from .layers.container import Container
from .layers.dense import Dense
from .layers.dropout import Dropout
from .layers.embedding import Embedding, check_range
from .layers.linear import Linear
from .layers.merge import Parallel
from .layers.norm import Normalization
from .layers.pooling import AveragePooling2D
from .layers.resampling import Resampling2D
from .layers.shape import Renaming
from .layers.spectral import SpectralNorm
from .layers.stage import group
from .layers.upsampling import UpSampling2D
from .random import Key


@register
class Sequential(Container):
    """y = layer_n(... layer_1(x)).

    Built at once when input_shape is given (without the batch axis; a tuple of shapes if the first
    layer is a Parallel of several inputs).  All parameters are views into one vector,
    `params.flat`, keyed <layer>.<param> with the layers' names counted as Keras counts them.

    layers: objects, or their descriptions (to_config); each stands in one model alone.
    dtype, key: as for build.  name: of the model, in tables and messages.
    Raises TypeError and ValueError as build does, for a child that is no layer, and for one that is
    built or comes twice.

        >>> model = mg.Sequential([mg.Dense(8, activation="relu"), mg.Dense(1)], input_shape=4)
        >>> list(model.params), model.count_params()
        (['dense.kernel', 'dense.bias', 'dense_1.kernel', 'dense_1.bias'], (49, 0))
        >>> model.predict(np.zeros((5, 4))).shape
        (5, 1)
    """

    def __init__(
        self,
        layers: Iterable[Layer],
        *,
        input_shape: Any = None,
        dtype: Any = "float32",
        name: str = "sequential",
        key: Key | None = None,
    ) -> None:
        super().__init__([from_config(v) if isinstance(v, dict) else v for v in layers])
        self.name = name
        if input_shape is not None:
            self.build(input_shape, dtype, key)

    def config(self) -> dict[str, Any]:
        shape = None if self.input_shape is None else list(_as_lists(self.input_shape))
        return {
            "layers": self.layer_configs(),
            "input_shape": shape,
            "dtype": self.dtype.name,
            "name": self.name,
        }

    # the layer contract

    def setup(self, input_shape, key):
        shape = input_shape
        for name, layer in self.children():
            shape = layer.build(shape, self.dtype, key.child(name))
        self.regroup()
        self.gather()
        return shape

    def regroup(self) -> None:
        self._stages = group(self.children())

    def check_input(self, x):
        self.check_built()
        return self.layers[0].check_input(x) if self.layers else super().check_input(x)

    def check_tangent(self, tx, batch):
        check = self.layers[0].check_tangent if self.layers else super().check_tangent
        return check(tx, batch)

    def compute(self, x, training, rng, keep):
        key = random.as_key(rng, "dropout")
        saved, states = [], []
        for name, stage in self._stages:
            x, cache = stage.compute(x, training, key.child(name), keep)
            saved.append(cache.saved)
            states.append(cache.state)
        return x, Cache(saved if keep else None, states)

    def pullback(self, dy, saved, to_input, to_params):
        mine = False  # whether dy was made here, for the next stage alone

        def step(i: int, dy: Array, down: bool) -> tuple[Any, dict[str, Array]]:
            nonlocal mine
            stage = self._stages[i][1]
            pullback = stage.pullback_over if mine else stage.pullback
            dx, grads = pullback(dy, saved[i], down, to_params)
            passed_on = isinstance(stage, Renaming) or (stage.fresh_dx and dx is dy)
            mine = mine if passed_on else stage.fresh_dx
            return dx, grads

        return self._chain(step, dy, to_input, to_params)

    def pushforward(self, tx, saved):
        moved = []
        for (_, stage), own in zip(self._stages, saved, strict=True):
            tx, kept = stage.pushforward(tx, own)
            moved.append(kept)
        return tx, moved

    def pullback_kept(self, dy, saved):
        kept = []
        for (_, stage), own in zip(reversed(self._stages), reversed(saved), strict=True):
            dy, one = stage.pullback_kept(dy, own)
            kept.append(one)
        return dy, kept[::-1]

    def pullback_tangent(self, ddy, saved, moved, kept, to_input, to_params):
        def step(i: int, ddy: Array, down: bool) -> tuple[Any, dict[str, Array]]:
            stage = self._stages[i][1]
            return stage.pullback_tangent(ddy, saved[i], moved[i], kept[i], down, to_params)

        return self._chain(step, ddy, to_input, to_params)

    def _chain(
        self, step: Any, dy: Array, to_input: bool, to_params: bool
    ) -> tuple[Any, dict[str, Array]]:
        """step(i, dy, down) -> (dx, gradients) from the last stage to the lowest that matters."""
        grads = FlatDict.laid_out_as(self.params) if to_params else {}
        missing = set(self.params) if to_params else set()
        lowest = 0 if to_input else self._first_with_params()
        for i in range(len(self._stages) - 1, lowest - 1, -1):
            name = self._stages[i][0]
            dy, found = step(i, dy, to_input or i > lowest)
            for key, g in found.items():
                if to_params:
                    grads[f"{name}.{key}"] = g
                    missing.discard(f"{name}.{key}")
        if missing:
            raise ValueError(f"{self.name}: backward gave no gradient of {', '.join(missing)}")
        return dy, grads

    def _first_with_params(self) -> int:
        """The first stage that has a parameter: below it, only an input gradient has a purpose."""
        owners = {key.split(".", 1)[0] for key in self.params}
        found = [i for i, (name, _) in enumerate(self._stages) if name in owners]
        return found[0] if found else len(self._stages)

    def commit(self, cache):
        for (_, stage), state in zip(self._stages, cache.state, strict=True):
            if state is not None:
                stage.commit(Cache(None, state))

    def null_gradients(self):
        """Those of the layers, and the shifts of channels before a layer that subtracts their mean.

        LayerNorm subtracts them too where there is one channel: name those to the checker yourself.
        """
        null = super().null_gradients()
        children = self.children()
        for i, (_, after) in enumerate(children):
            if isinstance(after, Normalization) and after.gamma_outside and after.centred:
                vectors = len(after.input_shape) == 1
                null |= shifts(children[:i], vectors) & set(self.params)
        return null

    # what a user calls

    def predict(self, x: Any, batch_size: int = 128) -> Array:
        """The output in inference mode, in batches; x is cast to the model's dtype and moved to it.

        x: (N, *input_shape), or a tuple of such; batch_size: samples at once, as memory allows.
        Raises ValueError when x is not finite, is empty or has another shape, for a batch_size
        below 1 and a model that is not built; TypeError for what are no numbers; MemoryError when a
        batch does not fit into a GPU's memory.
        """
        if batch_size < 1:
            raise ValueError(f"{self.name}: batch_size={batch_size} should be 1 or more")
        self.check_built()
        x, module = self.cast_input(x), self.home
        n = len(x[0] if isinstance(x, tuple) else x)
        parts = []
        for k in range(0, n, batch_size):
            batch = slice(k, k + batch_size)
            part = tuple(a[batch] for a in x) if isinstance(x, tuple) else x[batch]
            with room_for(min(batch_size, n - k), f"{self.name}: predict"):
                part = move(part, module)
                parts.append(self.forward(part, training=False, keep=False)[0])
        if not parts:
            raise ValueError(f"{self.name}: predict was given no samples")
        return home(parts[0]).concatenate(parts)

    def cast_input(self, x: Any) -> Any:
        """x in the model's dtype, where it is (labels as they are); ValueError if not finite.

        An array on a GPU is not looked at: that would wait for the GPU.
        """
        split = bool(self.input_shape) and isinstance(self.input_shape[0], tuple)
        if split and isinstance(x, (tuple, list)):
            return tuple(self._cast(a, i) for i, a in enumerate(x))
        return self._cast(x, None)

    def _cast(self, a: Any, which: int | None) -> Any:
        classes = is_labels(self, which)
        if classes:
            if a is None:
                raise ValueError(f"{self.name}: this network is conditional; give it labels too")
            a = a if hasattr(a, "dtype") else np.asarray(a)
            if a.dtype.kind in "iu":
                check_range(self.name, a, classes)  # before they go to a GPU
            return a
        return cast_finite(a, self.dtype, self.name)

    def logits(self) -> Sequential:
        """This model without the sigmoid that ends it, sharing parameters and state.

        A last sigmoid is found behind Flatten and Reshape and inside a last Sequential too.
        A model that has none is returned as it is.
        """
        last = len(self.layers) - 1
        while last >= 0 and passes_logits(self.layers[last]):
            last -= 1
        if last < 0:
            return self
        layer = self.layers[last]
        if isinstance(layer, Sequential):
            replaced: Layer = layer.logits()
        elif isinstance(layer, (Linear, SpectralNorm)) and layer.activation == "sigmoid":
            replaced = layer.with_activation(None)
        elif isinstance(layer, Sigmoid) or getattr(layer, "activation", None) == "sigmoid":
            replaced = Activation("linear")
            replaced.build(layer.input_shape, self.dtype)
        else:
            return self
        other = copy.copy(self)
        other.layers = [*self.layers[:last], replaced, *self.layers[last + 1 :]]
        other.regroup()
        return other

    def last_activation(self) -> str | None:
        """The name of the activation that ends the model, behind Flatten and Reshape too."""
        for layer in reversed(self.layers):
            if isinstance(layer, Sequential):
                return layer.last_activation()
            if passes_logits(layer):
                continue
            if isinstance(layer, Elementwise):
                return getattr(layer, "activation", type(layer).__name__.lower())
            return getattr(layer, "activation", None)
        return None

    def summary(self) -> str:
        """A table of the layers: name, output shape, parameters; totals below."""
        self.check_built()
        rows = [(f"{self.name} input", show_shape(self.input_shape), "")] + _rows(self, "")
        return table(f'Model: "{self.name}"', rows, [_totals(self)])


def shifts(children: list[tuple[str, Layer]], vectors: bool) -> set[str]:
    """Names of parameters that shift each channel of the children's output by a constant.

    Going back from the end: what adds such a shift, as long as the layers behind it only average
    or mix channels.  vectors: every value is a channel, so that any linear layer passes a shift on.
    """
    found: set[str] = set()
    for name, layer in reversed(children):
        if isinstance(layer, Sequential):
            found |= {f"{name}.{key}" for key in shifts(layer.children(), vectors)}
            break
        if isinstance(layer, Parallel) and layer.merge == "add":
            branches = (shifts([child], vectors) for child in layer.children())
            found |= {f"{name}.{key}" for keys in branches for key in keys}
            break
        plain = isinstance(layer, (Linear, SpectralNorm)) and layer.owns_output
        if plain or isinstance(layer, Normalization):
            found |= {f"{name}.bias", f"{name}.beta"}
        averages = isinstance(layer, (AveragePooling2D, UpSampling2D, Resampling2D))
        mixes = isinstance(layer, Dense) or (vectors and isinstance(layer, (Linear, SpectralNorm)))
        if not (averages or (plain and mixes) or (vectors and isinstance(layer, Renaming))):
            break
    return found


def passes_logits(layer: Layer) -> bool:
    """Whether a layer changes no value for good: it renames axes, is linear, or is a Dropout."""
    linear = isinstance(layer, Activation) and layer.activation == "linear"
    return linear or isinstance(layer, (Renaming, Dropout))


def cast_finite(a: Any, dtype: np.dtype, name: str) -> Array:
    """The array in this dtype; ValueError when it is not finite."""
    a = a if hasattr(a, "dtype") else np.asarray(a)
    if a.dtype.kind not in "fcbiu":
        raise TypeError(f"{name}: the input is {a.dtype}; numbers are needed")
    with np.errstate(over="ignore"):
        cast = a if a.dtype == dtype else a.astype(dtype)
    if a.dtype.kind in "fc" and not on_gpu(cast) and not np.isfinite(cast).all():
        bad = tuple(int(i[0]) for i in np.nonzero(~np.isfinite(cast)))
        raise ValueError(f"{name}: the input is not finite: {a[bad]} at index {bad}, in {dtype}")
    return cast


def is_labels(model: Layer, which: int | None) -> int | None:
    """The number of classes if this input (None: the only one) is labels, else None."""
    layer = model
    while not isinstance(layer, Embedding):
        if isinstance(layer, Parallel) and layer.split and which is not None:
            layer, which = layer.layers[which], None
        elif isinstance(layer, Container) and layer.layers:
            layer = layer.layers[0]
        else:
            return None
    return layer.classes


def stacked_summary(generator: Sequential, discriminator: Sequential) -> str:
    """The table of a generator's step: the generator, and the discriminator frozen behind it."""
    rows = [
        (f"{m.name} (Sequential)", show_shape(m.output_shape), f"{sum(m.count_params()):,}")
        for m in (generator, discriminator)
    ]
    trainable, moving = generator.count_params()
    frozen = sum(discriminator.count_params())
    totals = [
        f"Total params: {trainable + moving + frozen:,}",
        f"Trainable params: {trainable:,}",
        f"Non-trainable params: {moving + frozen:,} (frozen discriminator: {frozen:,})",
    ]
    return table('Model: "gan", the generator\'s step', rows, ["\n".join(totals)])


def _rows(model: Container, indent: str) -> list[tuple[str, str, str]]:
    rows = []
    for name, layer in model.children():
        label = f"{indent}{name} ({type(layer).__name__})"
        count = f"{sum(layer.count_params()):,}"
        rows.append((label, show_shape(layer.output_shape), count))
        if isinstance(layer, Container):
            rows += _rows(layer, indent + "  ")
    return rows


def _totals(model: Layer) -> str:
    trainable, moving = model.count_params()
    return (
        f"Total params: {trainable + moving:,}\n"
        f"Trainable params: {trainable:,}\n"
        f"Non-trainable params: {moving:,}"
    )


def table(title: str, rows: list[tuple[str, str, str]], footers: list[str]) -> str:
    """A plain-text table of three columns: layer, output shape, parameters."""
    head = ("Layer (type)", "Output Shape", "Param #")
    a, b, c = (max(len(row[i]) for row in [head, *rows]) for i in range(3))
    line = "-" * (a + b + c + 4)
    lines = [title, line, f"{head[0]:<{a}}  {head[1]:<{b}}  {head[2]:>{c}}", line]
    lines += [f"{x:<{a}}  {y:<{b}}  {z:>{c}}" for x, y, z in rows]
    return "\n".join([*lines, line, *footers])


def _as_lists(shape: Any) -> Any:
    return [_as_lists(s) if isinstance(s, tuple) else s for s in shape]
