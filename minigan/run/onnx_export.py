"""Models as ONNX graphs: inference with onnxruntime, in a browser, on a phone, without minigan.

The graph computes what predict does, in float32: arrays are NHWC on the outside, and transposed
around the operators that want channels first (runtimes merge those transposes).  Padding is written
out, since ONNX's own `SAME_UPPER` is not TensorFlow's `same` for transposed convolutions.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from .. import layers as ours
from ..sequential import Sequential
from .exchange import axes_of
from .exporting import Exporter, Input, margins, paddings, write_new

OPSET = 18  # the first whose reductions all take their axes as an input
IR_VERSION = 8  # the format that came with this opset; every onnxruntime since 1.14 reads both


def export_onnx(
    path: str | os.PathLike, model: Sequential, *, role: str = "generator", about: str = ""
) -> list[Path]:
    """Write a model as an ONNX file, atomically: the bytes are a function of the model alone.

    path: of the file.  model, role, about, and what it raises: as for `to_onnx`; besides,
    FileExistsError where another file is already, and WriteError when the disk does not take it.
    Returns the path, in a list.
    """
    proto = to_onnx(model, role=role, about=about)
    return write_new({path: proto.SerializeToString(deterministic=True)})


def to_onnx(model: Sequential, *, role: str = "generator", about: str = "") -> Any:
    """The onnx.ModelProto of a built model in inference mode, in float32; opset 18.

    role: "generator": inputs "z" (N, latent_dim) float32 and, if it is conditional, "labels" (N,)
    int64; output "images" (N, H, W, C).  "discriminator": inputs "images" and "labels", output
    "scores".  N is free.  about: a sentence for the graph's documentation.

    SpectralNorm's kernels are divided already, and Dropout is left out.  Raises ImportError without
    the package onnx, TypeError or ValueError for a model that is not a built Sequential of real
    numbers, and for layers that are not minigan's own.
    """
    onnx = _onnx()
    graph = Graph(model, role)
    result = graph.flow()
    graph.nodes.append(onnx.helper.make_node("Identity", [result], [graph.output], name="output"))
    proto = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            role,
            [_described(each) for each in graph.inputs],
            [_described(Input(graph.output, graph.model.output_shape, None))],
            graph.constants,
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="minigan",
        doc_string=" ".join([about, *_limits(graph.inputs)]).strip(),
    )
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise ImportError(
            "exporting to ONNX needs the package onnx: pip install 'minigan[export]'"
        ) from error
    return onnx


def _limits(inputs: list[Input]) -> list[str]:
    """A sentence for each input of labels: ONNX takes some that minigan refuses."""
    return [
        f"{each.name} are 0 to {each.classes - 1}; negative ones count from the last class."
        for each in inputs
        if each.classes
    ]


def _described(value: Input) -> Any:
    """An input or output: N samples of a shape."""
    from onnx import TensorProto, helper

    kind = TensorProto.FLOAT if value.classes is None else TensorProto.INT64
    return helper.make_tensor_value_info(value.name, kind, ["N", *value.shape])


class Graph(Exporter):
    """Nodes and constants, in the order in which they were added; a value is its name."""

    framework = "ONNX"

    def __init__(self, model: Sequential, role: str) -> None:
        super().__init__(model, role)
        self.model = self.model.astype("float32")
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def __call__(self, op: str, *inputs: Any, **attributes: Any) -> str:
        """Add a node; its inputs are names, or arrays, which become constants. Its output."""
        from onnx import helper

        names = [v if isinstance(v, str) else self.constant(v) for v in inputs]
        name = f"{self.name}/{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, names, [name], name=name, **attributes))
        return name

    def constant(self, value: Any) -> str:
        """Add a constant: float32, or int64 for whole numbers."""
        from onnx import numpy_helper

        array = np.asarray(value)
        array = array.astype(np.int64 if array.dtype.kind == "i" else np.float32, order="C")
        name = f"{self.name}/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def merge(self, layer: ours.Parallel, values: list[str]) -> str:
        if layer.merge == "concat":
            return self("Concat", *values, axis=-1)
        if layer.merge == "add":
            return self("Sum", *values)
        return self("ReduceSum", self("Mul", *values), [-1], keepdims=1)

    def first(self, layer: Any, x: str) -> str:
        """A layer's input, channels first."""
        last = len(layer.input_shape)
        return self("Transpose", x, perm=[0, last, *range(1, last)])

    def last(self, layer: Any, y: str) -> str:
        """A layer's output, channels last again."""
        last = len(layer.output_shape)
        return self("Transpose", y, perm=[0, *range(2, last + 1), 1])


# layers: (graph, layer, the name of its input) -> the name of its output


def dense(g: Graph, layer: Any, x: str) -> str:
    return g.activate(layer.activation, g("Gemm", x, *layer.params.values()))


def convolution(g: Graph, layer: Any, x: str) -> str:
    kernel, *bias = layer.params.values()
    # ONNX has PyTorch's layout: (out, in, kh, kw), transposed (in, out, kh, kw)
    kernel = kernel.transpose(axes_of("kernel", kernel.ndim, "torch"))
    inputs = g.first(layer, x), kernel, *bias
    options = {"strides": layer.strides[2 - layer.axes :], "group": layer.groups}
    op = "ConvTranspose" if layer.transposed else "Conv"
    if layer.transposed:  # pixels at the end that no tap reaches
        options["output_padding"] = [max(-after, 0) for _, after in margins(layer)]
    y = g(op, *inputs, pads=pads_of(layer), **options)
    return g.activate(layer.activation, g.last(layer, y))


def pads_of(layer: Any) -> list[int]:
    """Padding as ONNX has it: before each axis, then after each."""
    return [n for ends in zip(*paddings(layer), strict=True) for n in ends]


def spectral_norm(g: Graph, layer: Any, x: str) -> str:
    return g.convert(layer.divided(layer.stretch().sigma), x)


def batch_norm(g: Graph, layer: Any, x: str) -> str:
    gamma, beta = layer.params["gamma"], layer.params["beta"]
    mean, var = layer.state["moving_mean"], layer.state["moving_variance"]
    xhat = g("Mul", g("Sub", x, mean), gamma / np.sqrt(var + layer.epsilon))
    return g("Add", xhat, beta)


def normalization(g: Graph, layer: Any, x: str) -> str:
    """LayerNorm, InstanceNorm, PixelNorm: as their forward pass reads."""
    axes = list(layer.axes)
    if layer.centred:
        x = g("Sub", x, g("ReduceMean", x, axes))
    var = g("ReduceMean", g("Mul", x, x), axes)
    y = g("Div", x, g("Sqrt", g("Add", var, layer.epsilon)))
    if layer.scaled:
        y = g("Add", g("Mul", y, layer.params["gamma"]), layer.params["beta"])
    return y


def upsampling(g: Graph, layer: Any, x: str) -> str:
    # Pixel i has its centre at (i + 1/2)/f - 1/2, nearest to i // f by a margin of 1/(2f).
    scales = np.array([1, *layer.size, 1], np.float32)
    return g("Resize", x, "", scales, mode="nearest", coordinate_transformation_mode="half_pixel")


def resampling(g: Graph, layer: Any, x: str) -> str:
    rows, columns = (each.array for each in layer.matrices)
    # (OH, H), (N, H, W, C), (OW, W) -> (N, OH, OW, C)
    return g("Einsum", rows, x, columns, equation="ph,nhwc,qw->npqc")


def pooling(g: Graph, layer: Any, x: str) -> str:
    # AveragePool's default leaves padding out of the mean, as ours does.
    op = "MaxPool" if isinstance(layer, ours.MaxPooling2D) else "AveragePool"
    options = {"kernel_shape": layer.pool_size, "strides": layer.strides, "pads": pads_of(layer)}
    return g.last(layer, g(op, g.first(layer, x), **options))


def reshape(g: Graph, layer: Any, x: str) -> str:
    return g("Reshape", x, [-1, *layer.output_shape])


def embedding(g: Graph, layer: Any, x: str) -> str:
    return g("Gather", layer.params["embeddings"], x, axis=0)


def unchanged(g: Graph, layer: Any, x: str) -> str:
    return x


Graph.counterparts = {
    ours.Dense: dense,
    **dict.fromkeys(
        (ours.Conv1D, ours.Conv1DTranspose, ours.Conv2D, ours.Conv2DTranspose), convolution
    ),
    ours.SpectralNorm: spectral_norm,
    ours.BatchNorm: batch_norm,
    **dict.fromkeys((ours.LayerNorm, ours.InstanceNorm, ours.PixelNorm), normalization),
    ours.UpSampling2D: upsampling,
    ours.Resampling2D: resampling,
    **dict.fromkeys((ours.MaxPooling2D, ours.AveragePooling2D), pooling),
    **dict.fromkeys((ours.Flatten, ours.Reshape), reshape),
    ours.Embedding: embedding,
    **dict.fromkeys((ours.Dropout, ours.activations.Identity), unchanged),
    ours.Activation: lambda g, layer, x: g.activate(layer.activation, x),
    ours.ReLU: lambda g, layer, x: g("Relu", x),
    ours.LeakyReLU: lambda g, layer, x: g("LeakyRelu", x, alpha=layer.negative_slope),
    ours.Tanh: lambda g, layer, x: g("Tanh", x),
    ours.Sigmoid: lambda g, layer, x: g("Sigmoid", x),
    ours.SiLU: lambda g, layer, x: g("Mul", x, g("Sigmoid", x)),
    ours.Softmax: lambda g, layer, x: g("Softmax", x, axis=-1),
}
