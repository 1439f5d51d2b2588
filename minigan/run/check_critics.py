"""Values, for `minigan check`: layers of critics, objectives and penalties by their formulas.

As in check_values.py, what is compared here shares nothing with the library.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import layers, objectives
from ..gan import GAN
from ..numeric import Row
from ..penalties import GradientPenalty
from ..random import Key
from ..sequential import Sequential
from .check_cases import small_pair
from .check_rows import agree, true

KEY = Key(0, "critic check")


def critic_rows() -> Iterator[Row]:
    """All of them."""
    yield from norm_rows()
    yield from resampling_rows()
    yield from spectral_rows()
    yield from objective_rows()
    yield from penalty_rows()
    yield from step_rows()
    yield from segment_rows()


def norm_rows() -> Iterator[Row]:
    """Each group of values, one after the other, has mean 0 and deviation 1; then gamma, beta."""
    rng = KEY.generator()
    x = 3 * rng.standard_normal((2, 3, 4, 5)) + 1
    gamma, beta = rng.standard_normal((2, 5))
    eps = 0.05
    groups: list[tuple[str, layers.Layer, Any]] = [
        ("LayerNorm, positions", layers.LayerNorm(epsilon=eps), np.ndindex(2, 3, 4)),
        ("LayerNorm, samples", layers.LayerNorm(over="sample", epsilon=eps), np.ndindex(2)),
        ("InstanceNorm", layers.InstanceNorm(epsilon=eps),
         ((n, ..., c) for n, c in np.ndindex(2, 5))),
    ]  # fmt: skip
    for name, layer, places in groups:
        layer.build(x.shape[1:], dtype="float64", key=KEY)
        layer.params["gamma"][...], layer.params["beta"][...] = gamma, beta
        expected = np.empty_like(x)
        for at in places:
            group = x[at]
            expected[at] = (group - group.mean()) / np.sqrt(group.var() + eps)
        yield agree(name, "values", layer.forward(x)[0], expected * gamma + beta)
    pixel = layers.PixelNorm(epsilon=eps)
    pixel.build(x.shape[1:], dtype="float64", key=KEY)
    lengths = np.sqrt(np.einsum("nhwc,nhwc->nhw", x, x) / 5 + eps)
    yield agree("PixelNorm", "values", pixel.forward(x)[0], x / lengths[..., None])


def resampling_rows() -> Iterator[Row]:
    """Along one axis, pixel by pixel: the mean of the neighbours under a triangle of weights."""
    x = KEY.generator().standard_normal((2, 7, 2, 3))
    for factor, antialias in ((2, True), (3, False), (0.5, True), (0.4, True), (0.4, False)):
        layer = layers.Resampling2D((factor, 1), antialias=antialias)
        layer.build(x.shape[1:], dtype="float64", key=KEY)
        out = math.floor(factor * 7)
        expected = np.zeros((2, out, 2, 3))
        for o in range(out):
            total, centre = 0.0, (o + 0.5) * 7 / out  # in pixels from the image's border
            for i in range(7):
                width = 7 / out if antialias and out < 7 else 1
                weight = max(0.0, 1 - abs(i + 0.5 - centre) / width)
                expected[:, o] += weight * x[:, i]
                total += weight
            expected[:, o] /= total
        what = f"Resampling2D {factor}, antialias={antialias}"
        yield agree(what, "rows", layer.forward(x)[0], expected)
        turned = layers.Resampling2D((1, factor), antialias=antialias)
        turned.build((2, 7, 3), dtype="float64", key=KEY)
        found = turned.forward(x.swapaxes(1, 2))[0]
        yield agree(what, "columns", found, expected.swapaxes(1, 2))


def spectral_rows() -> Iterator[Row]:
    """The divisor after one step of the iteration, and after many: the largest singular value."""
    rng = KEY.generator()
    for inner, shape, perm in (
        (layers.Dense(4), (5,), (0, 1)),
        (layers.Conv2DTranspose(4, 2), (1, 1, 5), (0, 1, 3, 2)),  # kernel (2, 2, 4, 5)
    ):
        layer = layers.SpectralNorm(inner)
        layer.build(shape, dtype="float64", key=KEY)
        kernel = layer.params["kernel"]
        w, u = kernel.transpose(perm).reshape(-1, kernel.shape[perm[-1]]), layer.state["u"].copy()
        v = w @ u / np.linalg.norm(w @ u)
        x = rng.standard_normal((2, *shape))
        what = f"SpectralNorm, {type(inner).__name__}"
        y, cache = layer.forward(x)
        plain = type(inner)(**inner.config())
        plain.build(shape, dtype="float64", key=KEY)
        plain.params["kernel"][...] = kernel
        unscaled = plain.forward(x)[0]
        yield agree(what, "one iteration", y * np.linalg.norm(w.T @ v), unscaled)
        layer.commit(layer.forward(x, training=False)[1])
        yield agree(what, "u after inference", layer.state["u"], u)
        layer.commit(cache)
        moved = w.T @ v
        yield agree(what, "u after training", layer.state["u"], moved / np.linalg.norm(moved))
        for _ in range(300):
            layer.commit(layer.forward(x)[1])
        largest = np.linalg.svd(w, compute_uv=False)[0]
        yield agree(what, "largest singular value", layer.forward(x)[0] * largest, unscaled)


def objective_rows() -> Iterator[Row]:
    """The values written out, logit by logit, on both sides of the margin."""
    rng = KEY.generator()
    real, fake = 2 * rng.standard_normal((2, 6))
    pairs = list(zip(real, fake, strict=True))
    soft = [math.log(1 + math.exp(f - r)) for r, f in pairs]
    soft_g = [math.log(1 + math.exp(r - f)) for r, f in pairs]
    expected: dict[str, tuple[list[float], list[float]]] = {
        "LeastSquares": (
            [((r - 1) ** 2 + f**2) / 2 for r, f in pairs],
            [(f - 1) ** 2 / 2 for f in fake],
        ),
        "HingeGAN": ([max(0, 1 - r) + max(0, 1 + f) for r, f in pairs], [-f for f in fake]),
        "WassersteinGAN": ([f - r for r, f in pairs], [-f for f in fake]),
        "RelativisticPairing": (soft, soft_g),
    }
    for name, (d, g) in expected.items():
        objective = getattr(objectives, name)()
        yield agree(name, "d_loss", objective.d_loss(real, fake)[0], sum(d) / 6)
        yield agree(name, "g_loss", objective.g_loss(fake, real)[0], sum(g) / 6)
    found = objectives.LeastSquares().d_loss(real, fake, 0.9, 0.2)[0]
    wanted = sum((r - 0.9) ** 2 + (f - 0.2) ** 2 for r, f in pairs) / 12
    yield agree("LeastSquares, targets", "d_loss", found, wanted)
    params = {"kernel": np.array([-3.0, -0.5, 0.25, 2.0])}
    objectives.WassersteinGAN(clip=0.5).constrain(params)
    yield agree("WassersteinGAN, clip", "parameters", params["kernel"], [-0.5, -0.5, 0.25, 0.5])


def penalty_rows() -> Iterator[Row]:
    """The three formulas, image by image, with weight and every; no slope at all."""
    g = KEY.generator().standard_normal((3, 2, 2, 1))
    lengths = [math.sqrt(sum(float(v) ** 2 for v in image.ravel())) for image in g]
    for kind in ("wgan-gp", "r1", "r2"):
        if kind == "wgan-gp":
            expected = 6 * sum((length - 1) ** 2 for length in lengths) / 3
        else:
            expected = 3 * sum(length**2 for length in lengths) / 3
        found, _ = GradientPenalty(kind, weight=2, every=3)(g)
        yield agree(f"penalty {kind}", "value", found, expected)
        _, v = GradientPenalty(kind)(0 * g)
        yield true(f"penalty {kind}", "no slope", not v.any(), "the derivative is not 0 there")


def step_rows() -> Iterator[Row]:
    """The penalty that a step reports, from the slope of a critic of two layers by its formula."""
    rng = KEY.generator()
    for update in ("separate", "joint", "simultaneous"):
        for kind in ("r1", "r2"):
            gan = flat_gan(update, {"kind": kind, "weight": 3.0, "every": 2})
            real, z = rng.standard_normal((4, 3)), rng.standard_normal((4, 2))
            d = {name: p.copy() for name, p in gan.D.params.items()}
            images = gan.generator.forward(z)[0]
            logs = [gan.train_step(real, latents=(z, z)) for _ in range(4)]
            slope = flat_slope(d, real if kind == "r1" else images)
            expected = 3.0 * 2 / 2 * (slope**2).sum(axis=1).mean()
            what = f"GAN {update}, {kind}"
            yield agree(what, "penalty", logs[0]["penalty"], expected)
            seen = [bool(log["penalty"]) for log in logs]
            yield true(what, "every second step", seen == [True, False] * 2, f"steps {seen}")


def flat_gan(update: str, penalty: Any) -> GAN:
    """A GAN on vectors of 3 that stands still; its critic is w . tanh(K x + b) + c."""
    g = Sequential([layers.Dense(3)], input_shape=(2,), dtype="float64", key=KEY.child("g"))
    d = Sequential(
        [layers.Dense(4), layers.Tanh(), layers.Dense(1)],
        input_shape=(3,),
        dtype="float64",
        key=KEY.child("d"),
    )
    still = {"name": "sgd", "learning_rate": 0.0}
    recipe: dict[str, Any] = {"g_optimizer": still, "d_optimizer": still, "seed": 0}
    return GAN(g, d, update=update, penalty=penalty, **recipe)


def flat_slope(d: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """dD/dx = K (w * (1 - tanh^2)), a row for each image."""
    t = np.tanh(x @ d["dense.kernel"] + d["dense.bias"])
    return ((1 - t * t) * d["dense_1.kernel"][:, 0]) @ d["dense.kernel"].T


def segment_rows() -> Iterator[Row]:
    """wgan-gp looks at one point of each segment from a fake to a real image, with its label."""
    for update in ("separate", "joint", "simultaneous"):
        rng = KEY.generator()
        real, labels = rng.random((5, 8, 6, 1)), np.arange(5) % 4
        z = (rng.standard_normal((5, 5)), (labels + 1) % 4)
        seen = what_d_sees(update, real, labels, z)
        points, kinds = seen[1 if update == "joint" else 2]  # after D's ordinary passes
        fakes = seen[0][0][5:] if update == "joint" else seen[1][0]
        shares = ((points - fakes) / (real - fakes)).reshape(5, -1)
        what = f"GAN {update}, wgan-gp"
        yield agree(what, "one share an image", shares, shares[:, :1] + 0 * shares)
        spread = shares.min() >= 0 and shares.max() <= 1 and np.ptp(shares) > 0.1
        yield true(what, "shares of 0 to 1", spread, f"{shares.min()} to {shares.max()}")
        yield true(what, "labels", np.array_equal(kinds, labels), "not those of the real images")


def what_d_sees(update: str, real: Any, labels: Any, z: Any) -> list[Any]:
    """The (images, labels) of D's forward passes in a step, in order."""
    gan = GAN(*small_pair(4), update=update, penalty="wgan-gp", seed=0)
    forward, seen = gan.D.forward, list[Any]()

    def watched(x: Any, *args: Any, **options: Any) -> Any:
        seen.append(x)
        return forward(x, *args, **options)

    gan.D.forward = watched  # type: ignore[method-assign]
    gan.train_step(real, labels, latents=(z, z))
    return seen
