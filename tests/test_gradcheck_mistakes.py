"""Planted mistakes: each changes the gradient of the input or of w, or breaks the contract."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigan as mg
from tests.gradcheck_helpers import Own, changed, failing, notes


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


@pytest.mark.cpu("its mistakes are made with NumPy")
def test_a_forward_that_changes_its_input_is_caught():
    class Wrong(Own):
        def compute(self, x, training, rng, keep):
            y, cache = super().compute(x.copy(), training, rng, keep)
            x += 1
            return y, cache

    assert "changed x" in notes(failing(Wrong()))


@pytest.mark.cpu("its mistakes are made with NumPy")
def test_a_backward_that_changes_dy_is_caught():
    class Wrong(Own):
        def pullback(self, dy, saved, to_input, to_params):
            result = super().pullback(dy.copy(), saved, to_input, to_params)
            dy *= 2
            return result

    failing(Wrong())


@pytest.mark.cpu("its mistakes are made with NumPy")
@pytest.mark.parametrize("batch", [1, 3])
def test_a_stale_cache_is_caught(batch):
    class Wrong(Own):
        def compute(self, x, training, rng, keep):
            self.x = x
            return super().compute(x, training, rng, keep)

        def pullback(self, dy, saved, to_input, to_params):
            return super().pullback(dy, self.x, to_input, to_params)

    assert "a cache does not last" in notes(failing(Wrong(), batch=batch))


@pytest.mark.cpu("its mistakes are made with NumPy")
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


def test_a_keep_false_that_keeps_is_caught():
    class Wrong(Own):
        def compute(self, x, training, rng, keep):
            return super().compute(x, training, rng, True)

    assert "keep=False keeps a cache" in notes(failing(Wrong()))


@pytest.mark.cpu("its mistakes are made with NumPy")
def test_values_of_the_first_call_that_are_kept_are_caught():
    class Wrong(Own):
        first = None

        def pullback(self, dy, saved, to_input, to_params):
            if self.first is None or self.first.dtype != saved.dtype:
                self.first = saved
            return super().pullback(dy, self.first, to_input, to_params)

    for engine in ("auto", "five-point"):
        found = notes(failing(Wrong(), engine=engine))
        assert "contract: a second call differs from a first one" in found


@pytest.mark.parametrize("axis", [(), (0,), (0, 1, 2)])
def test_a_gradient_of_another_shape_is_caught(axis):
    """A sum left out, and too many axes summed."""

    class Wrong(Own):
        def pullback(self, dy, saved, to_input, to_params):
            dx, _ = super().pullback(dy, saved, to_input, False)
            return dx, {"w": (saved**2 * dy).sum(axis=axis)} if to_params else {}

    (row,) = failing(Wrong(), (3, 3)).failures
    assert row.quantity == "w" and row.note.endswith("w itself (3,)")


def test_a_gradient_that_is_a_number_is_caught():
    class Wrong(Own):
        def pullback(self, dy, saved, to_input, to_params):
            dx, _ = super().pullback(dy, saved, to_input, False)
            return dx, {"w": 1.0} if to_params else {}

    assert notes(failing(Wrong())).endswith("has shape (), w itself (2,)")


def test_a_gradient_of_nothing_is_caught():
    class Wrong(Own):
        def pullback(self, dy, saved, to_input, to_params):
            dx, grads = super().pullback(dy, saved, to_input, to_params)
            return dx, {"v": grads["w"]} if to_params else {}

    assert notes(failing(Wrong())) == "v: a gradient of nothing: there are input, w"


def test_a_hessian_that_is_not_symmetric_says_so():
    report = failing(changed(dw=lambda d: d / 9))
    (row,) = [row for row in report.failures if row.quantity == "hessian"]
    assert "not those of one function" in row.note


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


@pytest.mark.cpu("its mistakes are made with NumPy")
def test_float64_that_leaks_into_a_gradient_is_caught():
    leak = changed(dx=lambda d, x: d * np.ones(1, np.float64))
    assert "float32 in, float64 out" in notes(failing(leak))
    leak = changed(dw=lambda d: d * np.ones(1, np.float64))
    assert "float32 in, float64 out" in notes(failing(leak))


@pytest.mark.cpu("its mistakes are made with NumPy")
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
