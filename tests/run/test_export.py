"""minigan.run.exporting, the sources that are written, and `minigan export`, framework or not."""

from __future__ import annotations

import ast
import sys

import numpy as np
import pytest

import minigan as mg
from minigan.run import exporting
from minigan.run.cli import main
from minigan.run.keras_export import KerasWriter
from minigan.run.onnx_export import Graph
from minigan.run.torch_export import TorchWriter

HALF = {"strides": 2, "padding": "same"}


@mg.register
class Halved(mg.ReLU):
    """A layer of a user's."""


@mg.register
class Doubled(mg.Dense):
    """One that looks like ours."""


@mg.register
class Reversed(mg.Sequential):
    """A model that may do anything."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of the mlp network, whose generator gives vectors."""
    folder = tmp_path_factory.mktemp("trained")
    x, y = mg.datasets.digits()
    np.savez(folder / "few.npz", images=x[::78][:64], labels=y[::78][:64])
    words = ["train", "mlp_digits", "--data", str(folder / "few.npz"), "--epochs", "1"]
    assert main([*words, "--batch-size", "32", "--out", str(folder / "run")]) == 0
    mg.seed(0)
    return folder / "run"


@pytest.fixture
def generator():
    return mg.Sequential(
        [mg.Dense(30), mg.Reshape((5, 3, 2)), mg.Conv2DTranspose(3, 5, activation="tanh", **HALF)],
        input_shape=(4,),
    )


# source


def test_torch_source_in_full(generator):
    """The whole text, but the helpers."""
    source = TorchWriter(generator, "generator").page("Draw z from N(0, 1).")
    begin, end = source.index("\n\nclass Crop"), source.index("\n\nclass Generator")
    assert (
        source[:begin] + source[end:]
        == '''\
"""A generator of minigan as a PyTorch module.

    from safetensors.torch import load_file
    from generator import Generator

    model = Generator()
    model.load_state_dict(load_file("generator.safetensors"))
    model.eval()

z: (N, 4)
images: (N, 3, 10, 6)
Draw z from N(0, 1).
Images are (N, channels, height, width) here; minigan has the channels last.
"""

import torch
from torch import nn


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(4, 30)
        self.conv2d_transpose = nn.ConvTranspose2d(2, 3, 5, stride=2)
        self.conv2d_transpose_crop = Crop((1, 2), (1, 2))

    def forward(self, z):
        x = self.dense(z)
        x = reshape(x, 5, 3, 2)
        x = self.conv2d_transpose(x)
        x = self.conv2d_transpose_crop(x)
        x = torch.tanh(x)
        return x
'''
    )


def test_keras_source_in_full(generator):
    assert (
        KerasWriter(generator, "generator").page("Draw z from N(0, 1).")
        == '''\
"""A generator of minigan as a Keras model.

    from generator_keras import load

    model = load("generator_keras.npz")
    images = model.predict(z)

z: (N, 4)
images: (N, 10, 6, 3)
Draw z from N(0, 1).
"""

import keras
import numpy as np
from keras import layers


def build():
    """The model, with new weights."""
    z = keras.Input((4,), name="z")
    x = layers.Dense(30, name="dense")(z)
    x = layers.Reshape((5, 3, 2), name="reshape")(x)
    x = layers.Conv2DTranspose(3, 5, strides=2, padding="same", activation="tanh", \
name="conv2d_transpose")(x)
    return keras.Model(z, x, name="generator")


def load(path):
    """The model, with the weights in this file."""
    model = build()
    with np.load(path) as weights:
        for variable in model.weights:
            variable.assign(weights[variable.path])
    return model
'''
    )


@pytest.mark.parametrize("writer", [TorchWriter, KerasWriter])
def test_a_source_defines_what_it_uses_and_no_more(writer):
    layers = [mg.SpectralNorm(mg.Conv2D(3, 3)), mg.PixelNorm(), mg.Flatten()]
    for count in (0, 1, 2, 3):
        model = mg.Sequential(layers[:count], input_shape=(5, 5, 2))
        tree = ast.parse(writer(model, "discriminator").page(""))
        bound = {getattr(node, "name", None) for node in tree.body}
        for node in tree.body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                bound |= {alias.asname or alias.name for alias in node.names}
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        entry = {"Discriminator", "build", "load", None}
        assert bound - used <= entry, "defined and not used"
        assert {"torch", "nn", "F", "parametrize", "keras", "np", "layers"} & used <= bound
        layers = [type(layer)(**layer.config()) for layer in layers]


def test_what_inference_does_not_show():
    """Dropout and the momentum of BatchNorm matter to those who train on."""
    model = mg.Sequential([mg.BatchNorm(momentum=0.99), mg.Dropout(0.4)], input_shape=(3,))
    source = TorchWriter(model, "generator").page("")
    assert "nn.BatchNorm1d(3, eps=0.001, momentum=0.01)" in source and "nn.Dropout(0.4)" in source
    source = KerasWriter(model, "generator").page("")
    assert "BatchNormalization(momentum=0.99, epsilon=0.001," in source
    assert "layers.Dropout(0.4," in source


@pytest.mark.parametrize(
    ("writer", "unbiased", "words"),
    [
        (TorchWriter, False, "BatchNorm moves by the unbiased variance; in minigan by the biased."),
        (KerasWriter, True, "BatchNorm moves by the biased variance; in minigan by the unbiased."),
    ],
)
def test_running_variances_that_move_otherwise_are_told(writer, unbiased, words):
    def source(unbiased):
        layers = [mg.BatchNorm(unbiased=unbiased), mg.BatchNorm(unbiased=unbiased)]
        return writer(mg.Sequential(layers, input_shape=(3,)), "generator").page("")

    assert source(unbiased).count(f"Trained on, {words}\n") == 1
    assert "biased" not in source(not unbiased)


def test_the_sentence_cannot_end_the_docstring(generator):
    source = TorchWriter(generator, "generator").page('"""\nimport os\\')
    assert "import os" in ast.get_docstring(ast.parse(source))


def test_names_are_identifiers_and_unique():
    inner = [mg.Sequential([mg.ReLU()], name=name) for name in ("3 up", "3-up", "up", "up")]
    model = mg.Sequential(inner, input_shape=(2,))
    names = [exporting.names_of(model)[way, "re_lu"] for way in model.names]
    assert names == ["_3_up_re_lu", "_3_up_re_lu_1", "up_re_lu", "up_1_re_lu"]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("class", "class_1"),
        ("None", "None_1"),
        ("forward", "forward_1"),
        ("train", "train_1"),
        ("z", "z_1"),
        ("images", "images_1"),
        ("_buffers", "buffers_1"),
        ("__mangled", "mangled"),
        ("__3", "_3"),
    ],
)
def test_names_that_a_source_cannot_hold(given, name):
    layer = mg.Dense(3)
    layer.name = given
    model = mg.Sequential([layer], input_shape=(2,))
    assert exporting.names_of(model)[given,] == name
    ast.parse(TorchWriter(model, "generator").page(""))


def test_names_of_layers_are_none_of_the_inputs():
    several, last = mg.Parallel([mg.Dense(3), mg.Dense(3), mg.Embedding(4, 3)]), mg.Dense(1)
    last.name = "z"
    model = mg.Sequential([several, last], input_shape=((2,), (2,), ()))
    inputs = {each.name for role in exporting.ROLES for each in exporting.inputs_of(model, role)}
    assert inputs == {"z", "z_1", "images", "images_1", "labels"}
    assert exporting.names_of(model)["z",] not in inputs


# what cannot be exported


@pytest.mark.parametrize("exporter", [TorchWriter, KerasWriter, Graph])
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("halved", Halved),
        ("doubled", lambda: mg.SpectralNorm(Doubled(2))),
        ("sequential", lambda: Reversed([mg.ReLU()])),
    ],
)
def test_a_layer_that_is_not_ours_is_named(exporter, name, make):
    model = mg.Sequential([make(), mg.Dense(3)], input_shape=(2,))
    message = f"{name}: minigan cannot write a {name.title()} in {exporter.framework}"
    with pytest.raises(ValueError, match=message.replace("a Sequential", "a Reversed")):
        exporter(model, "generator").flow()


@pytest.mark.parametrize("exporter", [TorchWriter, KerasWriter, Graph])
def test_every_public_layer_has_a_counterpart(exporter):
    layers = {each for each in vars(mg).values() if isinstance(each, type)}
    layers = {each for each in layers if issubclass(each, mg.Layer)}
    walked = {mg.Layer, mg.Sequential, mg.Parallel}
    assert layers - walked <= set(exporter.counterparts)


@pytest.mark.parametrize("export", [mg.export_torch, mg.export_keras])
def test_models_that_cannot_be_exported(export, generator, tmp_path):
    with pytest.raises(TypeError, match="expected a Sequential, got a Dense"):
        export(tmp_path, mg.Dense(3))
    with pytest.raises(ValueError, match="not built"):
        export(tmp_path, mg.Sequential([mg.Dense(3)]))
    with pytest.raises(ValueError, match='complex128, .* model.astype\\("float32"\\)'):
        export(tmp_path, generator.astype("complex128"))
    with pytest.raises(ValueError, match="role='critic' is unknown.*generator"):
        export(tmp_path, generator, role="critic")
    assert not list(tmp_path.iterdir())


# files


@pytest.mark.parametrize(
    ("export", "names"),
    [
        (mg.export_torch, ["generator.py", "generator.safetensors"]),
        (mg.export_keras, ["generator_keras.npz", "generator_keras.py"]),
    ],
)
def test_files_depend_on_the_model_alone(export, names, generator, tmp_path):
    for folder in ("one", "two"):
        export(tmp_path / folder, generator)
        assert sorted(p.name for p in (tmp_path / folder).iterdir()) == names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    export(tmp_path / "one", generator)  # the same again


def test_another_file_is_never_replaced(generator, tmp_path):
    mg.save(tmp_path / "generator.safetensors", generator)
    before = (tmp_path / "generator.safetensors").read_bytes()
    with pytest.raises(FileExistsError, match="generator.safetensors is there already"):
        mg.export_torch(tmp_path, generator)
    assert (tmp_path / "generator.safetensors").read_bytes() == before
    assert not (tmp_path / "generator.py").exists()


def test_a_full_disk_leaves_no_half_file(generator, tmp_path, full_disk):
    full_disk(1)
    with pytest.raises(OSError, match="disk is full"):
        mg.export_torch(tmp_path / "torch", generator)
    assert not list((tmp_path / "torch").iterdir())


# the command


def test_export_writes_where_it_says(run, trained, tmp_path):
    code, out, err = run("export", trained, "--torch", tmp_path / "t", "--keras", tmp_path / "k")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        str(tmp_path / "t" / "generator.py"),
        str(tmp_path / "t" / "generator.safetensors"),
        str(tmp_path / "k" / "generator_keras.py"),
        str(tmp_path / "k" / "generator_keras.npz"),
    ]
    source = (tmp_path / "t" / "generator.py").read_text()
    assert "z: (N, 64)" in source and "images: (N, 1, 28, 28)" in source
    assert "Draw z from N(0, 1). It was trained on images in [0, 1]." in source


def test_the_usual_places(run, trained):
    before = {path.name for path in trained.iterdir()}
    assert run("export", trained, "--torch", "--keras")[0] == 0
    assert {path.name for path in trained.iterdir()} - before == {"torch", "keras"}


def test_exported_weights_fit_the_runs_generator(run, trained, tmp_path):
    assert run("export", trained, "--torch", tmp_path)[0] == 0
    model = mg.load(trained / "generator.safetensors")
    before = model.params.flat.copy()
    model.params.flat[...] = 0
    mg.import_weights(model, tmp_path / "generator.safetensors", layout="torch")
    assert np.array_equal(model.params.flat, before) and before.any()


def test_what_the_command_refuses(run, trained, tmp_path, monkeypatch):
    code, _, err = run("export", trained)
    assert code == 2 and "--onnx, --torch or --keras" in err
    code, _, err = run("export", tmp_path, "--torch")
    assert code == 2 and "is not a run" in err and not list(tmp_path.iterdir())
    (tmp_path / "few.npz").write_bytes(b"mine")
    for option in ("--torch", "--keras"):
        code, _, err = run("export", trained, option, tmp_path / "few.npz")
        assert code == 2 and "few.npz is a file; give a folder" in err and "room" not in err
    assert (tmp_path / "few.npz").read_bytes() == b"mine"
    (tmp_path / "few.npz").unlink()
    code, _, err = run("export", trained, "--torch", trained)
    assert code == 2 and "is there already" in err
    monkeypatch.setitem(sys.modules, "onnx", None)
    code, _, err = run("export", trained, "--onnx", tmp_path / "g.onnx")
    assert code == 2 and "pip install 'minigan[export]'" in err and not list(tmp_path.iterdir())
