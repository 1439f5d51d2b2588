"""minigan.run.exchange: layouts, and weights that go and come back, without the frameworks."""

from __future__ import annotations

import re
import zipfile

import numpy as np
import pytest

import minigan as mg
from minigan.run import exchange

# layers whose sides are all different; the letters of their axes in the table
LAYERS = {
    "Dense": (lambda: mg.Dense(5), (3,), {"in": 3, "out": 5}),
    "Conv1D": (lambda: mg.Conv1D(5, 2), (9, 3), {"k": 2, "in": 3, "out": 5}),
    "Conv1DTranspose": (lambda: mg.Conv1DTranspose(5, 2), (9, 3), {"k": 2, "in": 3, "out": 5}),
    "Conv2D": (lambda: mg.Conv2D(5, (2, 4)), (9, 9, 3), {"kh": 2, "kw": 4, "in": 3, "out": 5}),
    "Conv2DTranspose": (
        lambda: mg.Conv2DTranspose(5, (2, 4)),
        (9, 9, 3),
        {"kh": 2, "kw": 4, "in": 3, "out": 5},
    ),
    "BatchNorm": (mg.BatchNorm, (5,), {"out": 5}),
    "LayerNorm": (mg.LayerNorm, (4, 5), {"out": 5}),
    "InstanceNorm": (mg.InstanceNorm, (4, 5), {"out": 5}),
    "Embedding": (lambda: mg.Embedding(7, 5), (), {"in": 7, "out": 5}),
    "SpectralNorm": (lambda: mg.SpectralNorm(mg.Dense(5)), (3,), {"out": 5}),
}
ROW = re.compile(r"    (\S+|these five) {2,}(\w+) \((.+?)\) {2,}(\S+) \((.+?)\)")


def table():
    """(class, our name, our axes, PyTorch's name, its axes) of each row in the docstring."""
    rows = [m.groups() for line in exchange.__doc__.splitlines() if (m := ROW.fullmatch(line))]
    for kind, *rest in rows:
        for each in list(LAYERS)[:5] if kind == "these five" else [kind]:
            yield each, *rest


@pytest.fixture
def model():
    """A model with branches, and state."""
    stem = mg.Sequential([mg.Dense(18), mg.Reshape((2, 3, 3)), mg.BatchNorm()])
    label = mg.Sequential([mg.Embedding(4, 6), mg.Reshape((2, 3, 1))])
    return mg.Sequential(
        [mg.Parallel([stem, label]), mg.SpectralNorm(mg.Conv2DTranspose(2, (3, 5), strides=2))],
        input_shape=((5,), ()),
    )


def arrays(model):
    return {**model.params, **model.state}


@pytest.mark.parametrize("row", list(table()), ids=lambda row: f"{row[0]}-{row[1]}")
def test_the_docstrings_table(row):
    kind, ours, our_axes, theirs, their_axes = row
    make, shape, sides = LAYERS[kind]
    model = mg.Sequential([make()], input_shape=shape)
    (name,) = (key for key in arrays(model) if key.endswith(f".{ours}"))
    layer, rng = model.names[0], np.random.default_rng(0)
    array = arrays(model)[name]
    assert array.shape == tuple(sides[axis] for axis in our_axes.split(", "))
    array[...] = rng.standard_normal(array.shape)
    order = [our_axes.split(", ").index(axis) for axis in their_axes.split(", ")]
    torch = mg.export_weights(model, layout="torch")[f"{layer}.{theirs}"]
    assert np.array_equal(torch, array.transpose(order))
    assert np.array_equal(mg.export_weights(model, layout="keras")[f"{layer}/{ours}"], array)


def test_the_table_has_every_array():
    rows = {(kind, ours) for kind, ours, *_ in table()}
    for kind, (make, shape, _) in LAYERS.items():
        model = mg.Sequential([make()], input_shape=shape)
        names = {key.split(".")[1] for key in arrays(model)}
        inside = {"kernel", "bias"} if kind == "SpectralNorm" else set()
        assert {ours for each, ours in rows if each == kind} == names - inside


def test_groups_share_an_axis():
    model = mg.Sequential(
        [mg.Conv2D(6, 2, groups=2), mg.Conv2DTranspose(9, 2, groups=3)], input_shape=(5, 5, 4)
    )
    weights = mg.export_weights(model, layout="torch")
    assert weights["conv2d.weight"].shape == (6, 4 // 2, 2, 2)
    assert weights["conv2d_transpose.weight"].shape == (6, 9 // 3, 2, 2)


def test_names_of_layers_in_containers(model):
    assert list(mg.export_weights(model, layout="torch")) == [
        "parallel_0_dense.weight",
        "parallel_0_dense.bias",
        "parallel_0_batch_normalization.weight",
        "parallel_0_batch_normalization.bias",
        "parallel_0_batch_normalization.running_mean",
        "parallel_0_batch_normalization.running_var",
        "parallel_0_batch_normalization.num_batches_tracked",
        "parallel_1_embedding.weight",
        "spectral_normalization.parametrizations.weight.original",
        "spectral_normalization.bias",
        "spectral_normalization.parametrizations.weight.0.u",
    ]
    # a wrapper's own arrays first, as in Keras' get_weights()
    assert list(mg.export_weights(model, layout="keras"))[-3:] == [
        "spectral_normalization/bias",
        "spectral_normalization/u",
        "spectral_normalization/layer/kernel",
    ]


@pytest.mark.parametrize("layout", exchange.LAYOUTS)
@pytest.mark.parametrize("kind", ["dictionary", "file"])
def test_weights_come_back(model, layout, kind, tmp_path):
    before = mg.export_weights(model, layout=layout)
    changed = {name: np.asarray(a + 1) for name, a in before.items()}
    given = changed
    if kind == "file":
        from safetensors.numpy import save_file

        given = tmp_path / ("weights.safetensors" if layout == "torch" else "weights.npz")
        save_file(changed, given) if layout == "torch" else np.savez(given, **changed)
    ours = {name: a.copy() for name, a in arrays(model).items()}
    mg.import_weights(model, given, layout=layout)
    for name, array in arrays(model).items():
        assert np.array_equal(array, ours[name] + 1)
    assert before.keys() == mg.export_weights(model, layout=layout).keys()


def test_inputs_of_inputs_have_weights_too():
    inner = mg.Parallel([mg.Dense(2), mg.Dense(2)])
    model = mg.Sequential([mg.Parallel([inner, mg.Dense(3)])], input_shape=(((2,), (3,)), (4,)))
    assert len(mg.export_weights(model, layout="torch")) == 6


def test_exported_weights_are_copies(model):
    weights = mg.export_weights(model, layout="keras")
    weights["parallel_0_dense/kernel"][...] = 7
    assert not (model.params["parallel.0.dense.kernel"] == 7).any()


def test_a_list_in_the_order_of_the_layers():
    one, two = (
        mg.Sequential([mg.Dense(3), mg.BatchNorm()], input_shape=(2,), key=mg.random.Key(seed, "w"))
        for seed in (0, 1)
    )
    mg.import_weights(two, list(mg.export_weights(one, layout="keras").values()), layout="keras")
    assert np.array_equal(one.params.flat, two.params.flat)
    with pytest.raises(ValueError, match="6 arrays, the list 5; they are dense/kernel, "):
        mg.import_weights(two, [*one.params.values(), 1], layout="keras")


def test_a_list_for_branches_is_refused(model):
    weights = list(mg.export_weights(model, layout="keras").values())
    with pytest.raises(ValueError, match="branches.*by name"):
        mg.import_weights(model, weights, layout="keras")


def spoiled(weights):
    """name -> (weights that do not fit, what the error says)."""
    name = "parallel_0_dense.weight"
    other = {key: a for key, a in weights.items() if key != name}
    return {
        "missing": (other, f"Missing: {name}. Unknown: none."),
        "unknown": (weights | {"more": other}, "Missing: none. Unknown: more."),
        "many": ({}, "dense.weight, .* and 7 more"),
        "transposed": (other | {name: weights[name].T}, rf"{name} .* \(18, 5\), .* \(5, 18\)"),
        "words": (other | {name: np.full((18, 5), "a")}, f"{name} should be numbers"),
    }


@pytest.mark.parametrize("what", spoiled({"parallel_0_dense.weight": np.zeros(1)}))
def test_weights_that_do_not_fit_change_nothing(model, what):
    weights, message = spoiled(
        {k: a + 1 for k, a in mg.export_weights(model, layout="torch").items()}
    )[what]
    before = {name: a.copy() for name, a in arrays(model).items()}
    with pytest.raises(ValueError, match=message) as caught:
        mg.import_weights(model, weights, layout="torch")
    assert len(str(caught.value).splitlines()) <= 5
    for name, array in arrays(model).items():
        assert np.array_equal(array, before[name])


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("weights.pt", b"\x80\x02", "never loaded"),
        ("weights.safetensors", b"short", "not a whole .safetensors"),
        ("weights.npz", b"", "cannot be read as an .npz"),
        ("weights.npz", b"\x80\x02pickle", "cannot be read as an .npz"),
        ("weights.npz", b"PK\x03\x04cut off", "cannot be read as an .npz"),
    ],
)
def test_files_that_hold_no_weights(model, name, data, message, tmp_path):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        mg.import_weights(model, tmp_path / name, layout="torch")
    assert name in str(caught.value)


def test_objects_in_an_npz_are_not_unpickled(model, tmp_path):
    weights = mg.export_weights(model, layout="torch")
    np.savez(tmp_path / "weights.npz", **dict.fromkeys(weights, np.array([None])))
    with pytest.raises(ValueError, match="npy holds Python objects"):
        mg.import_weights(model, tmp_path / "weights.npz", layout="torch")


def squeezed(path, damage):
    """weights.npz, compressed, and damaged."""
    arrays = {"dense/kernel": np.arange(1000.0).reshape(50, 20), "dense/bias": np.zeros(20)}
    np.savez_compressed(path, **arrays)
    data = bytearray(path.read_bytes())
    where = data.rindex(b"PK\x01\x02")
    if damage == "bits":  # zlib stumbles
        data[200:300] = b"\xff" * 100
    elif damage == "encrypted":
        data[6] |= 1
        data[data.index(b"PK\x01\x02") + 8] |= 1
    elif damage == "method":  # one that zipfile does not know
        data[8] = data[data.index(b"PK\x01\x02") + 10] = 99
    path.write_bytes(data[: where + 20] if damage == "cut" else data)


@pytest.mark.parametrize("damage", ["bits", "encrypted", "method", "cut"])
def test_a_damaged_npz_is_named(damage, tmp_path):
    model = mg.Sequential([mg.Dense(20)], input_shape=(50,))
    squeezed(tmp_path / "weights.npz", damage)
    with pytest.raises(ValueError, match="weights.npz: cannot be read as an .npz file") as caught:
        mg.import_weights(model, tmp_path / "weights.npz", layout="keras")
    assert len(str(caught.value).splitlines()) <= 5


def test_a_shape_that_would_fill_the_memory(tmp_path):
    model = mg.Sequential([mg.Dense(20, use_bias=False)], input_shape=(50,))
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }\n"
    with zipfile.ZipFile(tmp_path / "weights.npz", "w") as archive:
        start = b"\x93NUMPY\x01\x00" + bytes([len(header), 0])
        archive.writestr("dense/kernel.npy", start + header)
    with pytest.raises(ValueError, match="promises 8,000,000,000,000 bytes, but 0 are stored"):
        mg.import_weights(model, tmp_path / "weights.npz", layout="keras")


def test_names_are_checked_before_anything_is_unpacked(model, tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "weights.npz", **{"more\x1b[2J": np.zeros(10)})
    monkeypatch.setattr(exchange.npz_file, "entry", None)
    with pytest.raises(ValueError, match=r"Unknown: more\\x1b\[2J\."):
        mg.import_weights(model, tmp_path / "weights.npz", layout="keras")


@pytest.mark.parametrize("kind", ["dictionary", "file"])
def test_the_count_of_batches_need_not_be_there(model, kind, tmp_path):
    weights = {k: a + 1 for k, a in mg.export_weights(model, layout="torch").items()}
    del weights["parallel_0_batch_normalization.num_batches_tracked"]
    ours = model.params.flat + 1
    given = weights
    if kind == "file":
        given = tmp_path / "weights.npz"
        np.savez(given, **weights)
    mg.import_weights(model, given, layout="torch")
    assert np.array_equal(model.params.flat, ours)


def test_a_file_that_is_not_there(model, tmp_path):
    with pytest.raises(FileNotFoundError, match="weights.npz"):
        mg.import_weights(model, tmp_path / "weights.npz", layout="torch")


def test_wrong_arguments(model):
    with pytest.raises(ValueError, match="layout='tensorflow' is unknown.*'torch', 'keras'"):
        mg.export_weights(model, layout="tensorflow")
    with pytest.raises(TypeError, match="built Sequential, got a Dense"):
        mg.export_weights(mg.Dense(3), layout="torch")
    with pytest.raises(TypeError, match="built Sequential"):
        mg.export_weights(mg.Sequential([mg.Dense(3)]), layout="torch")
