"""Models as PyTorch source: a module to read, train further and change, and its weights beside it.

Inside, arrays are (N, C, H, W), (N, C, T) or (N, C), as PyTorch users expect; the few places where
our order shows, Flatten and Reshape, permute.
"""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import indent
from typing import Any

from .. import layers as ours
from ..sequential import Sequential
from .exchange import export_weights
from .exporting import SourceWriter, call, margins, paddings, short, unless, write_new

_PAGE = '''"""A {role} of minigan as a PyTorch module.

    from safetensors.torch import load_file
    from {role} import {title}

    model = {title}()
    model.load_state_dict(load_file("{role}.safetensors"))
    model.eval()

{described}
Images are (N, channels, height, width) here; minigan has the channels last.
"""

{imports}
{body}'''

_BODY = """{helpers}

class {title}(nn.Module):
    def __init__(self):
        super().__init__()
{modules}

    def forward(self, {inputs}):
{lines}
"""


def export_torch(
    folder: str | os.PathLike, model: Sequential, *, role: str = "generator", about: str = ""
) -> list[Path]:
    """Write a model as generator.py, source that needs PyTorch alone, and generator.safetensors.

    The source's docstring says how to load the weights, and which shapes go in and come out:
    images are (N, C, H, W) there.  `mg.import_weights(model, state_dict, layout="torch")` brings
    weights back that were trained further.  BatchNorm's running variance moves by the unbiased
    variance there; a layer without unbiased=True is trained on a little differently.

    role: "generator" or "discriminator", which names files, class and inputs.  about: a sentence
    for the docstring.  Raises TypeError or ValueError for a model that is not a built Sequential of
    real numbers, and for layers that are not minigan's own; FileExistsError where other files are
    already; NotADirectoryError where the folder is a file; WriteError when the disk does not take
    it.  Returns the paths.
    """
    from safetensors.numpy import save

    source = TorchWriter(model, role).page(about)
    weights = save(export_weights(model, layout="torch"))
    stem = os.path.join(folder, role)
    return write_new({f"{stem}.py": source.encode(), f"{stem}.safetensors": weights})


class TorchWriter(SourceWriter):
    """Modules, the lines of __init__, and forward's lines."""

    framework = "PyTorch"
    helper_file = "torch_parts.py"
    imports = {
        "torch": "import torch",
        "nn": "from torch import nn",
        "F": "from torch.nn import functional as F",
        "parametrize": "from torch.nn.utils import parametrize",
    }

    def __init__(self, model: Sequential, role: str) -> None:
        super().__init__(model, role)
        self.modules: list[str] = []

    def page(self, about: str) -> str:
        """The text of the file."""
        result, title = self.flow(), self.role.title()
        body = _BODY.format(
            helpers=self.helpers(),
            title=title,
            modules=indent("\n".join(self.modules), " " * 8),
            inputs=", ".join(each.name for each in self.inputs),
            lines=indent("\n".join([*self.lines, f"return {result}"]), " " * 8),
        )
        return self.filled(_PAGE, body, about, title=title)

    def theirs(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[-1:], *shape[:-1])  # channels first

    def module(self, expression: str, x: str, suffix: str = "") -> str:
        """x, passed through a module of its own."""
        self.modules.append(f"self.{self.name}{suffix} = {expression}")
        return self.assign(f"self.{self.name}{suffix}({x})")

    def merge(self, layer: ours.Parallel, values: list[str]) -> str:
        if layer.merge == "concat":
            return self.assign(f"torch.cat([{', '.join(values)}], 1)")
        if layer.merge == "add":
            return self.assign(" + ".join(values))
        return self.assign(f"({' * '.join(values)}).sum(1, keepdim=True)")


# layers: (writer, layer, the variable of its input) -> the variable of its output
# wrap: what is put around the module's constructor


def dense(w: TorchWriter, layer: Any, x: str, wrap: str = "{}") -> str:
    options = {"bias": unless(layer.use_bias, True)}
    module = call("nn.Linear", layer.input_shape[0], layer.units, **options)
    return w.activate(layer.activation, w.module(wrap.format(module), x))


def convolution(w: TorchWriter, layer: Any, x: str, wrap: str = "{}") -> str:
    spatial = margins(layer)
    options = {
        "stride": unless(short(layer.strides[2 - layer.axes :]), 1),
        "groups": unless(layer.groups, 1),
        "bias": unless(layer.use_bias, True),
    }
    sides = (layer.input_shape[-1], layer.filters, short(layer.kernel_size[2 - layer.axes :]))
    if not layer.transposed:
        x, options["padding"] = padded(w, x, layer)
        module = call(f"nn.Conv{layer.axes}d", *sides, **options)
        return w.activate(layer.activation, w.module(wrap.format(module), x))
    # PyTorch cuts both ends alike, and can add pixels (that no tap reaches) at the end.
    alike = all(before == after for before, after in spatial)
    options["padding"] = unless(short([before for before, _ in spatial]), 0) if alike else None
    options["output_padding"] = unless(short([max(-after, 0) for _, after in spatial]), 0)
    module = call(f"nn.ConvTranspose{layer.axes}d", *sides, **options)
    y = w.module(wrap.format(module), x)
    if not alike and any(map(any, paddings(layer))):
        y = w.module(call(w.helper("Crop"), *paddings(layer)), y, "_crop")
    return w.activate(layer.activation, y)


def padded(w: TorchWriter, x: str, layer: Any, value: str | None = None) -> tuple[str, Any]:
    """x, and the option `padding`: the one is padded where the other cannot do it."""
    ends = paddings(layer)
    if all(before == after for before, after in ends):
        return x, unless(short([before for before, _ in ends]), 0)
    return w.assign(call("F.pad", x, last_first(ends), value=value)), None


def last_first(ends: list[tuple[int, int]]) -> tuple[int, ...]:
    """Padding as F.pad takes it: the last axis first."""
    return tuple(n for pair in reversed(ends) for n in pair)


def spectral_norm(w: TorchWriter, layer: Any, x: str) -> str:
    inner = layer.layer
    axis = 1 if getattr(inner, "transposed", False) else 0  # that of the outputs
    w.helper("SpectralNorm")
    wrap = call(w.helper("spectral_norm"), "{}", axis)
    return w.counterpart(inner)(w, inner, x, wrap)


def batch_norm(w: TorchWriter, layer: Any, x: str) -> str:
    kind = "nn.BatchNorm2d" if len(layer.input_shape) == 3 else "nn.BatchNorm1d"
    momentum = round(1 - layer.momentum, 15)  # PyTorch's is the weight of the batch
    channels = layer.input_shape[-1]
    if not layer.unbiased:
        w.note("Trained on, BatchNorm moves by the unbiased variance; in minigan by the biased.")
    return w.module(call(kind, channels, eps=layer.epsilon, momentum=momentum), x)


def layer_norm(w: TorchWriter, layer: Any, x: str) -> str:
    channels = layer.input_shape[-1]
    if layer.over == "sample":
        return w.module(call("nn.GroupNorm", 1, channels, eps=layer.epsilon), x)
    return w.module(call(w.helper("LayerNorm"), channels, eps=layer.epsilon), x)


def instance_norm(w: TorchWriter, layer: Any, x: str) -> str:
    channels = layer.input_shape[-1]
    return w.module(call("nn.GroupNorm", channels, channels, eps=layer.epsilon), x)


def pixel_norm(w: TorchWriter, layer: Any, x: str) -> str:
    return w.assign(call(w.helper("pixel_norm"), x, layer.epsilon))


def upsampling(w: TorchWriter, layer: Any, x: str) -> str:
    return w.assign(f'F.interpolate({x}, scale_factor={short(layer.size)}, mode="nearest-exact")')


def resampling(w: TorchWriter, layer: Any, x: str) -> str:
    size = layer.output_shape[:2]
    antialias = ", antialias=True" if layer.antialias else ""
    return w.assign(f'F.interpolate({x}, size={size}, mode="bilinear"{antialias})')


def max_pooling(w: TorchWriter, layer: Any, x: str) -> str:
    x, padding = padded(w, x, layer, 'float("-inf")')
    size, stride = short(layer.pool_size), short(layer.strides)
    return w.assign(call("F.max_pool2d", x, size, stride, padding=padding))


def average_pooling(w: TorchWriter, layer: Any, x: str) -> str:
    size, stride = short(layer.pool_size), short(layer.strides)
    if not any(map(any, paddings(layer))):
        return w.assign(call("F.avg_pool2d", x, size, stride))
    return w.assign(call(w.helper("average_pool"), x, size, stride, last_first(paddings(layer))))


def reshape(w: TorchWriter, layer: Any, x: str) -> str:
    return w.assign(call(w.helper("reshape"), x, *layer.output_shape))


def embedding(w: TorchWriter, layer: Any, x: str) -> str:
    y = w.module(call("nn.Embedding", layer.classes, layer.units), x)
    return w.assign(f"{y}.movedim(-1, 1)") if layer.input_shape else y


def dropout(w: TorchWriter, layer: Any, x: str) -> str:
    return w.module(call("nn.Dropout", layer.rate), x)


def activation(template: str) -> Any:
    """An activation as an expression in x."""
    return lambda w, layer, x: w.assign(template.format(x=x, slope=layer.negative_slope))


TorchWriter.counterparts = {
    ours.Dense: dense,
    **dict.fromkeys(
        (ours.Conv1D, ours.Conv1DTranspose, ours.Conv2D, ours.Conv2DTranspose), convolution
    ),
    ours.SpectralNorm: spectral_norm,
    ours.BatchNorm: batch_norm,
    ours.LayerNorm: layer_norm,
    ours.InstanceNorm: instance_norm,
    ours.PixelNorm: pixel_norm,
    ours.UpSampling2D: upsampling,
    ours.Resampling2D: resampling,
    ours.MaxPooling2D: max_pooling,
    ours.AveragePooling2D: average_pooling,
    **dict.fromkeys((ours.Flatten, ours.Reshape), reshape),
    ours.Embedding: embedding,
    ours.Dropout: dropout,
    ours.Activation: lambda w, layer, x: w.activate(layer.activation, x),
    ours.activations.Identity: lambda w, layer, x: x,
    ours.ReLU: activation("F.relu({x})"),
    ours.LeakyReLU: activation("F.leaky_relu({x}, {slope})"),
    ours.Tanh: activation("torch.tanh({x})"),
    ours.Sigmoid: activation("torch.sigmoid({x})"),
    ours.SiLU: activation("F.silu({x})"),
    ours.Softmax: activation("torch.softmax({x}, 1)"),
}
