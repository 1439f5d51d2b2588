"""The check of whole GANs: state that moves within a step, biases that all logits share."""

from __future__ import annotations

import pytest

import minigan as mg
from tests.gan_helpers import UPDATES


def spectral_gan(update, **options):
    G = mg.Sequential([mg.Dense(4), mg.Tanh()], input_shape=(3,))
    D = mg.Sequential(
        [mg.SpectralNorm(mg.Dense(6)), mg.LeakyReLU(), mg.SpectralNorm(mg.Dense(1))],
        input_shape=(4,),
    )
    return mg.GAN(G, D, update=update, **options)


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("penalty", [None, "r2"])
def test_state_that_each_pass_moves_is_data_of_the_next(update, penalty):
    """separate: D's second pass has another u, which is no function of the kernel to a step."""
    report = mg.check_gradients(spectral_gan(update, penalty=penalty))
    assert report.ok and report.max_error <= 1e-11, str(report)


@pytest.mark.parametrize("update", UPDATES)
def test_state_moved_by_another_number_of_batches_is_a_failure(update, monkeypatch):
    update_d = mg.GAN.update_d
    monkeypatch.setattr(mg.GAN, "update_d", lambda gan, grads, *caches: update_d(gan, grads))
    report = mg.check_gradients(spectral_gan(update))
    assert any(row.quantity == "discriminator's statistics" for row in report.failures)


@pytest.mark.parametrize("seed", range(8))
def test_the_margin_of_the_hinge_hides_no_bias(seed):
    """Equal shares of real and fake logits within the margins would make its gradient zero."""
    mg.seed(seed)
    G = mg.Sequential([mg.Dense(12), mg.Reshape((3, 4, 1))], input_shape=(3,))
    D = mg.Sequential(
        [mg.Conv2D(4, 3), mg.LayerNorm(), mg.LeakyReLU(), mg.Flatten(), mg.Dense(1)],
        input_shape=(3, 4, 1),
    )
    mg.seed(0)
    for penalty in (None, "r1"):
        report = mg.check_gradients(mg.GAN(G, D, objective="hinge", penalty=penalty), seed=seed)
        assert report.ok, str(report)


ENDS = {
    "linear": lambda: [mg.Dense(1, activation="linear")],
    "reshaped": lambda: [mg.Dense(1), mg.Activation("linear"), mg.Reshape((1, 1))],
    "residual": lambda: [mg.Parallel([mg.Dense(1), mg.Sequential([mg.Dense(1)])], merge="add")],
}


@pytest.mark.parametrize("end", ENDS)
def test_biases_that_shift_all_logits_alike_are_null_where_only_differences_count(end):
    G = mg.Sequential([mg.Dense(4), mg.Tanh()], input_shape=(3,))
    D = mg.Sequential([mg.Dense(6), mg.LeakyReLU(), *ENDS[end]()], input_shape=(4,))
    report = mg.check_gradients(mg.GAN(G, D, objective="wasserstein", update="joint"))
    assert report.ok and any(row.verdict == "null" for row in report.rows), str(report)


@pytest.mark.parametrize("seed", range(12))
def test_a_gradient_of_two_elements_is_never_taken_for_a_rearranged_one(seed):
    def perceptron(outputs):
        return mg.Sequential([mg.Dense(4), mg.Dense(outputs)], input_shape=(2,))

    report = mg.check_gradients(mg.GAN(perceptron(2), perceptron(1), seed=seed), seed=seed)
    assert report.ok, str(report)
