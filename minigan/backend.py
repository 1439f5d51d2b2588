"""The array-module switch: the same code on NumPy arrays and on CuPy arrays.

Layers and kernels follow the arrays they are given.  `use` decides only where new arrays (weights,
latents, images) are born.  CuPy is imported when it is asked for, never before.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any

import numpy as np

Array = Any
DTYPES = ("float32", "float64", "complex128")

_module: ModuleType | None = None


def use(name: str) -> ModuleType:
    """Choose where new arrays are born: "numpy", "cupy", or "auto" (a usable GPU, else NumPy).

    Returns the array module.  RuntimeError when "cupy" is asked for and no GPU can be used.
    """
    global _module
    if name == "numpy":
        _module = np
    elif name == "cupy":
        _module = _cupy()
    elif name == "auto":
        try:
            _module = _cupy()
        except RuntimeError:
            _module = np
    else:
        raise ValueError(f"backend {name!r} is unknown; choose 'numpy', 'cupy' or 'auto'")
    return _module


def xp() -> ModuleType:
    """The array module in use; at first that of MINIGAN_BACKEND, or NumPy."""
    return _module or use(os.environ.get("MINIGAN_BACKEND", "").strip() or "numpy")


def _cupy() -> ModuleType:
    """CuPy, after it has shown that it can compute."""
    try:
        import cupy
    except ImportError as error:
        raise RuntimeError(
            f"the cupy backend needs CuPy, which cannot be imported ({error}).\n"
            "Install minigan[cuda12] or minigan[cuda13] to match your CUDA driver, "
            "or use the numpy backend."
        ) from error
    try:
        ones = cupy.ones((2, 2), dtype="float32")
        if float((ones @ ones).sum()) != 8.0:
            raise RuntimeError("a matrix product gave a wrong result")
    except Exception as error:  # CuPy has its own error class for each library below it
        raise RuntimeError(
            f"CuPy {cupy.__version__} is installed but no GPU can be used: {error}\n"
            "Check the NVIDIA driver (nvidia-smi), or use the numpy backend."
        ) from error
    return cupy


def to_numpy(array: Array) -> np.ndarray:
    """The array on the host. A NumPy array is returned as it is."""
    return array.get() if hasattr(array, "get") else np.asarray(array)


def home(array: Array) -> ModuleType:
    """The array module that this array belongs to."""
    return np if isinstance(array, np.ndarray) else sys.modules["cupy"]


def asarray(array: Any, dtype: Any = None) -> Array:
    """The array where new arrays are born."""
    return xp().asarray(array, dtype=dtype)


def check_dtype(dtype: Any) -> np.dtype:
    """The dtype as a NumPy dtype; TypeError for any that a model cannot have."""
    try:
        found = None if dtype is None else np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found.name not in DTYPES:
        raise TypeError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    return found
