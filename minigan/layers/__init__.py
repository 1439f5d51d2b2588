"""The layers. `base` has the contract; each file has the derivations of its layers."""

from .activations import Activation, LeakyReLU, ReLU, Sigmoid, SiLU, Softmax, Tanh
from .base import Layer
from .configuration import register
from .conv import Conv1D, Conv1DTranspose, Conv2D, Conv2DTranspose
from .dense import Dense
from .dropout import Dropout
from .embedding import Embedding
from .merge import Parallel
from .norm import BatchNorm, InstanceNorm, LayerNorm, PixelNorm
from .pooling import AveragePooling2D, MaxPooling2D
from .resampling import Resampling2D
from .shape import Flatten, Reshape
from .spectral import SpectralNorm
from .upsampling import UpSampling2D

__all__ = [
    "Activation",
    "AveragePooling2D",
    "BatchNorm",
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "InstanceNorm",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "MaxPooling2D",
    "Parallel",
    "PixelNorm",
    "ReLU",
    "Resampling2D",
    "Reshape",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "SpectralNorm",
    "Tanh",
    "UpSampling2D",
    "register",
]
