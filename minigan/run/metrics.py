"""How good samples are: the Frechet distance, in the features of a small digit classifier.

Heusel et al. (2017), equation 6, take features of a large network trained on photographs. Digits
are better judged in the features of a network that knows digits; ours is made of the library's own
layers and learns in seconds. Such distances compare with each other, not with published ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import asarray, to_numpy
from ..layers import Conv2D, Dense, Flatten, ReLU
from ..losses import CrossEntropy
from ..optimizers import Adam
from ..random import Key
from ..sequential import Sequential
from . import datasets


def frechet_distance(a: Any, b: Any) -> float:
    """The squared Frechet distance of two Gaussians fitted to feature sets.

    a (N, F), b (M, F): a row of features a sample, N and M at least 2. With means m and
    covariances S (divided by N-1),

        d^2 = |m_a - m_b|^2 + tr(S_a) + tr(S_b) - 2 tr((S_a^(1/2) S_b S_a^(1/2))^(1/2))

    The root of S_a S_b, which is not symmetric, has the same trace as that of the symmetric
    product here, whose eigenvalues are real. In float64. Raises ValueError for other shapes and
    values that are not finite.
    """
    a, b = _features("a", a), _features("b", b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"frechet_distance: a has {a.shape[1]} features, b {b.shape[1]}; they must be the same"
        )
    s_a, s_b = np.atleast_2d(np.cov(a.T)), np.atleast_2d(np.cov(b.T))
    difference = a.mean(axis=0) - b.mean(axis=0)
    root = _root(s_a)
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ s_b @ root), 0)).sum()
    distance = difference @ difference + np.trace(s_a) + np.trace(s_b) - 2 * cross
    return max(float(distance), 0.0)  # rounding may leave equal sets a hair below 0


class DigitFeatures:
    """A small classifier of 28x28 digits: `train` it, then take features and probabilities.

    Images are uint8 (N, 28, 28, 1), (N, 28, 28) or (N, 784), white on black; turn floats into
    uint8 with imaging.to_uint8. The same seed gives the same classifier.
    """

    def __init__(self, seed: int = 0):
        self.seed = seed
        self.trunk = Sequential(
            [
                *(Conv2D(32, 3, strides=2, padding="same", kernel_initializer="he_normal"), ReLU()),
                *(Conv2D(64, 3, strides=2, padding="same", kernel_initializer="he_normal"), ReLU()),
                *(Flatten(), Dense(64, kernel_initializer="he_normal"), ReLU()),
            ],
            input_shape=(28, 28, 1),
            key=Key(seed, "weights", layer="trunk"),
        )
        self.head = Sequential(
            [Dense(10)], input_shape=(64,), key=Key(seed, "weights", layer="head")
        )

    def train(
        self, images: Any = None, labels: Any = None, epochs: int = 10, batch_size: int = 100
    ) -> DigitFeatures:
        """Learn from digits (the embedded ones by default), and return self."""
        if images is None:
            images, labels = datasets.digits()
        data = _batches(images, labels)
        loss = CrossEntropy(from_logits=True)
        steps = -(-len(data) // batch_size)
        optimizers = [Adam(1e-3, beta_1=0.9) for _ in range(2)]
        for epoch in range(epochs):
            order = Key(self.seed, "classifier", epoch).generator().permutation(len(data))
            for step, chosen in enumerate(np.array_split(order, steps)):
                for optimizer in optimizers:  # 1e-3 falling to 0
                    optimizer.learning_rate = 1e-3 * (1 - (epoch + step / steps) / epochs)
                x, y = data.batch(chosen)
                x = _shifted(x, Key(self.seed, "shift", epoch * steps + step))
                self._step(x, y, loss, optimizers)
        return self

    def features(self, images: Any) -> np.ndarray:
        """The last hidden layer: float64 (N, 64)."""
        data = _batches(images)
        parts = [
            to_numpy(
                self.trunk.predict(asarray(data.batch(np.arange(k, min(k + 500, len(data))))[0]))
            )
            for k in range(0, len(data), 500)
        ]
        return np.concatenate(parts).astype(np.float64)

    def probabilities(self, images: Any) -> np.ndarray:
        """The probability of each digit: float64 (N, 10)."""
        features = asarray(self.features(images).astype(np.float32))
        logits = to_numpy(self.head.predict(features)).astype(np.float64)
        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    def _step(self, x: Any, labels: Any, loss: Any, optimizers: list[Adam]) -> None:
        hidden, trunk_cache = self.trunk.forward(asarray(x))
        logits, head_cache = self.head.forward(hidden)
        _, dlogits = loss(logits, asarray(labels))
        dhidden, head_grads = self.head.backward(dlogits, head_cache)
        _, trunk_grads = self.trunk.backward(dhidden, trunk_cache, wrt="params")
        optimizers[0].step(self.trunk.params, trunk_grads or {})
        optimizers[1].step(self.head.params, head_grads or {})


def _batches(images: Any, labels: Any = None) -> datasets.Batches:
    images = to_numpy(images)
    if images.dtype != np.uint8:
        raise TypeError(f"expected uint8 digits, got {images.dtype}; see imaging.to_uint8")
    data = images if labels is None else (images, labels)
    return datasets.Batches(data, (28, 28, 1), (0.0, 1.0), classes=None if labels is None else 10)


def _shifted(images: np.ndarray, key: Key) -> np.ndarray:
    """Each image moved by up to two pixels, as the same digit may stand elsewhere."""
    n, h, w, _ = images.shape
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (h, w), axis=(1, 2))
    down, right = key.generator().integers(5, size=(2, n))
    # (N, C, H, W) -> (N, H, W, C)
    return np.ascontiguousarray(windows[np.arange(n), down, right].transpose(0, 2, 3, 1))


def _features(name: str, values: Any) -> np.ndarray:
    values = np.asarray(to_numpy(values), np.float64)
    if values.ndim != 2 or len(values) < 2:
        raise ValueError(
            f"frechet_distance: {name} must be (samples, features) with 2 samples or more, "
            f"got {values.shape}"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"frechet_distance: {name} holds NaN or infinity")
    return values


def _root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric root of a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
