"""The gradient checker: its engines, vacuous checks, the Hessian, and what it takes and returns."""

from __future__ import annotations

import numpy as np
import pytest

import minigan as mg
from minigan import numeric
from minigan.layers.base import Cache
from minigan.numeric import Numeric, compare, diagnose
from tests.gradcheck_helpers import Own, changed, failing, notes
from tests.helpers import draw


def test_a_right_layer_passes():
    for shape in ((3,), (3, 2), (4, 4, 2)):
        report = mg.check_gradients(Own(), shape)
        assert report.ok and report.max_error <= 1e-13, str(report)
        assert {r.quantity for r in report.rows} >= {"input", "w", "contract", "hessian"}


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
    with pytest.raises(TypeError, match="takes a layer, a model or a GAN, got 3"):
        mg.check_gradients(3)
    with pytest.raises(ValueError, match="dense: not built; give check_gradients an input_shape"):
        mg.check_gradients(mg.Dense(3))
    layer = mg.Dense(3)
    layer.build((4,))
    with pytest.raises(ValueError, match=r"built for \(4,\), input_shape says \(5,\)"):
        mg.check_gradients(layer, (5,))


@pytest.mark.cpu("the checker moves y in the cache, which a carried call keeps on the device")
@pytest.mark.parametrize("seed", [14, 357, 399])
def test_roundings_that_cancel_are_no_false_alarm(seed):
    """x*w nearly cancels b, or tanh is saturated: float32 is right, one draw of roundings is not
    enough to see how far it may be off."""
    report = mg.check_gradients(mg.Dense(1, activation="tanh"), (1,), batch=1, seed=seed)
    assert report.ok, report
