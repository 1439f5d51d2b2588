"""What the commands share: exit codes, and the types of their options."""

from __future__ import annotations

import argparse

DONE, FAILED, MISUSED = 0, 1, 2  # exit codes


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} should be a whole number of 1 or more")
    return int(text)


def seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 64:
        raise argparse.ArgumentTypeError(f"{text!r} should be a whole number of 0 or more")
    return int(text)
