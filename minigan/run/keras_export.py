"""Models as Keras source: a function that builds the model, and its weights beside it.

Keras has our layouts, and nearly our names.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from textwrap import indent
from typing import Any

import numpy as np

from .. import layers as ours
from ..sequential import Sequential
from .exchange import export_weights
from .exporting import SourceWriter, call, paddings, short, unless, write_new

_PAGE = '''"""A {role} of minigan as a Keras model.

    from {role}_keras import load

    model = load("{role}_keras.npz")
    {output} = model.predict({inputs})

{described}
"""

{imports}
{body}'''

_BODY = '''{helpers}

def build():
    """The model, with new weights."""
{lines}


def load(path):
    """The model, with the weights in this file."""
    model = build()
    with np.load(path) as weights:
        for variable in model.weights:
            variable.assign(weights[variable.path])
    return model
'''


def export_keras(
    folder: str | os.PathLike, model: Sequential, *, role: str = "generator", about: str = ""
) -> list[Path]:
    """Write a model as folder/generator_keras.py, source for Keras 3, and generator_keras.npz.

    load(path) in the source gives the model with these weights.  To bring back weights that were
    trained further, `mg.import_weights(model, weights, layout="keras")` with
    {v.path: v.numpy() for v in keras_model.weights}.  BatchNorm's moving variance moves by the
    biased variance there; a layer with unbiased=True is trained on a little differently.

    role: "generator" or "discriminator", which names files and inputs.  about: a sentence for the
    docstring.  Raises as `export_torch` does; ValueError too for a transposed convolution with
    groups, which Keras has not.  Returns the paths.
    """
    source = KerasWriter(model, role).page(about)
    weights = io.BytesIO()
    np.savez(weights, **export_weights(model, layout="keras"))  # type: ignore[arg-type]
    stem = os.path.join(folder, f"{role}_keras")
    return write_new({f"{stem}.py": source.encode(), f"{stem}.npz": weights.getvalue()})


class KerasWriter(SourceWriter):
    """The lines of build()."""

    framework = "Keras"
    helper_file = "keras_parts.py"
    imports = {
        "keras": "import keras",
        "np": "import numpy as np",
        "layers": "from keras import layers",
    }

    def page(self, about: str) -> str:
        """The text of the file."""
        inputs = [
            f"{name} = {call('keras.Input', shape, dtype=dtype, name=text(name))}"
            for name, shape, classes in self.inputs
            for dtype in [text("int32") if classes else None]
        ]
        names = ", ".join(each.name for each in self.inputs)
        names = f"[{names}]" if "," in names else names
        result = f"return keras.Model({names}, {self.flow()}, name={text(self.role)})"
        body = _BODY.format(
            helpers=self.helpers(),
            lines=indent("\n".join([*inputs, *self.lines, result]), "    "),
        )
        return self.filled(_PAGE, body, about, output=self.output, inputs=names)

    def layer(self, kind: str, x: str, *arguments: Any, **options: Any) -> str:
        """x, passed through one of Keras' layers."""
        made = call(f"layers.{kind}", *arguments, **options, name=text(self.name))
        return self.assign(f"{made}({x})")

    def merge(self, layer: ours.Parallel, values: list[str]) -> str:
        if layer.merge == "concat":
            return self.assign(f"layers.Concatenate()([{', '.join(values)}])")
        if layer.merge == "add":
            return self.assign(" + ".join(values))
        return self.assign(f"keras.ops.sum({' * '.join(values)}, axis=-1, keepdims=True)")


def text(value: str | None) -> str | None:
    """A string in quotes."""
    return None if value is None else f'"{value}"'


# layers: (writer, layer, the variable of its input) -> the variable of its output


def linear(layer: Any) -> tuple[str, list[Any], dict[str, Any]]:
    """Dense or a convolution, without bias and activation: its name in Keras, and its arguments."""
    kind = type(layer).__name__
    if isinstance(layer, ours.Dense):
        return kind, [layer.units], {}
    if layer.transposed and layer.groups > 1:
        raise ValueError(f"{layer.name}: Keras has no transposed convolution with groups")
    sides, strides = (short(v[2 - layer.axes :]) for v in (layer.kernel_size, layer.strides))
    options = {
        "strides": unless(strides, 1),
        "padding": text(unless(layer.padding, "valid")),
        "groups": unless(layer.groups, 1),
    }
    return kind, [layer.filters, sides], options


def plain(w: KerasWriter, layer: Any, x: str) -> str:
    kind, arguments, options = linear(layer)
    return w.layer(kind, x, *arguments, **options, **ending(layer))


def ending(layer: Any) -> dict[str, Any]:
    """The options that every one of these layers has."""
    return {"use_bias": unless(layer.use_bias, True), "activation": text(layer.activation)}


def spectral_norm(w: KerasWriter, layer: Any, x: str) -> str:
    w.counterpart(layer.layer)  # it has one
    kind, arguments, options = linear(layer.layer)
    inner = call(f"layers.{kind}", *arguments, **options, use_bias=False, name=text("layer"))
    axis = -2 if getattr(layer.layer, "transposed", False) else -1  # that of the outputs
    w.lines.append(f"layer = {inner}")
    made = call(w.helper("SpectralNorm"), "layer", axis, **ending(layer.layer), name=text(w.name))
    return w.assign(f"{made}({x})")


def batch_norm(w: KerasWriter, layer: Any, x: str) -> str:
    if layer.unbiased:
        w.note("Trained on, BatchNorm moves by the biased variance; in minigan by the unbiased.")
    return w.layer("BatchNormalization", x, momentum=layer.momentum, epsilon=layer.epsilon)


def layer_norm(w: KerasWriter, layer: Any, x: str) -> str:
    if layer.over == "sample" and len(layer.input_shape) > 1:
        return w.layer("GroupNormalization", x, groups=1, epsilon=layer.epsilon)
    return w.layer("LayerNormalization", x, epsilon=layer.epsilon)


def instance_norm(w: KerasWriter, layer: Any, x: str) -> str:
    return w.layer("GroupNormalization", x, groups=-1, epsilon=layer.epsilon)


def pixel_norm(w: KerasWriter, layer: Any, x: str) -> str:
    return w.assign(call(w.helper("pixel_norm"), x, layer.epsilon))


def upsampling(w: KerasWriter, layer: Any, x: str) -> str:
    return w.layer("UpSampling2D", x, short(layer.size))


def resampling(w: KerasWriter, layer: Any, x: str) -> str:
    sides, antialias = layer.output_shape[:2], unless(layer.antialias, False)
    return w.layer("Resizing", x, *sides, interpolation=text("bilinear"), antialias=antialias)


def pooling(w: KerasWriter, layer: Any, x: str) -> str:
    if isinstance(layer, ours.AveragePooling2D) and any(map(any, paddings(layer))):
        # Keras' own counts the padding in some windows where PyTorch computes
        ends = tuple(paddings(layer))
        return w.assign(call(w.helper("average_pool"), x, layer.pool_size, layer.strides, ends))
    return w.layer(
        type(layer).__name__,
        x,
        short(layer.pool_size),
        strides=unless(short(layer.strides), short(layer.pool_size)),
        padding=text(unless(layer.padding, "valid")),
    )


KerasWriter.counterparts = {
    **dict.fromkeys(
        (ours.Dense, ours.Conv1D, ours.Conv1DTranspose, ours.Conv2D, ours.Conv2DTranspose), plain
    ),
    ours.SpectralNorm: spectral_norm,
    ours.BatchNorm: batch_norm,
    ours.LayerNorm: layer_norm,
    ours.InstanceNorm: instance_norm,
    ours.PixelNorm: pixel_norm,
    ours.UpSampling2D: upsampling,
    ours.Resampling2D: resampling,
    **dict.fromkeys((ours.MaxPooling2D, ours.AveragePooling2D), pooling),
    ours.Flatten: lambda w, layer, x: w.layer("Flatten", x),
    ours.Reshape: lambda w, layer, x: w.layer("Reshape", x, layer.output_shape),
    ours.Embedding: lambda w, layer, x: w.layer("Embedding", x, layer.classes, layer.units),
    ours.Dropout: lambda w, layer, x: w.layer("Dropout", x, layer.rate),
    ours.Activation: lambda w, layer, x: w.activate(layer.activation, x),
    ours.activations.Identity: lambda w, layer, x: x,
    ours.LeakyReLU: lambda w, layer, x: w.layer("LeakyReLU", x, layer.negative_slope),
    ours.ReLU: lambda w, layer, x: w.layer("ReLU", x),
    **{
        each: lambda w, layer, x: w.layer("Activation", x, text(type(layer).__name__.lower()))
        for each in (ours.Tanh, ours.Sigmoid, ours.SiLU, ours.Softmax)
    },
}
