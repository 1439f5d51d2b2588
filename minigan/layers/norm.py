"""BatchNorm."""

from __future__ import annotations

from typing import Any

from ..initializers import get
from ..kernels import ops
from .base import Cache, Layer, register, show_shape


@register
class BatchNorm(Layer):
    """Normalises each channel over the batch: (N, C), (N, T, C) or (N, H, W, C).

    y = gamma * xhat + beta,  xhat = (x - mean) / sqrt(var + epsilon).  Ioffe and Szegedy (2015).
    In training mean and var are the batch's own, over all axes but the last; in inference they are
    the running ones, which `commit` moves:

        moving = momentum * moving + (1 - momentum) * batch

    momentum and epsilon default to Keras's 0.99 and 1e-3.  PyTorch's momentum 0.1 is 0.9 here.
    unbiased=True moves the running variance by the unbiased one, as PyTorch does.

    Derivation.  Per channel, with m values, s = 1/sqrt(var + epsilon) and g = dL/dxhat = gamma dy:

        dL/dgamma = sum(dy * xhat)                 dL/dbeta = sum(dy)
        dxhat_i/dx_j = s * (delta_ij - 1/m - xhat_i xhat_j / m)

    (the mean moves by 1/m; and s by ds/dx_j = -s^2 xhat_j / m, since dvar/dx_j = 2 (x_j - mean)/m).
    Summed with g:  dx_j = s * (g_j - mean(g) - xhat_j mean(g * xhat)), that is

        dx = gamma * s * (dy - mean(dy) - xhat * mean(dy * xhat))

    In inference mean and var are constants:  dx = gamma * s * dy.
    """

    arguments = ("momentum", "epsilon", "unbiased", "gamma_initializer", "beta_initializer")
    owns_output = True

    def __init__(
        self,
        *,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        unbiased: bool = False,
        gamma_initializer: Any = "ones",
        beta_initializer: Any = "zeros",
    ) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ValueError(f"BatchNorm: momentum={momentum} should lie between 0 and 1")
        if not 0 < epsilon < 0.1:
            raise ValueError(
                f"BatchNorm: epsilon={epsilon} should be small and positive; "
                "was it meant to be the momentum?"
            )
        self.momentum, self.epsilon, self.unbiased = momentum, epsilon, bool(unbiased)
        self.gamma_initializer = get(gamma_initializer)
        self.beta_initializer = get(beta_initializer)

    def setup(self, input_shape, key):
        if len(input_shape) not in (1, 2, 3):
            raise ValueError(
                f"{self.name}: BatchNorm takes 2 to 4 axes, got {show_shape(input_shape)}"
            )
        channels = (input_shape[-1],)
        fans = (input_shape[-1], input_shape[-1])
        self.add("gamma", channels, self.gamma_initializer, key, fans)
        self.add("beta", channels, self.beta_initializer, key, fans)
        zeros = self.params["beta"] * 0
        self.state = {"moving_mean": zeros, "moving_variance": zeros + 1}
        return input_shape

    def compute(self, x, training, rng, keep):
        k, gamma, beta = ops(x), self.params["gamma"], self.params["beta"]
        if training:
            mean, var = k.batch_moments(x)
        else:
            mean, var = self.state["moving_mean"], self.state["moving_variance"]
        s = (var + self.epsilon) ** -0.5
        xhat = k.normalise(x, mean, s)
        y = k.scale_shift(xhat, gamma, beta, out=None if keep else xhat)  # gamma * xhat + beta
        saved = (xhat, s, training) if keep else None
        return y, Cache(saved, (mean, var, x.size // x.shape[-1]) if training else None)

    def pullback(self, dy, saved, to_input, to_params):
        xhat, s, training = saved
        k, gamma = ops(dy), self.params["gamma"]
        m = dy.size // dy.shape[-1]
        grads = {}
        if to_params or training:
            grads["gamma"] = k.product_sums(dy, xhat)  # sum(dy * xhat)
            grads["beta"] = k.column_sums(dy)  # sum(dy)
        if not to_input:
            return None, grads
        if not training:
            return k.scale_shift(dy, gamma * s, 0), grads  # dx = gamma * s * dy
        # dx = gamma * s * (dy - mean(dy) - xhat * mean(dy * xhat))
        return k.batch_norm_dx(dy, xhat, gamma * s, grads["beta"] / m, grads["gamma"] / m), grads

    def commit(self, cache):
        if cache.state is None:
            return
        mean, var, m = cache.state
        if self.unbiased:
            var = var * (m / max(m - 1, 1))
        for name, batch in (("moving_mean", mean), ("moving_variance", var)):
            moving = self.state[name]
            moving += (1 - self.momentum) * (batch - moving)
