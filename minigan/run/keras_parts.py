"""Definitions that `minigan export RUN --keras` copies into its source. Never imported."""

from __future__ import annotations

import keras
from keras import layers


@keras.saving.register_keras_serializable("minigan")
class SpectralNorm(layers.Wrapper):
    """f(A(kernel / sigma) x + bias) for a layer A without bias (Miyato et al., 2018).

    v = W u / |W u|, sigma = |W^T v| for the kernel as a matrix W (all else, outputs); training
    moves u to W^T v / sigma.  axis: that of the outputs in the kernel.
    """

    def __init__(self, layer, axis, use_bias=True, activation=None, **options):
        super().__init__(layer, **options)
        self.axis, self.use_bias = axis, use_bias
        self.activation = keras.activations.get(activation)

    def build(self, shape):
        super().build(shape)
        outputs = self.layer.kernel.shape[self.axis]
        if self.use_bias:
            channels = self.layer.compute_output_shape(shape)[-1]
            self.bias = self.add_weight(shape=(channels,), initializer="zeros", name="bias")
        self.u = self.add_weight(
            shape=(outputs,), initializer="random_normal", trainable=False, name="u"
        )

    def call(self, x, training=False):
        kernel = keras.ops.moveaxis(keras.ops.convert_to_tensor(self.layer.kernel), self.axis, -1)
        matrix = keras.ops.reshape(kernel, (-1, kernel.shape[-1]))
        v = keras.ops.matmul(matrix, self.u)
        v = v / keras.ops.maximum(keras.ops.norm(v), 1e-12)
        stretched = keras.ops.matmul(v, matrix)
        sigma = keras.ops.maximum(keras.ops.norm(stretched), 1e-12)
        if training:
            self.u.assign(keras.ops.stop_gradient(stretched / sigma))
        y = self.layer(x) / sigma
        return self.activation(y + self.bias if self.use_bias else y)

    def get_config(self):
        activation = keras.activations.serialize(self.activation)
        own = {"axis": self.axis, "use_bias": self.use_bias, "activation": activation}
        return {**super().get_config(), **own}


def average_pool(x, size, strides, pads):
    """The mean of those pixels of each window that lie inside the image."""
    pads = ((0, 0), *pads, (0, 0))
    means, shares = (
        keras.ops.average_pool(keras.ops.pad(each, pads), size, strides)
        for each in (x, keras.ops.ones_like(x))
    )
    return means / shares


def pixel_norm(x, epsilon):
    return x * keras.ops.rsqrt(
        keras.ops.mean(keras.ops.square(x), axis=-1, keepdims=True) + epsilon
    )
