"""The dtypes of every layer: what goes through, what is refused, and astype."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers import CASES, KEY, both, built, every_case, inputs, same


@every_case
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("training", [True, False])
def test_the_dtype_goes_through(name, dtype, training):
    layer = built(name, dtype)
    result = both(layer, inputs(name, dtype=dtype), training=training)
    layer.commit(layer.forward(inputs(name, dtype=dtype), rng=KEY)[1])
    result |= layer.params | layer.state
    assert {k: a.dtype.name for k, a in result.items() if a is not None} == dict.fromkeys(
        [k for k, a in result.items() if a is not None], dtype
    )


@every_case
def test_float32_agrees_with_float64(name):
    layer, x = built(name), inputs(name)
    exact = both(layer, x.astype("float32").astype("float64") if x.dtype.kind == "f" else x)
    found = both(layer.astype("float32"), x if x.dtype.kind == "i" else x.astype("float32"))
    for k, a in exact.items():
        if a is not None:
            scale = max(np.abs(a).max(), 1e-2)
            assert np.abs(found[k] - a).max() < 3e-5 * scale, k


@every_case
def test_another_dtype_is_an_error_except_real_into_complex(name):
    layer = built(name, "float32")
    if CASES[name][2]:
        with pytest.raises(TypeError, match="whole numbers"):
            layer.forward(inputs(name).astype("float32"))
    else:
        for dtype in ("float64", "complex128", "int64", "float16"):
            with pytest.raises(TypeError, match=rf"{dtype}.*float32.*astype\('float32'\)"):
                layer.forward(inputs(name, dtype="float64").astype(dtype))
        twin = layer.astype("complex128")
        for dtype in ("float32", "float64"):
            x = inputs(name, dtype=dtype)
            y, _ = twin.forward(x, rng=KEY)
            expected, _ = twin.forward(x.astype("complex128"), rng=KEY)
            assert y.dtype == np.complex128 and np.array_equal(y, expected)
    y, cache = layer.forward(inputs(name, dtype="float32"), rng=KEY)
    with pytest.raises(TypeError, match=r"dy is float64, the layer float32.*astype\('float32'\)"):
        layer.backward(y.astype("float64"), cache)


@every_case
def test_astype_is_a_copy(name):
    layer = built(name)
    before = {k: a.copy() for k, a in (layer.params | layer.state).items()}
    other = layer.astype("float64")
    for a in [*other.params.values(), *other.state.values()]:
        a += 1
    assert same(layer.params | layer.state, before)
    assert (other.name, other.output_shape) == (layer.name, layer.output_shape)
    twin = layer.astype("complex128")
    assert same(twin.astype("float64").params, layer.params)
