"""minigan.run.checkpoint: what is saved comes back; anything else is refused by name."""

from __future__ import annotations

import io
import json
import os
import pickle
import time

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load as read_tensors
from safetensors.numpy import save as write_tensors

import minigan as mg


def small_model(dtype="float32"):
    """Every kind of name: nested, parameters, state, none of both."""
    branches = [mg.Sequential([mg.Conv2D(3, 3, padding="same"), mg.BatchNorm()]), mg.Tanh()]
    return mg.Sequential(
        [
            mg.Dense(32, kernel_initializer=mg.RandomNormal(stddev=0.3)),
            mg.BatchNorm(momentum=0.8),
            mg.LeakyReLU(0.1),
            mg.Reshape((4, 4, 2)),
            mg.Parallel(branches),
            mg.Conv2DTranspose(1, 4, strides=2, padding="same", activation="tanh"),
        ],
        input_shape=(5,),
        dtype=dtype,
        name="generator",
    )


@pytest.fixture
def saved(tmp_path):
    """A saved model, and its path."""
    model = small_model()
    for array in (*model.params.values(), *model.state.values()):
        array[...] = np.random.default_rng(array.size).random(array.shape)
    path = tmp_path / "model.safetensors"
    mg.save(path, model)
    return model, path


def rewrite(path, change):
    """Apply change(tensors, header) to a saved file."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["minigan"])
    tensors = dict(read_tensors(data))
    changed = change(tensors, header)
    header = header if changed is None else changed
    path.write_bytes(write_tensors(tensors, metadata={"minigan": json.dumps(header)}))


def refused(path, *words):
    with pytest.raises(ValueError) as caught:
        mg.load(path)
    message = str(caught.value)
    assert str(path) in message
    assert len(message.splitlines()) <= 5
    for word in words:
        assert word in message, message
    return message


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_state_architecture_and_output_come_back(tmp_path, dtype):
    model = small_model(dtype)
    z = np.random.default_rng(1).normal(size=(7, 5)).astype(dtype)
    for _ in range(3):
        _, cache = model.forward(z)
        model.commit(cache)
    mg.save(tmp_path / "m", model)
    loaded = mg.load(tmp_path / "m")
    assert loaded.config() == model.config() and loaded.dtype == model.dtype
    assert loaded.summary() == model.summary()
    for part in ("params", "state"):
        ours, theirs = getattr(model, part), getattr(loaded, part)
        assert list(ours) == list(theirs)
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])
    np.testing.assert_array_equal(loaded.predict(z), model.predict(z))


@pytest.mark.parametrize("name", mg.models.NAMES)
def test_every_reference_pair_comes_back(tmp_path, name):
    small = {
        "digits": ((8, 8, 8), (8, 8)),
        "flowers": ((4,) * 5, (4,) * 5),
        "dcgan64": ((8,) * 4, (4,) * 4),
        "upsample64": ((16, 4, 4, 4), (4, 4, 4, 16)),
        "mlp_digits": ((8,) * 4, (8,) * 3),
    }
    sizes = {"sizes": small[name]} if name in small else {}
    for classes in (None, 3):
        if name == "clear_digits":  # always conditional
            classes = classes or 1
        for model in mg.models.get(name)(classes=classes, **sizes):
            mg.save(tmp_path / "m", model)
            loaded = mg.load(tmp_path / "m")
            assert loaded.config() == model.config()
            for key, value in model.params.items():
                np.testing.assert_array_equal(loaded.params[key], value)


def test_a_loaded_model_trains_and_leaves_later_draws_alone(saved):
    model, path = saved
    mg.seed(0)
    expected = small_model().params.flat.copy()
    mg.seed(0)
    loaded = mg.load(path)
    np.testing.assert_array_equal(small_model().params.flat, expected)
    np.testing.assert_array_equal(loaded.params.flat, model.params.flat)
    x = np.ones((3, 5), np.float32)
    y, cache = loaded.forward(x)
    before = loaded.params.flat.copy()
    mg.SGD(0.1).step(loaded.params, loaded.backward(np.ones_like(y), cache)[1])
    assert (loaded.params.flat != before).any()
    assert mg.load(path).config() == loaded.config()


def test_equal_models_give_equal_bytes_anywhere_and_any_time(saved, tmp_path, monkeypatch):
    model, path = saved
    first = path.read_bytes()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(time, "time", lambda: 4e9)
    for _ in range(5):
        mg.save("other-name", mg.load(path))
        assert (tmp_path / "elsewhere" / "other-name").read_bytes() == first


def test_any_safetensors_reader_sees_the_tensors(saved):
    model, path = saved
    tensors = read_tensors(path.read_bytes())
    assert set(tensors) == {f"params/{n}" for n in model.params} | {
        f"state/{n}" for n in model.state
    }
    np.testing.assert_array_equal(tensors["params/dense.kernel"], model.params["dense.kernel"])


def test_what_cannot_be_saved_leaves_the_old_file(saved):
    model, path = saved
    before = path.read_bytes()
    with pytest.raises(ValueError, match='astype\\("float64"\\)'):
        mg.save(path, model.astype("complex128"))
    with pytest.raises(TypeError, match="expected a Sequential"):
        mg.save(path, mg.Dense(3))
    with pytest.raises(ValueError, match="not built"):
        mg.save(path, mg.Sequential([mg.Dense(3)]))
    assert path.read_bytes() == before


def test_full_disk_keeps_the_old_weights(saved, full_disk):
    model, path = saved
    before = path.read_bytes()
    model.params.flat[...] = 0
    full_disk()
    with pytest.raises(OSError, match="disk is full"):
        mg.save(path, model)
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]


class Bomb:
    exploded = False

    def __reduce__(self):
        return (setattr, (Bomb, "exploded", True))


def test_foreign_files_are_named_for_what_they_are(tmp_path, saved):
    path = tmp_path / "foreign.safetensors"
    png = io.BytesIO()
    Image.new("L", (4, 4)).save(png, format="PNG")
    archive = io.BytesIO()
    np.savez(archive, a=np.zeros(3))
    for data, word in [
        (png.getvalue(), "PNG"),
        (archive.getvalue(), "zip archive"),
        (pickle.dumps(Bomb()), "pickle"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (b"", "not a whole safetensors"),
        (b"plain text, nothing else", "not a whole safetensors"),
        (b"\xff" * 8 + b"{}", "not a whole safetensors"),
    ]:
        path.write_bytes(data)
        refused(path, word, "mg.save")
    assert not Bomb.exploded
    path.write_bytes(write_tensors({"w": np.zeros(3, np.float32)}))
    refused(path, "not written by minigan")
    path.write_bytes(write_tensors({"w": np.zeros(3)}, metadata={"format": "pt"}))
    refused(path, "not written by minigan")


def test_every_cut_and_many_flips_are_refused_or_harmless(saved):
    model, path = saved
    whole = path.read_bytes()
    size = 8 + int.from_bytes(whole[:8], "little")
    for end in (0, 1, 7, 8, 9, size - 1, size, size + 1, len(whole) - 1):
        path.write_bytes(whole[:end])
        refused(path, "not a whole safetensors")
    path.write_bytes(whole + b"more")
    refused(path, "not a whole safetensors")
    draw = np.random.default_rng(0)
    for _ in range(200):  # in the header: a flip may land in a name, a number, the JSON
        data = bytearray(whole)
        data[int(draw.integers(8, size))] ^= 1 << int(draw.integers(8))
        path.write_bytes(data)
        try:
            mg.load(path)
        except ValueError as error:
            assert str(path) in str(error) and len(str(error).splitlines()) <= 5


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="no.safetensors"):
        mg.load(tmp_path / "no.safetensors")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        mg.load(tmp_path)


def test_tensors_that_do_not_fit_the_architecture(saved):
    _, path = saved
    whole = path.read_bytes()

    def attempt(change, *words):
        path.write_bytes(whole)
        rewrite(path, change)
        refused(path, *words)

    attempt(lambda t, h: t.__delitem__("params/dense.bias"), "params/dense.bias is missing")
    attempt(lambda t, h: t.update(extra=np.zeros(3)), "extra belongs to no layer")
    attempt(
        lambda t, h: t.update({"params/dense.bias": np.zeros(31, np.float32)}),
        "params/dense.bias should be F32 (32,)",
        "(31,)",
    )
    attempt(
        lambda t, h: t.update({"params/dense.bias": np.zeros(32)}), "should be F32", "F64 (32,)"
    )
    attempt(
        lambda t, h: t.update({"params/dense.bias": np.zeros(32, np.int8)}), "should be F32", "I8"
    )


def test_descriptions_that_do_not_make_a_model(saved):
    _, path = saved
    whole = path.read_bytes()

    def layer(**config):
        def change(tensors, header):
            header["model"]["config"]["layers"][0] = config

        return change

    def replace(value):
        return lambda tensors, header: value

    def shape(value):
        return lambda tensors, header: header["model"]["config"].update(input_shape=value)

    for change, word in [
        (replace([]), "describe a model"),
        (replace({"format": 1}), "describe a model"),
        (replace({"format": 2, "model": {}}), "format is 2"),
        (replace({"format": 1, "model": {"class": "Dense", "config": {}}}), "describe a model"),
        (layer(**{"class": "os.system", "config": {}}), "os.system"),
        (layer(**{"class": "Dense", "config": {"units": -1}}), "units"),
        (layer(**{"class": "Dense", "config": {"unit": 3}}), "unit"),
        (layer(**{"class": "Dense"}), "cannot be built"),
        (shape(None), "describe a model"),
        (shape("abc"), "cannot be built"),
        (shape([5.5]), "cannot be built"),
        (shape([6]), "params/dense.kernel should be F32 (6, 32)"),
    ]:
        path.write_bytes(whole)
        rewrite(path, change)
        refused(path, word)


def test_an_architecture_that_claims_terabytes_takes_no_memory(saved):
    """Every layer's own way to ask for memory, before the file's tensors are compared."""
    import resource

    _, path = saved
    huge = 10**12
    whole = path.read_bytes()
    normal = {"class": "BatchNorm", "config": {}}
    nested = {"class": "Sequential", "config": {"layers": [normal], "input_shape": [huge]}}
    cases = [
        ([{"class": "Dense", "config": {"units": huge}}], [5]),
        ([normal], [huge]),
        ([{"class": "Conv2D", "config": {"filters": huge, "kernel_size": huge}}], [huge, huge, 1]),
        ([{"class": "UpSampling2D", "config": {"size": huge}}, normal], [9, 9, huge]),
        ([{"class": "Embedding", "config": {"classes": huge, "units": huge}}], []),
        ([{"class": "Parallel", "config": {"layers": [nested, nested]}}], [huge]),
        ([nested], [huge]),
    ]
    limit = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + 200 * 1024  # KiB
    for layers, shape in cases:
        path.write_bytes(whole)

        def change(tensors, header, layers=layers, shape=shape):
            header["model"]["config"].update(layers=layers, input_shape=shape)

        rewrite(path, change)
        refused(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < limit


def test_deeply_nested_metadata(saved):
    _, path = saved
    deep = "[" * 100_000 + "]" * 100_000
    tensors = {"w": np.zeros(1, np.float32)}
    path.write_bytes(write_tensors(tensors, metadata={"minigan": deep}))
    refused(path, "describe a model")
