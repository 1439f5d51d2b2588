"""The reference networks again, on PyTorch's tensors, from their published descriptions."""

from __future__ import annotations

import minigan as mg
from minigan.random import Key


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
