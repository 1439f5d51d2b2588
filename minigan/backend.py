"""The array-module switch: the same code on NumPy arrays and on CuPy arrays.

Layers and kernels follow the arrays they are given.  `use` decides only where new arrays (weights,
images) are born.  Draws are made on the host and moved, or (dropout's masks) on the GPU from the
same counters, so both backends see the same numbers.
CuPy is imported when it is asked for, never before.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

Array = Any
DTYPES = ("float32", "float64", "complex128")
NO_MEMORY = (  # how CuPy, cuBLAS, CUDA's runtime and its driver call it
    "OutOfMemoryError",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "cudaErrorMemoryAllocation",
    "CUDA_ERROR_OUT_OF_MEMORY",
)
ALIGNMENT = 256  # bytes, of each array in an upload: what CUDA gives its own allocations

_module: ModuleType | None = None
_proven: ModuleType | None = None  # CuPy, once it has shown that it can compute


def use(name: str) -> ModuleType:
    """Choose where new arrays are born: "numpy", "cupy", or "auto" (a usable GPU, else NumPy).

    name: one of the three; ValueError for another.  Returns the array module.  RuntimeError when
    "cupy" is asked for and no GPU can be used: it says what is missing.  "auto" says on stderr what
    it chose, and why.  Which GPU: the one that CuPy regards as current (cupy.cuda.Device(1).use(),
    or CUDA_VISIBLE_DEVICES).
    """
    global _module
    if name == "auto":
        _module, why = choose()
        print(f"minigan: backend auto chose {_module.__name__}: {why}", file=sys.stderr)
    else:
        _module = module_named(name, probe=True)
    return _module


def module_named(name: str, probe: bool = False) -> ModuleType:
    """The array module of the backend "numpy" or "cupy"; RuntimeError if no GPU can be used.

    A GPU is tried if `probe` says so, or if none has been found usable before.
    """
    global _proven
    if name not in ("numpy", "cupy"):
        raise ValueError(f"backend {name!r} is unknown; choose 'numpy', 'cupy' or 'auto'")
    if name == "numpy":
        return np
    if probe or _proven is None:
        from .gpu import probed

        _proven = probed()
    return _proven


def choose() -> tuple[ModuleType, str]:
    """(CuPy if a GPU can be used, else NumPy; why)."""
    try:
        cupy = module_named("cupy", probe=True)
    except RuntimeError as error:
        return np, str(error).splitlines()[0]
    from .gpu import name_of_device

    return cupy, name_of_device()


def xp() -> ModuleType:
    """The array module in use; at first that of MINIGAN_BACKEND, or NumPy."""
    if _module is None:
        named = os.environ.get("MINIGAN_BACKEND", "").strip()
        try:
            use(named or "numpy")
        except (ValueError, RuntimeError) as error:
            raise type(error)(f"MINIGAN_BACKEND={named}: {error}") from None
    assert _module is not None
    return _module


def to_numpy(array: Array) -> np.ndarray:
    """The array on the host. A NumPy array is returned as it is.

    array: of NumPy or CuPy, or what numpy.asarray takes.

        >>> mg.to_numpy(mg.asarray([1, 2], "float32")).tolist()
        [1.0, 2.0]
    """
    return array.get() if hasattr(array, "get") else np.asarray(array)


def home(array: Array) -> ModuleType:
    """The array module that this array belongs to: NumPy for what is no array."""
    return sys.modules["cupy"] if on_gpu(array) else np


def on_gpu(array: Any) -> bool:
    """Whether this is a CuPy array."""
    return type(array).__module__.partition(".")[0] == "cupy"


def asarray(array: Any, dtype: Any = None) -> Array:
    """The array where new arrays are born, see `use`. dtype: of the result; None keeps its own."""
    return xp().asarray(array, dtype=dtype)


def move(tree: Any, module: ModuleType) -> Any:
    """The arrays of a tuple, list or dictionary (or one alone) at this home; None stays None.

    What is there already stays as it is.  All that goes to the GPU goes in one copy: a transfer of
    a few numbers takes as long as one of a few kilobytes.
    """
    if module is np:
        return _mapped(tree, lambda a: to_numpy(a) if on_gpu(a) else a)
    leaves: list[np.ndarray] = []
    _mapped(tree, lambda a: a if on_gpu(a) else leaves.append(np.asarray(a)))
    uploaded = _uploaded(leaves, module)
    return _mapped(tree, lambda a: a if on_gpu(a) else next(uploaded))


def _mapped(tree: Any, function: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _mapped(part, function) for name, part in tree.items()}
    if isinstance(tree, (tuple, list)):
        return type(tree)(_mapped(part, function) for part in tree)
    return None if tree is None else function(tree)


def _uploaded(arrays: list[np.ndarray], module: ModuleType) -> Iterator[Array]:
    """The arrays on the GPU, as views into one vector of bytes."""
    starts, end = [], 0
    for a in arrays:
        starts.append(end)
        end += -(-a.nbytes // ALIGNMENT) * ALIGNMENT
    staged = np.empty(end, np.uint8)
    for start, a in zip(starts, arrays, strict=True):
        staged[start : start + a.nbytes] = np.ascontiguousarray(a).reshape(-1).view(np.uint8)
    there = module.asarray(staged) if arrays else staged
    for start, a in zip(starts, arrays, strict=True):
        yield there[start : start + a.nbytes].view(a.dtype).reshape(a.shape)


def fetched(scalars: list[dict[str, Any]]) -> list[dict[str, float]]:
    """The numbers behind these dictionaries of scalars; those on a GPU come in one copy."""
    there = [v for logs in scalars for v in logs.values() if on_gpu(v)]
    found = iter(to_numpy(home(there[0]).stack(there)).tolist() if there else [])
    return [
        {name: next(found) if on_gpu(v) else float(v) for name, v in logs.items()}
        for logs in scalars
    ]


class Constant:
    """A fixed array of a layer, and its copies by dtype and home, each made once."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self._copies: dict[Any, Array] = {}

    def like(self, other: Array) -> Array:
        """The array in the (real) dtype and at the home of another."""
        dtype = other.real.dtype
        key = (dtype.name, other.device.id if on_gpu(other) else None)
        if key not in self._copies:
            self._copies[key] = home(other).asarray(self.array.astype(dtype))
        return self._copies[key]


@contextmanager
def room_for(batch: int, what: str) -> Iterator[None]:
    """Inside the block, a GPU that runs out of memory is told of with a batch size to try.

    What the block held is let go first: a smaller batch may be tried at once.
    """
    try:
        yield
        return
    except Exception as error:
        text = f"{type(error).__name__} {error}"
        if not any(name in text for name in NO_MEMORY):
            raise
        traceback.clear_frames(error.__traceback__)
    raise out_of_memory(batch, what)


def out_of_memory(batch: int, what: str) -> MemoryError:
    """The error for a step that did not fit into the GPU's memory."""
    from .gpu import memory

    free, total = memory()
    advice = (
        f"try a batch size of {batch // 2}"
        if batch > 1
        else "the network is too large for this GPU"
    )
    return MemoryError(
        f"{what}: a batch of {batch} does not fit into the GPU's memory "
        f"({total / 2**30:.1f} GiB, {free / 2**30:.1f} GiB free); {advice}"
    )


def check_dtype(dtype: Any) -> np.dtype:
    """The dtype as a NumPy dtype; TypeError for any that a model cannot have."""
    try:
        found = None if dtype is None else np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found.name not in DTYPES:
        raise TypeError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    return found
