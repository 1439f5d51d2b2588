"""Adversarial objectives, on the discriminator's logits.

D maximises and G minimises, but every value here is a loss to be minimised:

    value, dreal, dfake = objective.d_loss(real, fake)
    value, dfake        = objective.g_loss(fake)

real and fake are logits of any one shape (N, ...); dreal and dfake are the derivatives.
Expectations are means over the batch, each over its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import registry
from .kernels import ops
from .losses import bce_logits, softplus
from .spelling import Spelling

Array = Any


class Objective(metaclass=Spelling):
    """Base of the objectives that are sums of a term of real and a term of fake logits.

    d_loss takes None for the side that is not there, and then gives its term alone.
    logit_clip=c treats logits beyond ±c as ±c, with zero gradient.
    """

    def __init__(self, *, logit_clip: float | None = None) -> None:
        if logit_clip is not None and not logit_clip > 0:
            raise ValueError(f"logit_clip={logit_clip} should be positive, or None")
        self.logit_clip = logit_clip

    def d_loss(
        self, real: Array, fake: Array, real_target: Any = 1.0, fake_target: Any = 0.0
    ) -> tuple[Array, Array, Array]:
        """(value, dvalue/dreal, dvalue/dfake): cross-entropy of the logits with their targets.

        E[-log D(x)] + E[-log(1 - D(G(z)))] for the targets 1 and 0.  Goodfellow et al. (2014),
        equation 1, with the sign of a loss.
        """
        value, dreal, dfake = 0.0, None, None
        if real is not None:
            term, dreal = self._clipped(bce_logits, real, real_target)
            value = value + term
        if fake is not None:
            term, dfake = self._clipped(bce_logits, fake, fake_target)
            value = value + term
        return value, dreal, dfake

    def g_loss(self, fake: Array, real: Array = None, target: Any = 1.0) -> tuple[Array, Array]:
        """(value, dvalue/dfake)."""
        raise TypeError(f"{type(self).__name__} does not define g_loss()")

    def score(self, logits: Array) -> Array:
        """What D says about a batch, for the log: the mean of sigmoid(logits)."""
        return ops(logits).sigmoid(logits).mean()

    def config(self) -> dict[str, Any]:
        """The objective as JSON."""
        return {"name": registry.name_of("objective", NAMES, self), **vars(self)}

    def _clipped(self, loss: Any, logits: Array, target: Any) -> tuple[Array, Array]:
        """loss(logits clipped to ±logit_clip), and its derivative: zero beyond."""
        c = self.logit_clip
        if c is None:
            return loss(logits, target)
        low, high = logits.real < -c, logits.real > c
        value, d = loss(np.where(low, -c, np.where(high, c, logits)), target)
        return value, np.where(low | high, 0, d)


class NonSaturating(Objective):
    """G minimises -E[log D(G(z))].  Goodfellow et al. (2014), section 3.

    Where D rejects a fake, this has a gradient of size 1, and the minimax loss none.
    """

    def g_loss(self, fake, real=None, target=1.0):
        """E[-log sigmoid(fake)] for the target 1, derivative (sigmoid(fake) - target)/n."""
        return self._clipped(bce_logits, fake, target)


class Minimax(Objective):
    """G minimises E[log(1 - D(G(z)))].  Goodfellow et al. (2014), equation 1."""

    def g_loss(self, fake, real=None, target=1.0):
        """E[log(1 - sigmoid(l))] = -E[softplus(l)], derivative -sigmoid(l)/n. Takes no target."""

        def loss(logits: Array, _: Any) -> tuple[Array, Array]:
            return -softplus(logits).mean(), -ops(logits).sigmoid(logits) / logits.size

        return self._clipped(loss, fake, target)


NAMES: dict[str, type[Objective]] = {"non_saturating": NonSaturating, "minimax": Minimax}


def get(spec: Any) -> Objective:
    """An objective from an objective, a name, or its config."""
    return spec if isinstance(spec, Objective) else registry.make("objective", NAMES, spec)
