"""minigan.run.metrics: known answers, and independent implementations, loops and other formulas."""

from __future__ import annotations

import math
import statistics

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given

from minigan.run.metrics import frechet_distance, overlap


def test_equal_sets_are_at_distance_zero():
    a = np.random.default_rng(0).normal(size=(200, 6))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(a, a[::-1]) >= 0


def test_a_shift_gives_its_square():
    a = np.random.default_rng(0).normal(size=(200, 6))
    shift = np.arange(6.0)
    assert frechet_distance(a, a + shift) == pytest.approx(shift @ shift, abs=1e-9)


def test_a_scale_gives_the_difference_of_deviations():
    # one feature: (m_a - m_b)^2 + (s_a - s_b)^2
    a = np.random.default_rng(0).normal(size=(500, 1))
    expected = (1.5 - 1) ** 2 * a.var(ddof=1) + 0.25 * a.mean() ** 2
    assert frechet_distance(a, 1.5 * a) == pytest.approx(expected, abs=1e-12)


def test_the_formula_with_an_independent_matrix_root():
    draw = np.random.default_rng(1)
    a = draw.normal(size=(300, 5)) @ draw.normal(size=(5, 5))
    b = draw.normal(size=(200, 5)) @ draw.normal(size=(5, 5)) + 1
    s_a, s_b = np.cov(a.T), np.cov(b.T)
    product = np.linalg.eigvals(s_a @ s_b)  # not symmetric, but its eigenvalues are real
    difference = a.mean(0) - b.mean(0)
    expected = difference @ difference + np.trace(s_a + s_b) - 2 * np.sqrt(product.real).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-10)
    rotation, _ = np.linalg.qr(draw.normal(size=(5, 5)))
    assert frechet_distance(a @ rotation, b @ rotation) == pytest.approx(expected, rel=1e-10)


def white(samples, features, seed):
    """Rows whose mean is 0 and whose covariance is the identity, to rounding."""
    rows = np.random.default_rng(seed).normal(size=(samples, features))
    columns, _ = np.linalg.qr(rows - rows.mean(axis=0))
    return columns * np.sqrt(samples - 1)


def test_axes_apart_give_the_sum_over_the_axes():
    """Of diagonal covariances d^2 is the sum of (m_a - m_b)^2 + (s_a - s_b)^2."""
    s_a, s_b, m_b = np.array([1, 2, 0.5, 0]), np.array([3, 2, 0.1, 1]), np.array([0, 1, -2, 3])
    expected = (m_b**2).sum() + ((s_a - s_b) ** 2).sum()
    a, b = white(50, 4, 0) * s_a, white(70, 4, 1) * s_b + m_b
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)


def newton_schulz(matrix, steps=60):
    """The root by Y <- Y (3 - Z Y)/2, Z <- (3 - Z Y)/2 Z, without eigenvalues (Higham, 1997)."""
    scale, one = np.linalg.norm(matrix), np.eye(len(matrix))
    y, z = matrix / scale, one
    for _ in range(steps):
        half = (3 * one - z @ y) / 2
        y, z = y @ half, half @ z
    return y * np.sqrt(scale)


def test_the_formula_with_newton_and_schulzs_root():
    draw = np.random.default_rng(3)
    a = draw.normal(size=(400, 6)) @ draw.normal(size=(6, 6))
    b = draw.normal(size=(300, 6)) @ draw.normal(size=(6, 6)) - 0.5
    s_a, s_b = (sum(np.outer(r, r) for r in x - x.mean(0)) / (len(x) - 1) for x in (a, b))
    root = newton_schulz(s_a)
    np.testing.assert_allclose(root @ root, s_a, atol=1e-10 * np.linalg.norm(s_a))
    cross = np.trace(newton_schulz(root @ s_b @ root))
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s_a) + np.trace(s_b) - 2 * cross
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_fewer_samples_than_features():
    draw = np.random.default_rng(2)
    a, b = draw.normal(size=(4, 10)), draw.normal(size=(5, 10))
    assert np.isfinite(frechet_distance(a, b)) and frechet_distance(a, b) > 0


def test_float32_features_are_computed_in_float64():
    a = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    assert frechet_distance(a, a + np.float32(1000)) == pytest.approx(6e6, rel=1e-6)


@pytest.mark.parametrize(
    "a, b, words",
    [
        (np.zeros((5, 3)), np.zeros((5, 4)), "3 features, b 4"),
        (np.zeros((1, 3)), np.zeros((5, 3)), "2 samples"),
        (np.zeros(5), np.zeros((5, 3)), "got \\(5,\\)"),
        (np.zeros((5, 3)), np.full((5, 3), np.nan), "b holds NaN"),
    ],
)
def test_bad_features(a, b, words):
    with pytest.raises(ValueError, match=words):
        frechet_distance(a, b)


def by_loops(samples, real, k):
    """The five figures as their papers write them, one pair of images at a time."""

    def distance(x, y):
        return math.sqrt(sum((p - q) ** 2 for p, q in zip(x, y, strict=True)))

    def radius(points, i):
        others = [distance(points[i], p) for j, p in enumerate(points) if j != i]
        return sorted(others)[k - 1]

    samples, real = samples.tolist(), real.tolist()
    r_real = [radius(real, i) for i in range(len(real))]
    r_fake = [radius(samples, j) for j in range(len(samples))]
    middle = statistics.median(r_real)
    precise = pruned = recalled = count = covered = 0
    for y in samples:
        holds = [distance(x, y) <= r for x, r in zip(real, r_real, strict=True)]
        precise += any(holds)
        count += sum(holds)
        pruned += any(h and r <= middle for h, r in zip(holds, r_real, strict=True))
    for x, r in zip(real, r_real, strict=True):
        recalled += any(distance(x, y) <= s for y, s in zip(samples, r_fake, strict=True))
        covered += any(distance(x, y) <= r for y in samples)
    return {
        "precision": precise / len(samples),
        "precision_pruned": pruned / len(samples),
        "recall": recalled / len(real),
        "density": count / (k * len(samples)),
        "coverage": covered / len(real),
    }


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("real_count", [40, 41])  # the median is a radius, or between two
def test_overlap_is_what_the_papers_loops_give(k, real_count):
    draw = np.random.default_rng(k)
    real = draw.normal(size=(real_count, 3))
    samples = draw.normal(size=(50, 3)) * [1.5, 0.5, 1] + 0.4
    found = overlap(samples, real, k)
    assert found == pytest.approx(by_loops(samples, real, k), abs=1e-12)
    assert 0 < found["precision_pruned"] < found["precision"] < 1
    assert 0 < found["recall"] < 1 and 0 < found["coverage"] < 1


@given(
    hnp.arrays(np.int64, st.tuples(st.integers(4, 12), st.just(2)), elements=st.integers(0, 4)),
    hnp.arrays(np.int64, st.tuples(st.integers(4, 12), st.just(2)), elements=st.integers(0, 4)),
)
@example(np.zeros((4, 2), int), np.array([[0, 1], *[[2, 1]] * 3, [1, 4], *[[1, 1]] * 4]))
def test_overlap_where_many_distances_are_equal(samples, real):
    assert overlap(samples, real, 3) == pytest.approx(by_loops(samples, real, 3), abs=1e-12)


def test_equal_sets_overlap_wholly():
    a = np.random.default_rng(0).normal(size=(60, 8))
    found = overlap(a, a)
    # a ball holds its centre and the k neighbours
    density = found.pop("density")
    assert density == pytest.approx((5 + 1) / 5)
    pruned = found.pop("precision_pruned")
    assert 0.5 <= pruned <= 1  # the centres of small balls at least
    assert set(found.values()) == {1.0}


def test_sets_far_apart_do_not_overlap():
    a = np.random.default_rng(0).normal(size=(60, 8))
    assert set(overlap(a + 100, a).values()) == {0.0}


def test_coverage_of_one_distribution_is_that_of_lemma_2():
    """Naeem et al. (2020): 1 - (M-1)...(M-k) / ((M+N-1)...(M+N-k)), and a density of 1."""
    m, n, k, times = 60, 40, 3, 200
    expected = 1 - math.prod((m - i) / (m + n - i) for i in range(1, k + 1))
    draw = np.random.default_rng(0)
    found = [overlap(*(draw.normal(size=(s, 2)) for s in (n, m)), k) for _ in range(times)]
    for name, mean in (("coverage", expected), ("density", 1)):
        values = np.array([f[name] for f in found])
        assert abs(values.mean() - mean) < 4 * values.std() / math.sqrt(times), name


def test_a_lost_mode_lowers_recall_and_coverage_but_not_precision():
    draw = np.random.default_rng(0)
    real, all_modes = (draw.normal(size=(400, 4)) for _ in range(2))
    real[200:] += 20
    one_mode = all_modes.copy()
    all_modes[200:] += 20
    whole, lost = overlap(all_modes, real), overlap(one_mode, real)
    assert lost["precision"] > 0.9 and whole["recall"] > 0.9
    assert lost["recall"] == pytest.approx(whole["recall"] / 2, abs=0.05)
    assert lost["coverage"] == pytest.approx(whole["coverage"] / 2, abs=0.05)


def test_one_outlier_widens_precision_and_not_the_pruned_one():
    """A real image far out makes a ball that holds the emptiness between."""
    draw = np.random.default_rng(0)
    real = np.concatenate([draw.normal(size=(200, 4)), [[40.0, 0, 0, 0]]])
    between = np.array([20.0, 0, 0, 0]) + draw.normal(size=(50, 4))
    found = overlap(between, real)
    assert found["precision"] == 1 and found["precision_pruned"] == 0
    assert found["coverage"] == pytest.approx(1 / 201)


@pytest.mark.parametrize(
    "samples, real, words",
    [
        (np.zeros((6, 3)), np.zeros((6, 4)), "samples has 3 features, real 4"),
        (np.zeros((5, 3)), np.zeros((6, 3)), "samples must be .* 6 samples or more"),
        (np.zeros((6, 3)), np.zeros((5, 3)), "real must be .* 6 samples or more"),
        (np.full((6, 3), np.inf), np.zeros((6, 3)), "samples holds NaN or infinity"),
    ],
)
def test_overlap_of_bad_features(samples, real, words):
    with pytest.raises(ValueError, match=words):
        overlap(samples, real)
