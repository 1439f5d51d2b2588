"""The reference networks against their published tables: every row, total and setting."""

from __future__ import annotations

import re

import numpy as np
import pytest

import minigan as mg
from tests.model_tables import REFERENCES, SIDES, all_layers, narrow, reference


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
