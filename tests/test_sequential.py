"""Sequential: composition, chain rule, flat parameters, names, predict and summary."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

import minigan as mg
from minigan.layers.configuration import from_config, to_config
from tests.helpers import KEY, draw, watch


def small(dtype="float64", **options):
    model = mg.Sequential(
        [
            mg.Conv2D(4, 3, strides=2, padding="same"),
            mg.BatchNorm(momentum=0.5),
            mg.LeakyReLU(0.2),
            mg.Dropout(0.3),
            mg.Conv2D(3, 2),
            mg.LeakyReLU(0.2),
            mg.Flatten(),
            mg.Dense(2, activation="tanh"),
        ],
        input_shape=(6, 5, 2),
        dtype=dtype,
        key=mg.random.Key(1, "weights"),
        **options,
    )
    model.params.flat += 0.1 * draw(model.params.flat.shape, seed=4).astype(dtype)
    return model


def test_forward_and_backward_are_the_chain_of_the_layers(request):
    # a GPU's compiler joins products with sums where they meet in one kernel, as in a stage
    slack = 1e-14 if request.config.getoption("--device") == "cuda" else 0.0

    def same(a, b):
        return a.shape == b.shape and np.allclose(a, b, rtol=slack, atol=slack)

    model, x = small(), draw((3, 6, 5, 2))
    y, cache = model.forward(x, rng=KEY)
    h, caches = x, []
    for name, layer in model.children():
        h, c = layer.forward(h, rng=KEY.child(name))
        caches.append(c)
    assert same(y, h)
    dy = draw(y.shape, seed=1)
    dx, grads = model.backward(dy, cache)
    d, expected = dy, {}
    for (name, layer), c in zip(reversed(model.children()), reversed(caches), strict=True):
        d, own = layer.backward(d, c)
        expected |= {f"{name}.{k}": g for k, g in own.items()}
    assert same(dx, d)
    assert set(grads) == set(expected)
    assert all(same(grads[k], g) for k, g in expected.items())


@pytest.mark.cpu("what a cache holds on the host")
@pytest.mark.parametrize(
    "tail",
    [
        [mg.LeakyReLU()],
        [mg.Flatten(), mg.Reshape((2, 1))],
        [mg.Dropout(0)],
        [mg.Activation("linear"), mg.Dropout(0.5)],
        [mg.Parallel([mg.Sequential([]), mg.Dense(2)], merge="add")],
        [mg.Parallel([mg.Dense(2), mg.Sequential([mg.Dropout(0)])], merge="concat"), mg.Flatten()],
    ],
    ids=lambda tail: "-".join(type(layer).__name__ for layer in tail),
)
@pytest.mark.parametrize("activation", [None, "tanh", "leaky_relu", "relu", "sigmoid", "silu"])
def test_backward_writes_over_no_gradient_but_its_own(tail, activation):
    layers = [
        mg.Flatten(), mg.Dense(3, activation=activation), mg.Dropout(0), mg.Dense(4), mg.Sigmoid(),
        mg.Parallel([mg.Sequential([]), mg.Dense(4, activation=activation)], merge="add"),
        mg.Dense(2, activation=activation), *copy.deepcopy(tail),
    ]  # fmt: skip
    model = mg.Sequential(layers, input_shape=(4, 3), dtype="float64", key=KEY)
    x = draw((5, 4, 3), "float64")
    y, cache = model.forward(x, rng=3)
    dy = draw(y.shape, "float64", 1)
    before = dy.copy()
    dx, grads = model.backward(dy, cache)
    again = model.backward(dy, cache)  # from the same cache, which is as it was
    assert np.array_equal(dy, before)
    assert np.array_equal(dx, again[0]) and np.array_equal(grads.flat, again[1].flat)
    for i, (name, stage) in reversed(list(enumerate(model._stages))):  # nothing written over
        before, found = stage.pullback(before, cache.saved[i], True, True)
        for key, g in found.items():
            assert np.array_equal(grads[f"{name}.{key}"], g)
    assert np.array_equal(dx, before)


def test_gradients_of_the_chain_s_own_are_written_over(monkeypatch):
    layers = [mg.Dense(30), mg.LeakyReLU(), mg.Flatten(), mg.Dropout(0.5), mg.Dense(20)]
    model = mg.Sequential(layers, input_shape=(9,), key=KEY)
    _, cache = model.forward(draw((5, 9), "float32"))
    written = []  # into dy?

    def watched(kernel):
        def wrapper(dy, y, kind, slope, out=None):
            written.append(out is dy)
            return kernel(dy, y, kind, slope, out)

        return wrapper

    watch(monkeypatch, "biased_activation_backward", watched)
    model.backward(draw((5, 20), "float32"), cache)
    assert written == [True]


class Negated(mg.Dense):
    """Writes pullback anew (a reversal of gradients), and not the one that may write over dy."""

    def pullback(self, dy, saved, to_input, to_params):
        dx, grads = super().pullback(dy, saved, to_input, to_params)
        return (-dx if to_input else None), grads


class Rolled(mg.Conv2D):
    """Writes the products anew, and not the one that makes two in one go."""

    def product(self, x):
        return super().product(np.roll(x, 1, axis=1))

    def product_dx(self, dz):
        return np.roll(super().product_dx(dz), -1, axis=1)

    def product_dkernel(self, x, dz):
        return super().product_dkernel(np.roll(x, 1, axis=1), dz)


class Soft(mg.LeakyReLU):
    """Writes the derivative anew, without `out`."""

    def derivative(self, dy, a):
        return super().derivative(dy, a)


class Doubled(mg.Activation):
    """An activation by name that writes its function anew."""

    def apply(self, x, out=None):
        return 2 * super().apply(x)

    def derivative(self, dy, a):
        return 2 * super().derivative(dy, a / 2)

    def derivative_tangent(self, dy, ddy, a, ta):
        return 2 * super().derivative_tangent(dy, ddy, a / 2, ta / 2)


class Tripled:
    """A pass written beside the layers' own line of descent."""

    def compute(self, x, training, rng, keep):
        y, cache = super().compute(x, training, rng, keep)
        return 3 * y, cache

    def pullback(self, dy, saved, to_input, to_params):
        return super().pullback(3 * dy, saved, to_input, to_params)

    def pushforward(self, tx, saved):
        ty, moved = super().pushforward(tx, saved)
        return 3 * ty, moved

    def pullback_kept(self, dy, saved):
        return super().pullback_kept(3 * dy, saved)

    def pullback_tangent(self, ddy, saved, moved, kept, to_input, to_params):
        return super().pullback_tangent(3 * ddy, saved, moved, kept, to_input, to_params)


class TripledDense(Tripled, mg.Dense):
    """Takes them from there."""


class Masked(mg.Dense):
    """Has an array of its own, which its astype converts."""

    mask = np.ones(3, "float32")

    def astype(self, dtype):
        other = super().astype(dtype)
        other.mask = self.mask.astype(dtype)
        return other


def test_a_layer_s_own_astype_is_called_inside_a_model():
    model = mg.Sequential([Masked(3)], input_shape=(4,))
    assert model.astype("float64").layers[0].mask.dtype == np.float64


class Kept(mg.Dropout):
    """Hands on a view of dy."""

    def pullback(self, dy, saved, to_input, to_params):
        return dy[:], {}


@pytest.mark.parametrize(
    "layers, shape",
    [
        ([mg.Conv2D(2, 2), Rolled(3, 2), mg.Conv2D(2, 2)], (6, 5, 2)),
        ([mg.Dense(3), Soft(), mg.Dense(2)], (3,)),
        ([mg.Dense(3), Doubled("tanh"), mg.Dense(2)], (3,)),
        ([TripledDense(3), mg.LeakyReLU(), mg.Dense(2)], (3,)),
        ([mg.Dense(3, activation="tanh"), Kept(0)], (3,)),
    ],
    ids=["products", "derivative", "activation", "mixin", "view"],
)
def test_what_a_subclass_writes_anew_is_not_bypassed(layers, shape):
    model = mg.Sequential(copy.deepcopy(layers), input_shape=shape, dtype="float64", key=KEY)
    x = y = draw((2, *shape))
    for layer in model.layers:
        y, _ = layer.forward(y)
    np.testing.assert_allclose(model.forward(x)[0], y, rtol=1e-12)
    report = mg.check_gradients(mg.Sequential(layers), shape)
    assert report.ok, str(report)


def test_a_pullback_written_anew_is_that_of_the_chain():
    x, dx = draw((5, 3), "float64"), []
    for middle in (mg.Dense(4, activation="tanh"), Negated(4, activation="tanh")):
        layers = [mg.Dense(3), middle, mg.Dense(2)]
        model = mg.Sequential(layers, input_shape=(3,), dtype="float64", key=KEY)
        model.params.flat[...] = draw(model.params.flat.shape, "float64", 1)
        y, cache = model.forward(x)
        dx.append(model.backward(np.ones_like(y), cache)[0])
    assert np.array_equal(dx[0], -dx[1])


def test_names_are_counted_as_keras_counts_them():
    model = small()
    assert model.names == [
        "conv2d", "batch_normalization", "leaky_re_lu", "dropout", "conv2d_1", "leaky_re_lu_1",
        "flatten", "dense",
    ]  # fmt: skip
    assert [layer.name for layer in model.layers] == model.names
    assert list(model.params) == [
        "conv2d.kernel", "conv2d.bias", "batch_normalization.gamma", "batch_normalization.beta",
        "conv2d_1.kernel", "conv2d_1.bias", "dense.kernel", "dense.bias",
    ]  # fmt: skip
    assert list(model.state) == [
        "batch_normalization.moving_mean", "batch_normalization.moving_variance",
    ]  # fmt: skip
    two = mg.Sequential([mg.Conv2DTranspose(1, 2), mg.Conv2DTranspose(1, 2)], input_shape=(2, 2, 1))
    assert two.names == ["conv2d_transpose", "conv2d_transpose_1"]


def test_all_parameters_are_views_into_one_vector():
    model, x = small(), draw((3, 6, 5, 2))
    assert model.params.flat.size == model.count_params()[0]
    for name, layer in model.children():
        for k, p in layer.params.items():
            assert np.shares_memory(p, model.params.flat)
            assert p is model.params[f"{name}.{k}"]
        for k, s in layer.state.items():
            assert np.shares_memory(s, model.state.flat) and s is model.state[f"{name}.{k}"]
    before = model.forward(x, rng=KEY)[0]
    model.params.flat *= 0.5
    assert not np.array_equal(model.forward(x, rng=KEY)[0], before)
    model.params.flat[...] = 0
    assert not model.forward(x, rng=KEY)[0].any()


def test_gradients_come_in_one_vector_in_the_order_of_the_parameters():
    model, x = small(), draw((3, 6, 5, 2))
    y, cache = model.forward(x, rng=KEY)
    _, grads = model.backward(draw(y.shape, seed=1), cache)
    assert list(grads) == list(model.params)
    assert np.array_equal(grads.flat, np.concatenate([g.ravel() for g in grads.values()]))
    _, again = model.backward(draw(y.shape, seed=1), cache)
    assert not np.shares_memory(again.flat, grads.flat)


def test_commit_moves_the_state_of_the_layers():
    model, x = small(), draw((3, 6, 5, 2))
    _, cache = model.forward(x, rng=KEY, keep=False)
    assert not model.state["batch_normalization.moving_mean"].any()
    model.commit(cache)
    z, _ = model.layers[0].forward(x)
    expected = z.mean(axis=(0, 1, 2)) / 2
    np.testing.assert_allclose(model.state["batch_normalization.moving_mean"], expected, rtol=1e-12)
    before = model.state.flat.copy()
    model.commit(model.forward(x, training=False)[1])
    assert np.array_equal(model.state.flat, before)


def test_predict():
    model, x = small("float32"), draw((7, 6, 5, 2), "float64")
    model.commit(model.forward(x.astype("float32"))[1])
    whole, _ = model.forward(x.astype("float32"), training=False)
    for size in (1, 3, 7, 100):
        y = model.predict(x, batch_size=size)
        assert y.dtype == np.float32 and y.shape == (7, 2)
        np.testing.assert_allclose(y, whole, atol=1e-6)
    assert np.array_equal(model.predict(x.tolist()), model.predict(x))
    pixels = np.random.default_rng(0).integers(256, size=(2, 6, 5, 2)).astype("uint8")
    assert np.array_equal(model.predict(pixels), model.predict(pixels.astype("float32")))


def test_what_predict_returns_is_the_callers():
    model = mg.Sequential([mg.Tanh()], input_shape=(40_000,))
    x = draw((2, 40_000), "float32")
    y = model.predict(x)
    kept = y.copy()
    for seed in range(3):
        model.predict(draw((2, 40_000), "float32", seed))
    assert np.array_equal(y, kept)
    linear = mg.Sequential([mg.Activation("linear")], input_shape=(3,))
    z = draw((2, 3), "float32")
    linear.predict(z)[...] = 0
    assert z.all()


def test_predict_refuses_bad_input():
    model, x = small("float32"), draw((2, 6, 5, 2))
    for bad in (np.nan, np.inf, -np.inf):
        x[1, 2, 3, 0] = bad
        with pytest.raises(
            ValueError, match=r"sequential: the input is not finite.*\(1, 2, 3, 0\)"
        ):
            model.predict(x)
    x[...] = 0
    with pytest.raises(ValueError, match="batch_size=0 should be 1 or more"):
        model.predict(x, batch_size=0)
    with pytest.raises(ValueError, match="no samples"):
        model.predict(x[:0])
    with pytest.raises(ValueError, match=r"conv2d: expected an input of shape \(None, 6, 5, 2\)"):
        model.predict(x[..., :1])
    with pytest.raises(TypeError, match="numbers are needed"):
        model.predict(np.array(["a"]))
    with pytest.raises(ValueError, match="not built yet"):
        mg.Sequential([mg.Dense(2)]).predict(np.zeros((1, 2)))


@pytest.mark.parametrize("shape, labels", [((), (4,)), ((3,), (4, 3))])
@pytest.mark.parametrize("kind", ["int64", "int32", "uint8"])
def test_predict_takes_labels_of_any_whole_type(shape, labels, kind):
    model = mg.Sequential([mg.Embedding(5, 2), mg.Flatten()], input_shape=shape)
    x = np.random.default_rng(0).integers(5, size=labels).astype(kind)
    expected = model.params["embedding.embeddings"][x].reshape(4, -1)
    assert np.array_equal(model.predict(x), expected)


def test_a_model_of_two_inputs():
    model = mg.Sequential(
        [mg.Parallel([mg.Dense(3), mg.Embedding(4, 2)]), mg.Dense(1)], input_shape=((5,), ())
    )
    x, labels = draw((6, 5)), np.array([0, 1, 2, 3, 0, 1], "uint8")
    y = model.predict((x, labels), batch_size=4)
    expected, _ = model.forward((x.astype("float32"), labels), training=False)
    np.testing.assert_allclose(y, expected, rtol=1e-6)


def test_a_model_made_again_from_its_configuration():
    model = small("float64", name="critic")
    again = from_config(json.loads(json.dumps(to_config(model))))
    assert (again.name, again.dtype, again.input_shape) == ("critic", "float64", (6, 5, 2))
    assert again.summary() == model.summary()
    again.params.flat[...] = model.params.flat
    again.state.flat[...] = model.state.flat
    x = draw((2, 6, 5, 2))
    assert np.array_equal(again.predict(x), model.predict(x))
    two = mg.Sequential([mg.Parallel([mg.Dense(3), mg.Embedding(4, 2)])], input_shape=((5,), ()))
    assert from_config(json.loads(json.dumps(to_config(two)))).input_shape == ((5,), ())


def test_a_copy_in_another_dtype_shares_nothing():
    model = small("float32")
    twin = model.astype("complex128")
    assert twin.params.flat.dtype == np.complex128 == twin.state.flat.dtype
    before = model.params.flat.copy()
    twin.params.flat += 1
    assert np.array_equal(model.params.flat, before)
    x = draw((2, 6, 5, 2), "float32")
    found, expected = model.astype("float64").predict(x), model.predict(x)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    copy = model.astype("float32")
    copy.params.flat[...] = 0
    assert model.predict(x).any() and not copy.predict(x).any()


def test_models_inside_models():
    inner = mg.Sequential([mg.Dense(3), mg.BatchNorm(), mg.ReLU()], name="inner")
    model = mg.Sequential(
        [mg.Dense(4, activation="tanh"), inner, mg.Dense(1)], input_shape=(2,), dtype="float64"
    )
    assert "inner.dense.kernel" in model.params and "dense_1.kernel" in model.params
    assert np.shares_memory(inner.layers[0].params["kernel"], model.params.flat)
    x = draw((5, 2))
    y, cache = model.forward(x)
    model.commit(cache)
    assert model.state["inner.batch_normalization.moving_mean"].any()
    report = mg.check_gradients(model)
    assert report.ok and report.max_error <= 1e-11, str(report)


# logits


def without(*tail):
    return mg.Sequential([mg.Dense(4), mg.Tanh(), *tail], input_shape=(3,), dtype="float64")


@pytest.mark.parametrize(
    "tail",
    [
        (lambda: [mg.Dense(1, activation="sigmoid")]),
        (lambda: [mg.Dense(1), mg.Sigmoid()]),
        (lambda: [mg.Dense(1), mg.Activation("sigmoid")]),
        (lambda: [mg.Reshape((2, 2, 1)), mg.Conv2D(1, 2, activation="sigmoid"), mg.Flatten()]),
        (lambda: [mg.Dense(1, activation="sigmoid"), mg.Reshape((1, 1)), mg.Flatten()]),
    ],
)
def test_logits_leave_out_a_last_sigmoid_behind_renamings_too(tail):
    model = without(*tail())
    logits = model.logits()
    x = draw((5, 3))
    p, z = model.predict(x), logits.predict(x)
    assert p.shape == z.shape
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-z)), rtol=1e-12)
    assert z.min() < 0 or z.max() > 1
    assert list(logits.params) == list(model.params)
    assert logits.params.flat is model.params.flat  # one set of weights
    logits.params.flat[...] = 0
    assert (model.predict(x) == 0.5).all()
    report = mg.check_gradients(logits)
    assert report.ok, str(report)


def test_logits_of_a_model_without_a_sigmoid():
    for tail in ([mg.Dense(1)], [mg.Dense(1), mg.Tanh()], [mg.Sigmoid(), mg.Dense(1)]):
        model = without(*tail)
        assert model.logits() is model


# summary


def test_summary():
    text = small(name="critic").summary()
    rows = [line.split() for line in text.splitlines()]
    assert text.splitlines()[0] == 'Model: "critic"'
    assert ["conv2d", "(Conv2D)", "(None,", "3,", "3,", "4)", "76"] in rows
    assert ["batch_normalization", "(BatchNorm)", "(None,", "3,", "3,", "4)", "16"] in rows
    assert ["flatten", "(Flatten)", "(None,", "12)", "0"] in rows
    assert ["dense", "(Dense)", "(None,", "2)", "26"] in rows
    trainable = 76 + 8 + (2 * 2 * 4 * 3 + 3) + 26
    assert small().count_params() == (trainable, 8)
    assert text.splitlines()[-3:] == [
        f"Total params: {trainable + 8}",
        f"Trainable params: {trainable}",
        "Non-trainable params: 8",
    ]
    assert len({len(line) for line in text.splitlines()[1:-4]}) == 1  # columns line up


def test_stacked_summary_counts_the_frozen():
    g = mg.Sequential([mg.Dense(1000), mg.BatchNorm()], input_shape=(100,), name="generator")
    d = mg.Sequential([mg.Dense(1)], input_shape=(1000,), name="discriminator")
    text = mg.stacked_summary(g, d)
    assert "Total params: 106,001" in text
    assert "Trainable params: 103,000" in text
    assert "Non-trainable params: 3,001 (frozen discriminator: 1,001)" in text


def test_null_gradients_are_biases_straight_before_batch_norm():
    bn, dense = mg.BatchNorm, mg.Dense
    model = mg.Sequential(
        [dense(3), bn(), mg.Tanh(), dense(3, use_bias=False), bn(), dense(3, activation="tanh"),
         bn(), dense(3), mg.Tanh(), bn()],
        input_shape=(4,),
    )  # fmt: skip
    assert model.null_gradients() == {"dense.bias"}
    report = mg.check_gradients(model, batch=6)
    assert report.ok, str(report)
    verdicts = {row.quantity: row.verdict for row in report.rows if row.engine == "complex"}
    assert verdicts["dense.bias"] == "null" and verdicts["dense_2.bias"] == "ok"


def test_errors():
    with pytest.raises(TypeError, match=r"write it with its brackets, as in ReLU\(\)"):
        mg.Sequential([mg.Dense(2), mg.ReLU])
    with pytest.raises(TypeError, match="'relu' is not a layer"):
        mg.Sequential(["relu"])
    layer = mg.Dense(3)
    with pytest.raises(ValueError, match="the same layer stands here twice"):
        mg.Sequential([layer, layer])
    with pytest.raises(ValueError, match=r"dense_1: Dense takes \(None, features\)"):
        mg.Sequential([mg.Dense(4), mg.Reshape((2, 2)), mg.Dense(3)], input_shape=(3,))
    with pytest.raises(ValueError, match="not built yet"):
        mg.Sequential([mg.Dense(2)]).forward(np.zeros((1, 2), "float32"))


def test_a_built_layer_is_not_taken_into_another_model():
    model = mg.Sequential([mg.Dense(2)], input_shape=(3,))
    with pytest.raises(ValueError, match="built already"):
        mg.Sequential([model, mg.Dense(1)])


def test_a_sigmoid_inside_a_last_sequential_is_left_out_of_the_logits():
    head = mg.Sequential([mg.Dense(1, activation="sigmoid"), mg.Flatten()])
    model = mg.Sequential([mg.Dense(4), head], input_shape=(3,), dtype="float64")
    x = np.random.default_rng(0).standard_normal((5, 3))
    p, _ = model.forward(x)
    logits, _ = model.logits().forward(x)
    assert np.allclose(p, 1 / (1 + np.exp(-logits)), rtol=1e-14)
    assert model.last_activation() == "sigmoid"
    assert model.logits().last_activation() is None


def test_nested_models_are_described_without_shapes_of_their_own():
    model = mg.Sequential([mg.Sequential([mg.Dense(4)]), mg.Dense(1)], input_shape=(3,))
    again = from_config(to_config(model))
    assert again.input_shape == (3,)
    assert again.count_params() == model.count_params()


RESIDUAL = {
    "residual sum": (
        [mg.Parallel([mg.Activation("linear"), mg.Sequential([mg.Tanh(), mg.Dense(4)])],
                     merge="add"), mg.BatchNorm(), mg.Tanh()],
        (4,), {"parallel.1.dense.bias"},
    ),
    "averaged": (
        [mg.Conv2D(3, 2), mg.AveragePooling2D(2), mg.InstanceNorm(), mg.Tanh()],
        (5, 5, 2), {"conv2d.bias"},
    ),
    "resampled": (
        [mg.Conv2D(3, 2), mg.Resampling2D(1.5), mg.BatchNorm(), mg.Tanh()],
        (5, 4, 2), {"conv2d.bias"},
    ),
    "flattened": ([mg.Conv2D(3, 2), mg.Flatten(), mg.BatchNorm()], (3, 3, 2), {"conv2d.bias"}),
    "mixed by a convolution with borders": (
        [mg.Conv2D(3, 2), mg.Conv2D(2, 3, padding="same"), mg.BatchNorm(), mg.Tanh()],
        (5, 4, 2), {"conv2d_1.bias"},
    ),
    "bent": ([mg.Dense(3), mg.Tanh(), mg.BatchNorm()], (3,), set()),
}  # fmt: skip


@pytest.mark.parametrize("name", RESIDUAL)
def test_null_gradients_through_what_passes_a_shift_on(name):
    layers, shape, null = RESIDUAL[name]
    model = mg.Sequential(copy.deepcopy(layers), input_shape=shape, dtype="float64")
    assert model.null_gradients() == null
    report = mg.check_gradients(model, batch=5)  # asserts that they are zero, and no other is
    assert report.ok, str(report)
