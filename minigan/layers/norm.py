"""Normalisation: BatchNorm, LayerNorm, InstanceNorm, PixelNorm.  They differ in one choice.

The choice is the group of values that are normalised together:

    BatchNorm     a channel, over the whole batch
    InstanceNorm  a channel of one sample
    LayerNorm     a sample, or one position of it (all its channels)
    PixelNorm     one position of a sample, without subtracting the mean

In a group of m values, with s = 1/sqrt(var + epsilon):

    xhat = s * (x - mean)          y = gamma * xhat + beta,  a gamma and a beta for each channel

Backward.  s and the mean move with x_j: dmean/dx_j = 1/m, and ds/dx_j = -s^2 xhat_j / m since
dvar/dx_j = 2 (x_j - mean)/m.  So dxhat_i/dx_j = s * (delta_ij - 1/m - xhat_i xhat_j / m), a
symmetric matrix P.  With g = gamma * dy, the gradient of xhat,

    dx = P g = s * (g - mean(g) - xhat * mean(g * xhat))
    dgamma = sum(dy * xhat), dbeta = sum(dy)         over all that gamma and beta meet

where gamma is the same in the whole group, g may be dy and the factor gamma * s.

Second order.  Along tx, xhat moves by txhat = P tx, s by -a s where a = s mean(tx * xhat), and the
output by ty = gamma * txhat.  With dg = gamma * ddy, the product rule on the line of dx gives

    ddx = P dg - s * (xhat * mean(g * txhat) + txhat * mean(g * xhat)) - a * dx
    ddgamma = sum(ddy * xhat + dy * txhat), ddbeta = sum(ddy)

Without subtracted mean (PixelNorm), drop mean(g), mean(tx) and mean(dg).  With constant mean and s
(BatchNorm in inference) all is linear in x: dx = s g, txhat = s tx, ddx = s dg.
"""

from __future__ import annotations

from typing import Any

from ..initializers import get
from ..kernels import ops
from .arguments import Array, one_of, show_shape
from .base import Cache, Layer
from .configuration import register


class Normalization(Layer):
    """Base of the four: the derivation above, for the group that `axes` names.

    Raises ValueError for an epsilon that is not between 0 and 0.1.
    """

    axes: tuple[int, ...] | None = None  # summed over in a group; None: all but the last
    centred = True  # the mean is subtracted
    scaled = True  # gamma and beta
    gamma_outside = True  # gamma is the same in the whole group
    running = False  # commit moves running statistics
    owns_output = True

    def __init__(
        self, epsilon: float, gamma_initializer: Any = "ones", beta_initializer: Any = "zeros"
    ) -> None:
        super().__init__()
        if not 0 < epsilon < 0.1:
            raise ValueError(
                f"{type(self).__name__}: epsilon={epsilon} should be small and positive; "
                "was it meant to be the momentum?"
            )
        self.epsilon = epsilon
        self.gamma_initializer = get(gamma_initializer)
        self.beta_initializer = get(beta_initializer)

    def setup(self, input_shape, key):
        if self.scaled:
            channels, fans = (input_shape[-1],), (input_shape[-1], input_shape[-1])
            self.add("gamma", channels, self.gamma_initializer, key, fans)
            self.add("beta", channels, self.beta_initializer, key, fans)
        return input_shape

    # the group

    def sums(self, a: Array, b: Array) -> tuple[Array, Array]:
        """(sum of a, sum of a * b) over each group; the first is 0 if no mean is subtracted."""
        k = ops(a)
        if self.axes is None:
            return k.paired_sums(a, b)
        return k.sums(a, self.axes) if self.centred else 0, k.sums(k.multiply(a, b), self.axes)

    def size(self, a: Array, total: Array) -> int:
        """m: how many elements of a went into each element of `total`, the groups' sums."""
        return a.size // total.size

    def moments(self, x: Array, training: bool) -> tuple[Array, Array, bool]:
        """(mean, variance, whether they are constants) of each group of x.

        training: as for forward; only BatchNorm asks.
        """
        k = ops(x)
        total = k.sums(x, self.axes)
        m = self.size(x, total)
        mean = total / m if self.centred else total * 0
        centred = k.normalise(x, mean, 1)
        return mean, k.sums(k.multiply(centred, centred), self.axes) / m, False

    # the passes

    def compute(self, x, training, rng, keep):
        mean, var, constant = self.moments(x, training)
        s = (var + self.epsilon) ** -0.5
        xhat = ops(x).normalise(x, mean, s)
        y = self._scale(xhat, out=None if keep else xhat, shift=True)  # gamma * xhat + beta
        state = (mean, var, self.size(x, mean)) if self.running and not constant else None
        return y, Cache((xhat, s, constant) if keep else None, state)

    def pullback(self, dy, saved, to_input, to_params):
        dx, grads, _ = self._pull(dy, saved, to_input, to_params)
        return dx, grads

    def pushforward(self, tx, saved):
        xhat, s, constant = saved
        k = ops(tx)
        if constant:
            txhat, a = k.scale_shift(tx, s, 0), None
        else:
            total, with_xhat = self.sums(tx, xhat)
            m = self.size(tx, with_xhat)
            txhat = k.normalise_dx(tx, xhat, s, total / m, with_xhat / m)  # P tx
            a = s * with_xhat / m
        return self._scale(txhat), (txhat, a)

    def pullback_kept(self, dy, saved):
        dx, _, totals = self._pull(dy, saved, True, False)
        return dx, (dy, dx, totals)

    def pullback_tangent(self, ddy, saved, moved, kept, to_input, to_params):
        (xhat, s, constant), (txhat, a), (dy, dx, totals) = saved, moved, kept
        k = ops(ddy)
        (g, factor), (dg, _) = self._weighted(dy, s), self._weighted(ddy, s)
        sum_dg, sum_dgx = self.sums(dg, xhat)
        sum_dgx = sum_dgx + self.sums(g, txhat)[1]  # of dg * xhat + g * txhat
        dgrads = {}
        if to_params and self.scaled:
            dgrads = self._gradients(sum_dg, sum_dgx, (ddy, xhat), (dy, txhat))
        if not to_input:
            return None, dgrads
        if constant:
            return k.scale_shift(dg, factor, 0), dgrads
        m = self.size(dg, sum_dgx)
        ddx = k.normalise_dx(dg, xhat, factor, sum_dg / m, sum_dgx / m)
        return k.subtract_scaled(ddx, dx, a, txhat, factor * totals[1] / m), dgrads

    def _pull(self, dy: Array, saved: Any, to_input: bool, to_params: bool) -> Any:
        """(dx, gradients, the sums of g and g * xhat over each group), as far as asked for."""
        xhat, s, constant = saved
        k, grads = ops(dy), dict[str, Array]()
        totals: Any = None
        g, factor = self._weighted(dy, s)
        if to_params or not constant:
            totals = self.sums(g, xhat)
        if to_params and self.scaled:
            grads = self._gradients(*totals, (dy, xhat))
        if not to_input:
            return None, grads, totals
        if constant:
            return k.scale_shift(g, factor, 0), grads, totals
        m = self.size(g, totals[1])
        return k.normalise_dx(g, xhat, factor, totals[0] / m, totals[1] / m), grads, totals

    def _scale(self, xhat: Array, out: Array | None = None, shift: bool = False) -> Array:
        """gamma * xhat, + beta if asked."""
        if not self.scaled:
            return xhat
        beta = self.params["beta"] if shift else 0
        return ops(xhat).scale_shift(xhat, self.params["gamma"], beta, out=out)

    def _weighted(self, dy: Array, s: Array) -> tuple[Array, Array]:
        """g and the factor before P: (dy, gamma * s), or (gamma * dy, s) if gamma is inside."""
        if not self.scaled:
            return dy, s
        gamma = self.params["gamma"]
        return (dy, gamma * s) if self.gamma_outside else (ops(dy).scale_shift(dy, gamma, 0), s)

    def _gradients(self, sum_g: Array, sum_gx: Array, *products: Any) -> dict[str, Array]:
        """dgamma = sum(a * b + ...) over the products, dbeta = sum of the first a, by channel.

        Where gamma is outside, the groups' sums are sums of dy, and need only be added up.
        """
        k = ops(sum_gx)
        if self.gamma_outside:
            return {"gamma": k.column_sums(sum_gx), "beta": k.column_sums(sum_g)}
        dgamma = sum(k.product_sums(a, b) for a, b in products)
        return {"gamma": dgamma, "beta": k.column_sums(products[0][0])}


@register
class BatchNorm(Normalization):
    """Normalises each channel over the batch: (N, C), (N, T, C) or (N, H, W, C), the same shape.

    y = gamma * xhat + beta,  xhat = (x - mean) / sqrt(var + epsilon).  Ioffe and Szegedy (2015).
    In training mean and var are the batch's own, over all axes but the last; in inference they are
    the running ones, which `commit` moves:

        moving = momentum * moving + (1 - momentum) * batch

    momentum and epsilon default to Keras's 0.99 and 1e-3.  PyTorch's momentum 0.1 is 0.9 here.
    unbiased=True moves the running variance by the unbiased one, as PyTorch does.
    gamma_initializer, beta_initializer: an Initializer, its name or its config.

    Derivation: at the top of this file.  With gamma outside,

        dx = gamma * s * (dy - mean(dy) - xhat * mean(dy * xhat))

    and in inference, where mean and var are constants, dx = gamma * s * dy.

    Raises ValueError for a momentum outside [0, 1] and an epsilon that is not between 0 and 0.1;
    build, for inputs of other axes.
    """

    arguments = ("momentum", "epsilon", "unbiased", "gamma_initializer", "beta_initializer")
    running = True

    def __init__(
        self,
        *,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        unbiased: bool = False,
        gamma_initializer: Any = "ones",
        beta_initializer: Any = "zeros",
    ) -> None:
        super().__init__(epsilon, gamma_initializer, beta_initializer)
        if not 0 <= momentum <= 1:
            raise ValueError(f"BatchNorm: momentum={momentum} should lie between 0 and 1")
        self.momentum, self.unbiased = momentum, bool(unbiased)

    def setup(self, input_shape, key):
        if len(input_shape) not in (1, 2, 3):
            raise ValueError(
                f"{self.name}: BatchNorm takes 2 to 4 axes, got {show_shape(input_shape)}"
            )
        super().setup(input_shape, key)
        zeros = self.params["beta"] * 0
        self.state = {"moving_mean": zeros, "moving_variance": zeros + 1}
        return input_shape

    def moments(self, x, training):
        if training:
            return *ops(x).batch_moments(x), False
        return self.state["moving_mean"], self.state["moving_variance"], True

    def commit(self, cache):
        if cache.state is None:
            return
        mean, var, m = cache.state
        if self.unbiased:
            var = var * (m / max(m - 1, 1))
        for name, batch in (("moving_mean", mean), ("moving_variance", var)):
            moving = self.state[name]
            moving += (1 - self.momentum) * (batch - moving)


@register
class LayerNorm(Normalization):
    """Normalises within a sample: (N, ..., C), the same shape.  Ba et al. (2016).

    over="position": the C channels of each position (Keras's axis=-1).  over="sample": all values
    of a sample, as critics trained with a gradient penalty use it instead of BatchNorm, which
    would tie the samples together (Gulrajani et al., 2017).  gamma and beta are by channel.

    gamma varies inside the group:  dx = P (gamma * dy).

    epsilon, gamma_initializer, beta_initializer: as for BatchNorm.
    Raises ValueError for another `over`, and an epsilon that is not between 0 and 0.1; build, for
    inputs without channels.
    """

    arguments = ("over", "epsilon", "gamma_initializer", "beta_initializer")
    gamma_outside = False

    def __init__(
        self,
        *,
        over: str = "position",
        epsilon: float = 1e-3,
        gamma_initializer: Any = "ones",
        beta_initializer: Any = "zeros",
    ) -> None:
        super().__init__(epsilon, gamma_initializer, beta_initializer)
        self.over = one_of(over, ("position", "sample"), "over", "LayerNorm")

    def setup(self, input_shape, key):
        if not input_shape:
            raise ValueError(f"{self.name}: LayerNorm takes 2 axes or more, got (None,)")
        last = len(input_shape)  # the channels' axis, behind that of the batch
        self.axes = (last,) if self.over == "position" else tuple(range(1, last + 1))
        return super().setup(input_shape, key)


@register
class InstanceNorm(Normalization):
    """Normalises each channel of each sample over its positions: (N, ..., C), the same shape.

    Ulyanov et al. (2016).  epsilon defaults to 1e-3, as that of the other layers here; PyTorch's is
    1e-5, and it has no gamma and beta unless asked.

    gamma is outside, as in BatchNorm:  dx = gamma * P dy.

    gamma_initializer, beta_initializer: as for BatchNorm.  Raises ValueError for an epsilon that is
    not between 0 and 0.1; build, for inputs (N, C), which have no positions.
    """

    arguments = ("epsilon", "gamma_initializer", "beta_initializer")

    def __init__(
        self,
        *,
        epsilon: float = 1e-3,
        gamma_initializer: Any = "ones",
        beta_initializer: Any = "zeros",
    ) -> None:
        super().__init__(epsilon, gamma_initializer, beta_initializer)

    def setup(self, input_shape, key):
        if len(input_shape) < 2:
            raise ValueError(
                f"{self.name}: InstanceNorm takes (None, time, channels) or (None, height, width, "
                f"channels), got {show_shape(input_shape)}"
            )
        self.axes = tuple(range(1, len(input_shape)))
        return super().setup(input_shape, key)


@register
class PixelNorm(Normalization):
    """y = x / sqrt(mean(x^2) + epsilon) over the channels of each position.

    (N, ..., C) -> (N, ..., C).
    Karras et al. (2018), section 4.2.  No parameters.  With m = C and no mean,

        dx = s * (dy - y * mean(dy * y))

    Raises ValueError for an epsilon that is not between 0 and 0.1; build, for inputs without
    channels.
    """

    arguments = ("epsilon",)
    centred = scaled = owns_output = False  # backward reads y, which is xhat

    def __init__(self, *, epsilon: float = 1e-8) -> None:
        super().__init__(epsilon)

    def setup(self, input_shape, key):
        if not input_shape:
            raise ValueError(f"{self.name}: PixelNorm takes 2 axes or more, got (None,)")
        self.axes = (len(input_shape),)
        return super().setup(input_shape, key)
