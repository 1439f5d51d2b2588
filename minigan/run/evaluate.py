"""How good a generator is: figures of its samples, each beside the same figure of real images."""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from ..random import Key
from . import datasets, imaging
from .features import ClassifierFeatures, Features, fitted
from .folder import read_config
from .metrics import NEIGHBOURS, frechet_distance, overlap
from .neighbours import distances, nearest
from .sampling import SavedGenerator
from .tensors import digest

COUNT = 5000  # samples, where the data have twice as many images
QUANTILE = 0.01  # of real images without a twin, that would count as near copies
AROUND = 50  # training images that a near copy of one of them is compared with
SIDE = 32  # pixels: larger images are averaged down to it where their pixels are compared
BETTER = {
    "frechet_distance": "lower",
    "precision": "higher",
    "precision_pruned": "higher",
    "recall": "higher",
    "density": "near real",
    "coverage": "higher",
    "class_difference": "lower",
    "class_asked_for": "higher",
    "near_copies_among": "lower",
    "near_copies_of_training": "lower",
    "identical_among": "lower",
    "identical_to_training": "lower",
}

Progress = Callable[[str], None]
Figures = dict[str, tuple[float, float]]  # of the samples, and of real images


def evaluate(
    samples: Any,
    data: Any,
    *,
    asked: Any = None,
    judge: Features | None = None,
    mirror: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The figures of samples, and of real images in their place, as JSON.

    samples: uint8 (S, H, W, C). data: the images that their generator was trained on, uint8
        (M, H, W, C), or (images, labels).
    asked: the label (S,) that each sample was asked to have.
    judge: the features (default: features.fitted of the data).
    mirror: whether half of the images were mirrored in training. Then half of the real images are,
        and where copies are counted an image and its mirror image are the same.
    seed: of the choice of real images, which has three parts of N = min(S, M/2) images: samples are
        compared with one half of the data, and so is the other half in their place.
    progress: called with a line of text for each part of the work, or None.

    The result has `figures`, {name: {"samples", "real", "better"}}:

    frechet_distance, precision, precision_pruned, recall, density, coverage: see metrics.
    class_difference: half the sum of |p - q| over the classes, p and q the shares that the judge
        reads (the total variation); with labels alone. `classes` has the labels and the shares.
    class_asked_for: the share of samples read as the class asked for; of real images, the judge's
        accuracy on those held out.
    near_copies_among: the share of samples that are as near to another one as only 1 % of as many
        real images are, besides those that have an identical twin.
    near_copies_of_training: the share of samples whose distance to the nearest training image, over
        the mean distance to the 50 nearest, is as small as only that of 1 % of real images is to
        the others, twins aside. So do Carlini et al. ("Extracting training data from diffusion
        models", 2023) compare: a blurred image is rather near to all images, a copy to one.
    identical_among, identical_to_training: the same to the last bit.

    Distances between images are root mean square differences of grey levels, of images averaged
    down to 32 pixels or fewer a side. `copy_limits` has the distance and the quotient that 1 % of
    real images without a twin do not exceed.

    The judge has seen most of the real images. Where it knows them by heart, as it does when they
    are few, real images are told better from each other than they deserve: its accuracy says so.

    Raises TypeError or ValueError when the images do not fit each other or are too few.
    """
    say = progress or _silent
    images, labels = _pair(data)
    samples = imaging.as_nhwc(np.asarray(samples))
    if asked is not None:
        asked = datasets.check_labels(asked, len(samples), where="asked")
    reference, others = halves(len(images), len(samples), seed)
    samples = samples[: len(others)]
    shown = half_mirrored(images, seed) if mirror else images
    judge = judge or fitted(shown, labels, progress=progress)
    say("features")
    ours, theirs, real = (
        judge.features(part) for part in (samples, shown[others], shown[reference])
    )
    say("neighbours among features")
    figures: Figures = {"frechet_distance": _both(frechet_distance, ours, theirs, real)}
    found = overlap(ours, real), overlap(theirs, real)
    figures |= {name: (found[0][name], found[1][name]) for name in found[0]}
    classes = None
    if isinstance(judge, ClassifierFeatures):
        shares = [_shares(judge, part) for part in (ours, theirs, real)]
        figures["class_difference"] = _both(_difference, *shares)
        classes = {
            "labels": judge.labels.tolist(),
            "samples": shares[0].tolist(),
            "real": shares[2].tolist(),
        }
        if asked is not None and judge.accuracy is not None:
            right = judge.read(ours) == asked[: len(ours)]
            figures["class_asked_for"] = _share(right), judge.accuracy
    say("neighbours among pixels")
    copies, limits = _copies(samples, images, others, mirror)
    figures |= copies
    return {
        "samples": len(samples),
        "seed": seed,
        "real": f"{len(images)} training images",
        "mirrored": mirror,
        "features": judge.describe(),
        "neighbours": NEIGHBOURS,
        "figures": {
            name: {"samples": a, "real": b, "better": BETTER[name]}
            for name, (a, b) in figures.items()
        },
        "copy_limits": limits,
        "classes": classes,
    }


def evaluate_run(
    path: str | os.PathLike,
    data: str | os.PathLike | None = None,
    count: int = COUNT,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], np.ndarray]:
    """What evaluate says of the run at `path`, mirrored or not, and beside_nearest's picture.

    data: as datasets.load takes it; default, what the run was trained on. Other data than that are
    warned about, and the report does not call them training images. A conditional generator is
    asked for the classes that the real images in the samples' place have. Raises OSError or
    ValueError, which say what is missing.
    """
    generator, config = SavedGenerator(path), read_config(path)
    images, labels, names = _data(path, generator, config["data"], data)
    _, others = halves(len(images), count, seed)
    mirror = bool(config.get("mirror"))
    shown = half_mirrored(images, seed) if mirror else images
    judge = fitted(shown, labels, progress=progress)
    (progress or _silent)("samples")
    wanted = labels[others] if labels is not None and (generator.classes or 1) > 1 else None
    samples = _draw(generator, len(others), seed, wanted)
    options: Any = {"asked": wanted, "judge": judge, "mirror": mirror, "seed": seed}
    report = evaluate(samples, (images, labels), progress=progress, **options)
    if config["data"].get("digest") != _digest_for(generator, images, labels):
        warnings.warn(
            "these data are not, to the bit, those that the run was trained on", stacklevel=2
        )
        report["real"] = f"{len(images)} images of the data given"
    if report["classes"]:
        known = dict(enumerate(names or ()))  # perhaps of classes without images, or of none
        found = report["classes"]["labels"]
        report["classes"] = {"names": [str(known.get(c, c)) for c in found], **report["classes"]}
    return report, beside_nearest(samples[:16], images, judge, mirror)


def halves(images: int, samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of two disjoint sets of images, each as many as the samples or half of all.

    ValueError when these are too few.
    """
    count = min(samples, images // 2)
    if count <= NEIGHBOURS:
        raise ValueError(
            f"evaluate compares samples with one half of the data and then with the other, and "
            f"needs more than {NEIGHBOURS} of each; there are {samples} samples and {images} images"
        )
    order = Key(seed, "halves").generator().permutation(images)
    return order[:count], order[count : 2 * count]


def half_mirrored(images: np.ndarray, seed: int) -> np.ndarray:
    """A copy of images (N, H, W, C), each mirrored with probability 1/2."""
    turned = Key(seed, "mirror").generator().random(len(images)) < 0.5
    return np.where(turned[:, None, None, None], _mirrored(images), images)


def beside_nearest(
    samples: np.ndarray, images: np.ndarray, judge: Features, mirror: bool
) -> np.ndarray:
    """A picture of three rows: samples, below each the training image that is nearest to it by
    pixels, and below that the one that is nearest in the judge's features.

    mirror: whether the mirror images of the training images count too.
    """
    forms = [images, _mirrored(images)] if mirror else [images]
    rows = [*samples]
    for view in (_pixels, judge.features):
        found = [nearest(view(samples), view(form)) for form in forms]
        closest = np.argmin([distance for _, distance in found], axis=0)
        rows += [forms[form][found[form][0][i]] for i, form in enumerate(closest)]
    return imaging.image_grid(np.stack(rows), len(samples), gap=2)


def _silent(line: str) -> None:
    """The progress of nobody's interest."""


def _pair(data: Any) -> tuple[np.ndarray, np.ndarray | None]:
    images, labels = data if isinstance(data, tuple) else (data, None)
    images = imaging.as_nhwc(np.asarray(images))
    return images, None if labels is None else datasets.check_labels(labels, len(images))


def _data(
    path: str | os.PathLike,
    generator: SavedGenerator,
    said: dict[str, Any],
    named: str | os.PathLike | None,
) -> tuple[np.ndarray, np.ndarray | None, Any]:
    """Images, labels and the classes' names of what the run was trained on, or of `named`.

    said: what its config.json says of the data.
    """
    made = generator.image_shape
    name, options = named or said.get("name"), said.get("options") or {}
    if not imaging.drawable(made):
        raise ValueError(f"{path} makes arrays of shape {made}; evaluate judges images")
    if name is None:
        raise ValueError(
            f"{path} was trained on arrays, and its config.json does not name them.\n"
            "Give them with --data."
        )
    if datasets.is_pictures(name):
        options = {"size": made[:2], "channels": made[2], **options}
    data = (datasets.load if named else datasets.load_again)(name, **options)
    images, labels = _pair(data)
    if made != images.shape[1:]:
        raise ValueError(
            f"{path} makes images of shape {made}, but those of {name} have {images.shape[1:]}.\n"
            "Give the data that it was trained on with --data."
        )
    if labels is not None and (generator.classes or 1) > 1:
        datasets.check_labels(labels, len(labels), generator.classes, where=str(name))
    return images, labels, data.names


def _digest_for(generator: SavedGenerator, images: np.ndarray, labels: Any) -> str:
    """What config.json would say of these data, as a conditional GAN, or another, takes them."""
    if generator.classes == 1:  # whatever the labels, and without any
        labels = np.zeros(len(images), np.int64)
    labels = None if generator.classes is None else labels
    return digest(images, labels)


def _draw(
    generator: SavedGenerator, count: int, seed: int, wanted: np.ndarray | None
) -> np.ndarray:
    """What `minigan sample` makes of this seed, or these classes of the same latents."""
    if wanted is None:
        return generator.images(count, seed)[0]
    return generator.draw(generator.noise(count, Key(seed, "sample")), wanted)


def _both(figure: Callable[[Any, Any], float], ours: Any, theirs: Any, real: Any) -> Any:
    return figure(ours, real), figure(theirs, real)


def _shares(judge: ClassifierFeatures, features: np.ndarray) -> np.ndarray:
    numbers = np.searchsorted(judge.labels, judge.read(features))
    return np.bincount(numbers, minlength=judge.classes) / len(features)


def _difference(p: np.ndarray, q: np.ndarray) -> float:
    return float(np.abs(p - q).sum() / 2)


def _copies(
    samples: np.ndarray, images: np.ndarray, others: np.ndarray, mirror: bool
) -> tuple[Figures, dict[str, float]]:
    """Copies among the samples, and of training images; and how near the near ones are."""
    real, own, nobody = images[others], np.arange(len(samples)), None
    grey = 1 / math.sqrt(_pixels(samples).shape[1])  # of a distance over all pixels
    near = {
        "among": [grey * _near(a, a, 1, own, mirror)[:, 0] for a in (samples, real)],
        "of_training": [
            _isolation(_near(a, images, AROUND, skip, mirror))
            for a, skip in ((samples, nobody), (real, others))
        ],
    }
    figures, limits = {}, {}
    for name, (ours, usual) in near.items():
        limits[name] = limit = _limit(usual)
        figures[f"near_copies_{name}"] = _share(ours <= limit), _share(usual <= limit)
    prints, every = _digests(samples, mirror), _digests(images, mirror)
    placed = [every[i] for i in others]
    figures["identical_among"] = _found(prints, prints, 2), _found(placed, placed, 2)
    figures["identical_to_training"] = _found(prints, every, 1), _found(placed, every, 2)
    return figures, limits


def _near(
    a: np.ndarray, b: np.ndarray, k: int, skip: np.ndarray | None, mirror: bool
) -> np.ndarray:
    """The distances of each image of a to the k nearest images of b, or their mirror images, if
    `mirror`: (N, k), rising. skip: as for neighbours.nearest.
    """
    known, k = _pixels(b), min(k, len(b) - 1)
    forms = [a, _mirrored(a)] if mirror else [a]  # as far from b as a is from b's mirror images
    found = [distances(_pixels(form), known, k, skip) for form in forms]
    return np.sort(np.concatenate(found, axis=1), axis=1)[:, :k]


def _isolation(near: np.ndarray) -> np.ndarray:
    """Of distances (N, k), rising, the first over their mean: (N,)."""
    return near[:, 0] / np.maximum(near.mean(axis=1), np.finfo(float).tiny)


def _limit(usual: np.ndarray) -> float:
    """What the smallest QUANTILE do not exceed. Twins do not count: at 0 nothing near is seen."""
    apart = usual[usual > 0]
    return float(np.quantile(apart, QUANTILE)) if len(apart) else 0.0


def _share(mask: np.ndarray) -> float:
    return float(mask.mean())


def _mirrored(images: np.ndarray) -> np.ndarray:
    return images[:, :, ::-1]  # (N, H, W, C)


def _pixels(images: np.ndarray) -> np.ndarray:
    """Images as rows of grey levels: (N, F), F at most SIDE * SIDE * C."""
    n, h, w, c = images.shape
    step = -(-max(h, w) // SIDE)
    if step > 1:
        images = np.pad(images, ((0, 0), (0, -h % step), (0, -w % step), (0, 0)), mode="edge")
        # (N, H, W, C) -> (N, H/step, step, W/step, step, C) -> (N, H/step, W/step, C)
        parts = images.reshape(n, -(-h // step), step, -(-w // step), step, c)
        images = parts.mean(axis=(2, 4), dtype=np.float32)
    return images.reshape(n, -1)


def _digests(images: np.ndarray, mirror: bool) -> list[bytes]:
    """A hash of each image, with `mirror` the same for an image and its mirror image."""
    forms = [images, _mirrored(images)] if mirror else [images]
    return [min(_digest(form) for form in each) for each in zip(*forms, strict=True)]


def _digest(image: np.ndarray) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def _found(digests: list[bytes], within: list[bytes], times: int) -> float:
    """The share of digests that stand `times` times or more in `within`."""
    counts = Counter(within)
    return sum(counts[digest] >= times for digest in digests) / len(digests)
