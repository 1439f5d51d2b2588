"""Keyword arguments of other libraries get an error that names ours; names that may be printed."""

from __future__ import annotations

import difflib
import inspect
import unicodedata
from typing import Any

OURS = {
    "alpha": "negative_slope",
    "amsgrad": "form",
    "beta1": "beta_1",
    "beta2": "beta_2",
    "betas": "beta_1 and beta_2",
    "bias": "use_bias",
    "eps": "epsilon",
    "in_channels": "no such thing: build() learns it from the input",
    "in_features": "no such thing: build() learns it from the input",
    "inplace": "no such thing: models fuse activations by themselves",
    "kernel": "kernel_size",
    "lr": "learning_rate",
    "num_features": "no such thing: build() learns it from the input",
    "out_channels": "filters",
    "out_features": "units",
    "p": "rate",
    "scale_factor": "size",
    "stride": "strides",
}

CLASSES = {
    "BatchNormalization": "BatchNorm",
    "BatchNorm1d": "BatchNorm",
    "BatchNorm2d": "BatchNorm",
    "BCELoss": "BCE",
    "BCEWithLogitsLoss": "BCE(from_logits=True)",
    "BinaryCrossentropy": "BCE",
    "Conv2d": "Conv2D",
    "ConvTranspose2d": "Conv2DTranspose",
    "Convolution2D": "Conv2D",
    "CrossEntropyLoss": "CrossEntropy",
    "Linear": "Dense",
    "MSELoss": "MSE",
    "MaxPool2d": "MaxPooling2D",
    "AvgPool2d": "AveragePooling2D",
    "Relu": "ReLU",
    "Swish": "SiLU",
    "LayerNormalization": "LayerNorm",
    "InstanceNorm1d": "InstanceNorm",
    "InstanceNorm2d": "InstanceNorm",
    "SpectralNormalization": "SpectralNorm",
    "spectral_norm": "SpectralNorm",
    "Upsample": "UpSampling2D",
    "Concatenate": 'Parallel(..., merge="concat")',
    "Add": 'Parallel(..., merge="add")',
    "Model": "Sequential",
}


class Spelling(type):
    """Checks keyword arguments against the constructor, and says what ours are called."""

    @property
    def __signature__(cls) -> inspect.Signature:
        """What help() shows: the constructor's arguments."""
        whole = inspect.signature(cls.__init__)  # type: ignore[misc]  # only read
        return whole.replace(parameters=list(whole.parameters.values())[1:])

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        known = inspect.signature(cls.__init__).parameters  # type: ignore[misc]  # only read
        if not any(p.kind is p.VAR_KEYWORD for p in known.values()):
            for name in kwargs:
                if name not in known or name == "self":
                    raise TypeError(_unknown(cls.__name__, name, [k for k in known if k != "self"]))
        return super().__call__(*args, **kwargs)


def _unknown(where: str, name: str, known: list[str]) -> str:
    text = f"{where} has no argument {name!r}"
    if name in OURS and (OURS[name].split()[0] in known or " " in OURS[name]):
        return f"{text}; here it is {OURS[name]}"
    return f"{text}; its arguments are {', '.join(known) or 'none'}{did_you_mean(name, known)}"


def did_you_mean(name: str, known: list[str]) -> str:
    """' (did you mean X?)' when something known is close, else ''."""
    close = difflib.get_close_matches(str(name), known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def printable(name: str) -> str:
    """A name from outside in one line: control characters and stray bytes escaped."""
    odd = {c for c in name if unicodedata.category(c) in ("Cc", "Cs")}
    return "".join(c.encode("unicode_escape").decode() if c in odd else c for c in name)
