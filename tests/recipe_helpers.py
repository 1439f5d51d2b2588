"""A recipe on its own network with few channels, and all that happens in its steps."""

from __future__ import annotations

import numpy as np

import minigan as mg
from tests.model_tables import NARROW


def make(name: str, dtype: str = "float64", network=None, **changes) -> mg.GAN:
    """The recipe on its network, narrow; `changes` are arguments of mg.GAN."""
    pair = getattr(mg.models, name)(
        sizes=NARROW[name], dtype=dtype, seed=3, **({"latent_dim": 6} | (network or {}))
    )
    return mg.GAN(*pair, **{"seed": 4, **getattr(mg.recipes, name), **changes})


def images(gan: mg.GAN, n: int) -> np.ndarray:
    """Images in the range of the network's generator."""
    low, high = gan.image_range
    shape = gan.generator.output_shape
    return low + (high - low) * np.random.default_rng(0).random((n, *shape))


class Event:
    """One thing that happened in a step."""

    def __init__(self, what: str, n: int = 0, mode: str = "", **found) -> None:
        self.what, self.n, self.mode = what, n, mode
        self.__dict__.update(found)

    def __repr__(self) -> str:
        return " ".join(filter(None, (self.what, str(self.n or ""), self.mode)))


def spied(gan: mg.GAN) -> list[Event]:
    """The list to which every forward pass, commit, step and loss of this GAN is appended."""
    events: list[Event] = []

    def watch_network(name, model, owner):
        forward, commit, backward = model.forward, model.commit, model.backward

        def watched_forward(x, training=True, rng=None, keep=True):
            y, cache = forward(x, training=training, rng=rng, keep=keep)
            mode = "training" if training else "inference"
            found = {"x": x, "y": y.copy(), "kept": keep, "weights": owner.params.flat.copy()}
            events.append(Event(name, len(y), mode, **found))
            return y, cache

        def watched_backward(dy, cache, wrt="both"):
            found = {"dy": dy, "wrt": wrt, "weights": owner.params.flat.copy()}
            events.append(Event(f"{name} backward", len(dy), wrt, **found))
            return backward(dy, cache, wrt=wrt)

        def watched_commit(cache):
            events.append(Event(f"{name} statistics"))
            commit(cache)

        model.forward, model.commit, model.backward = (
            watched_forward,
            watched_commit,
            watched_backward,
        )

    def watch_optimizer(name, optimizer):
        step = optimizer.step

        def watched_step(params, grads, at):
            before = params.flat.copy()
            step(params, grads, at)
            found = {"params": params, "grads": grads, "moved": params.flat - before}
            events.append(Event(f"{name} step", **found))

        optimizer.step = watched_step

    def watch_losses(objective):
        d_loss, g_loss = objective.d_loss, objective.g_loss

        def watched_d_loss(real, fake, real_target=1.0, fake_target=0.0):
            result = d_loss(real, fake, real_target, fake_target)
            targets = {"real": real_target, "fake": fake_target}
            logits = {"real_logits": real, "fake_logits": fake}
            side = "both" if real is not None and fake is not None else ""
            side = side or ("real" if fake is None else "fake")
            events.append(Event("d_loss", 0, side, **targets, **logits))
            return result

        def watched_g_loss(fake, *rest, **more):
            events.append(Event("g_loss", 0, "", logits=fake))
            return g_loss(fake, *rest, **more)

        objective.d_loss, objective.g_loss = watched_d_loss, watched_g_loss

    watch_network("G", gan.generator, gan.generator)
    watch_network("D", gan.D, gan.discriminator)
    watch_optimizer("D", gan.d_optimizer)
    watch_optimizer("G", gan.g_optimizer)
    watch_losses(gan.objective)
    return events


def only(events: list[Event], *kinds: str) -> list[Event]:
    return [e for e in events if e.what in kinds]


def passes(events: list[Event]) -> list[str]:
    """Forward passes and optimizer steps, in order, as text."""
    return [str(e) for e in only(events, "G", "D", "G step", "D step")]


def bce(logits: np.ndarray, target) -> float:
    """-t log p - (1-t) log(1-p) with p = sigmoid(l), a mean, in the plainest form."""
    p = 1 / (1 + np.exp(-logits))
    return float(np.mean(-target * np.log(p) - (1 - target) * np.log(1 - p)))
