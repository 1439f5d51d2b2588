"""The reference networks as published, and what the tests of models and recipes build of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import minigan as mg


class Row(NamedTuple):
    """A line of a table: name, class, output shape, parameters, and how its kernel starts."""

    name: str
    kind: str
    shape: tuple[int, ...]
    count: int
    start: str = ""  # "normal" N(0, 0.02), "glorot", "torch" (kernel and bias), "table" U(+-0.05)


class Table(NamedTuple):
    """A network as published."""

    rows: list[Row]
    trainable: int
    non_trainable: int = 0


DIGITS = {
    "G": Table(
        [
            Row("dense", "Dense", (6272,), 633_472, "glorot"),
            Row("leaky_re_lu", "LeakyReLU", (6272,), 0),
            Row("reshape", "Reshape", (7, 7, 128), 0),
            Row("conv2d_transpose", "Conv2DTranspose", (14, 14, 128), 262_272, "normal"),
            Row("leaky_re_lu_1", "LeakyReLU", (14, 14, 128), 0),
            Row("conv2d_transpose_1", "Conv2DTranspose", (28, 28, 128), 262_272, "normal"),
            Row("leaky_re_lu_2", "LeakyReLU", (28, 28, 128), 0),
            Row("conv2d", "Conv2D", (28, 28, 1), 6_273, "normal"),
        ],
        1_164_289,
    ),
    "D": Table(
        [
            Row("conv2d", "Conv2D", (14, 14, 64), 640, "normal"),
            Row("leaky_re_lu", "LeakyReLU", (14, 14, 64), 0),
            Row("conv2d_1", "Conv2D", (7, 7, 64), 36_928, "normal"),
            Row("leaky_re_lu_1", "LeakyReLU", (7, 7, 64), 0),
            Row("flatten", "Flatten", (3136,), 0),
            Row("dropout", "Dropout", (3136,), 0),
            Row("dense", "Dense", (1,), 3_137, "glorot"),
        ],
        40_705,
    ),
}

FLOWERS = {
    "G": Table(
        [
            Row("dense", "Dense", (3200,), 323_200, "glorot"),
            Row("leaky_re_lu", "LeakyReLU", (3200,), 0),
            Row("reshape", "Reshape", (5, 5, 128), 0),
            Row("conv2d_transpose", "Conv2DTranspose", (10, 10, 128), 409_728, "normal"),
            Row("leaky_re_lu_1", "LeakyReLU", (10, 10, 128), 0),
            Row("conv2d_transpose_1", "Conv2DTranspose", (20, 20, 128), 409_728, "normal"),
            Row("leaky_re_lu_2", "LeakyReLU", (20, 20, 128), 0),
            Row("conv2d_transpose_2", "Conv2DTranspose", (40, 40, 128), 409_728, "normal"),
            Row("leaky_re_lu_3", "LeakyReLU", (40, 40, 128), 0),
            Row("conv2d_transpose_3", "Conv2DTranspose", (80, 80, 128), 409_728, "normal"),
            Row("leaky_re_lu_4", "LeakyReLU", (80, 80, 128), 0),
            Row("conv2d", "Conv2D", (80, 80, 3), 9_603, "normal"),
        ],
        1_971_715,
    ),
    "D": Table(
        [
            Row("conv2d", "Conv2D", (80, 80, 40), 3_040, "normal"),
            Row("leaky_re_lu", "LeakyReLU", (80, 80, 40), 0),
            Row("conv2d_1", "Conv2D", (40, 40, 128), 128_128, "normal"),
            Row("leaky_re_lu_1", "LeakyReLU", (40, 40, 128), 0),
            Row("conv2d_2", "Conv2D", (20, 20, 128), 409_728, "normal"),
            Row("leaky_re_lu_2", "LeakyReLU", (20, 20, 128), 0),
            Row("conv2d_3", "Conv2D", (10, 10, 128), 409_728, "normal"),
            Row("leaky_re_lu_3", "LeakyReLU", (10, 10, 128), 0),
            Row("conv2d_4", "Conv2D", (5, 5, 128), 409_728, "normal"),
            Row("leaky_re_lu_4", "LeakyReLU", (5, 5, 128), 0),
            Row("flatten", "Flatten", (3200,), 0),
            Row("dropout", "Dropout", (3200,), 0),
            Row("dense", "Dense", (1,), 3_201, "glorot"),
        ],
        1_363_553,
    ),
}

# 102 classes; the totals are published, the rows follow from the description
FLOWERS_102 = {
    "G": Table(
        [
            Row("parallel", "Parallel", (5, 5, 129), 329_575),
            Row("0", "Sequential", (5, 5, 128), 323_200),
            Row("dense", "Dense", (3200,), 323_200, "glorot"),
            Row("leaky_re_lu", "LeakyReLU", (3200,), 0),
            Row("reshape", "Reshape", (5, 5, 128), 0),
            Row("1", "Sequential", (5, 5, 1), 6_375),
            Row("embedding", "Embedding", (50,), 5_100, "table"),
            Row("dense", "Dense", (25,), 1_275, "glorot"),
            Row("reshape", "Reshape", (5, 5, 1), 0),
            Row("conv2d_transpose", "Conv2DTranspose", (10, 10, 128), 264_320, "normal"),
            Row("leaky_re_lu", "LeakyReLU", (10, 10, 128), 0),
            Row("conv2d_transpose_1", "Conv2DTranspose", (20, 20, 128), 262_272, "normal"),
            Row("leaky_re_lu_1", "LeakyReLU", (20, 20, 128), 0),
            Row("conv2d_transpose_2", "Conv2DTranspose", (40, 40, 128), 262_272, "normal"),
            Row("leaky_re_lu_2", "LeakyReLU", (40, 40, 128), 0),
            Row("conv2d_transpose_3", "Conv2DTranspose", (80, 80, 128), 262_272, "normal"),
            Row("leaky_re_lu_3", "LeakyReLU", (80, 80, 128), 0),
            Row("conv2d", "Conv2D", (80, 80, 3), 9_603, "normal"),
        ],
        1_390_314,
    ),
    "D": Table(
        [
            Row("parallel", "Parallel", (80, 80, 4), 2_607_200),
            Row("0", "Activation", (80, 80, 3), 0),
            Row("1", "Sequential", (80, 80, 1), 2_607_200),
            Row("embedding", "Embedding", (400,), 40_800, "table"),
            Row("dense", "Dense", (6400,), 2_566_400, "glorot"),
            Row("reshape", "Reshape", (80, 80, 1), 0),
            Row("conv2d", "Conv2D", (80, 80, 40), 4_040, "normal"),
            *FLOWERS["D"].rows[1:],
        ],
        3_971_753,
    ),
}

DCGAN64 = {
    "G": Table(
        [
            Row("reshape", "Reshape", (1, 1, 100), 0),
            Row("conv2d_transpose", "Conv2DTranspose", (4, 4, 512), 819_200, "glorot"),
            Row("batch_normalization", "BatchNorm", (4, 4, 512), 2_048),
            Row("leaky_re_lu", "LeakyReLU", (4, 4, 512), 0),
            Row("conv2d_transpose_1", "Conv2DTranspose", (8, 8, 256), 2_097_152, "glorot"),
            Row("batch_normalization_1", "BatchNorm", (8, 8, 256), 1_024),
            Row("leaky_re_lu_1", "LeakyReLU", (8, 8, 256), 0),
            Row("conv2d_transpose_2", "Conv2DTranspose", (16, 16, 128), 524_288, "glorot"),
            Row("batch_normalization_2", "BatchNorm", (16, 16, 128), 512),
            Row("leaky_re_lu_2", "LeakyReLU", (16, 16, 128), 0),
            Row("conv2d_transpose_3", "Conv2DTranspose", (32, 32, 64), 131_072, "glorot"),
            Row("batch_normalization_3", "BatchNorm", (32, 32, 64), 256),
            Row("leaky_re_lu_3", "LeakyReLU", (32, 32, 64), 0),
            Row("conv2d_transpose_4", "Conv2DTranspose", (64, 64, 1), 1_024, "glorot"),
        ],
        3_574_656,
        1_920,
    ),
    "D": Table(
        [
            Row("conv2d", "Conv2D", (32, 32, 64), 1_024, "glorot"),
            Row("leaky_re_lu", "LeakyReLU", (32, 32, 64), 0),
            Row("dropout", "Dropout", (32, 32, 64), 0),
            Row("conv2d_1", "Conv2D", (16, 16, 128), 131_072, "glorot"),
            Row("batch_normalization", "BatchNorm", (16, 16, 128), 512),
            Row("leaky_re_lu_1", "LeakyReLU", (16, 16, 128), 0),
            Row("dropout_1", "Dropout", (16, 16, 128), 0),
            Row("conv2d_2", "Conv2D", (8, 8, 256), 524_288, "glorot"),
            Row("batch_normalization_1", "BatchNorm", (8, 8, 256), 1_024),
            Row("leaky_re_lu_2", "LeakyReLU", (8, 8, 256), 0),
            Row("dropout_2", "Dropout", (8, 8, 256), 0),
            Row("conv2d_3", "Conv2D", (4, 4, 512), 2_097_152, "glorot"),
            Row("batch_normalization_2", "BatchNorm", (4, 4, 512), 2_048),
            Row("leaky_re_lu_3", "LeakyReLU", (4, 4, 512), 0),
            Row("dropout_3", "Dropout", (4, 4, 512), 0),
            Row("conv2d_4", "Conv2D", (1, 1, 1), 8_192, "glorot"),
            Row("flatten", "Flatten", (1,), 0),
        ],
        2_763_520,
        1_792,
    ),
}

UPSAMPLE64 = {
    "G": Table(
        [
            Row("dense", "Dense", (1024,), 103_424, "glorot"),
            Row("tanh", "Tanh", (1024,), 0),
            Row("dense_1", "Dense", (8192,), 8_396_800, "glorot"),
            Row("batch_normalization", "BatchNorm", (8192,), 32_768),
            Row("tanh_1", "Tanh", (8192,), 0),
            Row("reshape", "Reshape", (8, 8, 128), 0),
            Row("up_sampling2d", "UpSampling2D", (16, 16, 128), 0),
            Row("conv2d", "Conv2D", (16, 16, 128), 409_728, "glorot"),
            Row("tanh_2", "Tanh", (16, 16, 128), 0),
            Row("up_sampling2d_1", "UpSampling2D", (32, 32, 128), 0),
            Row("conv2d_1", "Conv2D", (32, 32, 128), 409_728, "glorot"),
            Row("tanh_3", "Tanh", (32, 32, 128), 0),
            Row("up_sampling2d_2", "UpSampling2D", (64, 64, 128), 0),
            Row("conv2d_2", "Conv2D", (64, 64, 3), 9_603, "glorot"),
            Row("tanh_4", "Tanh", (64, 64, 3), 0),
        ],
        9_345_667,
        16_384,
    ),
    "D": Table(
        [
            Row("conv2d", "Conv2D", (64, 64, 64), 4_864, "glorot"),
            Row("tanh", "Tanh", (64, 64, 64), 0),
            Row("max_pooling2d", "MaxPooling2D", (32, 32, 64), 0),
            Row("conv2d_1", "Conv2D", (28, 28, 128), 204_928, "glorot"),
            Row("tanh_1", "Tanh", (28, 28, 128), 0),
            Row("max_pooling2d_1", "MaxPooling2D", (14, 14, 128), 0),
            Row("conv2d_2", "Conv2D", (10, 10, 128), 409_728, "glorot"),
            Row("tanh_2", "Tanh", (10, 10, 128), 0),
            Row("max_pooling2d_2", "MaxPooling2D", (5, 5, 128), 0),
            Row("flatten", "Flatten", (3200,), 0),
            Row("dense", "Dense", (1024,), 3_277_824, "glorot"),
            Row("tanh_3", "Tanh", (1024,), 0),
            Row("dense_1", "Dense", (1,), 1_025, "glorot"),
        ],
        3_898_369,
    ),
}


def mlp(latent_dim: int) -> dict[str, Table]:
    """The tables of mlp_digits; the totals published for z of 10 and of 64 differ by 54 * 128."""
    first = (latent_dim + 1) * 128
    rows = [Row("dense", "Dense", (128,), first, "torch")]
    counts = {256: 33_024, 512: 131_584, 1024: 525_312}
    for k, width in enumerate((128, 256, 512, 1024)):
        tail = f"_{k}" if k else ""
        if k:
            rows += [Row(f"dense{tail}", "Dense", (width,), counts[width], "torch")]
        rows += [
            Row(f"batch_normalization{tail}", "BatchNorm", (width,), 4 * width),
            Row(f"re_lu{tail}", "ReLU", (width,), 0),
        ]
    rows += [Row("dense_4", "Dense", (784,), 803_600, "torch")]
    d = [
        Row("dense", "Dense", (512,), 401_920, "torch"),
        Row("leaky_re_lu", "LeakyReLU", (512,), 0),
        Row("dense_1", "Dense", (256,), 131_328, "torch"),
        Row("leaky_re_lu_1", "LeakyReLU", (256,), 0),
        Row("dense_2", "Dense", (128,), 32_896, "torch"),
        Row("leaky_re_lu_2", "LeakyReLU", (128,), 0),
        Row("dense_3", "Dense", (1,), 129, "torch"),
    ]
    total = {10: 1_498_768, 64: 1_505_680}[latent_dim]
    return {"G": Table(rows, total, 3_840), "D": Table(d, 566_273)}


# name -> (arguments of mg.models.NAME, tables)
REFERENCES = {
    "digits": (("digits", {}), DIGITS),
    "flowers": (("flowers", {}), FLOWERS),
    "flowers_102": (("flowers", {"classes": 102}), FLOWERS_102),
    "dcgan64": (("dcgan64", {}), DCGAN64),
    "upsample64": (("upsample64", {}), UPSAMPLE64),
    "mlp_digits": (("mlp_digits", {}), mlp(64)),
    "mlp_digits_z10": (("mlp_digits", {"latent_dim": 10}), mlp(10)),
}
NAMES = ("digits", "flowers", "dcgan64", "upsample64", "mlp_digits")

# layers of the same kinds in the same order, with few channels
NARROW = {
    "digits": ((3, 4, 5), (4, 3)),
    "flowers": ((3, 2, 4, 3, 2), (2, 3, 2, 4, 3)),
    "dcgan64": ((5, 4, 3, 2), (2, 3, 4, 5)),
    "upsample64": ((7, 3, 2, 4), (3, 2, 4, 5)),
    "mlp_digits": ((5, 6, 7, 8), (7, 6, 5)),
}

_built: dict[str, tuple[mg.Sequential, mg.Sequential]] = {}


def reference(name: str) -> dict[str, mg.Sequential]:
    """The network with its published widths; the tests only read it."""
    if name not in _built:
        (function, arguments), _ = REFERENCES[name]
        _built[name] = getattr(mg.models, function)(seed=1, **arguments)
    return dict(zip("GD", _built[name], strict=True))


def narrow(name: str, **arguments) -> tuple[mg.Sequential, mg.Sequential]:
    return getattr(mg.models, name)(**{"sizes": NARROW[name], "seed": 1, **arguments})


def all_layers(model) -> Iterator[tuple[str, str, mg.Layer]]:
    """(path, name, layer) of every layer, a container before its own layers."""

    def walk(container, prefix):
        for name, layer in container.children():
            yield prefix + name, name, layer
            if hasattr(layer, "children"):
                yield from walk(layer, f"{prefix}{name}.")

    return walk(model, "")


SIDES = [(name, side) for name in REFERENCES for side in "GD"]
