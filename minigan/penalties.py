"""Penalties on D's slope, and their exact gradient without automatic differentiation.

Let g(x) = dD(x)/dx, which D's backward pass gives, be penalised by P = E[phi(g)].  Its gradient by
D's parameters theta needs the derivative of a backward pass.  With v = dP/dg held fixed,

    dP/dtheta = v . dg/dtheta = d(v . dD/dx)/dtheta = d/dh [dD(x + h v)/dtheta]  at h = 0,

since derivatives commute: it is the derivative of D's parameter gradient as x moves along v, which
is `backward_tangent` with dy = 1, ddy = 0 and tx = v.  And since backward is linear in dy, ddy =
dlogits adds the gradient of D's ordinary loss: one pass gives both.  A D step with a penalty on its
real or fake images costs, for those images,

    forward, backward to the input, tangent, backward_tangent (one input and two kernel passes)

six products for each layer, where the ordinary step makes three.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from . import schedules
from .backend import home
from .layers.arguments import one_of, positive
from .layers.base import Cache
from .schedules import Setting
from .sequential import Sequential
from .spelling import Spelling

Array = Any
EVERYWHERE = slice(None)
PLACES = {"wgan-gp": "between", "r1": "real", "r2": "fake"}


class GradientPenalty(metaclass=Spelling):
    """A penalty on g = dD/dx, image by image; |g| is the norm over all of an image's values.

    kind="wgan-gp": weight * E[(|g| - 1)^2] at points between real images and fakes, x = e real +
        (1 - e) fake with e ~ U(0, 1) for each pair.  Gulrajani et al. (2017), equation 3.
    kind="r1": weight/2 * E[|g|^2] on the real images.  Mescheder et al. (2018), equation 9.
    kind="r2": the same on the fakes.
    weight: lambda of the first, gamma of the others.  Both papers use 10.  Or a Cosine of the GAN's
        steps (minigan/schedules.py), as R3GAN lets gamma fall.
    every=k: only in every k-th step, k times as strong (Karras et al., 2020, "lazy").

    Where |g| = 0 the first has no derivative; 0 is taken.  D should have no BatchNorm: it ties the
    images of a batch together, and g is then not the slope at one image.

    Raises ValueError for another kind, a negative weight, and an `every` below 1.

        >>> value, v = mg.GradientPenalty("r1", weight=10.0)(np.array([[3.0, 4.0]]))
        >>> float(value), v.tolist()
        (125.0, [[30.0, 40.0]])
    """

    def __init__(self, kind: str = "wgan-gp", *, weight: Setting = 10.0, every: int = 1) -> None:
        self.kind = one_of(kind, tuple(PLACES), "kind", "GradientPenalty")
        self.weight = schedules.check(weight, "GradientPenalty: weight", 0.0)
        self.every = positive(every, "every", "GradientPenalty")

    @property
    def place(self) -> str:
        """Where it is taken: on the "real" images, the "fake" ones, or "between"."""
        return PLACES[self.kind]

    def at(self, step: int) -> GradientPenalty:
        """This penalty with the weight that it has in a step, counted from 0."""
        present = copy.copy(self)
        present.weight = schedules.at(self.weight, step)
        return present

    def __call__(self, g: Array) -> tuple[Array, Array]:
        """(P, v = dP/dg) of the gradients g (N, ...), with the strength of a step that has it.

        Raises ValueError if the weight has a schedule: penalty.at(step)(g) says of which step.
        """
        if isinstance(self.weight, schedules.Cosine):
            raise ValueError("this penalty's weight has a schedule: call penalty.at(step)(g)")
        n, axes = len(g), tuple(range(1, g.ndim))
        strength = self.weight * self.every
        squares = (g * g).sum(axis=axes, keepdims=True)  # |g|^2, (N, 1, ...)
        if self.kind != "wgan-gp":
            return strength / 2 * squares.mean(), strength / n * g
        norm = squares**0.5
        excess = norm - 1
        direction = g / (norm + (norm == 0))  # g/|g|, or 0
        return strength * (excess * excess).mean(), 2 * strength / n * excess * direction

    def config(self) -> dict[str, Any]:
        """The penalty as JSON."""
        weight = schedules.config(self.weight)
        return {"kind": self.kind, "weight": weight, "every": self.every}


def get(spec: Any) -> list[GradientPenalty]:
    """Penalties from None, a penalty, a kind, a config, or a list of those."""
    if spec is None:
        return []
    if isinstance(spec, (list, tuple)):
        return [penalty for part in spec for penalty in get(part)]
    if isinstance(spec, GradientPenalty):
        return [spec]
    if isinstance(spec, type):
        raise TypeError(f"GAN: penalty={spec.__name__} is a class; write GradientPenalty() instead")
    return [GradientPenalty(**spec) if isinstance(spec, Mapping) else GradientPenalty(spec)]


def penalised_backward(
    D: Sequential, dlogits: Array, cache: Cache, terms: list[tuple[GradientPenalty, slice]]
) -> tuple[Any, Any]:
    """(D's gradients, P): of sum(dlogits * logits) + P, from the cache of one forward pass.

    P is the sum of the penalties on the rows of the batch that stand beside them.  g is the
    gradient of the sum of all the batch's logits: of each image's own logit, unless a BatchNorm in
    D ties the images together.
    """
    if not terms:
        return D.backward(dlogits, cache, wrt="params")[1], 0.0
    gradient, first = D.input_gradient(dlogits * 0 + 1, cache)
    g = images_of(gradient)
    v, value = home(g).zeros_like(g), 0.0
    for penalty, rows in terms:
        term, dg = penalty(g[rows])
        value, v[rows] = value + term, v[rows] + dg
    direction = (v, None) if isinstance(gradient, tuple) else v  # labels do not move
    return D.backward_tangent(first, dlogits, direction, cache, wrt="params")[1], value


def images_of(x: Any) -> Array:
    """The images (or latents) of what a network takes: of (images, labels) the first."""
    return x[0] if isinstance(x, tuple) else x
