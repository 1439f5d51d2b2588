"""What the commands share: exit codes, and the types of their options."""

from __future__ import annotations

import argparse
import math
from typing import Any

DONE, FAILED, MISUSED = 0, 1, 2  # exit codes


def count(text: str) -> int:
    """A whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} should be a whole number of 1 or more")
    return int(text)


def seed(text: str) -> int:
    """A whole number of 0 or more, in 64 bits."""
    if not text.isdecimal() or int(text) >= 1 << 64:
        raise argparse.ArgumentTypeError(f"{text!r} should be a whole number of 0 or more")
    return int(text)


def positive(text: str) -> float:
    """A finite number above 0."""
    value = _number(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text!r} should be a number above 0")
    return value


def at_least_0(text: str) -> float:
    """A finite number of 0 or more."""
    value = _number(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} should be a number of 0 or more")
    return value


def share(text: str) -> float:
    """A number of at least 0 and less than 1."""
    value = _number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} should be at least 0 and less than 1")
    return value


def interval(text: str) -> tuple[float, float]:
    """A:B, or one number for both ends."""
    low, colon, high = text.partition(":")
    ends = _number(low), _number(high if colon else low)
    if not -100 <= ends[0] <= ends[1] <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} should be low:high, as 0.8:1")
    return ends


def penalty(text: str) -> dict[str, Any]:
    """KIND or KIND:WEIGHT of a gradient penalty."""
    from ..penalties import GradientPenalty

    kind, colon, weight = text.partition(":")
    try:
        options: dict[str, Any] = {"weight": float(weight)} if colon else {}
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} should be a kind and a weight, as r1:5, or a kind alone"
        ) from None
    try:
        return GradientPenalty(kind, **options).config()
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} should be a number")
    return value
