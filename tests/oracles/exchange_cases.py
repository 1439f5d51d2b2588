"""Models to carry over to ONNX, PyTorch and Keras, with every layer in them, and their inputs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import minigan as mg

SOME = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
IMAGE = (9, 6, 4)  # height != width, one of them odd


def residual():
    """A branch that changes nothing, and one nested branch pair."""
    inner = mg.Parallel([mg.Activation("linear"), mg.SiLU()], merge="concat")
    convolved = mg.Sequential([inner, mg.Conv2D(4, 3, padding="same", activation="relu")])
    return [mg.Parallel([mg.Activation("linear"), convolved], merge="add"), mg.Tanh()]


def called(*names):
    """Layers of these names."""
    layers = [mg.Dense(3) for _ in names]
    for layer, name in zip(layers, names, strict=True):
        layer.name = name
    return layers


# name -> (the layers, the input shape)
CASES: dict[str, tuple[Any, Any]] = {
    "dense": (lambda: [mg.Dense(5, activation="tanh"), mg.Dense(3, use_bias=False)], (7,)),
    "batch_norm_vectors": (lambda: [mg.BatchNorm(epsilon=1e-5)], (7,)),
    "batch_norm_signals": (lambda: [mg.BatchNorm()], (6, 3)),
    "batch_norm_images": (lambda: [mg.BatchNorm(momentum=0.8)], IMAGE),
    "layer_norm_vectors": (lambda: [mg.LayerNorm()], (7,)),
    "layer_norm_positions": (lambda: [mg.LayerNorm(epsilon=1e-2)], IMAGE),
    "layer_norm_samples": (lambda: [mg.LayerNorm(over="sample")], IMAGE),
    "layer_norm_sample_vectors": (lambda: [mg.LayerNorm(over="sample")], (7,)),
    "instance_norm_signals": (lambda: [mg.InstanceNorm()], (6, 3)),
    "instance_norm_images": (lambda: [mg.InstanceNorm(epsilon=1e-2)], IMAGE),
    "pixel_norm_vectors": (lambda: [mg.PixelNorm()], (7,)),
    "pixel_norm_images": (lambda: [mg.PixelNorm(epsilon=1e-2)], IMAGE),
    "spectral_dense": (lambda: [mg.SpectralNorm(mg.Dense(3, activation="sigmoid"))], (7,)),
    "spectral_conv": (
        lambda: [mg.SpectralNorm(mg.Conv2D(6, (3, 5), strides=2, padding="same", groups=2))],
        IMAGE,
    ),
    "spectral_transposed": (
        lambda: [mg.SpectralNorm(mg.Conv2DTranspose(3, 5, strides=2, padding="same"))],
        IMAGE,
    ),
    "spectral_without_bias": (lambda: [mg.SpectralNorm(mg.Conv1D(3, 2, use_bias=False))], (6, 3)),
    "upsampling": (lambda: [mg.UpSampling2D((3, 2))], IMAGE),
    "upsampling_much": (lambda: [mg.UpSampling2D((49, 41))], (5, 4, 2)),
    "enlarged": (lambda: [mg.Resampling2D(2)], IMAGE),
    "reduced": (lambda: [mg.Resampling2D((0.5, 0.7))], IMAGE),
    "reduced_without_antialias": (lambda: [mg.Resampling2D(0.5, antialias=False)], IMAGE),
    "enlarged_and_reduced": (lambda: [mg.Resampling2D((1.5, 0.4))], IMAGE),
    "dropout": (lambda: [mg.Dropout(0.5), mg.Dense(2), mg.Dropout(0.0)], (7,)),
    "flatten": (lambda: [mg.Flatten(), mg.Dense(3)], IMAGE),
    "flatten_signals": (lambda: [mg.Flatten()], (6, 3)),
    "reshape": (lambda: [mg.Dense(30), mg.Reshape((5, -1, 3)), mg.Conv2D(2, 2)], (7,)),
    "reshape_images": (lambda: [mg.Reshape((6, 3, 12)), mg.Reshape((54, 4))], IMAGE),
    "embedding": (lambda: [mg.Embedding(5, 3), mg.Dense(2)], ()),
    "embedding_sequence": (lambda: [mg.Embedding(5, 3), mg.Conv1D(2, 2)], (6,)),
    "embedding_plane": (lambda: [mg.Embedding(5, 3), mg.Conv2D(2, 3), mg.Flatten()], (4, 5)),
    "activations": (
        lambda: [
            mg.ReLU(), mg.Dense(9), mg.LeakyReLU(0.3), mg.Dense(9), mg.SiLU(), mg.Dense(9),
            mg.Sigmoid(), mg.Dense(9), mg.Tanh(), mg.Dense(9), mg.Softmax(), mg.Dense(9),
        ],
        (7,),
    ),
    "named_activations": (
        lambda: [
            layer
            for name in ("linear", "relu", "leaky_relu", "tanh", "sigmoid", "silu", "softmax")
            for layer in (mg.Dense(9, activation=name), mg.Dense(9), mg.Activation(name))
        ],
        (7,),
    ),
    "softmax_images": (lambda: [mg.Softmax()], IMAGE),
    "residual": (residual, IMAGE),
    "product": (
        lambda: [mg.Parallel([mg.Conv2D(3, 3), mg.Conv2D(3, 3)], merge="dot"), mg.Flatten()],
        IMAGE,
    ),
    "projection": (
        lambda: [mg.Parallel([mg.Flatten(), mg.Embedding(5, 216)], merge="dot"), mg.Sigmoid()],
        (IMAGE, ()),
    ),
    "two_inputs": (
        lambda: [mg.Parallel([mg.Dense(4), mg.Dense(3), mg.Embedding(5, 2)]), mg.Dense(2)],
        ((7,), (2,), ()),
    ),
    "taken_names": (
        lambda: called("images", "class", "train", "type", "forward", "_modules", "__a", "a"),
        (7,),
    ),
    "nested": (
        lambda: [
            mg.Sequential([mg.Conv2D(3, 2), mg.BatchNorm()], name="3 down"),
            mg.Sequential([mg.Conv2D(3, 2), mg.BatchNorm()], name="3-down"),
        ],
        IMAGE,
    ),
}  # fmt: skip


def pairs(numbers):
    return st.tuples(numbers, numbers)


@st.composite
def convolutions(draw, transposed_groups=True):
    """(a convolution of any kind, an input shape that it takes)."""
    transposed, signals = draw(st.booleans()), draw(st.booleans())
    groups = 1 if transposed and not transposed_groups else draw(st.integers(1, 2))
    kernel, strides, sides = draw(pairs(st.integers(1, 6))), draw(pairs(st.integers(1, 4))), None
    sides = draw(pairs(st.integers(1, 11)))
    padding = draw(st.sampled_from(["same", "valid"]))
    if padding == "valid" and not transposed:
        sides = tuple(map(max, sides, kernel))
    options = {
        "strides": strides[0] if signals else strides,
        "padding": padding,
        "groups": groups,
        "use_bias": draw(st.booleans()),
        "activation": draw(st.sampled_from([None, "relu", "tanh"])),
    }
    kind = getattr(mg, f"Conv{1 if signals else 2}D{'Transpose' * transposed}")
    layer = kind(groups * draw(st.integers(1, 3)), kernel[0] if signals else kernel, **options)
    return layer, (*sides[: 1 if signals else 2], groups * draw(st.integers(1, 3)))


@st.composite
def poolings(draw):
    """(a pooling layer, an input shape that it takes)."""
    size, strides = draw(pairs(st.integers(1, 4))), draw(pairs(st.integers(1, 4)))
    padding = draw(st.sampled_from(["same", "valid"]))
    sides = draw(pairs(st.integers(1, 11)))
    if padding == "valid":
        sides = tuple(map(max, sides, size))
    kind = draw(st.sampled_from([mg.MaxPooling2D, mg.AveragePooling2D]))
    return kind(size, strides=strides, padding=padding), (*sides, 3)


def built(layers, shape, dtype="float64"):
    """A model with weights and statistics that are all different, and of a trained model's size."""
    return scattered(mg.Sequential(layers, input_shape=shape, dtype=dtype))


def scattered(model, seed=0, size=0.3):
    """The model, its parameters and state moved, each by its own."""
    rng = np.random.default_rng(seed)
    for name, array in (*model.params.items(), *model.state.items()):
        noise = rng.standard_normal(array.shape) * size
        array += (np.abs(noise) if name.endswith("variance") else noise).astype(array.dtype)
    return model


def inputs_for(model, n=3):
    """A value for each input of a model: numbers, or labels."""
    from minigan.run.exporting import inputs_of

    rng = np.random.default_rng(1)
    return [
        rng.standard_normal((n, *shape)).astype(model.dtype)
        if classes is None
        else rng.integers(0, classes, (n, *shape))
        for _, shape, classes in inputs_of(model, "discriminator")
    ]


def predicted(model, inputs):
    return model.predict(inputs[0] if len(inputs) == 1 else tuple(inputs))


def module(path: Path) -> Any:
    """The Python file, imported under a name of its own."""
    spec = importlib.util.spec_from_file_location(f"emitted_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


# the reference networks: thin ones, with the geometry of the published
THIN: dict[str, dict[str, Any]] = {
    "digits": {"sizes": ((4, 3, 2), (3, 4))},
    "flowers": {"sizes": ((4, 3, 3, 2, 2), (2, 3, 3, 4, 4))},
    "dcgan64": {"sizes": ((5, 4, 3, 2), (2, 3, 4, 5))},
    "upsample64": {"sizes": ((7, 3, 2, 2), (2, 3, 2, 6))},
    "mlp_digits": {"sizes": ((8, 9, 7, 6), (9, 8, 7))},
    "clear_digits": {"sizes": ((4, 3), (2, 3, 4))},
}
NETWORKS = [
    (name, classes) for name in THIN for classes in ((3,) if name == "clear_digits" else (None, 3))
]


def network(name, classes, thin=True, **options):
    """(generator, discriminator)."""
    options |= THIN[name] if thin else {}
    if classes is not None:
        options["classes"] = classes
    return mg.models.get(name)(**options)
