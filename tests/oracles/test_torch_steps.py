"""Whole adversarial steps beside PyTorch in float64, for each reference network and its recipe.

The losses, the order of the updates and Keras's form of Adam are written here again, and the
networks and the running statistics in torch_networks.py, from their published descriptions, on
tensors and autograd.  Only the first weights, the latents, the dropout masks and the noise of the
targets are taken over.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import minigan as mg

from . import torch_networks
from .compare import close
from .torch_networks import Net, plain_pair

pytestmark = pytest.mark.oracle

LIMIT = 1e-9
STEPS = 3


class KerasAdam:
    """p -= lr sqrt(1-b2^t)/(1-b1^t) m/(sqrt(v) + epsilon)."""

    def __init__(self, torch, params, lr=2e-4, b1=0.5, b2=0.999, epsilon=1e-7) -> None:
        self.torch, self.params, self.lr, self.betas = torch, params, lr, (b1, b2)
        self.epsilon, self.t = epsilon, 0
        self.m = [torch.zeros_like(p) for p in params]
        self.v = [torch.zeros_like(p) for p in params]

    def step(self, grads):
        (b1, b2), self.t = self.betas, self.t + 1
        rate = self.lr * math.sqrt(1 - b2**self.t) / (1 - b1**self.t)
        with self.torch.no_grad():
            for p, g, m, v in zip(self.params, grads, self.m, self.v, strict=True):
                m += (1 - b1) * (g - m)
                v += (1 - b2) * (g * g - v)
                p -= rate * m / (v.sqrt() + self.epsilon)


class TorchAdam:
    """torch.optim.Adam, given gradients."""

    def __init__(self, torch, params) -> None:
        self.params, self.adam = params, torch.optim.Adam(params, lr=1e-5)

    def step(self, grads):
        for p, g in zip(self.params, grads, strict=True):
            p.grad = g
        self.adam.step()


class Steps:
    """The three ways of a step, on two nets."""

    def __init__(self, torch, gan, g, d, adam) -> None:
        self.torch, self.F = torch, torch.nn.functional
        self.g, self.d = g, d
        self.G, self.D = Net(torch, gan.generator), Net(torch, gan.discriminator)
        self.g_adam = adam(torch, list(self.G.params.values()))
        self.d_adam = adam(torch, list(self.D.params.values()))

    def bce(self, logits, target):
        if not hasattr(target, "shape"):
            target = self.torch.full_like(logits, target)
        return self.F.binary_cross_entropy_with_logits(logits, target)

    def generate(self, z, training=True):
        z, labels = z if isinstance(z, tuple) else (z, None)
        return self.g(self.G.start(training), z, labels), labels

    def judge(self, images, masks):
        images, labels = images
        return self.d(self.D.start(True, masks), images, labels)

    def update(self, net, adam, loss, keep=False):
        adam.step(self.torch.autograd.grad(loss, list(net.params.values()), retain_graph=keep))

    def separate(self, real, z_d, z_g, masks, targets):
        d_real = self.judge(real, masks)
        loss_real = self.bce(d_real, 1.0)
        self.update(self.D, self.d_adam, loss_real)
        self.D.commit()
        fake, labels = self.generate(z_d)
        self.G.commit()
        d_fake = self.judge((fake.detach(), labels), masks)
        loss_fake = self.bce(d_fake, 0.0)
        self.update(self.D, self.d_adam, loss_fake)
        self.D.commit()
        g_loss = self.bce(self.judge(self.generate(z_g), masks), 1.0)
        self.update(self.G, self.g_adam, g_loss)
        self.G.commit()  # and D's statistics stand still while it only judges
        return loss_real + loss_fake, g_loss, d_real, d_fake

    def joint(self, real, z_d, z_g, masks, targets, inference):
        fake, _ = self.generate(z_d, training=not inference)
        if not inference:
            self.G.commit()
        images = self.torch.cat([real[0], fake.detach()])
        logits = self.judge((images, None), masks)
        wanted = self.torch.cat([self.torch.ones(len(fake), 1), self.torch.zeros(len(fake), 1)])
        d_loss = self.bce(logits, wanted)  # one mean over both halves
        self.update(self.D, self.d_adam, d_loss)
        fake = self.generate(z_g)
        g_loss = self.bce(self.judge(fake, masks), 1.0)
        self.update(self.G, self.g_adam, g_loss)
        self.G.commit()
        return d_loss, g_loss, logits[: len(real[0])], logits[len(real[0]) :]

    def mlp(self, real, z_d, z_g, masks, targets):
        """Two forward passes and the mean of two losses, as the original has them."""
        fake, _ = self.generate(z_d)
        self.G.commit()
        d_fake, d_real = self.judge((fake.detach(), None), masks), self.judge(real, masks)
        d_loss = (self.bce(d_fake, 0.0) + self.bce(d_real, 1.0)) / 2
        self.update(self.D, self.d_adam, d_loss)
        g_loss = self.bce(self.judge(self.generate(z_g), masks), 1.0)
        self.update(self.G, self.g_adam, g_loss)
        self.G.commit()
        return d_loss, g_loss, d_real, d_fake

    def simultaneous(self, real, z_d, z_g, masks, targets):
        images, _ = self.generate(z_d)
        d_real = self.judge(real, masks)
        self.D.commit()
        d_fake = self.judge((images, None), masks)
        self.D.commit()
        self.G.commit()
        clipped_real, clipped_fake = d_real.clamp(-16.118, 16.118), d_fake.clamp(-16.118, 16.118)
        real_target, fake_target = (self.torch.tensor(t) for t in targets)
        d_loss = (self.bce(clipped_real, real_target) + self.bce(clipped_fake, fake_target)) / 2
        g_loss = self.bce(clipped_fake, 1.0)
        g_grads = self.torch.autograd.grad(g_loss, list(self.G.params.values()), retain_graph=True)
        self.update(self.D, self.d_adam, d_loss)
        self.g_adam.step(g_grads)
        return d_loss, g_loss, d_real, d_fake


# case -> (network, its arguments, real and fake batch, step)
SMALL = {
    "flowers": ((6, 5, 4, 5, 4), (4, 5, 6, 5, 4)),
    "dcgan64": ((8, 6, 5, 4), (4, 5, 6, 8)),
    "upsample64": ((9, 6, 4, 5), (4, 5, 6, 9)),
}
CASES = {
    "digits": ("digits", {}, (6, 3), "separate"),
    "flowers": ("flowers", {"sizes": SMALL["flowers"]}, (4, 2), "separate"),
    "flowers, 102 classes": (
        "flowers", {"sizes": SMALL["flowers"], "classes": 102}, (4, 2), "separate",
    ),
    "dcgan64": ("dcgan64", {"sizes": SMALL["dcgan64"]}, (5, 5), "simultaneous"),
    "dcgan64, clipped": ("dcgan64", {"sizes": SMALL["dcgan64"]}, (5, 5), "simultaneous"),
    "upsample64": ("upsample64", {"sizes": SMALL["upsample64"]}, (4, 4), "upsample64"),
    "mlp_digits": ("mlp_digits", {}, (8, 8), "mlp"),
    "plain": ("plain", {}, (5, 5), "separate"),
}  # fmt: skip
WITH_DROPOUT = [case for case in CASES if CASES[case][0] in ("digits", "flowers", "dcgan64")]


def recorded_masks(gan):
    """The list to which D's dropout layers append the masks they draw, in the order of use."""
    masks = []
    for layer in gan.D.layers:
        if isinstance(layer, mg.Dropout) and layer.rate:

            def compute(x, training, rng, keep, real=layer.compute):
                y, cache = real(x, training, rng, keep)
                masks.append(np.divide(y, x, out=np.ones_like(x), where=x != 0))
                return y, cache

            layer.compute = compute
    return masks


@pytest.mark.parametrize(
    "case, dropout", [*((case, False) for case in CASES), *((case, True) for case in WITH_DROPOUT)]
)
def test_steps(torch, case, dropout):
    """Losses, means of D, every parameter and every running statistic after each of three steps."""
    name, arguments, (n, n_fake), way = CASES[case]
    if case in WITH_DROPOUT and not dropout:
        arguments = arguments | {"dropout": 0.0}
    if name == "plain":
        pair, recipe = plain_pair(), {}
    else:
        pair = getattr(mg.models, name)(dtype="float64", seed=7, **arguments)
        recipe = getattr(mg.recipes, name)
    if case == "dcgan64, clipped":  # logits on both sides of the clip
        pair[1].params["conv2d_4.kernel"][...] *= 15
    gan = mg.GAN(*pair, seed=8, **recipe)
    networks = vars(torch_networks)
    adam = TorchAdam if name == "mlp_digits" else KerasAdam
    theirs = Steps(torch, gan, networks[f"{name}_g"], networks[f"{name}_d"], adam)
    masks = recorded_masks(gan)
    rng = np.random.default_rng(0)
    low, high = gan.image_range
    start = {f"{m.name}.{k}": a.copy() for m in pair for k, a in m.params.items()}

    def latents(count):
        z = rng.standard_normal((count, gan.latent_dim))
        return (z, rng.integers(gan.classes, size=count)) if gan.conditional else z

    def tensors(z):
        return tuple(map(torch.tensor, z)) if gan.conditional else torch.tensor(z)

    for _ in range(STEPS):
        real = low + (high - low) * rng.random((n, *gan.generator.output_shape))
        labels = rng.integers(gan.classes, size=n) if gan.conditional else None
        z_d, z_g = latents(n_fake), latents(n)
        key = gan.key("targets")
        targets = [
            gan.targets.draw(side, (count, 1), key).astype(np.float64)
            for side, count in (("real", n), ("fake", n_fake))
        ]
        logs = gan.train_step(real, labels, latents=(z_d, z_g))

        axes = (0, 3, 1, 2) if real.ndim == 4 else (0, 1)
        x = torch.tensor(real.transpose(axes))
        x = x, (None if labels is None else torch.tensor(labels))
        arguments = x, tensors(z_d), tensors(z_g), masks, targets
        if way == "upsample64":
            found = theirs.joint(*arguments, inference=True)
        else:
            found = getattr(theirs, way)(*arguments)
        d_loss, g_loss, d_real, d_fake = found
        if case == "dcgan64, clipped":
            beyond = torch.cat([d_real, d_fake]).abs() > 16.118
            assert beyond.any() and not beyond.all()
        assert not masks  # each was used, in the same order
        for key, expected in {
            "d_loss": d_loss, "g_loss": g_loss,
            "d_real": d_real.sigmoid().mean(), "d_fake": d_fake.sigmoid().mean(),
        }.items():  # fmt: skip
            close(f"step of {case}", key, np.float64(logs[key]), expected.detach(), LIMIT)
        for model, net in zip(pair, (theirs.G, theirs.D), strict=True):
            side = model.name[0].upper()
            for key, values in model.params.items():
                expected, before = net.ours(key), start[f"{model.name}.{key}"]
                if key in model.null_gradients():  # what rounding left, whatever Adam makes of it
                    assert np.abs(values - before).max() < 1e-11
                    continue
                close(f"step of {case}", f"{side} {key}", values, expected, LIMIT)
                # what the steps moved is small beside the parameter
                moved, wanted = values - before, expected - before
                close(f"moved by {case}", f"{side} {key}", moved, wanted, LIMIT)
            for key, values in model.state.items():
                close(f"step of {case}", key.rsplit(".", 1)[1], values, net.state[key], LIMIT)
