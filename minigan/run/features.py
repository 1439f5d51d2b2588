"""Images as rows of numbers, in which their likeness can be measured.

Heusel et al. (2017) take the features of a large network trained on photographs. Ours are made of
the library's own layers: where images have labels, those of a small classifier that learns them in
seconds, else those of convolutions that have learned nothing. Figures in such features compare with
each other, not with published ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import asarray, home, to_numpy
from ..layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, Layer, LeakyReLU, ReLU
from ..losses import CrossEntropy
from ..optimizers import Adam
from ..random import Key
from ..sequential import Sequential
from .datasets import check_labels
from .imaging import as_nhwc

_BATCH = 500  # images whose features are computed at once
_STEP = 64  # images of a step of the classifier's training
_STEPS = 100, 1600  # at least, and at most
_PASSES = 20  # over the images, between these bounds
_RATE = 4e-3  # Adam's, falling to 0 in a line


class Features:
    """Base. shape: (H, W, C), that of the images; flat ones, (H*W,), are taken where C is 1."""

    name = ""

    def __init__(self, shape: tuple[int, ...]):
        self.shape = tuple(shape)

    def features(self, images: Any) -> np.ndarray:
        """uint8 images (N, H, W, C) to float64 (N, F). Raises TypeError, ValueError for others."""
        images = self.check(images)
        parts = [self.compute(images[k : k + _BATCH]) for k in range(0, len(images), _BATCH)]
        return np.concatenate(parts).astype(np.float64)

    def compute(self, images: np.ndarray) -> np.ndarray:
        """Of a batch of images that have been checked."""
        raise TypeError(f"{type(self).__name__} does not define compute()")

    def describe(self) -> dict[str, Any]:
        """What a reader of the figures should know, as JSON."""
        return {"name": self.name}

    def check(self, images: Any) -> np.ndarray:
        images = to_numpy(images)
        if images.dtype != np.uint8:
            raise TypeError(f"expected uint8 images, got {images.dtype}; see imaging.to_uint8")
        found = as_nhwc(images)
        if found.shape[1:] != self.shape:
            raise ValueError(f"expected images of shape {self.shape}, got {images.shape[1:]}")
        return found


class RandomFeatures(Features):
    """Convolutions of stride 2 with random kernels: the mean and the deviation of each channel.

    They have learned nothing, and tell images apart by brightness, colour, edges and texture at
    several scales, hardly by where these are; Naeem et al. (2020) argue for untrained networks
    where no suited one is at hand. The deviation keeps plain areas apart from pictured ones. The
    same seed gives the same features. F = 32 for each halving of the side, down to 4 pixels.
    """

    name = "random convolution features"

    def __init__(self, shape: tuple[int, ...], seed: int = 0):
        super().__init__(shape)
        self.stages = []
        for stage in range(_halvings(shape)):
            layers = [Conv2D(16, 4, kernel_initializer="he_normal", **_HALF), LeakyReLU(0.2)]
            key = Key(seed, "random features", layer=str(stage))
            self.stages.append(Sequential(layers, input_shape=shape, key=key))
            shape = self.stages[-1].output_shape

    def compute(self, images):
        x, found = asarray(_floats(images)), []
        for stage in self.stages:
            x = stage.predict(x, batch_size=_BATCH)
            found += [f(axis=(1, 2)) for f in (x.mean, x.std)]
        return to_numpy(home(x).concatenate(found, axis=1))


class ClassifierFeatures(Features):
    """The last hidden layer, F = 64, of a small convolutional classifier: `train` it first.

    classes: how many. labels: what `read` calls them, rising; 0 to classes-1, until set otherwise.
    The same seed gives the same classifier.
    """

    name = "a classifier trained on the data"
    accuracy: float | None = None  # on `held_out` images that it was not trained on
    held_out = 0

    def __init__(self, shape: tuple[int, ...], classes: int, seed: int = 0):
        super().__init__(shape)
        self.classes, self.seed = classes, seed
        self.labels = np.arange(classes)
        layers: list[Layer] = []
        stages = _halvings(shape)
        for stage in range(stages):  # 32, 64, 128; from 16 or 8 on where there are more
            width = max(8, 128 >> (max(3, stages) - 1 - stage))
            layers += _stage(Conv2D(width, 3, **_HALF, **_START))
            if stage == stages - 2:
                layers += _stage(Conv2D(width, 3, padding="same", **_START))
        layers += [Flatten(), Dropout(0.3), *_stage(Dense(64, **_START))]
        self.trunk = Sequential(layers, name="trunk")
        self.model = Sequential(
            [self.trunk, Dense(classes)], input_shape=shape, key=Key(seed, "weights", layer="judge")
        )

    def train(
        self,
        images: Any,
        labels: Any,
        steps: int | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> ClassifierFeatures:
        """Learn to tell the classes apart, from images that turn, grow and move a little.

        labels: numbers of classes, 0 to classes-1.
        steps: of 64 images; default 1600, or 20 passes over the images if these are fewer, but 100
            at least. progress: called now and then with a line that says how far it is.
        Returns self.
        """
        images = self.check(images)
        labels = check_labels(labels, len(images), self.classes)
        steps = steps or int(np.clip(_PASSES * len(images) // _STEP, *_STEPS))
        loss, optimizer = CrossEntropy(from_logits=True), Adam(_RATE, beta_1=0.9)
        for step in range(steps):
            if progress and step % 10 == 0:
                progress(f"training a classifier: step {step} of {steps}")
            rng = Key(self.seed, "classifier", step).generator()
            chosen = rng.integers(len(images), size=_STEP)
            x = asarray(_moved(_floats(images[chosen]), rng))
            logits, cache = self.model.forward(x, rng=Key(self.seed, "dropout", step))
            _, dlogits = loss(logits, asarray(labels[chosen]))
            _, grads = self.model.backward(dlogits, cache, wrt="params")
            self.model.commit(cache)
            optimizer.learning_rate = _RATE * (1 - step / steps)
            optimizer.step(self.model.params, grads)
        return self

    def compute(self, images):
        return to_numpy(self.trunk.predict(_floats(images), batch_size=_BATCH))

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Of each class, from the features of images: float64 (N, classes)."""
        y, _ = self.model.layers[-1].forward(asarray(features, np.float32), keep=False)
        logits = to_numpy(y).astype(np.float64)
        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    def read(self, features: np.ndarray) -> np.ndarray:
        """The label of the most probable class of each image, from its features: (N,)."""
        return self.labels[self.probabilities(features).argmax(axis=1)]

    def describe(self):
        return {"name": self.name, "accuracy": self.accuracy, "held_out": self.held_out}


_HALF: dict[str, Any] = {"strides": 2, "padding": "same"}
_START: dict[str, Any] = {"kernel_initializer": "he_normal", "use_bias": False}


def fitted(
    images: np.ndarray,
    labels: np.ndarray | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Features:
    """The features in which images such as these are best compared.

    images: uint8 (N, H, W, C) or flat. labels (N,): any whole numbers. With two classes or more, of
    two images or more on the average and one at least of five, those of a classifier, trained on
    four fifths of each class and tested on the others; else random ones.
    """
    images = as_nhwc(images)
    shape = images.shape[1:]
    if labels is not None:
        classes, numbers = np.unique(labels, return_inverse=True)
        learned, tested = split(labels, seed)
        if 2 <= len(classes) <= len(images) / 2 and len(tested):
            judge = ClassifierFeatures(shape, len(classes), seed)
            judge.labels = classes
            judge.train(images[learned], numbers[learned], progress=progress)
            right = judge.read(judge.features(images[tested])) == labels[tested]
            judge.accuracy, judge.held_out = float(right.mean()), len(tested)
            return judge
    return RandomFeatures(shape, seed)


def split(labels: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Indices to learn from and to test on: a fifth of each class, rounded down, is the test."""
    order = Key(seed, "held out").generator().permutation(len(labels))
    classes = [order[labels[order] == c] for c in np.unique(labels)]
    tested = np.concatenate([mine[: len(mine) // 5] for mine in classes])
    return np.setdiff1d(order, tested), np.sort(tested)


def _halvings(shape: tuple[int, ...]) -> int:
    """How often the longer side is halved until it is 4 or less; once at least."""
    return max(1, math.ceil(math.log2(max(shape[:2]) / 4)))


def _stage(linear: Layer) -> list[Layer]:
    return [linear, BatchNorm(momentum=0.9), ReLU()]


def _floats(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float32) / 255


def _moved(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each image turned by up to 10 degrees, scaled by up to a tenth, and shifted by up to a
    fourteenth of its side: none of it changes what it shows. Between pixels it is interpolated
    linearly, and beyond the border it goes on as at the border.
    """
    n, h, w, _ = images.shape
    angle, scale = rng.uniform(-np.pi / 18, np.pi / 18, n), 1 + rng.uniform(-0.1, 0.1, n)
    down, right = rng.uniform(-1 / 14, 1 / 14, (2, n, 1, 1))
    # (n,) -> (n, 1, 1), beside pixels (h, 1) and (1, w) counted from the middle
    cos, sin = ((scale * f(angle))[:, None, None] for f in (np.cos, np.sin))
    y, x = np.ogrid[: float(h), : float(w)]
    y, x = y - (h - 1) / 2, x - (w - 1) / 2
    top, bottom, lower = _between(cos * y - sin * x + h * down, h)
    left, right, later = _between(sin * y + cos * x + w * right, w)
    each = np.arange(n)[:, None, None]
    above, below = (
        images[each, row, left] * (1 - later) + images[each, row, right] * later
        for row in (top, bottom)
    )
    return above * (1 - lower) + below * lower


def _between(place: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pixels before and behind a place counted from the middle, and the share of the second."""
    place = np.clip(place + (side - 1) / 2, 0, side - 1)
    before = place.astype(np.int64)
    share = (place - before).astype(np.float32)[..., None]
    return before, np.minimum(before + 1, side - 1), share
