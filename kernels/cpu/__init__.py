"""The fast kernels on NumPy arrays: cache-blocked and threaded. Same names as `reference`."""

from .conv import conv2d, conv2d_adjoint, conv2d_dkernel
from .elementwise import (
    adam,
    add_bias,
    leaky_relu,
    leaky_relu_backward,
    multiply,
    sigmoid,
    sigmoid_backward,
    tanh,
    tanh_backward,
)
from .normalisation import (
    batch_moments,
    batch_norm_dx,
    column_sums,
    normalise,
    product_sums,
    scale_shift,
)
from .pooling import (
    average_pool2d,
    average_pool2d_adjoint,
    max_pool2d,
    max_pool2d_adjoint,
    upsample2d,
    upsample2d_adjoint,
)
from .product import matmul

__all__ = [
    "adam",
    "add_bias",
    "average_pool2d",
    "average_pool2d_adjoint",
    "batch_moments",
    "batch_norm_dx",
    "column_sums",
    "conv2d",
    "conv2d_adjoint",
    "conv2d_dkernel",
    "leaky_relu",
    "leaky_relu_backward",
    "matmul",
    "max_pool2d",
    "max_pool2d_adjoint",
    "multiply",
    "normalise",
    "product_sums",
    "scale_shift",
    "sigmoid",
    "sigmoid_backward",
    "tanh",
    "tanh_backward",
    "upsample2d",
    "upsample2d_adjoint",
]
