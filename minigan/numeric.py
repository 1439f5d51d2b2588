"""Numeric derivatives, and the comparison of a hand-written gradient with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

STEP = 1e-20
TOLERANCE = {"complex": 1e-11, "five-point": 1e-6}
NULL = 1e-12  # a gradient declared null is smaller than this
ELEMENTS = 200  # arrays up to this size are compared element by element
FEW = 8  # and up to this one where a step is dear: three directions of two signs may all be equal
DIRECTIONS = 3

Array = Any
Loss = Callable[[dict[str, Array]], Any]


@dataclass(frozen=True)
class Row:
    """One comparison. error is relative to the largest element (or the norm) of the gradient."""

    what: str
    quantity: str
    engine: str
    error: float
    tolerance: float
    verdict: str  # "ok", "null" (declared zero, and zero), "none" (not written), "FAIL"
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether the comparison passed."""
        return self.verdict != "FAIL"


@dataclass
class Report:
    """The comparisons of a check; prints as a table."""

    rows: list[Row] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether there were comparisons and all passed."""
        return bool(self.rows) and all(row.ok for row in self.rows)

    @property
    def max_error(self) -> float:
        """The worst relative error of those against the numeric derivative."""
        return max((r.error for r in self.rows if r.engine in TOLERANCE), default=float("nan"))

    @property
    def failures(self) -> list[Row]:
        """The comparisons that failed."""
        return [row for row in self.rows if not row.ok]

    def __str__(self) -> str:
        head = ("what", "quantity", "engine", "error", "verdict")
        cells = [
            (r.what, r.quantity, r.engine, f"{r.error:.1e}", f"{r.verdict} {r.note}".strip())
            for r in self.rows
        ]
        return format_table(head, cells)


def format_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Columns padded to their widest cell."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head) - 1)]
    lines = [
        "  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in [head, *rows]
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


class Numeric:
    """Derivatives of a loss along directions of one named array, by the engine."""

    def __init__(
        self, loss: Loss, values: dict[str, Array], name: str, engine: str, step: float = 1e-3
    ) -> None:
        """step: of the differences; the complex step is STEP."""
        self.loss, self.values, self.name, self.engine = loss, values, name, engine
        self.step = step

    def along(self, direction: Array) -> float:
        """d loss / d step along the direction."""
        if self.engine == "complex":
            return float(self._at(1j * STEP, direction).imag / STEP)
        h = self.step
        f = [self._at(k * h, direction) for k in (-2, -1, 1, 2)]
        return float((f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h))

    def _at(self, step: complex, direction: Array) -> Any:
        moved = dict(self.values)
        moved[self.name] = moved[self.name] + step * direction
        return self.loss(moved)

    def gradient(self, shape: tuple[int, ...]) -> Array:
        """Every element of the gradient."""
        found = np.zeros(shape)
        for index in np.ndindex(shape):
            unit = np.zeros(shape)
            unit[index] = 1
            found[index] = self.along(unit)
        return found


def compare(
    what: str, name: str, g: Array, numeric: Numeric, rng: np.random.Generator, null: bool,
    elements: int = ELEMENTS, largest: float = 1.0,
) -> Row:  # fmt: skip
    """The hand-written gradient g of one array against the numeric one.

    A null gradient is one below NULL, or below NULL times the `largest` of the other gradients.
    Arrays of up to `elements` elements are compared one by one, larger ones along directions.
    """
    engine, tolerance = numeric.engine, TOLERANCE[numeric.engine]
    directions = rng.choice([-1.0, 1.0], (DIRECTIONS, *g.shape))
    if null:
        size = max(float(np.abs(g).max()), *(abs(numeric.along(u)) for u in directions))
        size /= max(1.0, largest)
        note = "" if size < NULL else f"declared zero, but of size {size:.1e}"
        return Row(what, name, engine, size, NULL, "FAIL" if note else "null", note)

    if g.size <= elements:
        measured = numeric.gradient(g.shape)
        scale = max(float(np.abs(measured).max()), float(np.abs(g).max()))

        def measure(candidate: Array) -> Array:
            return candidate
    else:
        measured = np.array([numeric.along(u) for u in directions])
        scale = float(np.sqrt((g * g).sum())) or float(np.abs(measured).max())

        def measure(candidate: Array) -> Array:
            return np.array([(candidate * u).sum() for u in directions])

    def error_of(candidate: Array) -> float:
        return float(np.abs(measured - measure(candidate)).max()) / scale

    if scale < NULL:
        note = "vacuous: zero by hand and numerically; if it truly is, declare it: null=[...]"
        return Row(what, name, engine, 0.0, tolerance, "FAIL", note)
    error = error_of(g)
    if not error <= tolerance:
        if elements < g.size <= 20_000:
            measured = numeric.gradient(g.shape)
        note = diagnose(g, measured) if measured.shape == g.shape else "along random directions"
        return Row(what, name, engine, error, tolerance, "FAIL", note)
    wrong = {"0": 0 * g, "-g": -g, "2g": 2 * g, "a rearranged g": np.roll(g.ravel(), 1)}
    if g.size == 1:
        del wrong["a rearranged g"]
    passing = [k for k, c in wrong.items() if error_of(c.reshape(g.shape)) <= 1e3 * tolerance]
    if passing:
        note = f"vacuous: {', '.join(passing)} would pass too"
        return Row(what, name, engine, error, tolerance, "FAIL", note)
    return Row(what, name, engine, error, tolerance, "ok")


def diagnose(g: Array, numeric: Array) -> str:
    """Where two gradients differ most, and what the pattern of the differences suggests."""
    difference = np.abs(g - numeric)
    worst = tuple(int(i) for i in np.unravel_index(int(difference.argmax()), g.shape))
    text = f"worst at {worst}: {g[worst]:.6g} by hand, {numeric[worst]:.6g} numerically"
    bad = difference > 1e-9 * np.abs(numeric).max()
    large = np.abs(numeric) > 1e-6 * np.abs(numeric).max()
    if not np.any(g):
        return f"{text}; all zero by hand: a missing term"
    ratios = (g[large] / numeric[large]).ravel()
    if len(ratios) > 1 and np.ptp(ratios) < 1e-6 * np.abs(ratios).max():
        hint = "a sign" if abs(ratios[0] + 1) < 1e-6 else "a missing or doubled mean or factor"
        return f"{text}; every element is off by the factor {ratios[0]:.6g}: {hint}"
    if g.ndim >= 3 and g.shape[1] > 2 and g.shape[2] > 2 and not bad[:, 1:-1, 1:-1].any():
        return f"{text}; only borders differ: padding"
    if np.allclose(np.sort(g.ravel()), np.sort(numeric.ravel()), rtol=1e-6, atol=0):
        return f"{text}; the same values in other places: an axis or an order"
    return f"{text}; {int(bad.sum())} of {g.size} elements differ"


def verdict(error: float, tolerance: float) -> str:
    """ "ok" or "FAIL"."""
    return "ok" if error <= tolerance else "FAIL"


def same(a: Any, b: Any) -> bool:
    """Equal to the bit."""
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple):
        return all(same(p, q) for p, q in zip(a, b, strict=True))
    return (a is None and b is None) or np.array_equal(a, b)
