"""Every layer beside Keras on JAX in float64: shapes, names and conventions are Keras's own."""

from __future__ import annotations

import numpy as np
import pytest

import minigan as mg

from .compare import close

pytestmark = pytest.mark.oracle


def parity(ours, theirs, x, training=False, name=None, seed=0):
    """Forward, dx and parameter gradients of two layers with the same weights.

    Kernels have one layout in both libraries, so weights go over as they are.
    Returns the new running statistics of both, after our commit.
    """
    import jax

    rng = np.random.default_rng(seed)
    name = name or f"{type(ours).__name__} (Keras)"
    ours.build(x.shape[1:], "float64")
    for p in ours.params.values():
        p[...] = rng.standard_normal(p.shape)
    for s in ours.state.values():
        s[...] = 0.5 + rng.random(s.shape)
    theirs.build((None, *x.shape[1:]))
    weights = [np.array(a) for a in ours.params.values()]
    state = [np.array(a) for a in ours.state.values()]
    assert [w.shape for w in theirs.trainable_weights] == [w.shape for w in weights]
    options = {"training": training} if ours.state or training else {}

    def call(weights, x):
        y, moved = theirs.stateless_call(weights, state, x, **options)
        return y, moved

    y, pull, moved = jax.vjp(call, weights, x, has_aux=True)
    found, cache = ours.forward(x, training=training, rng=0)
    assert tuple(theirs.compute_output_shape((None, *x.shape[1:]))) == (None, *ours.output_shape)
    close(name, "forward", found, y)
    dy = rng.standard_normal(found.shape)
    dx, grads = ours.backward(dy, cache)
    dweights, their_dx = pull(jax.numpy.asarray(dy))
    if dx is not None:
        close(name, "dx", dx, their_dx)
    for key, g in zip(grads, dweights, strict=True):
        close(name, f"d{key}", grads[key], g)
    ours.commit(cache)
    for key, s in zip(ours.state, moved, strict=True):
        close(name, key, ours.state[key], s)


def images(*shape):
    return np.random.default_rng(1).standard_normal(shape)


@pytest.mark.parametrize("activation", [None, "relu", "leaky_relu", "tanh", "sigmoid", "softmax"])
def test_dense(keras, activation):
    parity(mg.Dense(4, activation=activation), keras.layers.Dense(4, activation=activation),
        images(3, 5),
    )  # fmt: skip
    options = {"use_bias": False, "activation": activation}
    parity(mg.Dense(4, **options), keras.layers.Dense(4, **options), images(1, 5))


CONVOLUTIONS = [
    # height, width, kernel, strides
    (7, 6, 3, 2),
    (8, 5, 4, 2),
    (9, 9, 5, 2),
    (6, 7, (2, 5), (3, 1)),
    (7, 8, (1, 3), (2, 3)),
    (5, 5, 7, 1),
    (4, 9, 1, 2),
]


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("height, width, kernel, strides", CONVOLUTIONS)
def test_conv2d(keras, height, width, kernel, strides, padding):
    if padding == "valid":
        k = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        height, width = max(height, k[0]), max(width, k[1])
    options = {"strides": strides, "padding": padding}
    parity(mg.Conv2D(3, kernel, **options), keras.layers.Conv2D(3, kernel, **options),
        images(2, height, width, 2), name=f"Conv2D {padding} (Keras)",
    )  # fmt: skip


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("height, width, kernel, strides", CONVOLUTIONS)
def test_conv2d_transpose(keras, height, width, kernel, strides, padding):
    options = {"strides": strides, "padding": padding}
    parity(mg.Conv2DTranspose(3, kernel, **options),
        keras.layers.Conv2DTranspose(3, kernel, **options),
        images(2, height, width, 2), name=f"Conv2DTranspose {padding} (Keras)",
    )  # fmt: skip


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("length, kernel, strides", [(9, 3, 2), (8, 4, 2), (7, 5, 3), (6, 2, 3)])
def test_conv1d(keras, length, kernel, strides, padding):
    options = {"strides": strides, "padding": padding}
    for kind in ("Conv1D", "Conv1DTranspose"):
        ours, theirs = (getattr(m, kind)(3, kernel, **options) for m in (mg, keras.layers))
        parity(ours, theirs, images(2, length, 2), name=f"{kind} {padding} (Keras)")


def test_convolutions_without_bias_and_with_an_activation(keras):
    for kind in ("Conv2D", "Conv2DTranspose"):
        options = {"strides": 2, "padding": "same", "use_bias": False, "activation": "tanh"}
        ours, theirs = (getattr(m, kind)(3, 4, **options) for m in (mg, keras.layers))
        parity(ours, theirs, images(2, 5, 6, 2), name=f"{kind} same (Keras)")


@pytest.mark.parametrize("shape", [(6, 3), (3, 5, 2), (2, 3, 4, 3)])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"momentum": 0.5, "epsilon": 1e-5}])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm(keras, shape, options, training):
    theirs = keras.layers.BatchNormalization(**options)
    parity(mg.BatchNorm(**options), theirs, 1 + 2 * images(*shape), training=training)


def test_activations(keras):
    layers = keras.layers
    for ours, theirs in [
        (mg.LeakyReLU(0.2), layers.LeakyReLU(negative_slope=0.2)),
        (mg.LeakyReLU(0.3), layers.LeakyReLU()),  # Keras's own default is another
        (mg.ReLU(), layers.ReLU()),
        (mg.Softmax(), layers.Softmax()),
        (mg.Tanh(), layers.Activation("tanh")),
        (mg.Sigmoid(), layers.Activation("sigmoid")),
        *((mg.Activation(a), layers.Activation(a)) for a in ("linear", "relu", "leaky_relu")),
        *((mg.Activation(a), layers.Activation(a)) for a in ("tanh", "sigmoid", "softmax")),
    ]:
        parity(ours, theirs, 3 * images(3, 2, 5))


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    "height, width, pool, strides",
    [(6, 6, 2, None), (7, 5, 2, None), (7, 8, 3, 2), (5, 9, (2, 3), (1, 2)), (5, 6, 2, 3)],
)
def test_pooling(keras, height, width, pool, strides, padding):
    for kind in ("MaxPooling2D", "AveragePooling2D"):
        ours, theirs = (
            getattr(m, kind)(pool, strides=strides, padding=padding) for m in (mg, keras.layers)
        )
        parity(ours, theirs, images(2, height, width, 3), name=f"{kind} {padding} (Keras)")


@pytest.mark.parametrize("size", [2, (1, 3), (3, 2)])
def test_upsampling(keras, size):
    parity(mg.UpSampling2D(size), keras.layers.UpSampling2D(size), images(2, 3, 4, 2))


@pytest.mark.parametrize("shape", [(5,), (4, 3)])
def test_embedding(keras, shape):
    import jax

    labels = np.random.default_rng(0).integers(4, size=shape)
    ours, theirs = mg.Embedding(4, 3), keras.layers.Embedding(4, 3)
    ours.build(shape[1:], "float64")
    theirs.build((None, *shape[1:]))
    table = np.array(ours.params["embeddings"])
    y, pull = jax.vjp(lambda t: theirs.stateless_call([t], [], labels)[0], table)
    found, cache = ours.forward(labels)
    close("Embedding (Keras)", "forward", found, y)
    dy = images(*found.shape)
    close("Embedding (Keras)", "dembeddings", ours.backward(dy, cache)[1]["embeddings"], *pull(dy))


def test_flatten_and_reshape(keras):
    x = images(2, 3, 4, 6)
    parity(mg.Flatten(), keras.layers.Flatten(), x)
    parity(mg.Reshape((6, 12)), keras.layers.Reshape((6, 12)), x)
    parity(mg.Reshape((2, -1, 4)), keras.layers.Reshape((2, -1, 4)), x)


def test_concatenation_and_sum(keras):
    one, two = images(3, 4, 2), images(3, 4, 2) ** 2
    for merge, theirs in [
        ("concat", keras.layers.Concatenate()),
        ("add", keras.layers.Add()),
    ]:
        layer = mg.Parallel([mg.Activation("linear"), mg.Activation("linear")], merge=merge)
        layer.build(((4, 2), (4, 2)), "float64")
        y, _ = layer.forward((one, two))
        close(f"Parallel {merge} (Keras)", "forward", y, theirs([one, two]))


def test_dropout_scales_as_keras_does(keras):
    """Keras draws other masks; what it keeps is scaled by the same 1/(1 - rate)."""
    x = 1 + np.random.default_rng(0).random((50, 40))
    kept = []
    for y in (
        mg_dropout(x, 0.4),
        np.asarray(keras.layers.Dropout(0.4, seed=1)(x, training=True)),
    ):
        assert abs(np.mean(y == 0) - 0.4) < 0.05
        kept.append((y / x)[y != 0])
        assert np.allclose(kept[-1], 1 / 0.6, rtol=1e-12)


def mg_dropout(x, rate):
    layer = mg.Dropout(rate)
    layer.build(x.shape[1:], "float64")
    return layer.forward(x, training=True, rng=1)[0]


@pytest.mark.parametrize("name", ["from logits", "probabilities", "mean squared error"])
def test_losses_of_elements(keras, name):
    import jax

    rng = np.random.default_rng(0)
    logits, target = 2 * rng.standard_normal((5, 1)), np.round(rng.random((5, 1)))
    p = 1 / (1 + np.exp(-logits))
    ours, theirs, prediction = {
        "from logits": (
            mg.BCE(from_logits=True), keras.losses.BinaryCrossentropy(from_logits=True), logits,
        ),
        "probabilities": (mg.BCE(), keras.losses.BinaryCrossentropy(), p),
        "mean squared error": (mg.MSE(), keras.losses.MeanSquaredError(), logits),
    }[name]  # fmt: skip
    value, dprediction = ours(prediction, target)
    expected, d = jax.value_and_grad(lambda v: theirs(target, v))(jax.numpy.asarray(prediction))
    close(f"{name} (Keras)", "value", value, expected)
    close(f"{name} (Keras)", "dprediction", dprediction, d)


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("labels", [True, False])
def test_cross_entropy(keras, from_logits, labels):
    import jax

    rng = np.random.default_rng(0)
    logits = 2 * rng.standard_normal((5, 4))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    if labels:
        target = rng.integers(4, size=5)
        theirs = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
    else:
        target = np.eye(4)[rng.integers(4, size=5)]
        theirs = keras.losses.CategoricalCrossentropy(from_logits=from_logits)
    prediction = logits if from_logits else p
    value, d = mg.CrossEntropy(from_logits=from_logits)(prediction, target)
    expected, wanted = jax.value_and_grad(lambda v: theirs(target, v))(
        jax.numpy.asarray(prediction)
    )
    close("CrossEntropy (Keras)", "value", value, expected)
    if from_logits:
        close("CrossEntropy (Keras)", "dprediction", d, wanted)
    else:  # Keras divides by the sum of the probabilities, whose derivative it adds
        wanted = np.asarray(wanted)
        constant = (wanted - d)[:, :1]
        close("CrossEntropy (Keras)", "dprediction", d, wanted - constant)


@pytest.mark.parametrize("scale", [1.0, 1e-6])
@pytest.mark.parametrize(
    "name, ours, theirs",
    [
        (
            "Adam keras",
            lambda: mg.Adam(2e-4, beta_1=0.5, form="keras"),
            lambda o: o.Adam(2e-4, beta_1=0.5),
        ),
        (
            "Adam keras",
            lambda: mg.Adam(1e-3, beta_1=0.9, beta_2=0.99, epsilon=1e-5),
            lambda o: o.Adam(1e-3, beta_1=0.9, beta_2=0.99, epsilon=1e-5),
        ),
        ("SGD (Keras)", lambda: mg.SGD(0.1), lambda o: o.SGD(0.1)),
        (
            "SGD momentum (Keras)",
            lambda: mg.SGD(0.1, momentum=0.9),
            lambda o: o.SGD(0.1, momentum=0.9),
        ),
    ],
)
def test_optimizers(keras, name, ours, theirs, scale):
    """Ten steps on random gradients, some of them zero."""
    rng = np.random.default_rng(0)
    params = {"a": rng.standard_normal((3, 4)), "b": rng.standard_normal(5)}
    start = {k: v.copy() for k, v in params.items()}
    variables = {k: keras.Variable(v) for k, v in params.items()}
    one, other = ours(), theirs(keras.optimizers)
    for step in range(10):
        grads = {k: scale * rng.standard_normal(v.shape) for k, v in params.items()}
        if step % 3 == 0:
            grads["b"][:2] = 0
        one.step(params, grads)
        other.apply(
            [keras.ops.convert_to_tensor(g) for g in grads.values()], list(variables.values())
        )
        for k, v in params.items():
            moved = np.asarray(variables[k]) - start[k]
            close(name, "moved", v - start[k], moved, 1e-9)
            close(name, "parameter", v, np.asarray(variables[k]))


COUNTS = {
    "digits": (1_164_289, 40_705), "flowers": (1_971_715, 1_363_553),
    "dcgan64": (3_576_576, 2_765_312), "upsample64": (9_362_051, 3_898_369),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_networks_have_the_shapes_and_names_that_keras_gives(keras, name):
    """Our layers one by one as Keras layers: names, output shapes and counts of its own summary."""
    for model, count in zip(getattr(mg.models, name)(), COUNTS[name], strict=True):
        keras.backend.clear_session()
        theirs = keras.Sequential([keras.Input(model.input_shape)])
        for layer in model.layers:
            theirs.add(translated(keras, layer))
        assert theirs.count_params() == count
        for ours, layer in zip(model.layers, theirs.layers, strict=True):
            assert layer.output.shape == (None, *ours.output_shape)
            assert layer.count_params() == sum(ours.count_params())
            if not isinstance(ours, mg.Tanh):  # Keras has an Activation there
                assert layer.name == ours.name


def translated(keras, layer):
    """The Keras layer of the same arguments."""
    config = layer.config()
    for key in [k for k in config if k.endswith("initializer")]:
        del config[key]
    if isinstance(layer, mg.BatchNorm):
        assert not config.pop("unbiased")
        return keras.layers.BatchNormalization(**config)
    if isinstance(layer, mg.Tanh):
        return keras.layers.Activation("tanh")
    if isinstance(layer, mg.Conv2DTranspose):  # Keras has no groups there
        assert config.pop("groups") == 1
    return getattr(keras.layers, type(layer).__name__)(**config)
