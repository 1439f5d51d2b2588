"""minigan: neural-network layers and GANs written by hand in NumPy, with every gradient checked.

import minigan as mg
generator, discriminator = mg.models.digits()
gan = mg.GAN(generator, discriminator, **mg.recipes.digits)
"""

from __future__ import annotations

import importlib as _importlib
import pathlib as _pathlib
from typing import Any as _Any

__version__ = "0.1.0"

_checkout = _pathlib.Path(__file__).resolve().parent.parent
if (_checkout / "kernels" / "reference.py").exists():
    __path__.append(str(_checkout))  # a clone: minigan.kernels is ../kernels

from . import models, recipes  # noqa: E402
from .backend import asarray, to_numpy, use  # noqa: E402
from .gan import GAN  # noqa: E402
from .initializers import (  # noqa: E402
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Initializer,
    Ones,
    RandomNormal,
    RandomUniform,
    TorchUniform,
    VarianceScaling,
    Zeros,
)
from .layers import (  # noqa: E402
    Activation,
    AveragePooling2D,
    BatchNorm,
    Conv1D,
    Conv1DTranspose,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    InstanceNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    MaxPooling2D,
    Parallel,
    PixelNorm,
    ReLU,
    Resampling2D,
    Reshape,
    Sigmoid,
    SiLU,
    Softmax,
    SpectralNorm,
    Tanh,
    UpSampling2D,
    register,
)
from .layers.base import Cache  # noqa: E402
from .losses import BCE, MSE, CrossEntropy  # noqa: E402
from .objectives import (  # noqa: E402
    HingeGAN,
    LeastSquares,
    Minimax,
    NonSaturating,
    RelativisticPairing,
    WassersteinGAN,
)
from .optimizers import SGD, Adam, RMSprop  # noqa: E402
from .penalties import GradientPenalty  # noqa: E402
from .random import seed  # noqa: E402
from .schedules import Cosine  # noqa: E402
from .sequential import Sequential, stacked_summary  # noqa: E402

# loaded when first used: (module, name in it)
_LATER = {
    "SavedGenerator": ("minigan.run.sampling", "SavedGenerator"),
    "check_gradients": ("minigan.gradcheck", "check_gradients"),
    "datasets": ("minigan.run.datasets", None),
    "evaluate": ("minigan.run.evaluate", "evaluate"),
    "export_keras": ("minigan.run.keras_export", "export_keras"),
    "export_onnx": ("minigan.run.onnx_export", "export_onnx"),
    "export_torch": ("minigan.run.torch_export", "export_torch"),
    "export_weights": ("minigan.run.exchange", "export_weights"),
    "image_grid": ("minigan.run.imaging", "image_grid"),
    "import_weights": ("minigan.run.exchange", "import_weights"),
    "load": ("minigan.run.checkpoint", "load"),
    "resume": ("minigan.run.train", "resume"),
    "save": ("minigan.run.checkpoint", "save"),
    "train": ("minigan.run.train", "train"),
}

__all__ = [
    "Activation",
    "Adam",
    "AveragePooling2D",
    "BCE",
    "BatchNorm",
    "Cache",
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Cosine",
    "CrossEntropy",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GAN",
    "GlorotNormal",
    "GlorotUniform",
    "GradientPenalty",
    "HeNormal",
    "HeUniform",
    "HingeGAN",
    "Initializer",
    "InstanceNorm",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "LeastSquares",
    "MSE",
    "MaxPooling2D",
    "Minimax",
    "NonSaturating",
    "Ones",
    "Parallel",
    "PixelNorm",
    "RMSprop",
    "RandomNormal",
    "RandomUniform",
    "ReLU",
    "RelativisticPairing",
    "Resampling2D",
    "Reshape",
    "SGD",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "SpectralNorm",
    "Tanh",
    "TorchUniform",
    "UpSampling2D",
    "VarianceScaling",
    "WassersteinGAN",
    "Zeros",
    "asarray",
    "models",
    "recipes",
    "register",
    "seed",
    "stacked_summary",
    "to_numpy",
    "use",
    *_LATER,
]


def __dir__() -> list[str]:
    return sorted([*globals(), *_LATER, "xp"])


def __getattr__(name: str) -> _Any:
    if name == "xp":
        from .backend import xp

        return xp()
    if name in _LATER:
        module, attribute = _LATER[name]
        loaded = _importlib.import_module(module)
        return loaded if attribute is None else getattr(loaded, attribute)
    from .spelling import CLASSES, did_you_mean

    hint = f"; here it is {CLASSES[name]}" if name in CLASSES else did_you_mean(name, __all__)
    raise AttributeError(f"minigan has no {name!r}{hint}")
