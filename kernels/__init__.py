"""The array code: `reference` is the definition, `cpu` the fast form on NumPy arrays.

`ops(array)` picks the set of kernels that an array's home runs on.  Both sets have the same
names; `using("reference")` runs everything on the definitions, for exact comparisons.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from . import cpu, reference

_SETS = {"cpu": cpu, "reference": reference}
_numpy_set: ModuleType = cpu


def ops(array: Any) -> ModuleType:
    """The kernels for this array: the fast ones for NumPy's, the definitions for any other's."""
    return _numpy_set if isinstance(array, np.ndarray) else reference


@contextmanager
def using(name: str) -> Iterator[None]:
    """Run NumPy arrays on the kernel set "cpu" or "reference" inside a with block."""
    global _numpy_set
    if name not in _SETS:
        raise ValueError(f"kernel set {name!r} is unknown; choose one of {', '.join(_SETS)}")
    before, _numpy_set = _numpy_set, _SETS[name]
    try:
        yield
    finally:
        _numpy_set = before
