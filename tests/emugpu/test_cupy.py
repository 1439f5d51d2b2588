"""CuPy on the emulated device: what it computes, and what is refused by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from . import rig as rigs

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("rig")]


@pytest.fixture
def cupy(rig: rigs.Rig) -> Any:
    return importlib.import_module("cupy")


A = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)
B = np.random.default_rng(1).standard_normal((5, 7)).astype(np.float32)
OPERATIONS: dict[str, Callable[..., Any]] = {
    "broadcasting": lambda xp, a, b: a[:, :, None] * b - a[:1, :, None],
    "scalars": lambda xp, a, b: (2 * a + 1) / 3,
    "exp": lambda xp, a, b: xp.exp(-xp.abs(a)),
    "log1p": lambda xp, a, b: xp.log1p(a * a),
    "tanh": lambda xp, a, b: xp.tanh(a),
    "sqrt": lambda xp, a, b: xp.sqrt(xp.abs(a)),
    "maximum": lambda xp, a, b: xp.maximum(a, 0.2 * a),
    "clip": lambda xp, a, b: xp.clip(a, -0.5, 0.5),
    "where": lambda xp, a, b: xp.where(a > 0, a, 0),
    "sum": lambda xp, a, b: a.sum(),
    "sum of columns": lambda xp, a, b: a.sum(axis=0),
    "mean of rows": lambda xp, a, b: a.mean(axis=1, keepdims=True),
    "variance": lambda xp, a, b: a.var(axis=(0, 1)),
    "maximum of columns": lambda xp, a, b: a.max(axis=0),
    "argmax": lambda xp, a, b: a.argmax(axis=1),
    "matmul": lambda xp, a, b: a @ b,
    "transposed matmul": lambda xp, a, b: b.T @ a.T,
    "matrix and vector": lambda xp, a, b: a @ b[:, 0],
    "dot": lambda xp, a, b: a[0].dot(a[1]),
    "batched matmul": lambda xp, a, b: xp.matmul(xp.stack([a, a + 1]), b),
    "batched transposed": lambda xp, a, b: xp.stack([a, a + 1]).transpose(0, 2, 1) @ a,
    "tensordot": lambda xp, a, b: xp.tensordot(xp.stack([a, a + 1]), b, 1),
    "einsum": lambda xp, a, b: xp.einsum("ij,jk->ki", a, b),
    "out": lambda xp, a, b: xp.matmul(a, b, out=xp.full((6, 7), xp.nan, a.dtype)),
    "out of a sum": lambda xp, a, b: xp.add(a, a, out=xp.empty_like(a)),
    "astype": lambda xp, a, b: (3 * a).astype(np.int32),
    "slices": lambda xp, a, b: a[1::2, ::-1] + 1,
    "concatenate": lambda xp, a, b: xp.concatenate([a, a + 1], axis=1),
    "repeat": lambda xp, a, b: a.repeat(2, axis=0),
    "pad": lambda xp, a, b: xp.pad(a, 1),
    "nonzero": lambda xp, a, b: xp.stack(xp.nonzero(a > 0)),
    "mask": lambda xp, a, b: a[a > 0],
    "take": lambda xp, a, b: xp.take(a, xp.asarray([2, 0]), axis=1),
    "fancy index": lambda xp, a, b: a[xp.asarray([0, 2, 4]), xp.asarray([1, 1, 3])],
    "finite": lambda xp, a, b: xp.isfinite(a).all(),
    "not finite": lambda xp, a, b: xp.isfinite(xp.log(a - a)).any(),
    "cumsum": lambda xp, a, b: xp.cumsum(a, axis=0),
    "large sum": lambda xp, a, b: xp.ones(100000, a.dtype).sum(),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_cupy_answers_as_numpy(cupy: Any, name: str, dtype: type) -> None:
    a, b = A.astype(dtype), B.astype(dtype)
    expected = OPERATIONS[name](np, a, b)
    found = OPERATIONS[name](cupy, cupy.asarray(a), cupy.asarray(b)).get()
    assert found.dtype == expected.dtype
    tolerance = 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_assignments(cupy: Any) -> None:
    def assign(xp: Any) -> Any:
        x = xp.zeros((4, 5))
        x[1:3, ::2] = 7
        x[x > 5] -= 2
        x[0] += xp.arange(5)
        return x

    assert np.array_equal(assign(cupy).get(), assign(np))


def test_the_rules_of_cupy_hold(cupy: Any) -> None:
    x = cupy.ones(3, np.float32)
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(x)
    with pytest.raises(TypeError, match="Unsupported type"):
        x + np.ones(3, np.float32)


def test_a_product_outside_its_arrays_is_an_error(cupy: Any) -> None:
    cublas, x = cupy.cuda.cublas, cupy.cuda.Memory(4 * 4)
    one = np.ones(1, np.float32).ctypes.data
    shape = (0, 0, 2, 2, 2)
    cublas.sgemm(1, *shape, one, x.ptr, 2, x.ptr, 2, one, x.ptr, 2)
    with pytest.raises(RuntimeError, match="not in one allocation"):
        cublas.sgemm(1, *shape, one, x.ptr, 3, x.ptr, 2, one, x.ptr, 2)


# ---- what is refused


def _capture(cupy: Any) -> None:
    with cupy.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()


def _jit(cupy: Any) -> None:
    importlib.import_module("cupyx.jit").rawkernel()


def _sparse(cupy: Any) -> None:
    sparse = importlib.import_module("cupyx.scipy.sparse")
    sparse.csr_matrix(cupy.eye(3)) @ cupy.eye(3)


REFUSED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "sort": ("Thrust", lambda cupy: cupy.sort(cupy.arange(3))),
    "argsort": ("Thrust", lambda cupy: cupy.argsort(cupy.arange(3))),
    "median": ("Thrust", lambda cupy: cupy.median(cupy.arange(3))),
    "cub": ("cupy.cuda.cub", lambda cupy: cupy.cuda.cub.device_reduce(None, None, None, None)),
    "accelerators": ("accelerators", lambda cupy: cupy._core.set_routine_accelerators(["cub"])),
    "fft": ("cuFFT", lambda cupy: cupy.fft.fft(cupy.arange(3.0))),
    "random": ("cupy.random.standard_normal", lambda cupy: cupy.random.standard_normal(3)),
    "generator": ("cupy.random.default_rng", lambda cupy: cupy.random.default_rng(0)),
    "state": ("cupy.random.RandomState", lambda cupy: cupy.random.RandomState(0)),
    "curand": ("cuRAND", lambda cupy: cupy.cuda.curand.createGenerator(100)),
    "solve": ("cuSOLVER", lambda cupy: cupy.linalg.solve(cupy.eye(3), cupy.ones(3))),
    "svd": ("cuSOLVER", lambda cupy: cupy.linalg.svd(cupy.eye(3))),
    "sparse": ("cuSPARSE", _sparse),
    "jit": ("cupyx.jit", _jit),
    "graph": ("runtime.streamBeginCapture", _capture),
    "managed": ("runtime.mallocManaged", lambda cupy: cupy.cuda.malloc_managed(8)),
    "nvcc": ("nvcc", lambda cupy: cupy.RawKernel("", "f", backend="nvcc").compile()),
    "half": ("no product", lambda cupy: cupy.eye(3, dtype="f2") @ cupy.eye(3, dtype="f2")),
    "cublas": ("cublas", lambda cupy: cupy.cuda.cublas.sger()),
    "runtime": ("runtime.hostRegister", lambda cupy: cupy.cuda.runtime.hostRegister(0, 0, 0)),
    "ipc": ("runtime.ipcGetMemHandle", lambda cupy: cupy.cuda.runtime.ipcGetMemHandle(0)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(cupy: Any, name: str) -> None:
    feature, use = REFUSED[name]
    with pytest.raises(RuntimeError, match=feature) as error:
        use(cupy)
    assert "the emulated device" in str(error.value)
