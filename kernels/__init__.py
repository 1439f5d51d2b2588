"""The array code: `reference` is the definition, `cpu` and `gpu` the fast forms.

`ops(array)` picks the set of kernels that an array's home runs on.  All sets have the same names;
`using("reference")` runs everything on NumPy arrays on the definitions, for exact comparisons, and
`using("exact")` on the fast kernels without the convolutions that trade a digit for speed
(kernels/cpu/toom.py; so does MINIGAN_EXACT=1 in the environment).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from . import cpu, reference
from .cpu.plan import exactly
from .cpu.threads import one_blas_thread

_SETS = {"cpu": cpu, "exact": cpu, "reference": reference}
_numpy_set: ModuleType = cpu


def ops(array: Any) -> ModuleType:
    """The kernels for this array: the CPU's for NumPy's, the GPU's for CuPy's."""
    if isinstance(array, np.ndarray):
        return _numpy_set
    if "cupy" in sys.modules and isinstance(array, sys.modules["cupy"].ndarray):
        return _gpu_set()
    return reference


@cache
def _gpu_set() -> ModuleType:
    """Imports CuPy: for those who have its arrays."""
    from . import gpu

    return gpu


@contextmanager
def using(name: str) -> Iterator[None]:
    """Run NumPy arrays on the kernels "cpu", "exact" or "reference" inside a with block."""
    global _numpy_set
    if name not in _SETS:
        raise ValueError(f"kernel set {name!r} is unknown; choose one of {', '.join(_SETS)}")
    before, _numpy_set = _numpy_set, _SETS[name]
    try:
        with exactly() if name == "exact" else nullcontext():
            yield
    finally:
        _numpy_set = before


def steady() -> AbstractContextManager[None]:
    """A with block for many kernels in a row: what each would set up and undo is held meanwhile."""
    return one_blas_thread()
