"""General losses: value, dprediction = loss(prediction, target).

The value is the mean over all elements (CrossEntropy: over the samples); dprediction is its exact
derivative, of the prediction's shape.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .backend import home
from .kernels import ops
from .spelling import Spelling

Array = Any


def softplus(x: Array) -> Array:
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), which neither overflows nor cancels."""
    largest, rest = softplus_parts(x)
    return largest + rest


def softplus_parts(x: Array) -> tuple[Array, Array]:
    """max(x, 0) and log(1 + e^-|x|), the large and the small part of softplus."""
    positive = x.real > 0
    return np.where(positive, x, 0), np.log1p(np.exp(np.where(positive, -x, x)))


def bce_logits(logits: Array, target: Any) -> tuple[Array, Array]:
    """Mean binary cross-entropy of sigmoid(logits) with `target`, and its derivative.

    With p = sigmoid(l), -t log p - (1-t) log(1-p) = softplus(l) - t*l, whose derivative is p - t.
    The large parts are subtracted first: for t = 1 and l = 30 all that remains is e^-30.
    The target may lie outside [0, 1].
    """
    largest, rest = softplus_parts(logits)
    value = ((largest - target * logits) + rest).mean()
    return value, (ops(logits).sigmoid(logits) - target) / logits.size


class Loss(metaclass=Spelling):
    """Base of the losses: checks that prediction and target match."""

    def __call__(self, prediction: Array, target: Any) -> tuple[Array, Array]:
        """(value, dvalue/dprediction).

        prediction: floats or complex numbers.  target: numbers of its shape, or one number for all.
        Raises TypeError for a prediction that is no such array, ValueError for another shape.
        """
        if not hasattr(prediction, "dtype") or prediction.dtype.kind not in "fc":
            raise TypeError(f"{type(self).__name__}: the prediction must be an array of floats")
        if np.ndim(target) == 0:
            target = prediction.real.dtype.type(target)
        elif not hasattr(target, "dtype"):
            target = home(prediction).asarray(target)
        return self.compute(prediction, self.match(prediction, target))

    def match(self, prediction: Array, target: Array) -> Array:
        """The target in the prediction's dtype; ValueError when the shapes differ."""
        if target.ndim and target.shape != prediction.shape:
            raise ValueError(
                f"{type(self).__name__}: prediction {prediction.shape} and target {target.shape} "
                "must have one shape"
            )
        return target.astype(np.result_type(prediction.real.dtype, prediction.dtype))

    def compute(self, prediction: Array, target: Array) -> tuple[Array, Array]:
        """Value and derivative of a prediction and a target that match.

        Raises TypeError where a subclass does not define it.
        """
        raise TypeError(f"{type(self).__name__} does not define compute()")


class MSE(Loss):
    """mean((p - t)^2), derivative 2 (p - t)/n.

    Over the n values of a prediction of any shape.

        >>> value, dprediction = mg.MSE()(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
        >>> float(value), dprediction.tolist()
        (2.0, [0.0, 2.0])
    """

    def compute(self, prediction, target):
        difference = prediction - target
        value = (difference * difference).mean()
        return value, difference * (2 / prediction.size)


class BCE(Loss):
    """Binary cross-entropy: mean(-t log p - (1-t) log(1-p)), derivative (p - t)/(p (1-p))/n.

    In nats, over the n values of a prediction of any shape: probabilities p, target t.
    from_logits=True takes l with p = sigmoid(l): exact at any l, derivative (p - t)/n.  Of
    probabilities, a logarithm counts as -100 at least, and p (1-p) as 1e-12 at least, so that the
    value stays finite at p = 0 and 1 (as in PyTorch).

        >>> value, dlogits = mg.BCE(from_logits=True)(np.array([0.0, 0.0]), 1)
        >>> f"{value:.4f}", dlogits.tolist()
        ('0.6931', [-0.25, -0.25])
    """

    def __init__(self, *, from_logits: bool = False) -> None:
        self.from_logits = bool(from_logits)

    def compute(self, prediction, target):
        if self.from_logits:
            return bce_logits(prediction, target)
        p, t = prediction, target
        with np.errstate(divide="ignore"):
            terms = t * _bounded(np.log(p)) + (1 - t) * _bounded(np.log1p(-p))
        variance = p * (1 - p)
        variance = np.where(variance.real < 1e-12, 1e-12, variance)
        return -terms.mean(), (p - t) / variance / p.size


class CrossEntropy(Loss):
    """-log p of the right class, in nats, mean over the samples.

    prediction (N, classes), along the last axis probabilities, or any numbers with
    from_logits=True; target (N,) whole numbers, or (N, classes) probabilities t.

    Probabilities: value = -sum(t log p)/N, derivative -t/p/N.  Logits: p = softmax(l), derivative
    (p - t)/N, for targets that sum to one.
    Raises ValueError for a target of another shape, and for labels that name no class (those on a
    GPU are not looked at).

        >>> value, dlogits = mg.CrossEntropy(from_logits=True)(np.zeros((1, 4)), np.array([2]))
        >>> f"{value:.4f}", dlogits.tolist()
        ('1.3863', [[0.25, 0.25, -0.75, 0.25]])
    """

    def __init__(self, *, from_logits: bool = False) -> None:
        self.from_logits = bool(from_logits)

    def match(self, prediction, target):
        if getattr(target, "dtype", np.dtype("f")).kind not in "iu":
            return super().match(prediction, target)
        classes = prediction.shape[-1]
        if target.shape != prediction.shape[:-1]:
            raise ValueError(
                f"CrossEntropy: prediction {prediction.shape} takes labels of shape "
                f"{prediction.shape[:-1]}, got {target.shape}"
            )
        if isinstance(target, np.ndarray) and (target.min() < 0 or target.max() >= classes):
            raise ValueError(f"CrossEntropy: labels run from 0 to {classes - 1}")
        one_hot = target[..., None] == home(prediction).arange(classes)
        return one_hot.astype(prediction.dtype)

    def compute(self, prediction, target):
        n = prediction.size // prediction.shape[-1]
        if not self.from_logits:
            with np.errstate(divide="ignore"):
                value = -(target * _bounded(np.log(prediction))).sum() / n
            return value, -target / np.where(prediction.real < 1e-12, 1e-12, prediction) / n
        highest = prediction.real.max(axis=-1, keepdims=True)
        shifted = prediction - highest
        e = np.exp(shifted)
        total = e.sum(axis=-1, keepdims=True)
        value = -(target * (shifted - np.log(total))).sum() / n
        return value, (e / total - target) / n


def _bounded(log: Array) -> Array:
    """The logarithm, at least -100."""
    return np.where(log.real < -100, -100, log)
