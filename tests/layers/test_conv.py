"""The convolution layers: shapes, padding by value, and the formulas of their docstrings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigan as mg
from minigan.layers.configuration import from_config, to_config
from tests.helpers import draw


def pads(n, k, s, padding):
    """out and pixels before, from the text of the definition and not from the code."""
    if padding == "valid":
        return (n - k) // s + 1, 0
    out = -(-n // s)
    return out, max((out - 1) * s + k - n, 0) // 2


options = st.fixed_dictionaries(
    {
        "strides": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "padding": st.sampled_from(["same", "valid"]),
        "use_bias": st.booleans(),
    }
)
sides = st.tuples(st.integers(1, 4), st.integers(1, 4))


@settings(max_examples=30)
@given(st.integers(4, 6), st.integers(4, 7), sides, options, st.integers(1, 2))
def test_conv2d_is_the_double_loop(h, w, kernel_size, opts, batch):
    layer = mg.Conv2D(2, kernel_size, bias_initializer="random_normal", **opts)
    shape = layer.build((h, w, 3), "float64")
    x = draw((batch, h, w, 3))
    (kh, kw), (sh, sw) = kernel_size, opts["strides"]
    (oh, top), (ow, left) = pads(h, kh, sh, opts["padding"]), pads(w, kw, sw, opts["padding"])
    assert shape == (oh, ow, 2)
    kernel, bias = layer.params["kernel"], layer.params.get("bias", np.zeros(2))
    assert kernel.shape == (kh, kw, 3, 2)
    y, cache = layer.forward(x)
    dz = draw(y.shape, seed=1)
    dx, grads = layer.backward(dz, cache)
    z = np.tile(bias, (batch, oh, ow, 1))
    dx_e, dk_e = np.zeros_like(x), np.zeros_like(kernel)
    for o, p, i, j in np.ndindex(oh, ow, kh, kw):
        r, c = sh * o + i - top, sw * p + j - left
        if 0 <= r < h and 0 <= c < w:
            z[:, o, p] += x[:, r, c] @ kernel[i, j]
            dx_e[:, r, c] += dz[:, o, p] @ kernel[i, j].T
            dk_e[i, j] += x[:, r, c].T @ dz[:, o, p]
    np.testing.assert_allclose(y, z, atol=1e-13)
    np.testing.assert_allclose(dx, dx_e, atol=1e-13)
    np.testing.assert_allclose(grads["kernel"], dk_e, atol=1e-12)
    if opts["use_bias"]:
        np.testing.assert_allclose(grads["bias"], dz.sum(axis=(0, 1, 2)), atol=1e-12)


@settings(max_examples=30)
@given(st.integers(1, 4), st.integers(1, 5), sides, options, st.integers(1, 2))
def test_conv2d_transpose_is_the_double_loop(h, w, kernel_size, opts, batch):
    layer = mg.Conv2DTranspose(2, kernel_size, bias_initializer="random_normal", **opts)
    shape = layer.build((h, w, 3), "float64")
    x = draw((batch, h, w, 3))
    (kh, kw), (sh, sw) = kernel_size, opts["strides"]
    if opts["padding"] == "same":
        height, width = h * sh, w * sw
        # of the kernel-stride pixels that stick out, half are cut before, the odd one after
        top, left = max(kh - sh, 0) // 2, max(kw - sw, 0) // 2
    else:
        height, width = h * sh + max(kh - sh, 0), w * sw + max(kw - sw, 0)
        top = left = 0
    assert shape == (height, width, 2)
    kernel, bias = layer.params["kernel"], layer.params.get("bias", np.zeros(2))
    assert kernel.shape == (kh, kw, 2, 3)
    y, cache = layer.forward(x)
    dz = draw(y.shape, seed=1)
    dx, grads = layer.backward(dz, cache)
    z = np.tile(bias, (batch, height, width, 1))
    dx_e, dk_e = np.zeros_like(x), np.zeros_like(kernel)
    for o, p, i, j in np.ndindex(h, w, kh, kw):
        r, c = sh * o + i - top, sw * p + j - left
        if 0 <= r < height and 0 <= c < width:
            z[:, r, c] += x[:, o, p] @ kernel[i, j].T
            dx_e[:, o, p] += dz[:, r, c] @ kernel[i, j]
            dk_e[i, j] += dz[:, r, c].T @ x[:, o, p]
    np.testing.assert_allclose(y, z, atol=1e-13)
    np.testing.assert_allclose(dx, dx_e, atol=1e-13)
    np.testing.assert_allclose(grads["kernel"], dk_e, atol=1e-12)
    if opts["use_bias"]:
        np.testing.assert_allclose(grads["bias"], dz.sum(axis=(0, 1, 2)), atol=1e-12)


def row(cls, x, k, **options):
    """A layer with the kernel k on one row of pixels, one channel."""
    layer = cls(1, (1, len(k)), use_bias=False, **options)
    layer.build((1, len(x), 1), "float64")
    layer.params["kernel"][0, :, 0, 0] = k
    return layer.forward(np.reshape(np.array(x, float), (1, 1, -1, 1)))[0].ravel().tolist()


def test_values_of_same():
    x = [1, 2, 3, 4, 5]
    assert row(mg.Conv2D, x, [10, 1], strides=(1, 2), padding="same") == [12, 34, 50]
    assert row(mg.Conv2D, x, [10, 1], padding="same") == [12, 23, 34, 45, 50]
    assert row(mg.Conv2D, x, [100, 10, 1], strides=(1, 2), padding="same") == [12, 234, 450]
    assert row(mg.Conv2D, x[:4], [100, 10, 1], strides=(1, 2), padding="same") == [123, 340]
    assert row(mg.Conv2D, x, [100, 10, 1], strides=(1, 2)) == [123, 345]
    assert row(mg.Conv2D, x, [7], strides=(1, 3), padding="same") == [7, 28]


def test_values_of_the_transposed_convolution():
    """What TensorFlow's and Keras's Conv2DTranspose give, pixel by pixel."""
    x = [1, 2, 3]
    same, valid = {"padding": "same"}, {"padding": "valid"}
    two, three = {"strides": (1, 2)}, {"strides": (1, 3)}
    assert row(mg.Conv2DTranspose, x, [100, 10, 1], **two, **same) == [100, 10, 201, 20, 302, 30]
    assert row(mg.Conv2DTranspose, x, [100, 10, 1], **two) == [100, 10, 201, 20, 302, 30, 3]
    assert row(mg.Conv2DTranspose, x, [1000, 100, 10, 1], **two, **same) == [
        100, 2010, 201, 3020, 302, 30,
    ]  # fmt: skip
    assert row(mg.Conv2DTranspose, x, [10, 1], **three, **valid) == [10, 1, 0, 20, 2, 0, 30, 3, 0]
    assert row(mg.Conv2DTranspose, x, [10, 1], **three, **same) == [10, 1, 0, 20, 2, 0, 30, 3, 0]
    assert row(mg.Conv2DTranspose, x, [100, 10, 1], **same) == [210, 321, 32]
    assert row(mg.Conv2DTranspose, x, [10, 1]) == [10, 21, 32, 3]


@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(1, 4), sides, sides, st.sampled_from(["same", "valid"]))
def test_plain_and_transposed_layers_are_adjoint(h, w, kernel_size, strides, padding):
    up = mg.Conv2DTranspose(2, kernel_size, strides=strides, padding=padding, use_bias=False)
    shape = up.build((h, w, 3), "float64")
    down = mg.Conv2D(3, kernel_size, strides=strides, padding=padding, use_bias=False)
    assert down.build(shape, "float64") == (h, w, 3)
    down.params["kernel"][...] = up.params["kernel"]
    x, y = draw((2, h, w, 3)), draw((2, *shape), seed=1)
    left = (up.forward(x)[0] * y).sum()
    assert left == pytest.approx((x * down.forward(y)[0]).sum(), abs=1e-11)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("k, s", [(3, 2), (2, 3), (1, 1), (4, 2)])
def test_a_signal_is_an_image_of_one_row(transposed, padding, k, s):
    one, two = (mg.Conv1DTranspose, mg.Conv2DTranspose) if transposed else (mg.Conv1D, mg.Conv2D)
    signal = one(3, k, strides=s, padding=padding, activation="tanh")
    image = two(3, (1, k), strides=(1, s), padding=padding, activation="tanh")
    shape = signal.build((7, 2), "float64")
    assert (1, *shape) == image.build((1, 7, 2), "float64")
    assert signal.params["kernel"].shape == image.params["kernel"].shape[1:]
    for name, p in signal.params.items():
        p += 0.1
        image.params[name][...] = p.reshape(image.params[name].shape)
    x = draw((2, 7, 2))
    y, cache = signal.forward(x)
    y_2, cache_2 = image.forward(x[:, None])
    dy = draw(y.shape, seed=1)
    dx, grads = signal.backward(dy, cache)
    dx_2, grads_2 = image.backward(dy[:, None], cache_2)
    assert np.array_equal(y, y_2[:, 0]) and np.array_equal(dx, dx_2[:, 0])
    assert all(np.array_equal(g, grads_2[n].reshape(g.shape)) for n, g in grads.items())


layers = st.sampled_from([mg.Conv2D, mg.Conv2DTranspose, mg.Conv1D, mg.Conv1DTranspose])


@settings(max_examples=40)
@given(
    layers, options, sides, st.integers(1, 3), st.integers(1, 3),
    st.sampled_from([None, "tanh", "leaky_relu", "sigmoid"]), st.integers(1, 2),
    st.integers(0, 50),
)  # fmt: skip
def test_gradients(cls, opts, kernel_size, channels, filters, activation, batch, seed):
    shape = (5, 4, channels)
    if cls.axes == 1:
        kernel_size, shape = kernel_size[0], (5, channels)
        opts = {**opts, "strides": opts["strides"][0]}
    layer = cls(filters, kernel_size, activation=activation, **opts)
    report = mg.check_gradients(layer, shape, batch=batch, seed=seed)
    assert report.ok and report.max_error <= 1e-11, str(report)


@settings(max_examples=30, derandomize=True)
@given(layers, options, sides, st.integers(2, 3), st.integers(1, 2), st.integers(1, 2))
def test_groups_are_convolutions_side_by_side(cls, opts, kernel_size, groups, cin, cout):
    """Group i takes its own slice of the channels and of the kernel, and gives its own slice."""
    shape = (5, 4, groups * cin)
    if cls.axes == 1:
        kernel_size, shape = kernel_size[0], (5, groups * cin)
        opts = {**opts, "strides": opts["strides"][0]}
    opts = {**opts, "activation": "tanh", "bias_initializer": "random_normal"}
    layer = cls(groups * cout, kernel_size, groups=groups, **opts)
    out = layer.build(shape, "float64")
    x, tx = draw((2, *shape)), draw((2, *shape), seed=1)
    dy, ddy = draw((2, *out), seed=2), draw((2, *out), seed=3)

    def passes(layer, x, tx, dy, ddy):
        y, cache = layer.forward(x)
        dx, grads = layer.backward(dy, cache)
        ddx, dgrads = layer.backward_tangent(dy, ddy, tx, cache)
        return [y, dx, layer.tangent(tx, cache), ddx], [grads, dgrads]

    found, found_grads = passes(layer, x, tx, dy, ddy)
    ins = cin if layer.transposed else cout  # the kernel's last axis, of one group
    for i in range(groups):
        one = cls(cout, kernel_size, **opts)
        one.build((*shape[:-1], cin), "float64")
        part_in, part_out = slice(i * cin, (i + 1) * cin), slice(i * cout, (i + 1) * cout)
        cuts = {"kernel": slice(i * ins, (i + 1) * ins), "bias": part_out}
        for k, p in one.params.items():
            p[...] = layer.params[k][..., cuts[k]]
        pairs = zip((x, tx, dy, ddy), (part_in, part_in, part_out, part_out), strict=True)
        alone, alone_grads = passes(one, *(np.ascontiguousarray(a[..., cut]) for a, cut in pairs))
        for a, e, cut in zip(found, alone, (part_out, part_in) * 2, strict=True):
            np.testing.assert_allclose(a[..., cut], e, rtol=1e-11, atol=1e-13)
        for a, e in zip(found_grads, alone_grads, strict=True):
            for k, g in e.items():
                np.testing.assert_allclose(a[k][..., cuts[k]], g, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("cls", [mg.Conv2D, mg.Conv2DTranspose])
def test_the_gradients_of_groups(cls):
    """Depthwise, and two groups of different widths in and out."""
    for filters, groups in ((4, 4), (6, 2)):
        layer = cls(filters, 3, strides=2, padding="same", groups=groups)
        report = mg.check_gradients(layer, (5, 4, 4))
        assert report.ok and report.max_error <= 1e-11, str(report)


def test_the_kernels_of_groups():
    """Only the diagonal blocks are stored."""
    plain, up = mg.Conv2D(6, 3, groups=2), mg.Conv2DTranspose(6, 3, groups=2)
    assert plain.build((5, 5, 4)) == (3, 3, 6) and up.build((5, 5, 4)) == (7, 7, 6)
    assert plain.params["kernel"].shape == (3, 3, 2, 6)
    assert up.params["kernel"].shape == (3, 3, 3, 4)
    assert from_config(to_config(plain)).groups == 2 and mg.Conv2D(1, 1).groups == 1


def test_groups_must_divide_the_channels_and_the_filters():
    for cls in (mg.Conv2D, mg.Conv2DTranspose):
        for filters, groups in ((6, 3), (3, 2), (4, 8)):
            with pytest.raises(
                ValueError,
                match=f"groups={groups} should divide the 4 channels .* the {filters} filters",
            ):
                cls(filters, 3, groups=groups).build((5, 5, 4))
    for bad in (0, -1, 1.5, True, None):
        with pytest.raises(ValueError, match="Conv1D: groups=.*whole number of 1 or more"):
            mg.Conv1D(4, 3, groups=bad)


def test_the_first_weights():
    wide = mg.Conv2D(50, 3)
    wide.build((8, 8, 20))
    limit = np.sqrt(6 / (9 * 20 + 9 * 50))  # Glorot: inputs and outputs of a weight
    assert 0.99 * limit < np.abs(wide.params["kernel"]).max() <= limit
    up = mg.Conv2DTranspose(50, 3, kernel_initializer="he_uniform")
    up.build((8, 8, 20))
    limit = np.sqrt(6 / (9 * 50))  # He: of the kernel as stored, (out, in), as in Keras and PyTorch
    assert 0.99 * limit < np.abs(up.params["kernel"]).max() <= limit


def test_errors():
    with pytest.raises(ValueError, match=r"conv2d: input \(None, 4, 9, 1\): a kernel of 5 does no"):
        mg.Conv2D(1, 5).build((4, 9, 1))
    with pytest.raises(ValueError, match=r"Conv2D takes \(None, height, width, channels\), got"):
        mg.Conv2D(1, 3).build((784,))
    with pytest.raises(ValueError, match=r"Conv1D takes \(None, time, channels\)"):
        mg.Conv1D(1, 3).build((8, 8, 1))
    with pytest.raises(ValueError, match="padding='full' is unknown; choose one of 'same', 'val"):
        mg.Conv2D(1, 3, padding="full")
    for bad in (0, (3, 0), (1, 2, 3), 2.5):
        with pytest.raises(ValueError, match=r"Conv2D: kernel_size=.*whole number of 1 or more"):
            mg.Conv2D(1, bad)
    with pytest.raises(ValueError, match=r"Conv2D: strides="):
        mg.Conv2D(1, 3, strides=0)
    with pytest.raises(ValueError, match="Conv2D: filters=0"):
        mg.Conv2D(0, 3)
    with pytest.raises(TypeError, match="here it is strides"):
        mg.Conv2D(1, 3, stride=2)
    with pytest.raises(TypeError):
        mg.Conv2D(1, 3, 2)
    with pytest.raises(ValueError, match=r"expected an input of shape \(None, 5, 5, 2\)"):
        layer = mg.Conv2D(1, 3)
        layer.build((5, 5, 2))
        layer.forward(np.zeros((1, 5, 5, 3), "float32"))
