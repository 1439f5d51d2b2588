"""Whole adversarial steps beside PyTorch in float64, for each reference network and its recipe.

The networks, the losses, the running statistics, the order of the updates and Keras's form of Adam
are written here again, from their published descriptions, on tensors and autograd.  Only the first
weights, the latents, the dropout masks and the noise of the targets are taken over.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import minigan as mg
from minigan.random import Key

from .compare import close

pytestmark = pytest.mark.oracle

LIMIT = 1e-9
STEPS = 3


class Net:
    """The tensors of one of our networks in PyTorch's layout, taken in the order of their use."""

    def __init__(self, torch, model: mg.Sequential) -> None:
        self.torch, self.F, self.model = torch, torch.nn.functional, model
        self.params = {k: self.theirs(k, a).requires_grad_() for k, a in model.params.items()}
        self.state = {k: torch.tensor(a) for k, a in model.state.items()}

    def theirs(self, name, array):
        t = self.torch.tensor(array)
        if t.ndim == 4:  # (kh, kw, in, out) or (kh, kw, out, in): reversed either way
            t = t.permute(3, 2, 0, 1)
        elif t.ndim == 2 and name.endswith("kernel"):
            t = t.T
        return t.contiguous()

    def ours(self, name):
        t = self.params[name].detach()
        if t.ndim == 4:
            t = t.permute(2, 3, 1, 0)
        elif t.ndim == 2 and name.endswith("kernel"):
            t = t.T
        return t.numpy()

    def start(self, training, masks=None):
        """Begin a forward pass: weights and statistics from the first, masks as they are given."""
        self.weights, self.statistics = iter(self.params.values()), iter(self.state)
        self.training, self.masks = training, masks
        self.moved = {}
        return self

    def take(self, bias=True):
        weight = next(self.weights)
        return (weight, next(self.weights)) if bias else (weight, None)

    def commit(self):
        """Move the running statistics to what the last forward pass found."""
        self.state |= self.moved

    # layers, channels first

    def dense(self, x):
        return self.F.linear(x, *self.take())

    def image(self, x, height, width):
        """A vector in the order height, width, channels as an image."""
        return x.reshape(len(x), height, width, -1).permute(0, 3, 1, 2)

    def vector(self, x):
        """An image as a vector in that order."""
        return x.permute(0, 2, 3, 1).reshape(len(x), -1)

    def conv(self, x, stride=1, same=True, bias=True):
        weight, b = self.take(bias)
        if same:
            pads = []
            for n, k in zip(reversed(x.shape[2:]), reversed(weight.shape[2:]), strict=True):
                total = max((-(-n // stride) - 1) * stride + k - n, 0)
                pads += [total // 2, total - total // 2]
            x = self.F.pad(x, pads)
        return self.F.conv2d(x, weight, b, stride)

    def conv_transpose(self, x, stride=1, same=True, bias=True):
        weight, b = self.take(bias)
        k, n = weight.shape[2], x.shape[2]
        y = self.F.conv_transpose2d(x, weight, b, stride)
        if same:
            before = (k - stride) // 2
            y = y[:, :, before : before + n * stride, before : before + n * stride]
        return y

    def batch_norm_keras(self, x, momentum):
        """Epsilon 1e-3, and the biased variance in the running statistics."""
        gamma, beta = self.take()
        shape = (1, -1) + (1,) * (x.ndim - 2)
        axes = [i for i in range(x.ndim) if i != 1]
        names = next(self.statistics), next(self.statistics)
        mean, var = (self.state[k] for k in names)
        if self.training:
            batch = x.mean(axes), ((x - x.mean(axes).reshape(shape)) ** 2).mean(axes)
            for name, old, new in zip(names, (mean, var), batch, strict=True):
                self.moved[name] = (momentum * old + (1 - momentum) * new).detach()
            mean, var = batch
        x = (x - mean.reshape(shape)) / (var.reshape(shape) + 1e-3).sqrt()
        return gamma.reshape(shape) * x + beta.reshape(shape)

    def batch_norm_torch(self, x):
        """PyTorch's own, with its defaults: epsilon 1e-5, momentum 0.1, unbiased."""
        gamma, beta = self.take()
        names = next(self.statistics), next(self.statistics)
        mean, var = (self.state[k].clone() for k in names)
        y = self.F.batch_norm(x, mean, var, gamma, beta, self.training, 0.1, 1e-5)
        self.moved |= dict(zip(names, (mean, var), strict=True))
        return y

    def leaky(self, x):
        return self.F.leaky_relu(x, 0.2)

    def dropout(self, x):
        if not (self.training and self.masks):
            return x
        mask = self.torch.tensor(self.masks.pop(0))
        return x * (mask if mask.ndim == 2 else mask.permute(0, 3, 1, 2))

    def label_plane(self, labels, height, width):
        table = next(self.weights)
        return self.image(self.dense(table[labels]), height, width)


# the networks: logits of the discriminators


def digits_g(net, z, labels=None):
    x = net.image(net.leaky(net.dense(z)), 7, 7)
    for _ in range(2):
        x = net.leaky(net.conv_transpose(x, 2))
    return net.conv(x).sigmoid()


def digits_d(net, x, labels=None):
    for _ in range(2):
        x = net.leaky(net.conv(x, 2))
    return net.dense(net.dropout(net.vector(x)))


def flowers_g(net, z, labels=None):
    x = net.image(net.leaky(net.dense(z)), 5, 5)
    if labels is not None:
        x = net.torch.cat([x, net.label_plane(labels, 5, 5)], 1)
    for _ in range(4):
        x = net.leaky(net.conv_transpose(x, 2))
    return net.conv(x).tanh()


def flowers_d(net, x, labels=None):
    if labels is not None:
        x = net.torch.cat([x, net.label_plane(labels, 80, 80)], 1)
    x = net.leaky(net.conv(x))
    for _ in range(4):
        x = net.leaky(net.conv(x, 2))
    return net.dense(net.dropout(net.vector(x)))


def dcgan64_g(net, z, labels=None):
    x = net.image(z, 1, 1)
    x = net.conv_transpose(x, 1, same=False, bias=False)
    for _ in range(4):
        x = net.leaky(net.batch_norm_keras(x, 0.9))
        x = net.conv_transpose(x, 2, bias=False)
    return x.tanh()


def dcgan64_d(net, x, labels=None):
    x = net.dropout(net.leaky(net.conv(x, 2, bias=False)))
    for _ in range(3):
        x = net.batch_norm_keras(net.conv(x, 2, bias=False), 0.9)
        x = net.dropout(net.leaky(x))
    return net.vector(net.conv(x, same=False, bias=False))


def upsample64_g(net, z, labels=None):
    x = net.dense(z).tanh()
    x = net.image(net.batch_norm_keras(net.dense(x), 0.99).tanh(), 8, 8)
    for _ in range(3):
        x = net.F.interpolate(x, scale_factor=2, mode="nearest")
        x = net.conv(x).tanh()
    return x


def upsample64_d(net, x, labels=None):
    for same in (True, False, False):
        x = net.F.max_pool2d(net.conv(x, same=same).tanh(), 2)
    return net.dense(net.dense(net.vector(x)).tanh())


def mlp_digits_g(net, z, labels=None):
    for _ in range(4):
        z = net.batch_norm_torch(net.dense(z)).relu()
    return net.dense(z).sigmoid()


def mlp_digits_d(net, x, labels=None):
    for _ in range(3):
        x = net.leaky(net.dense(x))
    return net.dense(x)


def plain_g(net, z, labels=None):
    x = net.image(net.batch_norm_keras(net.dense(z), 0.9).relu(), 4, 4)
    x = net.batch_norm_keras(net.conv_transpose(x, 2), 0.9).relu()
    return net.conv_transpose(x, 2).tanh()


def plain_d(net, x, labels=None):
    x = net.leaky(net.conv(x, 2))
    x = net.leaky(net.batch_norm_keras(net.conv(x, 2), 0.9))
    return net.dense(net.vector(x))


def plain_pair():
    """A pair with BatchNorm in both networks, for a GAN without a recipe."""
    half = {"strides": 2, "padding": "same"}
    norm = {"momentum": 0.9}
    g = [
        mg.Dense(4 * 4 * 6), mg.BatchNorm(**norm), mg.ReLU(), mg.Reshape((4, 4, 6)),
        mg.Conv2DTranspose(5, 4, **half), mg.BatchNorm(**norm), mg.ReLU(),
        mg.Conv2DTranspose(2, 3, activation="tanh", **half),
    ]  # fmt: skip
    d = [
        mg.Conv2D(5, 4, **half), mg.LeakyReLU(0.2), mg.Conv2D(6, 4, **half), mg.BatchNorm(**norm),
        mg.LeakyReLU(0.2), mg.Flatten(), mg.Dense(1),
    ]  # fmt: skip
    key = Key(7, "weights")
    return tuple(
        mg.Sequential(layers, input_shape=shape, dtype="float64", name=name, key=key.child(name))
        for layers, shape, name in ((g, (8,), "generator"), (d, (16, 16, 2), "discriminator"))
    )


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
    networks = {k: v for k, v in globals().items() if k in (f"{name}_g", f"{name}_d")}
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
