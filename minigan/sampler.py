"""A generator, and the latents and labels that it draws images from."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import random
from .backend import to_numpy
from .layers.arguments import one_of, positive
from .random import Key
from .sequential import Sequential, is_labels
from .spelling import Spelling

Array = Any

_LEAST_TRUNCATION = 0.01  # one normal value in 125 is that small: fewer, and drawing takes long


class Sampler(metaclass=Spelling):
    """Draws images from a generator.

    generator: latents (N, latent_dim), or (latents, labels), -> images.
    latents: "normal", N(0, 1), or "uniform", U(-1, 1).  seed: default that of mg.seed.
    """

    def __init__(
        self, generator: Sequential, *, latents: str = "normal", seed: int | None = None
    ) -> None:
        self.generator = self.sampler = generator
        self.latent_kind = one_of(latents, ("normal", "uniform"), "latents", "Sampler")
        self.seed = random.current_seed() if seed is None else int(seed)

    def sample(
        self,
        n: int,
        labels: Any = None,
        z: Any = None,
        seed: Any = None,
        truncation: float | None = None,
    ) -> np.ndarray:
        """n images as a float32 NumPy array in the generator's range, in inference mode.

        z (n, latent_dim) and labels (n,) are drawn when they are not given: the same for the same
        seed (default: the GAN's). truncation keeps the drawn z near 0, see `noise`: images that
        are more typical, and less varied.

        Raises ValueError for n below 1, z or labels that are not n, labels for a generator that
        takes none, and truncation of a z that is given.
        """
        positive(n, "n", "sample")
        if z is not None and truncation is not None:
            raise ValueError("sample: truncation is of latents that are drawn; leave out z or it")
        key = Key(self.seed if seed is None else int(seed), "sample")
        z = self.noise(n, key, truncation) if z is None else z
        if self.conditional:
            labels = self.random_labels(n, key) if labels is None else to_numpy(labels)
        elif labels is not None:
            raise ValueError("sample: this generator was trained without labels; leave them out")
        for name, given in (("z", z), ("labels", labels)):
            if given is not None and (np.ndim(given) < 1 or len(given) != n):
                raise ValueError(f"sample: {name} has shape {np.shape(given)}, but n is {n}")
        if self.conditional:
            z = (z, labels)
        return to_numpy(self.sampler.predict(z)).real.astype(np.float32)

    @property
    def conditional(self) -> bool:
        """Whether the networks take labels."""
        return is_conditional(self.generator)

    @property
    def classes(self) -> int | None:
        """How many classes the generator knows; None when it is not conditional."""
        return is_labels(self.generator, 1) if self.conditional else None

    @property
    def latent_dim(self) -> int:
        """The length of z."""
        shape = self.generator.input_shape
        return shape[0][0] if self.conditional else shape[0]

    @property
    def image_range(self) -> tuple[float, float] | None:
        """The range of the generator's last activation: tanh, sigmoid, or None for any other."""
        names = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}
        return names.get(self.generator.last_activation() or "")

    def noise(
        self, n: int, key: Key | np.random.Generator, truncation: float | None = None
    ) -> np.ndarray:
        """z (n, latent_dim), a NumPy array in float32 whatever the model's dtype and home.

        key: the draw's; or a generator that goes on: calls with 2 and 3 then give what 5 would.
        truncation: values beyond it are drawn anew until |z| <= truncation, 0.01 or more. A normal
        becomes a truncated normal (Brock, Donahue and Simonyan, "Large scale GAN training for high
        fidelity natural image synthesis", 2019, section 3.1), U(-1, 1) becomes
        U(-truncation, truncation).  Raises ValueError for a smaller truncation.
        """
        rng = key.child("z").generator() if isinstance(key, Key) else key
        size = n * self.latent_dim
        if truncation is None:
            values = self._values(rng, size)
        else:
            values = self._near(rng, size, truncation)
        return values.reshape(n, self.latent_dim)

    def _values(self, rng: np.random.Generator, size: int) -> np.ndarray:
        if self.latent_kind == "normal":
            return rng.standard_normal(size, dtype=np.float32)
        return rng.random(size, dtype=np.float32) * 2 - 1

    def _near(self, rng: np.random.Generator, size: int, limit: float) -> np.ndarray:
        """The next `size` values of the stream that lie within the limit."""
        if not limit >= _LEAST_TRUNCATION:
            raise ValueError(f"truncation={limit} should be {_LEAST_TRUNCATION} or more")
        values, found = np.empty(size, np.float32), 0
        while found < size:
            drawn = self._values(rng, size - found)  # never more than are missing
            kept = drawn[np.abs(drawn) <= np.float64(limit)]  # a float would be rounded to float32
            values[found : found + len(kept)] = kept
            found += len(kept)
        return values

    def random_labels(self, n: int, key: Key) -> np.ndarray:
        """n labels, a NumPy array (n,), each class as likely. key: the draw's."""
        return key.child("labels").generator().integers(self.classes or 1, size=n)


def is_conditional(model: Sequential) -> bool:
    """Whether a network takes (data, labels)."""
    return bool(model.input_shape) and isinstance(model.input_shape[0], tuple)
