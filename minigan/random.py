"""The one source of randomness: every draw is a function of (seed, purpose, step, layer).

A `Key` names a draw.  The same key gives the same numbers, whatever was drawn before, so a draw can
be repeated for a check, and a checkpoint stores integers instead of a generator's state.  The
numbers come from Philox (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), a
block cipher of a counter: the key holds the seed and the purpose, the counter's top word the step.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .kernels.cpu import pool, threads

_seed = 0
_calls = itertools.count()  # numbers the draws that nobody named


@dataclass(frozen=True)
class Key:
    """The name of a draw."""

    seed: int
    purpose: str
    step: int = 0
    layer: str = ""

    def child(self, layer: str) -> Key:
        """The key of a layer inside this one."""
        return replace(self, layer=f"{self.layer}.{layer}" if self.layer else layer)

    def words(self) -> tuple[int, int]:
        """Philox's 128-bit key: the seed, and a hash of purpose and layer."""
        digest = hashlib.blake2b(f"{self.purpose}\0{self.layer}".encode(), digest_size=8).digest()
        return self.seed % (1 << 64), int.from_bytes(digest, "little")

    def philox(self, block: int = 0) -> np.random.Philox:
        """The bit generator, at the start of this key's stream, or at a later block of 4 words."""
        seed, name = self.words()
        return np.random.Philox(key=seed | name << 64, counter=(self.step << 192) + block)

    def keep_mask(self, shape: tuple[int, ...], rate: float) -> np.ndarray:
        """A boolean array, each element True with probability 1 - rate.

        Each element compares 16 bits of the stream with round(rate * 2^16): the probability is
        right to 2^-17, and two bytes an element are a quarter of the cost of a float.
        """
        size, least = math.prod(shape), round(rate * (1 << 16))
        mask = pool.empty((size,), bool)

        def share(first: int, last: int) -> None:  # blocks of 4 words, 16 elements
            words = self.philox(first).random_raw(4 * (last - first)).astype("<u8", copy=False)
            part = mask[16 * first : 16 * last]
            np.greater_equal(words.view("<u2")[: len(part)], least, out=part)

        threads.run(share, -(-size // 16), size * 1e-9)
        return mask.reshape(shape)

    def generator(self) -> np.random.Generator:
        """A NumPy generator at the start of this key's stream."""
        return np.random.Generator(self.philox())


def seed(value: int) -> None:
    """Set the seed that new layers, models and GANs take when they are not given one.

    value: a whole number; 0 before the first call.  Unnamed draws are counted from the start again.
    """
    global _seed, _calls
    _seed = int(value)
    _calls = itertools.count()


def current_seed() -> int:
    """The seed set by `seed`, 0 at first."""
    return _seed


def as_key(rng: Any, purpose: str) -> Key:
    """A key from what a caller may give: a Key, a seed, a NumPy generator, or None (a new draw)."""
    if isinstance(rng, Key):
        return rng
    if rng is None:
        return Key(_seed, f"unnamed {purpose}", next(_calls))
    if isinstance(rng, np.random.Generator):
        return Key(int(rng.integers(1 << 63)), purpose)
    if isinstance(rng, (int, np.integer)):
        return Key(int(rng), purpose)
    kind = type(rng).__name__
    raise TypeError(f"rng is a {kind}; give a minigan Key, an int, a NumPy Generator or None")
