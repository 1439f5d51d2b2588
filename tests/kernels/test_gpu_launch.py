"""A launch is held to the signature in the kernel's source; the parser needs no CuPy."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

GPU = Path(__file__).resolve().parents[2] / "kernels" / "gpu"


@pytest.fixture
def parser():
    """launch.py by itself: its package would import CuPy."""
    spec = importlib.util.spec_from_file_location("launch_alone", GPU / "launch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def files():
    return sorted((GPU.parent / "cuda").glob("*.cu"))


# ---- signatures


@pytest.mark.parametrize("path", files(), ids=lambda path: path.stem)
def test_every_kernel_of_every_file_is_read(path, parser):
    text = re.sub(r"//.*", "", path.read_text())
    found = parser.kernels(path.stem)
    assert len(found) == text.count("__global__") > 0
    for name, kernel in found.items():
        head = text[text.index(f" {name}(") :].split("{", 1)[0]
        assert len(kernel.parameters) == head.count(",") + 1
        assert [p.name for p in kernel.parameters] == re.findall(r"(\w+)\s*[,)]", head)
        assert sum(p.pointer for p in kernel.parameters) == head.count("*")


def test_every_file_is_listed(parser):
    assert parser.files() == [path.stem for path in files()]


def test_a_signature(parser):
    found = parser.kernel("columns", "im2col").parameters
    assert found[:4] == (
        parser.Parameter("n", "int", False),
        parser.Parameter("x", "REAL", True),
        parser.Parameter("columns", "REAL", True),
        parser.Parameter("H", "int", False),
    )
    types = {p.name: p.type for p in parser.kernel("dropout", "dropout").parameters}
    assert types["size"] == "long long" and types["key_0"] == "word" and types["scale"] == "REAL"
    assert parser.kernel("pooling", "max_pool").parameters[3] == ("winner", "int", True)


@pytest.mark.parametrize(
    "parameters",
    ["unsigned n", "float* x", "REAL** x", "int n, REAL x[4]", "volatile REAL* x", "int", ""],
)
def test_an_unreadable_signature_is_an_error(parameters, parser, monkeypatch):
    text = f'extern "C" __global__ void odd(\n    {parameters})\n{{\n}}\n'
    monkeypatch.setattr(parser, "source", lambda file: text)
    with pytest.raises(ValueError, match="made_up.cu: the parameters of odd cannot be read"):
        parser.kernels("made_up")


def test_a_readable_one_with_a_launch_bound(parser, monkeypatch):
    text = 'extern "C" __global__ void __launch_bounds__(256) f(\n    int n, const REAL* x)\n{}\n'
    monkeypatch.setattr(parser, "source", lambda file: text)
    assert [p.name for p in parser.kernels("made_up")["f"].parameters] == ["n", "x"]


@pytest.mark.parametrize("dtype, real", [("float32", "float"), ("float64", "double")])
def test_what_a_file_is_compiled_with(dtype, real, parser):
    assert parser.options(dtype) == ("-std=c++17", f"-DREAL={real}")


# ---- launches


def launched():
    return importlib.import_module("minigan.kernels.gpu.launch")


@pytest.fixture
def cupy():
    return importlib.import_module("cupy")


@pytest.fixture
def x(cupy):
    return cupy.asarray(np.arange(12, dtype="float32").reshape(3, 4) - 6)


def activation(*arguments):
    """n, x, y, kind, slope."""
    launched().kernel("activations", "activation")(*arguments)


MISTAKES = {  # name -> (the arguments for x and its result y, error, message)
    "few": (lambda x, y: (12, x, y, 0), TypeError, r"takes 5 arguments \(n, x, y, .*got 4"),
    "many": (lambda x, y: (12, x, y, 0, 0.2, 1), TypeError, "takes 5 arguments .*got 6"),
    "dtype": (lambda x, y: (12, x, y.astype("f8"), 0, 0.2), TypeError, "y is float64, .*float32"),
    "whole array": (lambda x, y: (12, x, y.astype("i4"), 0, 0.2), TypeError, "y is int32"),
    "first dtype": (lambda x, y: (12, x.astype("i4"), y, 0, 0.2), TypeError, "int32 does not run"),
    "half": (lambda x, y: (12, x.astype("f2"), y, 0, 0.2), TypeError, "float16 does not run"),
    "complex": (
        lambda x, y: (12, x.view("complex64"), y, 0, 0.2),
        TypeError,
        "complex64 does not run",
    ),
    "float": (lambda x, y: (12, x, y, 0.0, 0.2), TypeError, "kind is a float; .*whole number"),
    "bool": (lambda x, y: (12, x, y, True, 0.2), TypeError, "kind is a bool; .*whole number"),
    "NumPy bool": (lambda x, y: (12, x, y, np.True_, 0.2), TypeError, "kind is a bool"),
    "bool slope": (lambda x, y: (12, x, y, 0, True), TypeError, "slope is a bool; give a number"),
    "text": (lambda x, y: (12, x, y, 0, "0.2"), TypeError, "slope is a str; give a number"),
    "large": (lambda x, y: (12, x, y, 1 << 31, 0.2), ValueError, "kind=2147483648 does not fit"),
    "small": (lambda x, y: (12, x, y, -(1 << 31) - 1, 0.2), ValueError, "does not fit into int"),
    "NumPy": (lambda x, y: (12, x, y.get(), 0, 0.2), TypeError, "y is a ndarray; .*CuPy array"),
    "all NumPy": (lambda x, y: (12, x.get(), y.get(), 0, 0.2), TypeError, "x is a ndarray; .*CuPy"),
    "no array": (lambda x, y: (12, 1.0, 2.0, 0, 0.2), TypeError, "no array among the arguments"),
    "None": (lambda x, y: (12, x, None, 0, 0.2), TypeError, "y is a NoneType; give a CuPy array"),
    "None for a number": (lambda x, y: (12, x, y, None, 0.2), TypeError, "kind is a NoneType"),
    "an array for a number": (lambda x, y: (12, x, y, x, 0.2), TypeError, "kind is a ndarray"),
    "view": (lambda x, y: (6, x[:, ::2], y[:, :2], 0, 0.2), ValueError, "x is a strided view"),
    "view of y": (lambda x, y: (12, x, y.reshape(4, 3).T, 0, 0.2), ValueError, "y is a strided"),
    "float n": (lambda x, y: (12.0, x, y, 0, 0.2), TypeError, "n is a float"),
}


@pytest.mark.gpu
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_an_error_and_nothing_is_launched(name, cupy, x):
    arguments, error, message = MISTAKES[name]
    y = cupy.full((3, 4), 7, "float32")
    with pytest.raises(error, match=message) as raised:
        activation(*arguments(x, y))
    assert "activations.cu: activation" in str(raised.value)
    assert (y == 7).all()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind, slope", [(0, 0.25), (np.int64(0), np.float64(0.25)), (0, 1)])
def test_numbers_of_python_and_of_numpy(dtype, kind, slope, cupy, x):
    x = x.astype(dtype)
    y = cupy.empty_like(x)
    activation(x.size, x, y, kind, slope)
    assert np.array_equal(y.get(), np.where(x.get() > 0, x.get(), float(slope) * x.get()))


@pytest.mark.gpu
def test_no_elements_launch_nothing(cupy):

    empty = cupy.empty((0, 4), "float32")
    with launched().counted() as counts:
        activation(0, empty, empty, 0, 0.2)
    assert not counts


@pytest.mark.gpu
@pytest.mark.parametrize(
    "grid, block", [((0,), (256,)), ((1, 0), (32, 8)), ((1,), (0,)), ((-1,), (1,))]
)
def test_a_launch_of_no_blocks_is_an_error(grid, block, cupy, x):
    kernel = launched().kernel("activations", "activation")
    with pytest.raises(ValueError, match="does nothing"):
        kernel.blocks(grid, block, x.size, x, cupy.empty_like(x), 0, 0.2)


@pytest.mark.gpu
@pytest.mark.parametrize("n", [0, 12])
def test_a_kernel_without_n_is_launched_in_blocks(n, x):
    with pytest.raises(TypeError, match="its first parameter is not n; use blocks"):
        launched().kernel("reduce", "sum_columns")(n, x, x, x, 3, 4, 3)


@pytest.mark.gpu
def test_more_elements_than_an_int_counts(x):
    """32-bit indices would wrap round."""
    kernel = launched().kernel("columns", "im2col")
    with pytest.raises(ValueError, match="fewer elements at a time"):
        kernel(1 << 31, x, x, *[1] * 11)


@pytest.mark.gpu
def test_whole_numbers_of_64_bits(cupy):
    launch = launched()
    kernel = launch.kernel("dropout", "dropout")
    out = cupy.empty(4, "float32")
    word = (1 << 64) - 1
    found = kernel.checked((1, out, 4, word, 0, word, 5, 2.0), out.dtype)
    assert found[3] == found[5] == word and found[3].dtype == np.uint64
    assert (found[0].dtype, found[6].dtype, found[7].dtype) == (np.int64, np.int32, np.float32)
    for wrong in (-1, 1 << 64):
        with pytest.raises(ValueError, match="does not fit into word"):
            kernel.checked((1, out, 4, wrong, 0, word, 5, 2.0), out.dtype)


@pytest.mark.gpu
def test_the_grid_has_a_thread_for_each_element(cupy):
    for n in (1, 255, 256, 257, 1000):
        x = cupy.ones(n, "float32")
        y = cupy.full(n, 7, "float32")
        activation(n, x, y, 0, 0.2)
        assert (y == 1).all()


@pytest.mark.gpu
def test_an_array_of_another_device_is_an_error(x, monkeypatch):
    from minigan.kernels.gpu import launch

    monkeypatch.setattr(launch, "current_device", lambda: 1)
    with pytest.raises(ValueError, match=r"p is on device 0, the current one is 1; .*Device\(0\)"):
        launch.kernel("normalise", "multiply")(x.size, x, x, x)


@pytest.mark.gpu
def test_arrays_of_other_shapes_are_refused(cupy):
    from minigan.kernels import gpu

    a, b = cupy.ones((2, 3)), cupy.ones((3, 2))
    for kernel in (gpu.multiply, gpu.paired_sums, gpu.product_sums, gpu.tanh_backward):
        with pytest.raises(ValueError, match=r"arrays of one shape are needed, got"):
            kernel(a, b)
    with pytest.raises(ValueError, match=r"a bias of shape \(3,\) does not fit 2 channels"):
        gpu.add_bias(b, cupy.ones(3))
