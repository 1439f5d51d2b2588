"""`minigan export --torch`: the emitted module computes what the model does, and weights come back.

In float64, so that what is compared is the formulas and the order of the numbers.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given

import minigan as mg
from minigan.run import exporting
from minigan.run.exporting import reshaped

from .compare import close
from .exchange_cases import (
    CASES,
    IMAGE,
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

pytestmark = [pytest.mark.oracle, pytest.mark.usefixtures("torch")]

LIMIT = 1e-10


def emitted(folder, model, role):
    """The module that export_torch wrote, with the weights that it wrote."""
    from safetensors.torch import load_file

    mg.export_torch(folder, model, role=role)
    net = getattr(module(folder / f"{role}.py"), role.title())()
    net.load_state_dict(load_file(folder / f"{role}.safetensors"))
    return net.eval()


def output(torch, net, inputs):
    """The module's output for our inputs, in our order."""
    theirs = [torch.from_numpy(x if x.dtype.kind == "i" else first(x)) for x in inputs]
    with torch.no_grad():
        y = net(*theirs).numpy()
    return np.moveaxis(y, 1, -1) if y.ndim > 2 else y


def first(x):
    return np.ascontiguousarray(np.moveaxis(x, -1, 1)) if x.ndim > 2 else x


def assert_there_and_back(torch, folder, name, model, role="discriminator"):
    """The same numbers there, and here again after they changed there."""
    inputs = inputs_for(model)
    net = emitted(folder, model, role)
    close(name, "there", predicted(model, inputs), output(torch, net, inputs), LIMIT)
    rng = np.random.default_rng(5)
    for key, tensor in net.state_dict().items():
        if tensor.dtype.is_floating_point:
            change = rng.standard_normal(tensor.shape) * 0.2
            tensor += torch.from_numpy(np.abs(change) if key.endswith("var") else change)
    before = model.params.flat.copy()
    mg.import_weights(model, net.state_dict(), layout="torch")
    close(name, "back", predicted(model, inputs), output(torch, net, inputs), LIMIT)
    assert (before != model.params.flat).all()


def test_the_names_that_modules_have_are_known(torch):
    public = {name for name in dir(torch.nn.Module()) if not name.startswith("_")}
    assert public <= exporting.MODULE_NAMES


@pytest.mark.parametrize("name", CASES)
def test_layers(torch, tmp_path, name):
    layers, shape = CASES[name]
    assert_there_and_back(torch, tmp_path, name, built(layers(), shape))


@SOME
@given(convolutions())
def test_convolutions(torch, tmp_path_factory, case):
    layer, shape = case
    folder = tmp_path_factory.mktemp("conv")
    assert_there_and_back(torch, folder, layer.name, built([layer], shape))


@SOME
@given(poolings())
def test_pooling(torch, tmp_path_factory, case):
    layer, shape = case
    folder = tmp_path_factory.mktemp("pool")
    assert_there_and_back(torch, folder, layer.name, built([layer], shape))


@pytest.mark.parametrize("side", [6, 7])
def test_same_with_five_taps_and_stride_two(torch, tmp_path, side):
    """TensorFlow's odd pixel: padded after by a convolution, and cut off after by a transposed."""
    half = {"strides": 2, "padding": "same"}
    for role, layer in (
        ("generator", mg.Conv2DTranspose(3, 5, **half)),
        ("discriminator", mg.Conv2D(3, 5, **half)),
    ):
        model = built([layer], (side, side + 1, 2))
        assert_there_and_back(torch, tmp_path, f"same k5 s2 {role}", model, role)
    generator = (tmp_path / "generator.py").read_text()
    assert "class Crop(nn.Module)" in generator and "_crop = Crop((1, 2), (1, 2))" in generator


@pytest.mark.parametrize(("name", "classes"), NETWORKS)
def test_networks(torch, tmp_path, name, classes):
    pair = network(name, classes, dtype="float64")
    for role, model in zip(("generator", "discriminator"), pair, strict=True):
        assert_there_and_back(torch, tmp_path, f"{name} {role}", scattered(model), role)


def test_images_come_out_channels_first(torch, tmp_path):
    generator, _ = network("flowers", None)
    net = emitted(tmp_path, generator, "generator")
    assert net(torch.zeros(2, 100)).shape == (2, 3, 80, 80)


def test_vectors_become_images(torch, tmp_path):
    """As the command has it, where a network's images are vectors."""
    generator, _ = network("mlp_digits", None, dtype="float64")
    images = reshaped(scattered(generator), (28, 28, 1))
    assert_there_and_back(torch, tmp_path, "vectors", images, "generator")


def test_a_module_trains_as_the_model_does(torch, tmp_path):
    """In training mode too, dropout apart: the same gradients, and state that moves alike."""
    model = built(
        [mg.SpectralNorm(mg.Conv2D(4, 3)), mg.BatchNorm(momentum=0.8, unbiased=True),
         mg.LeakyReLU(0.2), mg.Flatten(), mg.SpectralNorm(mg.Dense(2))],
        IMAGE,
    )  # fmt: skip
    (x,) = inputs_for(model)
    net = emitted(tmp_path, model, "discriminator").train()
    twin = copy.deepcopy(model)
    y, cache = model.forward(x, training=True)
    _, grads = model.backward(np.ones_like(y), cache)
    theirs = net(torch.from_numpy(first(x)))
    close("training", "y", y, theirs.detach())
    theirs.sum().backward()
    gradients = {name: p.grad for name, p in net.named_parameters()}
    buffers = {name: buffer for name, buffer in net.state_dict().items() if name not in gradients}
    mg.import_weights(twin, gradients | buffers, layout="torch")
    for name, gradient in grads.items():
        close("training", name, gradient, twin.params[name], 1e-9, terms=1.0)
    model.commit(cache)
    for name, array in model.state.items():
        close("training", name, array, twin.state[name])


def test_upsampling_in_single_precision(torch, tmp_path):
    """Where PyTorch's mode "nearest" takes a wrong pixel: 41/41 < 1 in float32."""
    model = mg.Sequential([mg.UpSampling2D((41, 47))], input_shape=(3, 17, 1))
    inputs, net = inputs_for(model), emitted(tmp_path, model, "discriminator")
    assert np.array_equal(predicted(model, inputs), output(torch, net, inputs))


def test_half_precision_comes_back(torch, tmp_path):
    model = built([mg.Dense(3)], (4,), "float32")
    state = emitted(tmp_path, model, "generator").bfloat16().state_dict()
    mg.import_weights(model, state, layout="torch")
    assert np.array_equal(model.params["dense.kernel"], state["dense.weight"].float().numpy().T)


def test_a_file_of_other_precision_is_refused_with_advice(torch, tmp_path):
    from safetensors.torch import save_file

    model = built([mg.Dense(3)], (4,), "float32")
    state = emitted(tmp_path, model, "generator").bfloat16().state_dict()
    save_file(state, tmp_path / "half.safetensors")
    with pytest.raises(ValueError, match="bfloat16 .* float32"):
        mg.import_weights(model, tmp_path / "half.safetensors", layout="torch")
