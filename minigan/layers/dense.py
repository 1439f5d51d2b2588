"""Dense: a matrix product."""

from __future__ import annotations

from typing import Any

from ..kernels import ops
from .arguments import positive, show_shape
from .configuration import register
from .linear import Linear


@register
class Dense(Linear):
    """y = f(x @ kernel + bias): (N, in) -> (N, units), kernel (in, units), bias (units,).

    Derivation.  z[n,j] = sum_i x[n,i] K[i,j] + b[j], and dz = dL/dz.  Then

        dL/dx[n,i] = sum_j dz[n,j] K[i,j]          dx      = dz @ K^T
        dL/dK[i,j] = sum_n x[n,i] dz[n,j]          dkernel = x^T @ dz
        dL/db[j]   = sum_n dz[n,j]                 dbias   = sum of dz over n

    units: how many numbers come out.  use_bias: whether there is a bias.
    activation: the name of f, see Activation; None is f(z) = z.
    kernel_initializer, bias_initializer: an Initializer, its name ("he_normal") or its config.
    Raises ValueError for units below 1 and unknown names; build, for inputs that are not (N, in).

        >>> mg.Dense(10, activation="relu").build(784)
        (10,)
    """

    arguments = ("units", "use_bias", "activation", "kernel_initializer", "bias_initializer")

    def __init__(
        self,
        units: int,
        *,
        use_bias: bool = True,
        activation: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
    ) -> None:
        super().__init__(use_bias, activation, kernel_initializer, bias_initializer)
        self.units = positive(units, "units", "Dense")

    def setup(self, input_shape, key):
        if len(input_shape) != 1:
            raise ValueError(
                f"{self.name}: Dense takes (None, features), got {show_shape(input_shape)}; "
                "put Flatten() before it"
            )
        self.create((input_shape[0], self.units), self.units, key)
        return (self.units,)

    def product(self, x):
        return ops(x).matmul(x, self.params["kernel"])  # (N, in) @ (in, units)

    def product_dx(self, dz):
        return ops(dz).matmul(dz, self.params["kernel"].T)  # (N, units) @ (units, in)

    def product_dkernel(self, x, dz):
        return ops(dz).matmul(x.T, dz)  # (in, N) @ (N, units)
