"""How the oracle tests compare: errors relative to the size of the array, and a table of the worst.

Both sides compute in float64, so they differ by the rounding of sums in another order, some 1e-15
of an array's size.  The limit is far above that and far below any error of a formula, an epsilon
or a single precision that slipped in (6e-8).
"""

from __future__ import annotations

from typing import Any

import numpy as np

LIMIT = 1e-11

worst: dict[str, tuple[float, str, int]] = {}  # of each layer: (error, array, comparisons)


def close(
    layer: str, what: str, ours: Any, theirs: Any, limit: float = LIMIT, terms: float = 0.0
) -> None:
    """Fail unless ours equals theirs to `limit` times the largest number in theirs.

    terms: the size of the terms that a result is the difference of, where they may cancel.
    """
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.dtype == np.float64, f"{layer} {what}: {ours.dtype}"
    assert theirs.dtype == np.float64, f"{layer} {what}: the oracle computes in {theirs.dtype}"
    assert ours.shape == theirs.shape, f"{layer} {what}: {ours.shape}, oracle {theirs.shape}"
    scale = max(np.abs(theirs).max(initial=0), terms)
    difference = np.abs(ours - theirs).max(initial=0)
    error = float(difference / scale) if scale else float(difference)
    found, where, count = worst.get(layer, (0.0, what, 0))
    worst[layer] = max((found, where), (error, what)) + (count + 1,)
    assert error <= limit, f"{layer} {what}: relative error {error:.2e}"
