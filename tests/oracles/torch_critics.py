"""The layers of critics on PyTorch's tensors, channels last."""

from __future__ import annotations

import minigan as mg

from .torch_helpers import activate, same_padding, tensor


def leaves_of(torch, layer):
    """The parameters of a layer or model as tensors."""
    return {k: tensor(torch, p) for k, p in layer.params.items()}


def model_forward(torch, model, x, leaves, training=True):
    """A Sequential, layer after layer."""
    for name, layer in model.children():
        own = {k.removeprefix(f"{name}."): t for k, t in leaves.items() if k.startswith(f"{name}.")}
        x = forward(torch, layer, x, own, training)
    return x


def forward(torch, layer, x, p, training=True):
    """One layer with the parameters p."""
    F, kind = torch.nn.functional, type(layer)
    if kind is mg.Sequential:
        return model_forward(torch, layer, x, p, training)
    if kind is mg.SpectralNorm:
        return forward(torch, layer.layer, x, p | {"kernel": divided(torch, layer, p["kernel"])})
    if kind is mg.Dense:
        y = F.linear(x, p["kernel"].T, p.get("bias"))
    elif kind in (mg.Conv2D, mg.Conv2DTranspose):
        y = last(convolution(F, layer, first(x), p))
    else:
        return OTHERS[kind](F, layer, x, p, training)
    return F.silu(y) if layer.activation == "silu" else activate(torch, layer.activation, y)


def first(x):
    """Channels first."""
    return x.movedim(-1, 1)


def last(x):
    """Channels last."""
    return x.movedim(1, -1)


def divided(torch, layer, kernel):
    """A kernel over its largest singular value, which power iterations approach."""
    axis = -2 if getattr(layer.layer, "transposed", False) else -1
    matrix = kernel.movedim(axis, 0).flatten(1)  # (out, all else)
    return kernel / torch.linalg.matrix_norm(matrix, 2)


def convolution(F, layer, x, p):
    weight = p["kernel"].permute(3, 2, 0, 1)
    options = {"stride": layer.strides, "groups": layer.groups}
    if isinstance(layer, mg.Conv2DTranspose):
        assert layer.padding == "valid"
        assert all(k >= s for k, s in zip(layer.kernel_size, layer.strides, strict=True))
        return F.conv_transpose2d(x, weight, p.get("bias"), **options)
    if layer.padding == "same":
        rows, columns = map(same_padding, x.shape[2:], layer.kernel_size, layer.strides)
        x = F.pad(x, (*columns, *rows))
    return F.conv2d(x, weight, p.get("bias"), **options)


def batch_norm(F, layer, x, p, training):
    moments = [None, None]
    if not training:
        moments = [x.new_tensor(layer.state[k]) for k in ("moving_mean", "moving_variance")]
    p = p["gamma"], p["beta"]
    return last(F.batch_norm(first(x), *moments, *p, training, 0.1, layer.epsilon))


def layer_norm(F, layer, x, p, training):
    if layer.over == "position":
        return F.layer_norm(x, x.shape[-1:], p["gamma"], p["beta"], layer.epsilon)
    return F.layer_norm(x, x.shape[1:], eps=layer.epsilon) * p["gamma"] + p["beta"]


def instance_norm(F, layer, x, p, training):
    """A group for each channel: of one sample instance_norm's own gradient is wrong (2.13, CPU).

    It reads a dy whose channels are last in memory as if they were first.
    """
    return last(F.group_norm(first(x), x.shape[-1], p["gamma"], p["beta"], layer.epsilon))


def resampled(F, layer, x, p, training):
    """mode="bilinear", align_corners=False."""
    return last(
        F.interpolate(first(x), layer.output_shape[:2], mode="bilinear", antialias=layer.antialias)
    )


OTHERS = {
    mg.BatchNorm: batch_norm,
    mg.LayerNorm: layer_norm,
    mg.InstanceNorm: instance_norm,
    mg.PixelNorm: lambda F, layer, x, p, t: F.rms_norm(x, x.shape[-1:], eps=layer.epsilon),
    mg.Resampling2D: resampled,
    mg.SiLU: lambda F, layer, x, p, t: F.silu(x),
    mg.LeakyReLU: lambda F, layer, x, p, t: F.leaky_relu(x, layer.negative_slope),
    mg.Tanh: lambda F, layer, x, p, t: x.tanh(),
    mg.Sigmoid: lambda F, layer, x, p, t: x.sigmoid(),
    mg.Flatten: lambda F, layer, x, p, t: x.flatten(1),
    mg.AveragePooling2D: lambda F, layer, x, p, t: last(F.avg_pool2d(first(x), layer.pool_size)),
}
