"""`minigan export --keras`: the emitted model computes what ours does, and weights come back."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings

import minigan as mg

from .compare import close
from .exchange_cases import (
    CASES,
    NETWORKS,
    SOME,
    built,
    convolutions,
    inputs_for,
    module,
    network,
    poolings,
    predicted,
    scattered,
)

pytestmark = [pytest.mark.oracle, pytest.mark.usefixtures("keras")]

LIMIT = 1e-10
FEW = settings(SOME, max_examples=20)
QUICK = [("flowers", None), ("clear_digits", 3)]
FORMS = [
    pytest.param(*form, marks=[] if form in QUICK else pytest.mark.slow) for form in NETWORKS
]  # JAX compiles each layer anew


def emitted(folder, model, role):
    """The model that export_keras wrote, with the weights that it wrote."""
    mg.export_keras(folder, model, role=role)
    return module(folder / f"{role}_keras.py").load(folder / f"{role}_keras.npz")


def output(net, inputs):
    return np.asarray(net(inputs[0] if len(inputs) == 1 else inputs, training=False))


def assert_there_and_back(folder, name, model, role="discriminator"):
    """The same numbers there, and here again after they changed there."""
    inputs = inputs_for(model)
    net = emitted(folder, model, role)
    close(name, "there", predicted(model, inputs), output(net, inputs), LIMIT)
    rng = np.random.default_rng(5)
    for variable in net.weights:
        change = rng.standard_normal(variable.shape) * 0.2
        change = np.abs(change) if variable.path.endswith("variance") else change
        variable.assign(variable.numpy() + change)
    before = model.params.flat.copy()
    mg.import_weights(model, {v.path: v.numpy() for v in net.weights}, layout="keras")
    close(name, "back", predicted(model, inputs), output(net, inputs), LIMIT)
    assert (before != model.params.flat).all()


@pytest.mark.parametrize("name", CASES)
def test_layers(keras, tmp_path, name):
    layers, shape = CASES[name]
    assert_there_and_back(tmp_path, name, built(layers(), shape))


@FEW
@given(convolutions(transposed_groups=False))
def test_convolutions(keras, tmp_path_factory, case):
    layer, shape = case
    assert_there_and_back(tmp_path_factory.mktemp("conv"), layer.name, built([layer], shape))


@FEW
@given(poolings())
def test_pooling(keras, tmp_path_factory, case):
    layer, shape = case
    assert_there_and_back(tmp_path_factory.mktemp("pool"), layer.name, built([layer], shape))


ON_TORCH = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from discriminator_keras import load
net = load(sys.argv[1] + "/discriminator_keras.npz")
np.save(sys.argv[1] + "/y.npy", net(np.load(sys.argv[1] + "/x.npy")).detach().numpy())
"""


def test_average_pooling_where_pytorch_computes(keras, torch, tmp_path):
    """There Keras' own layer counts some of the padding."""
    model = built([mg.AveragePooling2D((3, 2), strides=2, padding="same")], (6, 7, 3), "float32")
    (x,) = inputs_for(model)
    mg.export_keras(tmp_path, model, role="discriminator")
    np.save(tmp_path / "x.npy", x)
    there = {**os.environ, "KERAS_BACKEND": "torch"}
    subprocess.run([sys.executable, "-c", ON_TORCH, tmp_path], env=there, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), model.predict(x), atol=1e-6)


@pytest.mark.parametrize("side", [6, 7])
def test_same_with_five_taps_and_stride_two(keras, tmp_path, side):
    half = {"strides": 2, "padding": "same"}
    for role, layer in (
        ("generator", mg.Conv2DTranspose(3, 5, **half)),
        ("discriminator", mg.Conv2D(3, 5, **half)),
    ):
        model = built([layer], (side, side + 1, 2))
        assert_there_and_back(tmp_path, f"same k5 s2 {role}", model, role)


@pytest.mark.parametrize(("name", "classes"), FORMS)
def test_networks(keras, tmp_path, name, classes):
    pair = network(name, classes, dtype="float64")
    for role, model in zip(("generator", "discriminator"), pair, strict=True):
        assert_there_and_back(tmp_path, f"{name} {role}", scattered(model), role)


def test_a_list_of_weights_comes_back_in_order(keras, tmp_path):
    def model():
        return mg.Sequential(
            [mg.Conv2D(3, 2), mg.BatchNorm(), mg.SpectralNorm(mg.Conv2D(4, 1)), mg.Flatten(),
             mg.SpectralNorm(mg.Dense(3, use_bias=False)), mg.Dense(2)],
            input_shape=(3, 4, 1), dtype="float64",
        )  # fmt: skip

    ours, fresh = scattered(model()), model()
    net, inputs = emitted(tmp_path, ours, "discriminator"), inputs_for(ours)
    assert list(mg.export_weights(ours, layout="keras")) == [v.path for v in net.weights]
    mg.import_weights(fresh, net.get_weights(), layout="keras")
    assert np.array_equal(predicted(fresh, inputs), predicted(ours, inputs))


def test_a_spectral_norm_moves_in_training_and_survives_a_file(keras, tmp_path):
    model = built([mg.SpectralNorm(mg.Dense(3, activation="tanh"))], (4,))
    net, inputs = emitted(tmp_path, model, "discriminator"), inputs_for(model)
    net.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert np.array_equal(output(again, inputs), output(net, inputs))
    net(inputs[0], training=True)
    _, cache = model.forward(inputs[0], training=True)
    model.commit(cache)
    theirs = {v.path: v.numpy() for v in net.weights}["spectral_normalization/u"]
    close("training", "u", model.state["spectral_normalization.u"], theirs)


def test_grouped_transposed_convolutions_are_refused(keras, tmp_path):
    model = built([mg.Conv2DTranspose(4, 3, groups=2)], (5, 4, 2))
    with pytest.raises(ValueError, match="conv2d_transpose: Keras has no transposed .* groups"):
        mg.export_keras(tmp_path, model)
    assert not list(tmp_path.iterdir())
