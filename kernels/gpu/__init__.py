"""The kernels on CuPy arrays: cuBLAS products, and the CUDA kernels of kernels/cuda.

Same names as `reference`.  This package imports CuPy: nothing imports it before a CuPy array asks.
"""

from ..reference import matmul, resample2d
from .arrays import empty_like
from .conv import (
    conv2d,
    conv2d_adjoint,
    conv2d_adjoint_gradients,
    conv2d_dkernel,
    conv2d_gradients,
)
from .elementwise import (
    adam,
    add_bias,
    biased_activation,
    biased_activation_backward,
    leaky_relu,
    leaky_relu_backward,
    multiply,
    scaled_mask,
    sigmoid,
    sigmoid_backward,
    sigmoid_tangent,
    silu,
    silu_backward,
    silu_tangent,
    tanh,
    tanh_backward,
    tanh_tangent,
)
from .normalisation import normalise, normalise_dx, scale_shift, subtract_scaled
from .pooling import (
    average_pool2d,
    average_pool2d_adjoint,
    max_pool2d,
    max_pool2d_adjoint,
    max_pool2d_tangent,
    upsample2d,
    upsample2d_adjoint,
)
from .reduce import batch_moments, column_sums, paired_sums, product_sums, sums

__all__ = [
    "adam",
    "add_bias",
    "average_pool2d",
    "average_pool2d_adjoint",
    "batch_moments",
    "biased_activation",
    "biased_activation_backward",
    "column_sums",
    "conv2d",
    "conv2d_adjoint",
    "conv2d_adjoint_gradients",
    "conv2d_dkernel",
    "conv2d_gradients",
    "empty_like",
    "leaky_relu",
    "leaky_relu_backward",
    "matmul",
    "max_pool2d",
    "max_pool2d_adjoint",
    "max_pool2d_tangent",
    "multiply",
    "normalise",
    "normalise_dx",
    "paired_sums",
    "product_sums",
    "resample2d",
    "scale_shift",
    "scaled_mask",
    "sigmoid",
    "sigmoid_backward",
    "sigmoid_tangent",
    "silu",
    "silu_backward",
    "silu_tangent",
    "subtract_scaled",
    "sums",
    "tanh",
    "tanh_backward",
    "tanh_tangent",
    "upsample2d",
    "upsample2d_adjoint",
]
