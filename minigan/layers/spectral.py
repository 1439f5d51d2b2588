"""SpectralNorm: a Dense layer or a convolution whose kernel is divided by its largest stretch."""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np

from ..backend import asarray, home
from .arguments import Array
from .base import Cache, Layer
from .configuration import bare_class, from_config, register
from .linear import Linear

TINY = 1e-12  # keeps a kernel of zeros from dividing by zero


class Stretch(NamedTuple):
    """sigma, its derivative by the matrix, and the next u."""

    sigma: Array
    gradient: Array  # (rows, out)
    u: Array  # (out,); of a kernel of zeros the present one


@register
class SpectralNorm(Layer):
    """The layer with kernel / sigma instead of its kernel.  Miyato et al. (2018).

    layer: a Dense layer or a convolution, not built; a copy of it is taken.  Shapes are its own, as
    (N, in) -> (N, units).  With the kernel as a matrix W, (all else, outputs), and
    a unit vector u that the state keeps, one power iteration estimates the largest singular value:

        a = W u,  v = a/|a|        b = W^T v,  sigma = |b|,  u' = b/sigma

    `commit` moves u to u', so that sigma approaches the singular value from below as training goes
    on.  Training and inference compute the same.  A kernel of zeros has no such value: it gives
    zeros, and a gradient so steep that training hardly recovers, so do not start there.

    Derivation.  sigma = |W^T v|, so dsigma = u' . (dW^T v + W^T dv), where
    dv = (I - v v^T) dW u / |a|.  Collected by dW, with c = W u':

        dsigma/dW = v u'^T + (c - v (v.c)) u^T / |a|

    The second term is what v's own dependence on W adds; it vanishes when u and v are singular
    vectors (c = sigma v), where this is Miyato's equation 12.  With W/sigma = What and its gradient
    G, from the layer inside:

        dL/dW = (G - sum(G * What) dsigma/dW) / sigma

    Second order.  The parameters stay while x moves along tx, so sigma stays: dG/dh goes through
    the same linear map.

    Raises TypeError for any other layer, ValueError for one that is built.

        >>> mg.SpectralNorm(mg.Conv2D(64, 4, strides=2, padding="same")).build((28, 28, 1))
        (14, 14, 64)
    """

    arguments = ("layer",)

    def __init__(self, layer: Linear) -> None:
        super().__init__()
        inner = from_config(layer) if isinstance(layer, dict) else layer
        if not isinstance(inner, Linear):
            raise TypeError(
                "SpectralNorm: takes a Dense layer or a convolution, got "
                f"{getattr(inner, '__name__', type(inner).__name__)}{bare_class(inner)}"
            )
        if inner.output_shape is not None:
            raise ValueError(
                f"SpectralNorm: {inner.name} is built already, and building it again would replace "
                "its weights; wrap it first, then build"
            )
        self.layer = copy.deepcopy(inner)  # a layer may be wrapped twice, and is then two

    def setup(self, input_shape, key):
        shape = self.layer.build(input_shape, self.dtype, key)
        self.params, self.layer.params = self.layer.params, {}
        kernel = self.params["kernel"]
        u = key.child("u").generator().standard_normal(self._matrix(kernel).shape[1])
        u = (u / np.sqrt((u * u).sum())).astype(self.dtype)
        self.state = {"u": asarray(u)}
        return shape

    def compute(self, x, training, rng, keep):
        stretch = self.stretch()
        inner = self.divided(stretch.sigma)
        y, cache = inner.compute(x, training, rng, keep)
        saved = (inner, cache.saved, stretch) if keep else None
        return y, Cache(saved, stretch.u if training else None)

    def divided(self, sigma: Array) -> Linear:
        """The layer inside, with kernel / sigma instead of its kernel."""
        inner = copy.copy(self.layer)
        inner.dtype = self.dtype
        inner.params = {**self.params, "kernel": self.params["kernel"] / sigma}
        return inner

    def stretch(self) -> Stretch:
        """sigma of the present kernel and u, as derived above."""
        w, u = self._matrix(self.params["kernel"]), self.state["u"]  # (rows, out), (out,)
        a = w @ u
        length = norm(a)
        v = a / length
        b = v @ w
        sigma = norm(b)
        following = b / sigma
        c = w @ following
        gradient = v[:, None] * following + ((c - v * (v * c).sum()) / length)[:, None] * u
        u = home(w).where(sigma.real > 2 * TINY, following, u)
        return Stretch(sigma, gradient, u)

    def pullback(self, dy, saved, to_input, to_params):
        inner, own, stretch = saved
        dx, grads = inner.pullback(dy, own, to_input, to_params)
        return dx, self._through(grads, inner, stretch)

    def pushforward(self, tx, saved):
        inner, own, _ = saved
        return inner.pushforward(tx, own)

    def pullback_kept(self, dy, saved):
        inner, own, _ = saved
        return inner.pullback_kept(dy, own)

    def pullback_tangent(self, ddy, saved, moved, kept, to_input, to_params):
        inner, own, stretch = saved
        ddx, dgrads = inner.pullback_tangent(ddy, own, moved, kept, to_input, to_params)
        return ddx, self._through(dgrads, inner, stretch)

    def commit(self, cache):
        if cache.state is not None:
            self.state["u"][...] = cache.state

    def _through(
        self, grads: dict[str, Array], inner: Linear, stretch: Stretch
    ) -> dict[str, Array]:
        """The gradient by the kernel from that by kernel/sigma."""
        if "kernel" not in grads:
            return grads
        g, normed = self._matrix(grads["kernel"]), self._matrix(inner.params["kernel"])
        g = (g - (g * normed).sum() * stretch.gradient) / stretch.sigma
        return {**grads, "kernel": self._kernel(g)}

    def _matrix(self, kernel: Array) -> Array:
        """The kernel as (all else, outputs); a transposed convolution stores outputs first."""
        if getattr(self.layer, "transposed", False):
            kernel = kernel.swapaxes(-1, -2)
        return kernel.reshape(-1, kernel.shape[-1])

    def _kernel(self, matrix: Array) -> Array:
        """_matrix undone."""
        shape = self.params["kernel"].shape
        if getattr(self.layer, "transposed", False):
            return matrix.reshape(*shape[:-2], shape[-1], shape[-2]).swapaxes(-1, -2)
        return matrix.reshape(shape)

    # a model looks at these

    @property
    def activation(self) -> str | None:
        """That of the layer inside."""
        return self.layer.activation

    def with_activation(self, activation: str | None) -> SpectralNorm:
        """This layer with another activation, sharing its parameters and state."""
        other = copy.copy(self)
        other.layer = self.layer.with_activation(activation)
        return other

    @property
    def owns_output(self) -> bool:  # type: ignore[override]
        """As the layer inside."""
        return self.layer.owns_output


def norm(a: Array) -> Array:
    """|a|, never quite zero, and analytic in a."""
    return ((a * a).sum() + TINY**2) ** 0.5
