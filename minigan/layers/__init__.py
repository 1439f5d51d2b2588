"""The layers. `base` has the contract; each file has the derivations of its layers."""

from .activations import Activation, LeakyReLU, ReLU, Sigmoid, Softmax, Tanh
from .base import Layer, register
from .conv import Conv1D, Conv1DTranspose, Conv2D, Conv2DTranspose
from .dense import Dense
from .dropout import Dropout
from .embedding import Embedding
from .merge import Parallel
from .norm import BatchNorm
from .pooling import AveragePooling2D, MaxPooling2D
from .shape import Flatten, Reshape
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
    "Layer",
    "LeakyReLU",
    "MaxPooling2D",
    "Parallel",
    "ReLU",
    "Reshape",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "UpSampling2D",
    "register",
]
