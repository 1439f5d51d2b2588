"""The gradient checker: it passes right layers, catches wrong ones, and says what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigan as mg
from minigan import numeric
from minigan.layers.base import Cache
from minigan.numeric import Numeric, compare, diagnose
from tests.helpers import draw


class Own(mg.Layer):
    """A right layer: y = x^2 * w, w a parameter of one number a channel. Subclasses break it."""

    def setup(self, input_shape, key):
        self.add("w", (input_shape[-1],), "ones", key, (1, 1))
        return input_shape

    def compute(self, x, training, rng, keep):
        return x * x * self.params["w"], Cache(x if keep else None)

    def pullback(self, dy, saved, to_input, to_params):
        x = saved
        dx = 2 * x * self.params["w"] * dy if to_input else None
        axes = tuple(range(dy.ndim - 1))
        return dx, {"w": (x * x * dy).sum(axis=axes)} if to_params else {}


def failing(layer, shape=(3, 2), **options):
    report = mg.check_gradients(layer, shape, **options)
    assert not report.ok, str(report)
    assert report.failures and all(row.verdict == "FAIL" for row in report.failures)
    return report


def notes(report):
    return " | ".join(f"{row.quantity}: {row.note}" for row in report.failures)


def test_a_right_layer_passes():
    for shape in ((3,), (3, 2), (4, 4, 2)):
        report = mg.check_gradients(Own(), shape)
        assert report.ok and report.max_error <= 1e-13, str(report)
        assert {r.quantity for r in report.rows} >= {"input", "w", "contract", "hessian"}


# planted mistakes: each changes the gradient of the input or of w, or breaks the contract


def changed(**what):
    """Own with dx or dw replaced by a function of the right one (and of x)."""

    class Wrong(Own):
        def pullback(self, dy, saved, to_input, to_params):
            dx, grads = super().pullback(dy, saved, to_input, to_params)
            if to_input and "dx" in what:
                dx = what["dx"](dx, saved)
            if to_params and "dw" in what:
                grads = {"w": what["dw"](grads["w"])}
            return dx, grads

    return Wrong()


def border(dx, _):
    dx = dx.copy()
    dx[:, 0] = 0
    return dx


def one_missing(dx, _):
    dx = dx.copy()
    dx[0, 0, 0] = 0
    return dx


MISTAKES = {
    "sign": (changed(dx=lambda d, x: -d), "a sign"),
    "sign of w": (changed(dw=lambda d: -d), "a sign"),
    "factor": (changed(dx=lambda d, x: d / 2), "off by the factor 0.5"),
    "missing mean": (changed(dw=lambda d: d / 9), "off by the factor 0.111111"),
    "zero": (changed(dx=lambda d, x: 0 * d), "all zero by hand"),
    "zero w": (changed(dw=lambda d: 0 * d), "all zero by hand"),
    "permuted axis": (changed(dx=lambda d, x: d[:, ::-1]), "the same values in other places"),
    "permuted batch": (changed(dx=lambda d, x: d[::-1]), "the same values in other places"),
    "permuted w": (changed(dw=lambda d: d[::-1]), "the same values in other places"),
    "one element": (changed(dx=one_missing), "worst at (0, 0, 0)"),
    "dropped term": (changed(dx=lambda d, x: d - 1e-3 * x), "elements differ"),
    "small": (changed(dx=lambda d, x: d * (1 + 1e-9)), "every element is off by the factor 1"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_planted_mistakes_are_caught_and_named(name):
    layer, hint = MISTAKES[name]
    assert hint in notes(failing(layer, (4, 3) if "mean" not in name else (3, 2)))


def test_borders_point_to_padding():
    assert "only borders differ: padding" in notes(failing(changed(dx=border), (4, 5, 2)))


def test_the_worst_element_is_named_with_both_values():
    report = failing(changed(dx=one_missing), (4, 3))
    (row,) = [r for r in report.failures if r.quantity == "input" and r.engine == "complex"]
    assert "worst at (0, 0, 0): 0 by hand" in row.note and "numerically" in row.note


def test_a_forward_that_changes_its_input_is_caught():
    class Wrong(Own):
        def compute(self, x, training, rng, keep):
            y, cache = super().compute(x.copy(), training, rng, keep)
            x += 1
            return y, cache

    assert "changed x" in notes(failing(Wrong()))


def test_a_backward_that_changes_dy_is_caught():
    class Wrong(Own):
        def pullback(self, dy, saved, to_input, to_params):
            result = super().pullback(dy.copy(), saved, to_input, to_params)
            dy *= 2
            return result

    failing(Wrong())


def test_a_stale_cache_is_caught():
    class Wrong(Own):
        def compute(self, x, training, rng, keep):
            self.x = x
            return super().compute(x, training, rng, keep)

        def pullback(self, dy, saved, to_input, to_params):
            return super().pullback(dy, self.x, to_input, to_params)

    assert "a cache does not last" in notes(failing(Wrong()))


def test_an_output_that_the_next_forward_overwrites_is_caught():
    class Wrong(Own):
        buffer = None

        def compute(self, x, training, rng, keep):
            y, cache = super().compute(x, training, rng, keep)
            if self.buffer is None or self.buffer.dtype != y.dtype:
                self.buffer = np.empty_like(y)
            self.buffer[...] = y
            return self.buffer, cache

    assert "y changed after it was returned" in notes(failing(Wrong()))


def test_a_keep_false_that_computes_something_else_is_caught():
    class Wrong(Own):
        def compute(self, x, training, rng, keep):
            y, cache = super().compute(x, training, rng, keep)
            return (y if keep else y + 1e-3), cache

    assert "keep=False gives another y" in notes(failing(Wrong()))


def test_a_wrt_that_computes_something_else_is_caught():
    class Wrong(Own):
        def pullback(self, dy, saved, to_input, to_params):
            dx, grads = super().pullback(dy, saved, to_input, to_params)
            return (dx if to_params or dx is None else 2 * dx), grads

    assert "wrt='input'" in notes(failing(Wrong()))


def test_missing_parameter_gradients_are_caught():
    class Wrong(Own):
        def pullback(self, dy, saved, to_input, to_params):
            return super().pullback(dy, saved, to_input, False)

    assert "other keys" in notes(failing(Wrong()))


def test_float64_that_leaks_into_a_gradient_is_caught():
    leak = changed(dx=lambda d, x: d * np.ones(1, np.float64))
    assert "float32 in, float64 out" in notes(failing(leak))
    leak = changed(dw=lambda d: d * np.ones(1, np.float64))
    assert "float32 in, float64 out" in notes(failing(leak))


def test_float64_that_leaks_into_the_output_is_caught():
    class Wrong(Own):
        def compute(self, x, training, rng, keep):
            y, cache = super().compute(x, training, rng, keep)
            return y * np.ones(1, np.float64), cache

    report = failing(Wrong())
    assert {row.engine for row in report.failures} == {"float32"}
    assert "float64" in notes(report)


def test_float32_that_loses_its_digits_is_caught():
    class Wrong(Own):
        """E[x^2] - E[x]^2 in disguise: right in float64, wrong in float32."""

        def compute(self, x, training, rng, keep):
            y, cache = super().compute(x, training, rng, keep)
            return (y + 1e6) - 1e6, cache

        def pullback(self, dy, saved, to_input, to_params):
            return super().pullback((dy + 1e6) - 1e6, saved, to_input, to_params)

    report = mg.check_gradients(Wrong(), (3, 2))
    assert not report.ok and any(row.engine == "float32" for row in report.failures)


@pytest.mark.parametrize("seed", range(20))
def test_one_missing_gradient_among_many_is_always_caught(seed):
    """Checks with fixed non-negative directions and a scaled tolerance let this pass."""
    failing(changed(dx=one_missing), (50, 3), seed=seed)


@settings(max_examples=25)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 100), st.data())
def test_any_single_wrong_element_is_caught(height, width, seed, data):
    shape = (height, width)
    index = tuple(data.draw(st.integers(0, n - 1)) for n in (3, *shape))

    def wrong(dx, _):
        dx = dx.copy()
        dx[index] += 0.01 * np.abs(dx).max()
        return dx

    failing(changed(dx=wrong), shape, seed=seed)


# operations that are not analytic


class Abs(mg.Layer):
    """y = |x|, dx = sign(x) dy."""

    def setup(self, input_shape, key):
        return input_shape

    def compute(self, x, training, rng, keep):
        return np.abs(x), Cache(np.sign(x.real) if keep else None)

    def pullback(self, dy, saved, to_input, to_params):
        return (saved * dy if to_input else None), {}


class AbsTimes(Abs):
    """y = x |x|, dx = 2 |x| dy: complex out for complex in, and not analytic."""

    def compute(self, x, training, rng, keep):
        return x * np.abs(x), Cache(2 * np.abs(x) if keep else None)


def test_five_point_differences_where_the_layer_is_not_analytic():
    report = mg.check_gradients(Abs(), (4, 3))
    assert report.ok, str(report)
    assert {r.engine for r in report.rows if r.quantity == "input"} == {"five-point", "float32"}
    assert report.max_error <= 1e-6


def test_five_point_differences_where_complex_numbers_come_out_but_not_the_derivative():
    report = mg.check_gradients(AbsTimes(), (4, 3))
    assert report.ok, str(report)
    assert "five-point" in {row.engine for row in report.rows}


def test_five_point_differences_catch_mistakes_too():
    class Wrong(Abs):
        def pullback(self, dy, saved, to_input, to_params):
            return super().pullback(-dy, saved, to_input, to_params)

    assert "a sign" in notes(failing(Wrong(), (4, 3)))


def test_the_engine_may_be_asked_for():
    for engine in ("complex", "five-point"):
        report = mg.check_gradients(mg.Dense(3, activation="tanh"), (4,), engine=engine)
        assert report.ok, str(report)
        assert {r.engine for r in report.rows if r.quantity == "kernel"} == {engine, "float32"}
    with pytest.raises(ValueError, match="engine='central' should be 'auto', 'complex' or 'fi"):
        mg.check_gradients(mg.Dense(3), (4,), engine="central")


# vacuity


def of(f):
    return Numeric(lambda v: f(v["x"]), {"x": draw((4, 3))}, "x", "complex")


def row_of(g, f, null=False):
    return compare("test", "x", g, of(f), np.random.default_rng(0), null)


def test_a_gradient_that_is_zero_everywhere_is_vacuous_unless_declared():
    row = row_of(np.zeros((4, 3)), lambda x: (0 * x).sum())
    assert not row.ok and "vacuous" in row.note
    row = row_of(np.zeros((4, 3)), lambda x: (0 * x).sum(), null=True)
    assert row.ok and row.verdict == "null"


def test_rounding_noise_is_zero():
    row = row_of(1e-17 * draw((4, 3)), lambda x: (1e-17 * x).sum())
    assert not row.ok and "vacuous" in row.note


def test_a_gradient_of_equal_elements_is_vacuous():
    """Any rearrangement would pass, so the check says nothing about axes."""
    row = row_of(np.ones((4, 3)), lambda x: x.sum())
    assert not row.ok and "a rearranged g would pass too" in row.note


def test_a_declared_null_gradient_must_be_null():
    row = row_of(draw((4, 3)), lambda x: (0 * x).sum(), null=True)
    assert not row.ok and "declared zero, but of size" in row.note
    row = row_of(np.zeros((4, 3)), lambda x: (x * x).sum(), null=True)
    assert not row.ok and "declared zero, but of size" in row.note

    class Wrong(Own):
        def null_gradients(self):
            return {"w"}

    assert "w: declared zero" in notes(failing(Wrong()))


def test_declared_null_gradients_are_reported_as_null():
    model = mg.Sequential([mg.Dense(4), mg.BatchNorm()], input_shape=(3,))
    report = mg.check_gradients(model, batch=5)
    assert report.ok, str(report)
    rows = {r.quantity: r for r in report.rows if r.engine == "complex"}
    assert rows["dense.bias"].verdict == "null" and rows["dense.bias"].error < 1e-12
    # in inference the statistics are constants, and the bias has a gradient like any other
    report = mg.check_gradients(model, batch=5, training=False)
    rows = {r.quantity: r for r in report.rows if r.engine == "complex"}
    assert report.ok and rows["dense.bias"].verdict == "ok"


def test_a_single_number_cannot_be_rearranged():
    assert mg.check_gradients(mg.Tanh(), (1,), batch=1).ok


def test_large_arrays_are_compared_along_directions():
    report = mg.check_gradients(mg.Dense(30), (40,), batch=2)
    assert report.ok and report.max_error <= 1e-11
    failing(changed(dx=lambda d, x: np.roll(d, 1, axis=1)), (40, 9))


# the Hessian


def test_a_hessian_that_is_not_symmetric_is_caught():
    class Wrong(Own):
        """A gradient field that is right to first order in nothing: curl without a potential."""

        def pullback(self, dy, saved, to_input, to_params):
            dx, grads = super().pullback(dy, saved, to_input, to_params)
            return (dx + 0.1 * np.roll(saved, 1, axis=1) ** 3 if to_input else None), grads

    report = failing(Wrong())
    assert "hessian" in {row.quantity for row in report.failures}


def test_a_linear_layer_has_no_hessian_and_that_is_said():
    report = mg.check_gradients(mg.Flatten(), (3, 2))
    (row,) = [r for r in report.rows if r.quantity == "hessian"]
    assert row.verdict == "null" and "linear" in row.note


# what it takes and what it returns


def test_the_target_is_left_alone():
    layer = mg.Dense(3)
    layer.build((4,))
    before = layer.params["kernel"].copy()
    mg.check_gradients(layer)
    assert np.array_equal(layer.params["kernel"], before) and layer.dtype == np.float32
    g = mg.Sequential([mg.Dense(4, activation="tanh")], input_shape=(3,))
    d = mg.Sequential([mg.Dense(1)], input_shape=(4,))
    gan = mg.GAN(g, d)
    before = g.params.flat.copy(), d.params.flat.copy()
    assert mg.check_gradients(gan).ok
    assert np.array_equal(g.params.flat, before[0]) and np.array_equal(d.params.flat, before[1])
    assert gan.step_count == 0 and gan.d_optimizer.t == 0


def test_a_given_input_is_used():
    report = mg.check_gradients(mg.ReLU(), (3,), x=-np.ones((2, 3)))
    assert not report.ok and "vacuous" in notes(report)
    assert mg.check_gradients(mg.LeakyReLU(), (3,), x=draw((2, 3))).ok


def test_the_same_seed_gives_the_same_report():
    one, two, three = (mg.check_gradients(mg.Dense(3), (4,), seed=s) for s in (1, 1, 2))
    assert str(one) == str(two) != str(three)


def test_the_report_prints_as_a_table():
    report = mg.check_gradients(mg.Dense(3), (4,))
    lines = str(report).splitlines()
    assert lines[0].split() == ["what", "quantity", "engine", "error", "verdict"]
    assert set(lines[1]) == {"-"}
    assert len(lines) == 2 + len(report.rows)
    kernel = next(line for line in lines if " kernel " in line)
    assert kernel.split()[:3] == ["Dense", "kernel", "complex"] and kernel.endswith("ok")
    assert lines[0].index("error") == kernel.index(kernel.split()[3])
    bad = failing(changed(dx=lambda d, x: -d))
    assert "FAIL" in str(bad) and "a sign" in str(bad)
    assert bad.max_error > 1


def test_an_empty_report_is_not_ok():
    assert not numeric.Report().ok and np.isnan(numeric.Report().max_error)


def test_diagnoses():
    n = draw((3, 4, 5, 2))
    wrong = n.copy()
    wrong[1, 1, 2, 0] = wrong[2, 2, 3, 1] = 9
    assert "2 of 120 elements differ" in diagnose(wrong, n)
    assert "factor -1: a sign" in diagnose(-n, n)
    assert "factor 3: a missing or doubled mean or factor" in diagnose(3 * n, n)
    assert "an axis or an order" in diagnose(n[::-1], n)


def test_errors():
    with pytest.raises(TypeError, match="takes a layer, a model or a GAN, got int"):
        mg.check_gradients(3)
    with pytest.raises(ValueError, match="dense: not built; give check_gradients an input_shape"):
        mg.check_gradients(mg.Dense(3))
    layer = mg.Dense(3)
    layer.build((4,))
    with pytest.raises(ValueError, match=r"built for \(4,\), input_shape says \(5,\)"):
        mg.check_gradients(layer, (5,))
