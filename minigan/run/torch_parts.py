"""Definitions that `minigan export RUN --torch` copies into its source. Never imported."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize


class Crop(nn.Module):
    """Cuts (before, after) pixels off each spatial axis.

    TensorFlow's `same` cuts the odd pixel after; PyTorch's `padding` cuts both ends alike.
    """

    def __init__(self, *cuts):
        super().__init__()
        self.cuts = cuts

    def forward(self, x):
        for axis, (before, after) in enumerate(self.cuts, start=2):
            x = x.narrow(axis, before, x.shape[axis] - before - after)
        return x


class LayerNorm(nn.LayerNorm):
    """Over the channels of each position."""

    def forward(self, x):
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class SpectralNorm(nn.Module):
    """weight / sigma, with one step of power iteration (Miyato et al., 2018).

    v = W^T u / |W^T u|, sigma = |W v|; training moves u to W v / sigma.
    """

    u: torch.Tensor

    def __init__(self, outputs, axis):
        super().__init__()
        self.axis = axis
        self.register_buffer("u", F.normalize(torch.randn(outputs), dim=0))

    def forward(self, weight):
        matrix = weight.movedim(self.axis, 0).flatten(1)  # (out, all else)
        v = F.normalize(matrix.T @ self.u, dim=0)
        stretched = matrix @ v
        sigma = stretched.norm().clamp(min=1e-12)
        if self.training:
            self.u = (stretched / sigma).detach()  # a new tensor: backward needs the old one
        return weight / sigma


def average_pool(x, size, stride, pads):
    """The mean of those pixels of each window that lie inside the image."""
    inside = F.pad(torch.ones_like(x), pads)
    return F.avg_pool2d(F.pad(x, pads), size, stride) / F.avg_pool2d(inside, size, stride)


def pixel_norm(x, epsilon):
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + epsilon)


def reshape(x, *shape):
    """To (N, *shape) in the order of arrays with channels last, as the weights were trained."""
    x = x.movedim(1, -1) if x.ndim > 2 else x
    return x.reshape(x.shape[0], *shape).movedim(-1, 1)


def spectral_norm(layer, axis):
    """The layer with SpectralNorm of its weight. axis: that of the outputs."""
    norm = SpectralNorm(layer.weight.shape[axis], axis)
    return parametrize.register_parametrization(layer, "weight", norm)
