"""The networks and steps of `minigan bench` in PyTorch, in its fastest configuration.

Memory is channels_last, D has no gradients in G's step, Adam is fused or foreach, modules are
compiled or not, whichever is quicker here.

PyTorch pads all sides alike, and TensorFlow's `same`, which ours follow, puts the odd pixel last.
Seen in a mirror that pixel comes first, where PyTorch puts it.  So its networks are the mirror
images of ours, their kernels turned round in both directions: the same numbers, and no pixel
copied for the sake of padding.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .. import layers
from ..gan import GAN
from ..optimizers import SGD
from ..sequential import Sequential

TRIAL_STEPS = 3
LAST = torch.channels_last


def mirrored(images: np.ndarray) -> torch.Tensor:
    """Images (N, H, W, C), or vectors, as PyTorch's networks take them."""
    if images.ndim == 2:
        return torch.from_numpy(np.ascontiguousarray(images))
    turned = np.ascontiguousarray(images[:, ::-1, ::-1])
    return torch.from_numpy(turned).permute(0, 3, 1, 2)  # (N, C, H, W), channels_last in memory


# networks


def module(model: Sequential) -> nn.Sequential:
    """The model as a PyTorch module, with copies of its parameters and state."""
    parts: list[nn.Module] = []
    for i, layer in enumerate(model.layers):
        if isinstance(layer, layers.Dense):
            parts += dense(layer, rows_of(model.layers[:i]), order_of(model.layers[i:]))
        else:
            parts += TRANSLATIONS[type(layer)](layer, order_of(model.layers[i:]))
        name = getattr(layer, "activation", None)
        if name and name != "linear":
            parts.append(ACTIVATIONS[name]())
    return nn.Sequential(*parts).to(dtype=torch.float32, memory_format=LAST)


def order_of(following: list[Any]) -> Any:
    """Which of our values each value of a layer's output vector is in PyTorch.

    Only a vector that becomes an image has another order there: channels first, and mirrored.
    """
    for layer in following[1:]:
        if isinstance(layer, layers.Dense):
            break
        if isinstance(layer, layers.Reshape) and len(layer.output_shape) == 3:
            return flat_order(layer.output_shape)
    return slice(None)


def rows_of(preceding: list[Any]) -> Any:
    """The same of the vector that a Dense layer takes: an image that was flattened, perhaps."""
    for layer in reversed(preceding):
        if isinstance(layer, layers.Dense):
            break
        if isinstance(layer, layers.Flatten) and len(layer.input_shape) == 3:
            return flat_order(layer.input_shape)
    return slice(None)


def flat_order(shape: tuple[int, ...]) -> np.ndarray:
    """For each value of a mirrored image (C, H, W): its place in ours, (H, W, C)."""
    ours = np.arange(np.prod(shape)).reshape(shape)
    return ours[::-1, ::-1].transpose(2, 0, 1).ravel()


def give(parameter: Any, values: np.ndarray) -> None:
    """Copy values into a parameter or buffer."""
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.ascontiguousarray(values)))


def dense(layer: Any, rows: Any, order: Any) -> list[nn.Module]:
    linear = nn.Linear(layer.input_shape[-1], layer.units, bias=layer.use_bias)
    give(linear.weight, layer.params["kernel"][rows][:, order].T)
    if layer.use_bias:
        give(linear.bias, layer.params["bias"][order])
    return [linear]


def conv(layer: Any, order: Any) -> list[nn.Module]:
    after = [(a.out - 1) * a.stride + a.kernel - a.size - a.before for a in layer.geometry]
    made = nn.Conv2d(
        layer.input_shape[-1], layer.filters, layer.kernel_size, layer.strides, tuple(after),
        bias=layer.use_bias,
    )  # fmt: skip
    return [filled(made, layer)]


def conv_transpose(layer: Any, order: Any) -> list[nn.Module]:
    after = [(a.out - 1) * a.stride + a.kernel - a.size - a.before for a in layer.geometry]
    more = [
        a.size - ((a.out - 1) * a.stride - 2 * p + a.kernel)
        for a, p in zip(layer.geometry, after, strict=True)
    ]
    made = nn.ConvTranspose2d(
        layer.input_shape[-1], layer.filters, layer.kernel_size, layer.strides, tuple(after),
        tuple(more), bias=layer.use_bias,
    )  # fmt: skip
    return [filled(made, layer)]


def filled(made: Any, layer: Any) -> nn.Module:
    """A convolution with our kernel: (KH, KW, a, b) turned round is (b, a, KH, KW)."""
    give(made.weight, layer.params["kernel"][::-1, ::-1].transpose(3, 2, 0, 1))
    if layer.use_bias:
        give(made.bias, layer.params["bias"])
    return made


def batch_norm(layer: Any, order: Any) -> list[nn.Module]:
    make = nn.BatchNorm2d if len(layer.input_shape) == 3 else nn.BatchNorm1d
    made = make(layer.input_shape[-1], eps=layer.epsilon, momentum=1 - layer.momentum)
    order = order if len(layer.input_shape) == 1 else slice(None)
    give(made.weight, layer.params["gamma"][order])
    give(made.bias, layer.params["beta"][order])
    give(made.running_mean, layer.state["moving_mean"][order])
    give(made.running_var, layer.state["moving_variance"][order])
    return [made]


def reshape(layer: Any, order: Any) -> list[nn.Module]:
    height, width, channels = layer.output_shape
    return [nn.Unflatten(1, (channels, height, width))]


def flatten(layer: Any, order: Any) -> list[nn.Module]:
    return [nn.Flatten()]


TRANSLATIONS: dict[type, Any] = {
    layers.Conv2D: conv,
    layers.Conv2DTranspose: conv_transpose,
    layers.BatchNorm: batch_norm,
    layers.Reshape: reshape,
    layers.Flatten: flatten,
    layers.Activation: lambda layer, order: [],
    layers.LeakyReLU: lambda layer, order: [nn.LeakyReLU(layer.negative_slope, inplace=True)],
    layers.ReLU: lambda layer, order: [nn.ReLU(inplace=True)],
    layers.Tanh: lambda layer, order: [nn.Tanh()],
    layers.Dropout: lambda layer, order: [nn.Dropout(layer.rate)],
    layers.UpSampling2D: lambda layer, order: [nn.Upsample(scale_factor=layer.size)],
    layers.AveragePooling2D: lambda layer, order: [nn.AvgPool2d(layer.pool_size, layer.strides)],
    layers.MaxPooling2D: lambda layer, order: [nn.MaxPool2d(layer.pool_size, layer.strides)],
}
ACTIVATIONS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


# steps


class TorchGAN:
    """A GAN's networks and recipe in PyTorch."""

    def __init__(self, gan: GAN, compiled: bool = False, adam: str = "fused") -> None:
        self.gan = gan
        self.plain = module(gan.generator), module(gan.D)
        self.G, self.D = map(torch.compile, self.plain) if compiled else self.plain
        self.g_params, self.d_params = (list(m.parameters()) for m in self.plain)
        g_adam: Any = gan.g_optimizer
        d_adam: Any = gan.d_optimizer
        self.optimizers = [
            optimizer_of(o, params, adam)
            for params, o in ((self.g_params, g_adam), (self.d_params, d_adam))
        ]
        self.configuration = f"{'compiled' if compiled else 'eager'}, {adam} Adam"

    def train_step(self, real: Any, z_d: Any, z_g: Any) -> tuple[float, float]:
        """(d_loss, g_loss) of a step of the recipe."""
        step = {"separate": self.separate, "joint": self.joint}.get(
            self.gan.update, self.simultaneous
        )
        d_loss, g_loss = step(real, z_d, z_g)
        return float(d_loss.detach()), float(g_loss.detach())

    def separate(self, real: Any, z_d: Any, z_g: Any) -> tuple[Any, Any]:
        on_real = self.bce(self.D(real), "real")
        self.descend(1, on_real)
        on_fake = self.bce(self.D(self.fakes(z_d)), "fake")
        self.descend(1, on_fake)
        return on_real + on_fake, self.generator_update(z_g)

    def joint(self, real: Any, z_d: Any, z_g: Any) -> tuple[Any, Any]:
        fakes = self.fakes(z_d)
        logits = self.D(torch.cat([real, fakes]).contiguous(memory_format=memory(real)))
        n = len(real)
        d_loss = self.bce(logits[:n], "real") + self.bce(logits[n:], "fake")
        d_loss = d_loss * self.gan.d_loss_weight
        self.descend(1, d_loss)
        return d_loss, self.generator_update(z_g)

    def simultaneous(self, real: Any, z_d: Any, z_g: Any) -> tuple[Any, Any]:
        fakes = self.G(z_d)
        on_real, on_fake = self.D(real), self.D(fakes)
        d_loss = (self.bce(on_real, "real") + self.bce(on_fake, "fake")) * self.gan.d_loss_weight
        g_loss = self.bce(on_fake, "g")
        g_grads = torch.autograd.grad(g_loss, self.g_params, retain_graph=True)
        d_grads = torch.autograd.grad(d_loss, self.d_params)
        for params, grads in ((self.g_params, g_grads), (self.d_params, d_grads)):
            for p, g in zip(params, grads, strict=True):
                p.grad = g
        for optimizer in reversed(self.optimizers):
            optimizer.step()
        return d_loss, g_loss

    def fakes(self, z: Any) -> Any:
        """G's images for D's update."""
        inference = self.gan.d_fakes == "inference"
        self.G.train(not inference)
        with torch.no_grad():
            images = self.G(z)
        self.G.train(True)
        return images

    def generator_update(self, z: Any) -> Any:
        """G's update through a D without gradients of its own."""
        for p in self.d_params:
            p.requires_grad_(False)
        g_loss = self.bce(self.D(self.G(z)), "g")
        self.descend(0, g_loss)
        for p in self.d_params:
            p.requires_grad_(True)
        return g_loss

    def descend(self, which: int, loss: Any) -> None:
        """A step of the optimizer of G (0) or D (1)."""
        self.optimizers[which].zero_grad(set_to_none=True)
        loss.backward()
        self.optimizers[which].step()

    def bce(self, logits: Any, side: str) -> Any:
        """Cross-entropy from the logits with the recipe's targets, drawn as ours draw them."""
        targets, clip = self.gan.targets, getattr(self.gan.objective, "logit_clip", None)
        if clip is not None:
            logits = logits.clamp(-clip, clip)
        if side == "g" or targets.plain:
            target = torch.full_like(logits, 0.0 if side == "fake" else 1.0)
        else:
            drawn = targets.draw(side, tuple(logits.shape), self.gan.key("targets"))
            target = torch.from_numpy(drawn.astype(np.float32))
        return F.binary_cross_entropy_with_logits(logits, target)

    def vectors(self) -> list[np.ndarray]:
        """All parameters of G, and of D."""
        return [
            np.concatenate([p.detach().numpy().ravel() for p in params])
            for params in (self.g_params, self.d_params)
        ]


def optimizer_of(ours: Any, params: list[Any], adam: str) -> torch.optim.Optimizer:
    """PyTorch's SGD or Adam with the same settings."""
    if isinstance(ours, SGD):
        return torch.optim.SGD(params, lr=ours.learning_rate)
    betas = (ours.beta_1, ours.beta_2)
    return torch.optim.Adam(params, lr=ours.learning_rate, betas=betas, **{adam: True})


def memory(images: torch.Tensor) -> torch.memory_format:
    """channels_last for images."""
    return LAST if images.ndim == 4 else torch.contiguous_format


def fastest(gan: GAN, batch: Any) -> dict[str, Any]:
    """The options of the quickest TorchGAN that works here; batch() gives (real, z_d, z_g)."""
    trials: list[tuple[float, dict[str, Any]]] = []
    for compiled in (False, True):
        for adam in ("fused", "foreach"):
            options: dict[str, Any] = {"compiled": compiled, "adam": adam}
            try:
                made = TorchGAN(gan, **options)
                made.train_step(*batch())
                trials.append((median_seconds(made, batch), options))
            except Exception as error:  # torch.compile needs a compiler, and may have none
                if not compiled:
                    raise
                print(f"without torch.compile: {type(error).__name__}")
                break
    return min(trials, key=lambda trial: trial[0])[1]


def median_seconds(gan: TorchGAN, batch: Any) -> float:
    """Of a few steps."""
    times = []
    for _ in range(TRIAL_STEPS):
        arguments = batch()
        start = time.perf_counter()
        gan.train_step(*arguments)
        times.append(time.perf_counter() - start)
    return statistics.median(times)
