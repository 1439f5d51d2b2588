"""Adversarial objectives, on the discriminator's logits.

D maximises and G minimises, but every value here is a loss to be minimised:

    value, dreal, dfake = objective.d_loss(real, fake)
    value, dfake        = objective.g_loss(fake)

real and fake are logits of any one shape (N, ...); dreal and dfake are the derivatives.
Expectations E are means over the batch, each over its own.  D(x) stands for the logits here.

                        d_loss                                         g_loss
    NonSaturating       E[softplus(-D(x))] + E[softplus(D(G))]         E[softplus(-D(G))]
    Minimax             the same                                       -E[softplus(D(G))]
    LeastSquares        E[(D(x) - 1)^2]/2 + E[D(G)^2]/2                E[(D(G) - 1)^2]/2
    HingeGAN            E[max(0, 1 - D(x))] + E[max(0, 1 + D(G))]      -E[D(G)]
    WassersteinGAN      -E[D(x)] + E[D(G)]                             -E[D(G)]
    RelativisticPairing E[softplus(D(G) - D(x))]                       E[softplus(D(x) - D(G))]
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from . import registry
from .kernels import ops
from .layers.arguments import bound
from .losses import MSE, bce_logits, softplus
from .spelling import Spelling

Array = Any


class Objective(metaclass=Spelling):
    """Base of the objectives: d_loss is a term of the real and a term of the fake logits."""

    pairs: ClassVar[bool] = False  # compares D(x) with D(G(z)): both losses need both sides
    targeted: ClassVar[bool] = False  # knows targets other than 1 and 0
    relative: ClassVar[bool] = False  # a constant added to all of D's logits changes no d_loss
    margin: ClassVar[float | None] = None  # d_loss is flat where real logits exceed it

    def d_loss(
        self, real: Array, fake: Array, real_target: Any = 1.0, fake_target: Any = 0.0
    ) -> tuple[Array, Array, Array]:
        """(value, dvalue/dreal, dvalue/dfake).

        real, fake: D's logits (N, ...), each side of its own N; the derivatives have their shapes.
        A side that is None is left out of the value, and its derivative is None.
        real_target, fake_target: what D should say, numbers or arrays of the logits' shape;
        objectives that are not `targeted` do not look at them.
        """
        value, dreal, dfake = 0.0, None, None
        if real is not None:
            term, dreal = self.real_term(real, real_target)
            value = value + term
        if fake is not None:
            term, dfake = self.fake_term(fake, fake_target)
            value = value + term
        return value, dreal, dfake

    def real_term(self, real: Array, target: Any) -> tuple[Array, Array]:
        """(D's loss on real images, its derivative), from the logits `real` and their target.

        Raises TypeError where a subclass does not define it.
        """
        raise TypeError(f"{type(self).__name__} does not define real_term()")

    def fake_term(self, fake: Array, target: Any) -> tuple[Array, Array]:
        """(D's loss on fakes, its derivative), from the logits `fake` and their target.

        Raises TypeError where a subclass does not define it.
        """
        raise TypeError(f"{type(self).__name__} does not define fake_term()")

    def g_loss(self, fake: Array, real: Array = None, target: Any = 1.0) -> tuple[Array, Array]:
        """(value, dvalue/dfake), from `fake`, D's logits of fakes (N, ...).

        Only RelativisticPairing looks at real.  target: what D should say of fakes for G's sake, of
        those objectives that are `targeted`, but for Minimax.  Raises TypeError where a subclass
        does not define it.
        """
        raise TypeError(f"{type(self).__name__} does not define g_loss()")

    def constrain(self, params: dict[str, Array]) -> None:
        """What D's parameters, params, must satisfy after each update, enforced in place."""

    def score(self, logits: Array) -> Array:
        """What D says about a batch, for the log: the mean of its logits."""
        return logits.mean()

    def config(self) -> dict[str, Any]:
        """The objective as JSON."""
        return {"name": registry.name_of("objective", NAMES, self), **vars(self)}


class CrossEntropyGAN(Objective):
    """Base of NonSaturating and Minimax, which differ in G's loss.

    D minimises E[-log p(x)] + E[-log(1 - p(G(z)))], p = sigmoid of the logits: the cross-entropy
    with the targets 1 and 0.  Goodfellow et al. (2014), equation 1, with the sign of a loss.
    logit_clip=c treats logits beyond ±c as ±c, with zero gradient.  Raises ValueError for a c that
    is not positive.
    """

    targeted = True

    def __init__(self, *, logit_clip: float | None = None) -> None:
        self.logit_clip = bound(logit_clip, "logit_clip", type(self).__name__)

    def real_term(self, real, target):
        return self._clipped(bce_logits, real, target)

    def fake_term(self, fake, target):
        return self._clipped(bce_logits, fake, target)

    def score(self, logits):
        """The mean of sigmoid(logits)."""
        return ops(logits).sigmoid(logits).mean()

    def _clipped(self, loss: Any, logits: Array, target: Any) -> tuple[Array, Array]:
        """loss(logits clipped to ±logit_clip), and its derivative: zero beyond."""
        c = self.logit_clip
        if c is None:
            return loss(logits, target)
        low, high = logits.real < -c, logits.real > c
        value, d = loss(np.where(low, -c, np.where(high, c, logits)), target)
        return value, np.where(low | high, 0, d)


class NonSaturating(CrossEntropyGAN):
    """G minimises -E[log D(G(z))].  Goodfellow et al. (2014), section 3.

    Where D rejects a fake, this has a gradient of size 1, and the minimax loss none.
    Takes the arguments of CrossEntropyGAN: logit_clip.

        >>> value, dreal, dfake = mg.NonSaturating().d_loss(np.zeros(2), np.zeros(2))
        >>> f"{value:.4f}", dreal.tolist(), dfake.tolist()
        ('1.3863', [-0.25, -0.25], [0.25, 0.25])
    """

    def g_loss(self, fake, real=None, target=1.0):
        """E[-log sigmoid(fake)] for the target 1, derivative (sigmoid(fake) - target)/n."""
        return self._clipped(bce_logits, fake, target)


class Minimax(CrossEntropyGAN):
    """G minimises E[log(1 - D(G(z)))].  Goodfellow et al. (2014), equation 1.

    Takes the arguments of CrossEntropyGAN: logit_clip.
    """

    def g_loss(self, fake, real=None, target=1.0):
        """E[log(1 - sigmoid(l))] = -E[softplus(l)], derivative -sigmoid(l)/n. Takes no target."""

        def loss(logits: Array, _: Any) -> tuple[Array, Array]:
            return -softplus(logits).mean(), -ops(logits).sigmoid(logits) / logits.size

        return self._clipped(loss, fake, target)


class LeastSquares(Objective):
    """D's logits should be 1 on real images and 0 on fakes, in the mean square.

    Mao et al. (2017), equation 9 (a = 0, b = c = 1): E[(D(x) - 1)^2]/2 + E[D(G(z))^2]/2 for D,
    E[(D(G(z)) - 1)^2]/2 for G.

        >>> value, dfake = mg.LeastSquares().g_loss(np.array([1.0, 3.0]))
        >>> float(value), dfake.tolist()
        (1.0, [0.0, 1.0])
    """

    targeted = True

    def real_term(self, real, target):
        value, d = MSE()(real, target)
        return value / 2, d / 2

    fake_term = real_term

    def g_loss(self, fake, real=None, target=1.0):
        """E[(D(G(z)) - target)^2]/2, derivative (D(G(z)) - target)/n."""
        return self.real_term(fake, target)


class HingeGAN(Objective):
    """D wants a margin: E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))]; G minimises -E[D(G(z))].

    Lim and Ye (2017), Miyato et al. (2018), equation 16.  At the margin itself the gradient is 0.

        >>> value, dreal, dfake = mg.HingeGAN().d_loss(np.array([0.5, 2.0]), np.array([-1.0]))
        >>> float(value), dreal.tolist(), dfake.tolist()
        (0.25, [-0.5, 0.0], [0.0])
    """

    margin = 1.0

    def real_term(self, real, target):
        return _hinge(real, -1)

    def fake_term(self, fake, target):
        return _hinge(fake, 1)

    def g_loss(self, fake, real=None, target=1.0):
        """-E[D(G(z))], derivative -1/n."""
        return _mean(fake, -1)


class WassersteinGAN(Objective):
    """D's mean should be high on real images and low on fakes: -E[D(x)] + E[D(G(z))].

    Arjovsky et al. (2017), equation 2.  That is a distance only while D's slope is bounded: by
    GradientPenalty("wgan-gp") in the GAN, by SpectralNorm layers, or by clip=c, which after each
    update cuts every parameter of D to [-c, c] (algorithm 1 of the paper, c = 0.01).
    Raises ValueError for a clip that is not positive.

        >>> value, dfake = mg.WassersteinGAN().g_loss(np.array([1.0, 3.0]))
        >>> float(value), dfake.tolist()
        (-2.0, [-0.5, -0.5])
    """

    relative = True

    def __init__(self, *, clip: float | None = None) -> None:
        self.clip = bound(clip, "clip", "WassersteinGAN")

    def real_term(self, real, target):
        return _mean(real, -1)

    def fake_term(self, fake, target):
        return _mean(fake, 1)

    def g_loss(self, fake, real=None, target=1.0):
        """-E[D(G(z))], derivative -1/n."""
        return _mean(fake, -1)

    def constrain(self, params):
        """Every parameter cut to [-clip, clip]."""
        c = self.clip
        if c is None:
            return
        for p in params.values():
            p[...] = np.where(p.real > c, c, np.where(p.real < -c, -c, p))


class RelativisticPairing(Objective):
    """A real image should score higher than the fake it is paired with, and G turns that round.

    Jolicoeur-Martineau (2018); R3GAN, Huang et al. (2024), equation 2.  D maximises, and G
    minimises, E[f(D(x) - D(G(z)))] with f(t) = -log(1 + e^-t); G's own loss turns the pair round
    instead, as the non-saturating one does.  As losses

        d_loss = E[softplus(D(G(z)) - D(x))]         g_loss = E[softplus(D(x) - D(G(z)))]

    With p = sigmoid of what stands inside softplus, the derivative is +-p/n.
    Both losses raise ValueError unless they are given as many real logits as fake ones.

        >>> value, dreal, dfake = mg.RelativisticPairing().d_loss(np.zeros(2), np.zeros(2))
        >>> f"{value:.4f}", dreal.tolist(), dfake.tolist()
        ('0.6931', [-0.25, -0.25], [0.25, 0.25])
    """

    pairs = relative = True

    def d_loss(self, real, fake, real_target=1.0, fake_target=0.0):
        """(value, -p/n, p/n) with p = sigmoid(D(G(z)) - D(x))."""
        value, d = _softplus(self._difference(fake, real))
        return value, -d, d

    def g_loss(self, fake, real=None, target=1.0):
        """(value, -p/n) with p = sigmoid(D(x) - D(G(z))); real is D's logits of as many images."""
        value, d = _softplus(self._difference(real, fake))
        return value, -d

    def _difference(self, a: Array | None, b: Array | None) -> Array:
        if a is None or b is None or a.shape != b.shape:
            shapes = [None if x is None else x.shape for x in (a, b)]
            raise ValueError(
                "RelativisticPairing compares real with fake logits, as many of each; got "
                f"{shapes[0]} and {shapes[1]}"
            )
        return a - b


def _mean(logits: Array, sign: int) -> tuple[Array, Array]:
    """E[±l] and its derivative ±1/n."""
    return sign * logits.mean(), logits * 0 + sign / logits.size


def _hinge(logits: Array, sign: int) -> tuple[Array, Array]:
    """E[max(0, 1 + sign l)] and its derivative, sign/n inside the margin."""
    inside = 1 + sign * logits.real > 0
    value = np.where(inside, 1 + sign * logits, 0).mean()
    return value, np.where(inside, sign / logits.size, 0).astype(logits.dtype)


def _softplus(t: Array) -> tuple[Array, Array]:
    """E[softplus(t)] and its derivative sigmoid(t)/n."""
    return softplus(t).mean(), ops(t).sigmoid(t) / t.size


NAMES: dict[str, type[Objective]] = {
    "non_saturating": NonSaturating,
    "minimax": Minimax,
    "least_squares": LeastSquares,
    "hinge": HingeGAN,
    "wasserstein": WassersteinGAN,
    "relativistic_pairing": RelativisticPairing,
}


def get(spec: Any) -> Objective:
    """An objective from an objective, a name, or its config. Raises ValueError for other names."""
    return spec if isinstance(spec, Objective) else registry.make("objective", NAMES, spec)
