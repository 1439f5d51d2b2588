"""The reference networks against their published tables: every row, every total, every start."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest

import minigan as mg
from minigan import models


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


@pytest.fixture(autouse=True)
def _seed():
    mg.seed(0)
    yield
    mg.seed(0)


SIDES = [(name, side) for name in REFERENCES for side in "GD"]


@pytest.mark.parametrize("name, side", SIDES)
def test_layers(name, side):
    table, model = REFERENCES[name][1][side], reference(name)[side]
    found = [
        (own, type(layer).__name__, layer.output_shape, sum(layer.count_params()))
        for _, own, layer in all_layers(model)
    ]
    assert found == [row[:4] for row in table.rows]
    assert model.output_shape == table.rows[-1].shape
    assert model.name == {"G": "generator", "D": "discriminator"}[side]


@pytest.mark.parametrize("name, side", SIDES)
def test_totals(name, side):
    table, model = REFERENCES[name][1][side], reference(name)[side]
    assert model.count_params() == (table.trainable, table.non_trainable)
    assert sum(a.size for a in model.params.values()) == model.params.flat.size == table.trainable
    assert sum(a.size for a in model.state.values()) == table.non_trainable
    assert {a.dtype.name for a in (*model.params.values(), *model.state.values())} == {"float32"}


def test_totals_as_published():
    """The sums that the tables above do not hold."""
    for name, side, total in [
        ("dcgan64", "G", 3_576_576),
        ("dcgan64", "D", 2_765_312),
        ("upsample64", "G", 9_362_051),
    ]:
        table = REFERENCES[name][1][side]
        assert table.trainable + table.non_trainable == total
        assert sum(reference(name)[side].count_params()) == total


@pytest.mark.parametrize("name, side", SIDES)
def test_summary_prints_the_table(name, side):
    table, model = REFERENCES[name][1][side], reference(name)[side]
    lines = model.summary().splitlines()
    pattern = re.compile(r"\s*(\S+) \((\w+)\)\s+\(None, ([\d, ]+)\)\s+([\d,]+)")
    rows = [m.groups() for m in map(pattern.fullmatch, lines) if m]
    assert rows == [
        (row.name, row.kind, ", ".join(map(str, row.shape)), f"{row.count:,}") for row in table.rows
    ]
    assert lines[-3:] == [
        f"Total params: {table.trainable + table.non_trainable:,}",
        f"Trainable params: {table.trainable:,}",
        f"Non-trainable params: {table.non_trainable:,}",
    ]
    assert lines[0] == f'Model: "{model.name}"'
    ends = {len(line) for line in lines if pattern.fullmatch(line)}
    assert len(ends) == 1  # the columns end together


def test_stacked_summary_of_digits():
    text = mg.stacked_summary(*reference("digits").values())
    numbers = {
        key: int(value.replace(",", ""))
        for key, value in re.findall(r"(Total|Trainable|Non-trainable) params: ([\d,]+)", text)
    }
    assert numbers == {"Total": 1_204_994, "Trainable": 1_164_289, "Non-trainable": 40_705}
    assert re.search(r"frozen[^\n]*40,705", text)
    assert re.search(r"generator[^\n]*\(None, 28, 28, 1\)\s+1,164,289", text)
    assert re.search(r"discriminator[^\n]*\(None, 1\)\s+40,705", text)


def test_stacked_summary_counts_running_statistics_once():
    text = mg.stacked_summary(*reference("dcgan64").values())
    total = 3_576_576 + 2_765_312
    assert f"Total params: {total:,}" in text
    assert "Trainable params: 3,574,656" in text
    assert f"Non-trainable params: {total - 3_574_656:,}" in text


# what the rows do not say


@pytest.mark.parametrize("name, side", SIDES)
def test_activations_and_rates(name, side):
    """Slopes and rates, by what the layers do to numbers."""
    ends = {
        "digits": ("sigmoid", "sigmoid"),
        "flowers": ("tanh", "sigmoid"),
        "flowers_102": ("tanh", "sigmoid"),
        "dcgan64": ("tanh", "sigmoid"),
        "upsample64": (None, "sigmoid"),  # G ends in a layer of its own, Tanh
        "mlp_digits": ("sigmoid", None),
        "mlp_digits_z10": ("sigmoid", None),
    }
    model = reference(name)[side]
    rates = []
    functions = []
    for _, _, layer in all_layers(model):
        kind = type(layer).__name__
        if kind in ("LeakyReLU", "ReLU"):
            x = np.full((1, *layer.output_shape), -3.0, np.float32)
            slope = {"LeakyReLU": 0.2, "ReLU": 0.0}[kind]
            assert np.allclose(layer.forward(x, keep=False)[0], -3 * slope)
            assert np.array_equal(layer.forward(-x, keep=False)[0], -x)
        if kind == "Dropout":
            x = np.ones((40, *layer.output_shape), np.float32)
            y, _ = layer.forward(x, training=True, rng=3)
            rates.append(round(float((y == 0).mean()), 2))
            assert np.allclose(y[y != 0], 1 / (1 - layer.rate))
            assert np.array_equal(layer.forward(x, training=False)[0], x)
        if hasattr(layer, "activation") and layer.params:
            functions.append(layer.activation)
        if kind == "Activation":
            assert layer.activation == "linear"
    assert set(functions[:-1]) <= {None}
    assert functions[-1] == ends[name]["GD".index(side)]
    published = {"digits": [0.4], "flowers": [0.4], "flowers_102": [0.4], "dcgan64": [0.3] * 4}
    assert rates == (published.get(name, []) if side == "D" else [])


GEOMETRY = {
    ("digits", "G"): [(4, 2, "same")] * 2 + [(7, 1, "same")],
    ("digits", "D"): [(3, 2, "same")] * 2,
    ("flowers", "G"): [(5, 2, "same")] * 4 + [(5, 1, "same")],
    ("flowers", "D"): [(5, 1, "same")] + [(5, 2, "same")] * 4,
    ("flowers_102", "G"): [(4, 2, "same")] * 4 + [(5, 1, "same")],
    ("flowers_102", "D"): [(5, 1, "same")] + [(5, 2, "same")] * 4,
    ("dcgan64", "G"): [(4, 1, "valid")] + [(4, 2, "same")] * 4,
    ("dcgan64", "D"): [(4, 2, "same")] * 4 + [(4, 1, "valid")],
    ("upsample64", "G"): [(5, 1, "same")] * 3,
    ("upsample64", "D"): [(5, 1, "same")] + [(5, 1, "valid")] * 2,
}


@pytest.mark.parametrize("name, side", GEOMETRY)
def test_geometry_of_convolutions(name, side):
    found = [
        (layer.kernel_size, layer.strides, layer.padding)
        for _, _, layer in all_layers(reference(name)[side])
        if isinstance(layer, (mg.Conv2D, mg.Conv2DTranspose))
    ]
    assert found == [((k, k), (s, s), padding) for k, s, padding in GEOMETRY[name, side]]


@pytest.mark.parametrize("name, side", [(n, s) for n, s in SIDES if n != "mlp_digits"])
def test_pooling_and_upsampling_are_by_two(name, side):
    for _, _, layer in all_layers(reference(name)[side]):
        if isinstance(layer, mg.MaxPooling2D):
            assert (layer.pool_size, layer.strides, layer.padding) == ((2, 2), (2, 2), "valid")
        if isinstance(layer, mg.UpSampling2D):
            assert layer.size == (2, 2)


@pytest.mark.parametrize(
    "name, sides, momentum, epsilon, unbiased",
    [
        ("dcgan64", "GD", 0.9, 1e-3, False),
        ("upsample64", "G", 0.99, 1e-3, False),
        ("mlp_digits", "G", 0.9, 1e-5, True),
    ],
)
def test_batch_normalisation(name, sides, momentum, epsilon, unbiased):
    """Momentum, epsilon and the kind of variance, by what forward and commit compute."""
    rng = np.random.default_rng(0)
    pair = dict(zip("GD", narrow(name, dtype="float64"), strict=True))
    seen = 0
    for side, model in pair.items():
        norms = [v for _, _, v in all_layers(model) if isinstance(v, mg.BatchNorm)]
        assert bool(norms) == (side in sides)
        for layer in norms:
            seen += 1
            x = 2 + 0.1 * rng.standard_normal((3, *layer.output_shape))
            axes = tuple(range(x.ndim - 1))
            mean, var = x.mean(axes), x.var(axes)
            y, cache = layer.forward(x, training=True)
            assert np.allclose(y, (x - mean) / np.sqrt(var + epsilon), rtol=1e-10, atol=1e-12)
            layer.commit(cache)
            m = x.size // x.shape[-1]
            moved = var * (m / (m - 1) if unbiased else 1)
            found = layer.state["moving_mean"], layer.state["moving_variance"]
            assert np.allclose(found[0], (1 - momentum) * mean, rtol=1e-12)
            assert np.allclose(found[1], momentum + (1 - momentum) * moved, rtol=1e-12)
            y, _ = layer.forward(x, training=False)
            assert np.allclose(y, (x - found[0]) / np.sqrt(found[1] + epsilon), rtol=1e-10)
    assert seen == {"dcgan64": 7, "upsample64": 1, "mlp_digits": 4}[name]


# the first weights


def follows(values: np.ndarray, start: str, limit: float) -> str:
    """ "" if the values look drawn from N(0, limit^2) or U(-limit, limit), else what does not fit.

    Mean and standard deviation within five of their own standard errors, and the
    Kolmogorov-Smirnov distance below 2/sqrt(n), which a right sample exceeds once in 1500 times.
    """
    v = np.sort(values.astype(np.float64).ravel())
    n = v.size
    if start == "normal":
        std, fourth = limit, 3.0  # fourth moment / variance^2
        cdf = 0.5 * (
            1 + np.array([math.erf(t / limit / math.sqrt(2)) for t in v[:: n // 2000 + 1]])
        )
    else:
        std, fourth = limit / math.sqrt(3), 1.8
        cdf = 0.5 + v[:: n // 2000 + 1] / (2 * limit)
        if abs(v).max() > limit * (1 + 1e-6):
            return f"{abs(v).max()} lies beyond {limit}"
    empirical = np.arange(n)[:: n // 2000 + 1] / n
    if abs(v.mean()) > 5 * std / math.sqrt(n):
        return f"mean {v.mean()}"
    if n > 50 and abs(v.std() / std - 1) > 5 * math.sqrt((fourth - 1) / 4 / n):
        return f"standard deviation {v.std()}, expected {std}"
    if n > 50 and abs(cdf - empirical).max() > 2 / math.sqrt(n):
        return f"distance of distributions {abs(cdf - empirical).max()}"
    return ""


def test_follows_tells_distributions_apart():
    rng = np.random.default_rng(0)
    normal, uniform = 0.02 * rng.standard_normal(5000), rng.uniform(-0.02, 0.02, 5000)
    assert not follows(normal, "normal", 0.02)
    assert not follows(uniform, "glorot", 0.02)
    assert follows(normal, "glorot", 0.02 * math.sqrt(3))
    assert follows(uniform, "normal", 0.02 / math.sqrt(3))
    assert follows(normal * 1.1, "normal", 0.02)
    assert follows(uniform * 0.9, "glorot", 0.02)
    assert follows(normal + 0.002, "normal", 0.02)


@pytest.mark.parametrize("name, side", SIDES)
def test_first_weights(name, side):
    """Kernels, tables and biases of each layer start where the reference's do."""
    table, model = REFERENCES[name][1][side], reference(name)[side]
    checked = set()
    for row, (path, _, layer) in zip(table.rows, all_layers(model), strict=True):
        if not row.start:
            continue
        checked |= {f"{path}.{key}" for key in layer.params}
        if row.start == "table":
            assert not follows(layer.params["embeddings"], "table", 0.05)
            continue
        kernel = layer.params["kernel"]
        taps = math.prod(kernel.shape[:-2])
        inputs, outputs = kernel.shape[-2] * taps, kernel.shape[-1] * taps
        limit = {
            "normal": 0.02,
            "glorot": math.sqrt(6 / (inputs + outputs)),
            "torch": 1 / math.sqrt(inputs),
        }[row.start]
        assert not follows(kernel, row.start, limit), row.name
        bias = layer.params.get("bias")
        if bias is not None and row.start == "torch":
            assert not follows(bias, "torch", limit), row.name
            assert bias.any() and (bias.size == 1 or bias.std() > limit / 3)
        elif bias is not None:
            assert not bias.any(), row.name
    for key, values in (*model.params.items(), *model.state.items()):
        kind = key.rsplit(".", 1)[1]
        if kind in ("gamma", "beta", "moving_mean", "moving_variance"):
            assert (values == (kind in ("gamma", "moving_variance"))).all(), key
            checked.add(key)
    assert checked == {*model.params, *model.state}


def test_dcgan64_has_no_biases_and_mlp_digits_has_them_all():
    for model in reference("dcgan64").values():
        assert not [key for key in model.params if key.endswith("bias")]
    for model in reference("mlp_digits").values():
        kernels = [key for key in model.params if key.endswith("kernel")]
        assert [k.replace("kernel", "bias") in model.params for k in kernels] == [True] * len(
            kernels
        )


def drawn(pair) -> dict[str, np.ndarray]:
    """The parameters of both networks that were drawn at random."""
    return {
        f"{model.name}.{key}": values
        for model in pair
        for key, values in model.params.items()
        if values.std() > 0
    }


@pytest.mark.parametrize("name", NAMES)
def test_no_two_parameters_share_their_random_numbers(name):
    """Neither within a network nor between the two: one stream each."""
    values = [(k, a.ravel()) for k, a in drawn(narrow(name)).items() if a.size >= 24]
    assert len(values) > 4
    for i, (one, a) in enumerate(values):
        for other, b in values[:i]:
            n = min(a.size, b.size)
            for part in (slice(0, n), slice(-n, None)):
                correlation = np.corrcoef(a[part], b[part])[0, 1]
                assert abs(correlation) < 5.5 / math.sqrt(n), (one, other)


@pytest.mark.parametrize("name, classes", [*((name, None) for name in NAMES), ("digits", 3)])
def test_seed(name, classes):
    """The same seed gives the same bits, another seed other numbers everywhere."""
    one, again, other = (
        drawn(narrow(name, classes=classes, dtype="float64", seed=s)) for s in (5, 5, 6)
    )
    assert one.keys() == again.keys() == other.keys()
    for key in one:
        assert np.array_equal(one[key], again[key]), key
        assert not np.isin(one[key], other[key]).any(), key


@pytest.mark.parametrize("name", NAMES)
def test_seed_of_the_library_is_the_default(name):
    mg.seed(5)
    default = drawn(narrow(name, seed=None))
    later = drawn(narrow(name, seed=None))  # a draw is named, so an earlier build changes nothing
    explicit = drawn(narrow(name, seed=5))
    mg.seed(6)
    other = drawn(narrow(name, seed=None))
    for key, values in default.items():
        assert np.array_equal(values, explicit[key])
        assert np.array_equal(values, later[key])
        assert not np.array_equal(values, other[key])


# keyword arguments


@pytest.mark.parametrize("name", NAMES)
def test_latent_dim(name):
    for n in (1, 7):
        generator, discriminator = narrow(name, latent_dim=n)
        assert generator.input_shape == (n,)
        z = np.random.default_rng(0).standard_normal((2, n)).astype(np.float32)
        images = generator.predict(z)
        assert images.shape == (2, *discriminator.input_shape)
        for i in range(n):  # every latent number reaches the image
            moved = z.copy()
            moved[0, i] += 1
            changed = generator.predict(moved)
            assert not np.array_equal(changed[0], images[0])
            assert np.allclose(changed[1], images[1], rtol=0, atol=1e-6)
    assert narrow(name)[0].input_shape == ((64,) if name == "mlp_digits" else (100,))


@pytest.mark.parametrize("name", NAMES)
def test_dropout(name):
    """A rate of 0 switches it off in D, another rate drops that share of the numbers."""
    rng = np.random.default_rng(0)
    plain, dropped = (narrow(name, dropout=rate)[1] for rate in (0.0, 0.7))
    x = rng.random((4, *plain.input_shape), dtype=np.float32)
    one, two = (plain.forward(x, training=True, rng=k)[0] for k in (1, 2))
    assert np.array_equal(one, two)
    one, two = (dropped.forward(x, training=True, rng=k)[0] for k in (1, 2))
    assert not np.array_equal(one, two)
    found = [layer for _, _, layer in all_layers(dropped) if isinstance(layer, mg.Dropout)]
    for layer in found:
        ones = np.ones((2000 // layer.output_shape[-1] + 1, *layer.output_shape), np.float32)
        share = float((layer.forward(ones, rng=1)[0] == 0).mean())
        assert abs(share - 0.7) < 0.06
    assert len(found) == (4 if name == "dcgan64" else 1)


@pytest.mark.parametrize("name", NAMES)
def test_dtype(name):
    """float64 and complex128 hold the numbers that float32 rounds."""
    single, double, complex_ = (narrow(name, dtype=d) for d in ("float32", "float64", "complex128"))
    for a, b, c in zip(single, double, complex_, strict=True):
        assert (a.dtype, b.dtype, c.dtype) == ("float32", "float64", "complex128")
        for key in a.params:
            assert a.params[key].dtype == "float32"
            assert c.params[key].dtype == "complex128"
            assert np.array_equal(a.params[key], b.params[key].astype(np.float32))
            assert np.array_equal(b.params[key], c.params[key].real)
            assert not c.params[key].imag.any()
        x = np.random.default_rng(0).random((2, *a.input_shape))
        y, _ = b.forward(x, training=False)
        assert y.dtype == "float64"
        assert np.allclose(a.predict(x), y, rtol=1e-3, atol=1e-4)
    with pytest.raises(TypeError, match="float16"):
        narrow(name, dtype="float16")


@pytest.mark.parametrize("name", NAMES)
def test_classes(name):
    """Both networks take labels, and every label changes what they compute."""
    generator, discriminator = narrow(name, classes=3, latent_dim=6, dtype="float64")
    image = narrow(name)[1].input_shape
    assert generator.input_shape == ((6,), ())
    assert discriminator.input_shape == (image, ())
    rng = np.random.default_rng(0)
    z, labels = np.repeat(rng.standard_normal((1, 6)), 3, axis=0), np.arange(3)
    images = generator.predict((z, labels))
    assert images.shape == (3, *image)
    scores = discriminator.predict((np.repeat(images[:1], 3, axis=0), labels)).ravel()
    for i in range(3):
        for j in range(i):
            assert not np.allclose(images[i], images[j], rtol=1e-9, atol=0)
            assert scores[i] != scores[j]
    with pytest.raises(ValueError, match="0 to 2"):
        generator.predict((z, labels + 1))
    # the rest of the network is the unconditional one's: fewer parameters with fewer classes
    fewer = narrow(name, classes=2, latent_dim=6, dtype="float64")
    for model, small in zip((generator, discriminator), fewer, strict=True):
        changed = {k for k in model.params if model.params[k].shape != small.params[k].shape}
        assert [k.rsplit(".", 1)[1] for k in changed] == ["embeddings"]


@pytest.mark.parametrize("name", NAMES)
def test_sizes(name):
    """The widths of the weighted layers, in their order, and nothing else changes."""
    for model, full, sizes in zip(
        narrow(name), reference(name).values(), NARROW[name], strict=True
    ):
        kinds = [type(layer).__name__ for _, _, layer in all_layers(model)]
        assert kinds == [type(layer).__name__ for _, _, layer in all_layers(full)]
        widths = [
            layer.output_shape[-1]
            for _, _, layer in all_layers(model)
            if "kernel" in layer.params or type(layer).__name__ == "Reshape"
        ]
        if model.name == "generator" and name != "mlp_digits":
            # a Dense spreads its width over the plane of the Reshape after it; z has no width
            widths.pop(1 if name == "upsample64" else 0)
        assert widths[:-1] == list(sizes)
        assert model.output_shape == full.output_shape


@pytest.mark.parametrize("name", NAMES)
def test_parameters_stand_in_the_order_of_the_layers(name):
    for model in narrow(name, classes=2):
        owners = [key.rsplit(".", 1)[0] for key in model.params]
        order = [path for path, _, layer in all_layers(model) if layer.params]
        leaves = [p for p in order if not any(q.startswith(p + ".") for q in order)]
        assert list(dict.fromkeys(owners)) == leaves
        start = 0
        for values in model.params.values():  # and side by side in one vector
            assert np.shares_memory(values, model.params.flat[start : start + values.size])
            start += values.size


@pytest.mark.parametrize("name", NAMES)
def test_images_lie_in_the_published_range(name):
    generator, discriminator = narrow(name)
    z = 30 * np.random.default_rng(0).standard_normal((4, *generator.input_shape))
    images = generator.predict(z)
    low = 0 if name in ("digits", "mlp_digits") else -1
    assert images.min() >= low and images.max() <= 1
    if low == -1:
        assert images.min() < 0
    score = discriminator.predict(images)
    assert score.shape == (4, 1)
    logits = discriminator.logits().predict(images)
    if name == "mlp_digits":
        assert np.array_equal(score, logits)
    else:
        assert np.allclose(score, 1 / (1 + np.exp(-logits.astype(float))), atol=1e-6)


def test_unknown_names_and_arguments():
    with pytest.raises(ValueError, match="did you mean 'dcgan64'"):
        models.get("dcgan46")
    assert models.get("digits") is mg.models.digits
    with pytest.raises(TypeError):
        mg.models.digits(128)  # keyword arguments only
