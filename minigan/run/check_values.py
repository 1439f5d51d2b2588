"""Values, for `minigan check`: outputs, optimizers, losses and draws against formulas written out.

A gradient check cannot see a fault that forward and backward share, a wrong padding say.  What is
compared here is computed by plain loops and closed forms that share nothing with the library.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import layers, losses, objectives, optimizers
from ..gan import GAN
from ..kernels import cpu, reference
from ..numeric import Row
from ..random import Key
from ..sampler import Sampler
from ..sequential import Sequential
from ..targets import Targets
from .check_cases import small_pair
from .check_rows import agree, true

KEY = Key(0, "value check")


def value_rows() -> Iterator[Row]:
    """All of them."""
    yield from convolution_rows()
    yield from pooling_rows()
    yield from layer_rows()
    yield from optimizer_rows()
    yield from loss_rows()
    yield from draw_rows()
    yield from training_rows()
    yield from stage_rows()


# sides and padding, as TensorFlow defines them


def sides(n: int, k: int, s: int, padding: str) -> tuple[int, int]:
    """(windows, padding before) of a plain convolution over n pixels."""
    if padding == "valid":
        return (n - k) // s + 1, 0
    windows = math.ceil(n / s)
    return windows, max((windows - 1) * s + k - n, 0) // 2


def convolution_rows() -> Iterator[Row]:
    """Conv2D, Conv2DTranspose and their 1-D forms, pixel by pixel, for strides and kernels 1-5."""
    rng = KEY.generator()
    for k, s, padding in [
        (1, 2, "same"), (2, 1, "same"), (3, 2, "same"), (4, 2, "same"), (5, 2, "same"),
        (2, 3, "same"), (4, 3, "same"), (3, 1, "valid"), (4, 2, "valid"), (2, 3, "valid"),
    ]:  # fmt: skip
        for n in (5, 6, 7):
            plain = layers.Conv1D(2, k, strides=s, padding=padding)
            up = layers.Conv1DTranspose(2, k, strides=s, padding=padding)
            for layer in (plain, up):
                layer.build((n, 3), dtype="float64", key=KEY)
                layer.params["bias"][...] = rng.standard_normal(2)
            x = rng.standard_normal((2, n, 3))
            what = f"k{k} s{s} {padding}, {n} pixels"
            for layer in (plain, up):
                name = f"{type(layer).__name__} {what}"
                found = layer.forward(x, training=n == 5)[0]
                yield agree(name, "values", found, loop(layer, x, s, padding))
    for kind in (layers.Conv2D, layers.Conv2DTranspose):
        image = kind(2, (4, 3), strides=(2, 1), padding="same")
        image.build((5, 4, 3), dtype="float64", key=KEY)
        x = rng.standard_normal((2, 5, 4, 3))
        found = image.forward(x)[0]
        yield agree(f"{kind.__name__} k4x3 s2x1 same", "values", found, loop2d(image, x))


def loop(layer: Any, x: np.ndarray, s: int, padding: str) -> np.ndarray:
    """A 1-D convolution or transposed convolution, one product at a time."""
    return loop2d_of(
        layer.params["kernel"][None], layer.params["bias"], x[:, None], (1, s), padding,
        isinstance(layer, layers.Conv1DTranspose),
    )[:, 0]  # fmt: skip


def loop2d(layer: Any, x: np.ndarray) -> np.ndarray:
    """A 2-D one."""
    up = isinstance(layer, layers.Conv2DTranspose)
    kernel, bias = layer.params["kernel"], layer.params["bias"]
    return loop2d_of(kernel, bias, x, layer.strides, layer.padding, up)


def loop2d_of(
    kernel: np.ndarray, bias: np.ndarray, x: np.ndarray, strides: Any, padding: str, up: bool
) -> np.ndarray:
    """Pair pixel s*o + t - before of the big side with pixel o of the small one, through tap t."""
    (kh, kw), (sh, sw), (n, h, w, _) = kernel.shape[:2], strides, x.shape
    if up:
        grow = [0, 0] if padding == "same" else [max(kh - sh, 0), max(kw - sw, 0)]
        big = (h * sh + grow[0], w * sw + grow[1])
    else:
        big = (h, w)
    (oh, top), (ow, left) = sides(big[0], kh, sh, padding), sides(big[1], kw, sw, padding)
    y = np.zeros((n, *(big if up else (oh, ow)), len(bias)))
    for o, p, i, j in np.ndindex(oh, ow, kh, kw):
        row, col = sh * o + i - top, sw * p + j - left
        if 0 <= row < big[0] and 0 <= col < big[1]:
            if up:
                y[:, row, col] += x[:, o, p] @ kernel[i, j].T
            else:
                y[:, o, p] += x[:, row, col] @ kernel[i, j]
    return y + bias


def pooling_rows() -> Iterator[Row]:
    """Pooling window by window; only pixels of the image count."""
    x = KEY.generator().standard_normal((2, 5, 6, 2)) - 3
    for k, s, padding in ((2, None, "valid"), (2, None, "same"), (3, 2, "same"), (3, 1, "same")):
        step = k if s is None else s
        (oh, top), (ow, left) = sides(5, k, step, padding), sides(6, k, step, padding)
        most, mean = np.zeros((2, oh, ow, 2)), np.zeros((2, oh, ow, 2))
        for o, p in np.ndindex(oh, ow):
            rows = slice(max(step * o - top, 0), step * o - top + k)
            cols = slice(max(step * p - left, 0), step * p - left + k)
            most[:, o, p] = x[:, rows, cols].max(axis=(1, 2))
            mean[:, o, p] = x[:, rows, cols].mean(axis=(1, 2))
        for kind, expected in ((layers.MaxPooling2D, most), (layers.AveragePooling2D, mean)):
            layer = kind(k, strides=s, padding=padding)
            layer.build((5, 6, 2), dtype="float64", key=KEY)
            what = f"{kind.__name__} {k} s{s} {padding}"
            yield agree(what, "values", layer.forward(x)[0], expected)


def layer_rows() -> Iterator[Row]:
    """The other layers' outputs from their formulas."""
    rng = KEY.generator()
    x = rng.standard_normal((3, 4, 2, 5))
    formulas: list[tuple[Any, Any]] = [
        (layers.LeakyReLU(0.2), np.maximum(x, 0.2 * x)),
        (layers.ReLU(), np.maximum(x, 0)),
        (layers.Tanh(), (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x))),
        (layers.Sigmoid(), 1 / (1 + np.exp(-x))),
        (layers.Softmax(), np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)),
        (layers.UpSampling2D((2, 3)), np.kron(x, np.ones((1, 2, 3, 1)))),
        (layers.Flatten(), x.ravel().reshape(3, 40)),
    ]
    for layer, expected in formulas:
        layer.build((4, 2, 5), dtype="float64", key=KEY)
        yield agree(type(layer).__name__, "values", layer.forward(x)[0], expected)
    for unbiased in (False, True):
        yield from batch_norm_rows(x, unbiased)
    dense = layers.Dense(3)
    dense.build((5,), dtype="float64", key=KEY)
    found = dense.forward(x[:, 0, 0])[0]
    yield agree(
        "Dense", "values", found, np.einsum("ni,ij->nj", x[:, 0, 0], dense.params["kernel"])
    )


def batch_norm_rows(x: np.ndarray, unbiased: bool) -> Iterator[Row]:
    """Training, inference and running statistics, on four axes."""
    bn = layers.BatchNorm(momentum=0.8, epsilon=0.05, unbiased=unbiased)
    bn.build(x.shape[1:], dtype="float64", key=KEY)
    bn.params["gamma"][...], bn.params["beta"][...] = 2.0, 0.5
    mean, var = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    what = f"BatchNorm, unbiased={unbiased}"
    y, cache = bn.forward(x)
    yield agree(what, "training", y, 2 * (x - mean) / np.sqrt(var + 0.05) + 0.5)
    bn.commit(cache)
    moved = 0.8 + 0.2 * x.var(axis=(0, 1, 2), ddof=int(unbiased))
    yield agree(what, "moving_mean", bn.state["moving_mean"], 0.2 * mean)
    yield agree(what, "moving_variance", bn.state["moving_variance"], moved)
    found = bn.forward(x, training=False)[0]
    yield agree(what, "inference", found, 2 * (x - 0.2 * mean) / np.sqrt(moved + 0.05) + 0.5)


def optimizer_rows() -> Iterator[Row]:
    """Five steps of every optimizer from its formula, summed over the steps taken so far."""
    grads = KEY.generator().standard_normal((5, 4))
    made: dict[str, tuple[Any, Any]] = {
        "SGD": (optimizers.SGD(0.1), lambda t: grads[t]),
        "SGD, momentum": (
            optimizers.SGD(0.1, momentum=0.9),
            lambda t: sum(0.9 ** (t - i) * grads[i] for i in range(t + 1)),
        ),
        "RMSprop": (
            optimizers.RMSprop(0.1, rho=0.9),
            lambda t: grads[t] / (np.sqrt(decayed(grads**2, 0.9, t)) + 1e-7),
        ),
    }
    for form, epsilon in (("keras", 1e-7), ("torch", 1e-8)):

        def step(t: int, form: str = form, epsilon: float = epsilon) -> Any:
            m, v = decayed(grads, 0.5, t), decayed(grads**2, 0.9, t)
            c1, c2 = 1 - 0.5 ** (t + 1), 1 - 0.9 ** (t + 1)
            if form == "torch":
                return (m / c1) / (np.sqrt(v / c2) + epsilon)
            return np.sqrt(c2) / c1 * m / (np.sqrt(v) + epsilon)

        made[f"Adam, {form} form"] = optimizers.Adam(0.1, beta_1=0.5, beta_2=0.9, form=form), step
    for name, (optimizer, step) in made.items():
        p = np.ones(4)
        for g in grads:
            optimizer.step({"p": p}, {"p": g.copy()})
        yield agree(name, "five steps", p, 1 - 0.1 * sum(step(t) for t in range(5)))
    for module, name in ((reference, "reference"), (cpu, "fast")):
        p, m, v = np.ones(4), np.full(4, 0.3), np.full(4, 0.7)
        module.adam(p, grads[0], m, v, 0.1, (0.5, 0.9), 1.5, 0.01)
        m_next, v_next = 0.15 + 0.5 * grads[0], 0.63 + 0.1 * grads[0] ** 2
        expected = 1 - 0.1 * m_next / (1.5 * np.sqrt(v_next) + 0.01)
        yield agree(f"adam kernel, {name}", "one step", p, expected)


def decayed(values: np.ndarray, beta: float, t: int) -> np.ndarray:
    """(1 - beta) * sum over i <= t of beta^(t-i) values[i]."""
    return (1 - beta) * sum(beta ** (t - i) * values[i] for i in range(t + 1))


def loss_rows() -> Iterator[Row]:
    """The losses' values written out, sample by sample."""
    rng = KEY.generator()
    p, t, logits = (
        rng.uniform(0.1, 0.9, (4, 3)),
        rng.uniform(0, 1, (4, 3)),
        rng.normal(0, 2, (4, 3)),
    )
    s = 1 / (1 + np.exp(-logits))
    shares = p / p.sum(axis=1, keepdims=True)
    kind = np.array([2, 0, 1, 2])
    soft = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    bce = -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean()
    pairs = [
        ("MSE", losses.MSE()(p, t)[0], sum((p - t).ravel() ** 2) / 12),
        ("BCE", losses.BCE()(p, t)[0], bce),
        ("BCE, logits", losses.BCE(from_logits=True)(np.log(p / (1 - p)), t)[0], bce),
        ("CrossEntropy", losses.CrossEntropy()(shares, kind)[0],
         -sum(np.log(shares[i, kind[i]]) for i in range(4)) / 4),
        ("CrossEntropy, logits", losses.CrossEntropy(from_logits=True)(logits, kind)[0],
         -sum(np.log(soft[i, kind[i]]) for i in range(4)) / 4),
        ("d_loss", objectives.NonSaturating().d_loss(logits, logits[::-1])[0],
         -np.log(s).mean() - np.log(1 - s).mean()),
        ("d_loss, targets", objectives.NonSaturating().d_loss(logits, logits, 0.9, 0.2)[0],
         -(0.9 * np.log(s) + 0.1 * np.log(1 - s) + 0.2 * np.log(s) + 0.8 * np.log(1 - s)).mean()),
        ("g_loss, non-saturating", objectives.NonSaturating().g_loss(logits)[0], -np.log(s).mean()),
        ("g_loss, minimax", objectives.Minimax().g_loss(logits)[0], np.log(1 - s).mean()),
    ]  # fmt: skip
    for name, found, expected in pairs:
        yield agree(name, "value", found, expected)


def draw_rows() -> Iterator[Row]:
    """Dropout, targets and latents are drawn from what they say, within five deviations."""
    n = 100_000
    dropout = layers.Dropout(0.3)
    dropout.build((n,), dtype="float64", key=KEY)
    y = dropout.forward(np.ones((1, n)), rng=1)[0]
    kept = (y > 0).mean()
    near = abs(kept - 0.7) < 5 * math.sqrt(0.21 / n)
    yield true("Dropout 0.3", "share kept", near, f"{kept} instead of 0.7")
    yield agree("Dropout 0.3", "scale", np.unique(y), [0.0, 1 / 0.7])
    stream = KEY.philox().random_raw(n).astype("<u8").view("<u2")  # 4 n elements: over threads
    masks = KEY.keep_mask((4 * n,), 0.3), stream >= 0.3 * (1 << 16)
    yield true("Dropout 0.3", "one stream", np.array_equal(*masks), "the threads drew another")
    targets = Targets(real=(0.8, 1.0), fake=(0.0, 0.2), flip=0.1)
    for side, low in (("real", 0.8), ("fake", 0.0)):
        drawn = targets.draw(side, (n,), KEY)
        own = ((drawn >= low) & (drawn <= low + 0.2)).mean()
        near = abs(own - 0.9) < 5 * math.sqrt(0.09 / n)
        yield true("targets, 10 % flipped", side, near, f"{own} in their range instead of 0.9")
    generator = small_pair(None)[0]
    for kind, spread, most in (("normal", 1.0, 6.0), ("uniform", 1 / math.sqrt(3), 1.0)):
        z = Sampler(generator, latents=kind, seed=0).noise(n // 5, KEY)
        fine = abs(z.mean()) < 0.02 and abs(z.std() - spread) < 0.02 and np.abs(z).max() <= most
        yield true(f"latents, {kind}", "mean, spread, range", fine, f"{z.mean()} {z.std()}")


def training_rows() -> Iterator[Row]:
    """Updates go downhill, the average follows its formula, statistics move through containers."""
    for update in ("separate", "joint", "simultaneous"):
        recipe: dict[str, Any] = {"update": update, "ema": 0.3, "seed": 0}
        for side in ("d_optimizer", "g_optimizer"):
            recipe[side] = {"name": "sgd", "learning_rate": 0.01}
        gan = GAN(*small_pair(None), **recipe)
        real = KEY.generator().random((6, 8, 6, 1))
        z = KEY.generator().standard_normal((6, 5))
        start = gan.generator.params.flat.copy()
        losses_seen = [gan.train_step(real, latents=(z, z)) for _ in range(12)]
        drop = losses_seen[0]["d_loss"] - losses_seen[-1]["d_loss"]
        yield true(f"GAN {update}", "D's loss falls", drop > 0, f"it changed by {-drop}")
        before, moved = gan.sampler.params.flat.copy(), gan.step_count
        gan.train_step(real, latents=(z, z))
        decay = min(0.3, (1 + moved) / (10 + moved))
        expected = decay * before + (1 - decay) * gan.generator.params.flat
        yield agree(f"GAN {update}", "average of weights", gan.sampler.params.flat, expected)
        yield true(f"GAN {update}", "G moves", not np.array_equal(start, before), "it stood still")
    inner = Sequential([layers.BatchNorm(momentum=0.5), layers.ReLU()])
    model = Sequential(
        [layers.Parallel([inner, layers.BatchNorm(momentum=0.5)])],
        input_shape=(3,),
        dtype="float64",
        key=KEY,
    )
    x = KEY.generator().standard_normal((5, 3))
    model.commit(model.forward(x)[1])
    for name in ("parallel.0.batch_normalization", "parallel.1"):
        found = model.state[f"{name}.moving_mean"]
        yield agree("statistics in containers", name, found, x.mean(axis=0) / 2)


def stage_rows() -> Iterator[Row]:
    """A model, which runs its neighbouring layers as one, against the layers one by one."""
    L = layers
    rng = KEY.generator()
    cases: list[tuple[str, list[layers.Layer]]] = [
        ("upsampling, conv k5", [L.UpSampling2D(2), L.Conv2D(3, 5, padding="same"), L.Tanh()]),
        ("upsampling, conv k4x3", [L.UpSampling2D((3, 1)), L.Conv2D(3, (4, 3))]),
        ("upsampling, conv s2", [L.UpSampling2D(2), L.Conv2D(3, 3, strides=2)]),
        ("upsampling, groups", [L.UpSampling2D(2), L.Conv2D(4, 3, groups=2)]),
        ("conv, tanh, maximum", [L.Conv2D(3, 2), L.Tanh(), L.MaxPooling2D(2)]),
        ("conv, softmax, maximum", [L.Conv2D(3, 2), L.Softmax(), L.MaxPooling2D(2)]),
    ]
    for label, parts in cases:
        model = Sequential(parts, input_shape=(5, 4, 2), dtype="float64", key=KEY)
        x = rng.standard_normal((3, 5, 4, 2))
        found, cache = model.forward(x)
        expected, caches = x, []
        for layer in model.layers:
            expected, own = layer.forward(expected)
            caches.append(own)
        yield agree(f"stages: {label}", "values", found, expected)
        dy = rng.standard_normal(found.shape)
        dx, grads = model.backward(dy, cache)
        d = dy
        for layer, own in zip(reversed(model.layers), reversed(caches), strict=True):
            d, by_hand = layer.backward(d, own)
            for name, g in by_hand.items():
                yield agree(f"stages: {label}", name, grads[f"{layer.name}.{name}"], g)
        yield agree(f"stages: {label}", "input", dx, d)
