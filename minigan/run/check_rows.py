"""The rows of `minigan check` that compare values, or state something."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..numeric import TOLERANCE, Row, verdict


def agree(what: str, quantity: str, found: Any, expected: Any, engine: str = "reference") -> Row:
    """A row: the largest difference relative to the largest expected value."""
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        note = f"shape {found.shape}, expected {expected.shape}"
        return Row(what, quantity, engine, float("nan"), 0.0, "FAIL", note)
    error = float(np.abs(found - expected).max()) / max(float(np.abs(expected).max()), 1e-300)
    tolerance = TOLERANCE.get(engine, 1e-12)
    return Row(what, quantity, engine, error, tolerance, verdict(error, tolerance))


def true(what: str, quantity: str, holds: Any, note: str) -> Row:
    """A row for a statement that holds or does not."""
    return Row(what, quantity, "statement", 0.0, 0.0, *(("ok", "") if holds else ("FAIL", note)))
