"""The check of a whole GAN: the very step functions that train, run at complex parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .backend import move
from .gan import GAN
from .layers.activations import Activation
from .layers.base import Layer
from .layers.merge import Parallel
from .layers.shape import Renaming
from .numeric import FEW, Array, Numeric, Row, compare, same
from .optimizers import SGD, Optimizer
from .random import Key
from .secondcheck import on_gpu_row
from .sequential import Sequential


class _Recorder(Optimizer):
    """Keeps the gradients it is given, and moves nothing."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.sum: dict[str, Array] = {}

    def step(self, params, grads, at=None):
        for name, g in grads.items():
            self.sum[name] = self.sum[name] + g if name in self.sum else g.copy()


def gan_rows(gan: GAN, batch: int, seed: int) -> Iterator[Row]:
    """d_loss to every parameter of D, and g_loss, through D, to every parameter of G."""
    rng = Key(seed, "gradient check").generator()
    pair = [m.to("numpy") for m in (gan.generator, gan.discriminator)]
    networks = [shaken(m.astype("float64"), rng) for m in pair]
    batches = _gan_batches(gan, batch, rng)
    if gan.objective.margin is not None:
        _pass_margin(gan, networks, batches, gan.objective.margin)

    def step(
        dtype: str, d: dict[str, Array], g: dict[str, Array], backend: str = "numpy"
    ) -> tuple[Any, Any, Any]:
        generator, discriminator = (m.astype(dtype).to(backend) for m in networks)
        for model, values in ((generator, g), (discriminator, d)):
            for name, value in values.items():
                model.params[name][...] = value
        d_recorder, g_recorder = _Recorder(), _Recorder()
        copy = copied(gan, (generator, discriminator), d_recorder, g_recorder)
        for model in (copy.generator, copy.D):
            model.commit = _as_data(model)  # type: ignore[method-assign]
        return copy.train_step(**batches), d_recorder.sum, g_recorder.sum

    _, d_grads, g_grads = step("float64", {}, {})
    added = "".join(f" + {penalty.kind}" for penalty in gan.penalties)
    for loss, side, grads, model in (
        ("d_loss", "d", d_grads, networks[1]),
        ("g_loss", "g", g_grads, networks[0]),
    ):
        values, null = dict(model.params), model.null_gradients()
        if side == "d" and gan.objective.relative:
            null |= last_bias(model)

        def value(moved: dict[str, Array], loss: str = loss, side: str = side) -> Any:
            sides: dict[str, dict[str, Array]] = {"d": {}, "g": {}, side: moved}
            return step("complex128", sides["d"], sides["g"])[0][loss]

        largest = max(float(np.abs(g).max()) for g in grads.values())
        for name, g in grads.items():
            numeric = Numeric(value, values, name, "complex")
            what = f"GAN {gan.update}: {loss}{added if side == 'd' else ''}"
            yield compare(what, name, g, numeric, rng, name in null, FEW, largest)
    if gan.generator.home is not np:
        _, *found = move(step("float64", {}, {}, "cupy"), np)
        for loss, there, grads in zip(("d_loss", "g_loss"), found, (d_grads, g_grads), strict=True):
            for name, g in grads.items():
                yield on_gpu_row(f"GAN {gan.update}: {loss}", name, there[name], g)
    yield _d_stands_still(gan, networks, batches)
    yield from _statistics(gan, networks, batches)


def _as_data(model: Sequential) -> Any:
    """commit, with the new running state as a number: a step's gradient does not go through it."""
    commit = model.commit

    def real(cache: Any) -> None:
        commit(cache)
        state = model.state.flat
        state[...] = state.real

    return real


def last_bias(model: Sequential) -> set[str]:
    """The names of the biases that shift every logit alike."""
    return _last_biases(model.logits().children()) & set(model.params)


def _last_biases(children: list[tuple[str, Layer]]) -> set[str]:
    for name, layer in reversed(children):
        linear = isinstance(layer, Activation) and layer.activation == "linear"
        if isinstance(layer, Renaming) or linear:
            continue
        if isinstance(layer, Parallel) and layer.merge == "add":
            inside = [child for part in layer.children() for child in _last_biases([part])]
        elif isinstance(layer, Sequential):
            inside = list(_last_biases(layer.children()))
        else:
            return {f"{name}.bias"}
        return {f"{name}.{bias}" for bias in inside}
    return set()


def _pass_margin(
    gan: GAN, networks: list[Sequential], batches: dict[str, Any], margin: float
) -> None:
    """Shift D's logits so that a larger share of one side's lies within the objective's margin.

    With equal shares, as when all lie within, the derivatives of the two sides cancel, and that of
    D's last bias is zero whatever its formula is.
    """
    watched = copied(gan, networks, SGD(0.0), SGD(0.0))
    seen: dict[str, list[float]] = {"real": [], "fake": []}
    d_loss = watched.d_loss

    def seeing(real: Any, fake: Any) -> Any:
        for side, logits in (("real", real), ("fake", fake)):
            seen[side].extend([] if logits is None else logits.ravel())
        return d_loss(real, fake)

    watched.d_loss = seeing  # type: ignore[method-assign]
    watched.train_step(**batches)
    shift = _uneven_shift(np.array(seen["real"]), np.array(seen["fake"]), margin)
    for name in last_bias(networks[1]):
        networks[1].params[name] += shift


def _uneven_shift(real: Array, fake: Array, margin: float) -> float:
    """The shift furthest from any logit's kink where unequal shares are within the margins."""
    kinks = np.sort(np.concatenate([margin - real, -margin - fake]))
    found = []
    for low, high in zip(kinks, kinks[1:], strict=False):
        shift = (low + high) / 2
        within = (real + shift < margin).mean(), (fake + shift > -margin).mean()
        if min(within) > 0 and abs(within[0] - within[1]) > 1e-9:
            found.append((high - low, shift))
    return float(max(found, default=(0.0, 0.0))[1])


def _d_stands_still(gan: GAN, networks: list[Any], batches: dict[str, Any]) -> Row:
    """D after a step is the same to the bit, however G's part of the step moves G."""
    ends = []
    for rate in (0.0, 0.5):
        generator, discriminator = (m.astype("float64") for m in networks)
        g_optimizer = {"name": "sgd", "learning_rate": rate}
        recipe = {**gan.config(), "d_steps": 1, "g_optimizer": g_optimizer}
        GAN(generator, discriminator, **recipe).train_step(**batches)
        ends.append((discriminator.params.flat, discriminator.state.flat, generator.params.flat))
    still = same(ends[0][0], ends[1][0]) and same(ends[0][1], ends[1][1])
    moved = not same(ends[0][2], ends[1][2])
    note = "" if still else "G's update moves D"
    note = note if moved else "G did not move: the check is empty"
    verdict = "FAIL" if note else "ok"
    return Row(f"GAN {gan.update}", "D stands still", "bits", 0.0, 0.0, verdict, note)


def _statistics(gan: GAN, networks: list[Any], batches: dict[str, Any]) -> Iterator[Row]:
    """Running statistics after a step that moves no weight, against forward passes one by one."""
    stepped, byhand = (copied(gan, networks, SGD(0.0), SGD(0.0)) for _ in range(2))
    stepped.train_step(**batches)

    G, D, key = byhand.generator, byhand.D, byhand.key
    real, (z_d, z_g) = batches["real"], batches["latents"]
    if gan.conditional:
        real = (real, batches["labels"])
    real = byhand.noised(real, "real")
    training = gan.update == "simultaneous" or gan.d_fakes == "training"
    purpose = "dropout, generator" if gan.update == "simultaneous" else "dropout, fakes"
    images, cache = G.forward(z_d, training=training, rng=key(purpose))
    G.commit(cache)
    fake = byhand.shown(images, z_d, "fakes, d")
    if gan.update == "joint":
        D.commit(D.forward(byhand.concatenate(real, fake)[0], rng=key("dropout, joint"))[1])
    else:
        passes = [(real, "dropout, real"), (fake, "dropout, fake")]
        if gan.update == "simultaneous":  # both passes with the state as it was
            for cache in [D.forward(x, rng=key(purpose))[1] for x, purpose in passes]:
                D.commit(cache)
        else:
            for x, purpose in passes:
                D.commit(D.forward(x, rng=key(purpose))[1])
    if gan.update != "simultaneous":
        G.commit(G.forward(z_g, rng=key("dropout, generator"))[1])

    for name in ("generator", "discriminator"):
        found, expected = (getattr(g, name).state.flat for g in (stepped, byhand))
        good = same(found, expected)
        note = "" if good else "moved by another number of batches, or by other batches"
        what = f"GAN {gan.update}"
        verdict = "ok" if good else "FAIL"
        yield Row(what, f"{name}'s statistics", "bits", 0.0, 0.0, verdict, note)


def copied(gan: GAN, networks: Sequence[Sequential], d: Optimizer, g: Optimizer) -> GAN:
    """A GAN of copies of these two networks, with gan's recipe and these optimizers."""
    config = {**gan.config(), "ema": None, "d_steps": 1, "g_optimizer": g, "d_optimizer": d}
    config["objective"].pop("clip", None)  # nothing may move
    generator, discriminator = (m.astype(m.dtype) for m in networks)
    return GAN(generator, discriminator, **config)


def _gan_batches(gan: GAN, batch: int, rng: np.random.Generator) -> dict[str, Any]:
    shape = gan.generator.output_shape
    real = rng.random((batch, *shape))
    n_fake = gan.fakes_for(batch)
    labels = rng.integers(gan.classes or 1, size=batch) if gan.conditional else None

    def latents(n: int) -> Any:
        z = rng.standard_normal((n, gan.latent_dim))
        return (z, rng.integers(gan.classes or 1, size=n)) if gan.conditional else z

    return {"real": real, "labels": labels, "latents": (latents(n_fake), latents(batch))}


def shaken(layer: Any, rng: np.random.Generator) -> Any:
    """The layer with parameters and running state moved by small random amounts.

    The amounts are exact in float32, so that a float32 copy stands at the same point.
    """
    for p in layer.params.values():
        p += 0.1 * rng.standard_normal(p.shape)
        p[...] = p.astype(np.float32)
    for s in layer.state.values():
        s += 0.5 * rng.random(s.shape)
        s[...] = s.astype(np.float32)
    return layer
