"""`minigan export --onnx`: onnxruntime agrees with predict at 1e-5."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

import minigan as mg
from minigan.run.cli import main
from minigan.run.exporting import ROLES
from minigan.run.sampling import SavedGenerator

from .exchange_cases import (
    CASES,
    NETWORKS,
    SOME,
    built,
    convolutions,
    inputs_for,
    network,
    poolings,
    predicted,
    scattered,
)

pytestmark = pytest.mark.oracle
LIMIT = 1e-5


@pytest.fixture(scope="module")
def onnx():
    pytest.importorskip("onnxruntime", reason="needs the extra `oracles`")
    return pytest.importorskip("onnx", reason="needs the extra `oracles`")


def session(graph):
    """Runs an ONNX file, or a graph."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def output(graph, inputs):
    running = session(graph)
    names = [each.name for each in running.get_inputs()]
    (y,) = running.run(None, dict(zip(names, inputs, strict=True)))
    return y


def error(ours, theirs, least=1e-30):
    """The largest difference, relative to the largest number, or to `least` if that is larger."""
    assert ours.shape == theirs.shape and theirs.dtype == np.float32
    return np.abs(ours - theirs).max() / max(np.abs(ours).max(), least)


def assert_agrees(model, role="discriminator", n=3):
    from minigan.run.onnx_export import to_onnx

    inputs = inputs_for(model, n)
    theirs = output(to_onnx(model, role=role).SerializeToString(), inputs)
    assert error(predicted(model, inputs), theirs) <= LIMIT


@pytest.mark.parametrize("name", CASES)
def test_layers(onnx, name):
    layers, shape = CASES[name]
    assert_agrees(built(layers(), shape, "float32"))


@SOME
@given(convolutions())
def test_convolutions(onnx, case):
    layer, shape = case
    assert_agrees(built([layer], shape, "float32"))


@SOME
@given(poolings())
def test_pooling(onnx, case):
    layer, shape = case
    assert_agrees(built([layer], shape, "float32"))


@pytest.mark.parametrize(("name", "classes"), NETWORKS)
def test_thin_networks(onnx, name, classes):
    for role, model in zip(ROLES, network(name, classes), strict=True):
        assert_agrees(scattered(model), role)


@pytest.mark.parametrize(("name", "classes"), NETWORKS)
def test_published_networks(onnx, name, classes):
    """At first, images differ little from 0: to predict they are compared on the scale of 1.

    On their own scale the fast convolutions of float32 may be 1e-5 from the exact numbers, and
    those of float64 are compared.
    """
    from minigan.run.onnx_export import to_onnx

    for role, model in zip(ROLES, network(name, classes, thin=False), strict=True):
        inputs = inputs_for(model, 2)
        theirs = output(to_onnx(model, role=role).SerializeToString(), inputs)
        assert error(predicted(model, inputs), theirs, least=1.0) <= LIMIT
        assert error(predicted(model.astype("float64"), inputs), theirs) <= LIMIT


def test_names_shapes_and_opset(onnx):
    from minigan.run.onnx_export import OPSET, to_onnx

    generator, discriminator = network("clear_digits", 3)
    found = session(to_onnx(generator, about="About.").SerializeToString())
    described = [(each.name, each.type, each.shape) for each in found.get_inputs()]
    assert described == [
        ("z", "tensor(float)", ["N", 64]),
        ("labels", "tensor(int64)", ["N"]),
    ]
    (images,) = found.get_outputs()
    assert (images.name, images.shape) == ("images", ["N", 28, 28, 1])
    proto = to_onnx(discriminator, role="discriminator")
    assert [each.name for each in proto.graph.input] == ["images", "labels"]
    assert [each.name for each in proto.graph.output] == ["scores"]
    assert proto.doc_string == "labels are 0 to 2; negative ones count from the last class."
    proto = to_onnx(network("mlp_digits", None)[0], about="About.")
    assert proto.doc_string == "About."
    assert [(each.domain, each.version) for each in proto.opset_import] == [("", OPSET)]


def test_any_batch(onnx):
    from minigan.run.onnx_export import to_onnx

    generator, _ = network("dcgan64", 3)
    running = session(to_onnx(generator).SerializeToString())
    for n in (1, 5):
        z, labels = inputs_for(generator, n)
        (images,) = running.run(None, {"z": z, "labels": labels})
        assert len(images) == n


def test_equal_models_give_equal_bytes(onnx, tmp_path):
    files = []
    for name in ("one", "two"):
        generator, _ = network("digits", None, seed=3)
        (path,) = mg.export_onnx(tmp_path / name, generator, about="The same.")
        files.append(path.read_bytes())
    assert files[0] == files[1] and str(tmp_path).encode() not in files[0]


def test_double_precision_becomes_single(onnx):
    model = built([mg.Dense(3)], (4,))
    inputs = inputs_for(model)
    from minigan.run.onnx_export import to_onnx

    theirs = output(to_onnx(model).SerializeToString(), [inputs[0].astype(np.float32)])
    assert error(predicted(model, inputs), theirs) <= LIMIT


def test_a_trained_run(onnx, tmp_path, capsys):
    """From the command line: the images that `minigan sample` would make, in every format."""
    x, y = mg.datasets.digits()
    data, run = tmp_path / "few.npz", tmp_path / "run"
    np.savez(data, images=x[::78][:128], labels=y[::78][:128])
    words = ["--data", str(data), "--epochs", "2", "--batch-size", "32", "--out", str(run)]
    assert main(["train", "mlp_digits", *words]) == 0
    capsys.readouterr()
    assert main(["export", str(run), "--onnx"]) == 0
    assert capsys.readouterr().out.strip() == str(run / "generator.onnx")
    saved = SavedGenerator(run)
    inputs = inputs_for(saved.generator, 5)
    theirs = output(run / "generator.onnx", inputs)
    assert theirs.shape == (5, 28, 28, 1)
    assert error(predicted(saved.generator, inputs).reshape(theirs.shape), theirs) <= LIMIT
    about = onnx.load(run / "generator.onnx").doc_string
    assert "N(0, 1)" in about and "[0, 1]" in about
