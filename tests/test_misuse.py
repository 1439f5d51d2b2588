"""Mistakes that people make with layers, models and GANs, and what they are told."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import minigan as mg

RNG = np.random.default_rng(0)


def small_gan(**recipe):
    sizes = ((4, 3, 3), (3, 3))
    return mg.GAN(*mg.models.digits(sizes=sizes, latent_dim=3, dtype="float64"), **recipe)


def test_the_cache_of_another_layer_is_refused():
    plain, curved = mg.Dense(3), mg.Dense(3, activation="tanh")
    for layer in (plain, curved):
        layer.build((2,), dtype="float64")
    y, cache = plain.forward(RNG.standard_normal((4, 2)))
    with pytest.raises(ValueError, match="cache is of a forward pass of dense"):
        curved.backward(y, cache)


def test_checking_a_layer_leaves_it_as_it_was():
    layer = mg.Dense(3)
    assert mg.check_gradients(layer, (4,)).ok
    assert layer.output_shape is None
    mg.Sequential([layer], input_shape=(5,))


def test_after_a_failed_build_the_layers_can_be_used_again():
    layers = [mg.Dense(4), mg.Conv2D(1, 3)]
    with pytest.raises(ValueError, match="Conv2D takes"):
        mg.Sequential(layers, input_shape=(3,))
    mg.Sequential([*layers[:1], mg.Dense(1)], input_shape=(3,))


@pytest.mark.parametrize("behind", [mg.Activation("linear"), mg.Dropout(0.5), mg.Reshape((1, 1))])
def test_a_sigmoid_is_found_behind_layers_that_pass_logits(behind):
    layers = [mg.Dense(1, activation="sigmoid"), behind]
    model = mg.Sequential(layers, input_shape=(3,), dtype="float64")
    x = RNG.standard_normal((4, 3))
    p = model.predict(x)
    assert np.allclose(p, 1 / (1 + np.exp(-model.logits().predict(x))))


@pytest.mark.parametrize("last", ["tanh", "softmax"])
def test_a_discriminator_that_hides_its_logits_is_refused(last):
    generator, _ = mg.models.digits(sizes=((4, 3, 3), (3, 3)))
    layers = [mg.Flatten(), mg.Dense(1, activation=last)]
    discriminator = mg.Sequential(layers, input_shape=(28, 28, 1))
    with pytest.raises(ValueError, match="hides its logits"):
        mg.GAN(generator, discriminator)


def test_a_layer_that_forgets_a_gradient_is_named():
    class Forgetful(mg.Dense):
        def pullback(self, dy, saved, to_input, to_params):
            dx, grads = super().pullback(dy, saved, to_input, to_params)
            return dx, {"kernel": grads["kernel"]}

    model = mg.Sequential([Forgetful(2)], input_shape=(3,), dtype="float64")
    y, cache = model.forward(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"no gradient of forgetful\.bias"):
        model.backward(y, cache)


def test_a_null_gradient_may_be_declared_and_is_then_asserted():
    layers = [mg.Conv1D(1, 2), mg.LayerNorm(over="sample"), mg.Tanh()]  # one channel
    model = mg.Sequential(layers, input_shape=(5, 2))
    undeclared = mg.check_gradients(model)
    assert [row.quantity for row in undeclared.failures if row.engine == "complex"] == [
        "conv1d.bias"
    ]
    assert "declare it" in undeclared.failures[0].note
    assert mg.check_gradients(model, null=["conv1d.bias"]).ok
    assert not mg.check_gradients(model, null=["conv1d.bias", "conv1d.kernel"]).ok


def test_images_of_whole_numbers_are_refused_before_anything_moves():
    gan = small_gan()
    before = gan.discriminator.params.flat.copy()
    with pytest.raises(TypeError, match="images are uint8"):
        gan.train_step(np.zeros((2, 28, 28, 1), np.uint8))
    with pytest.raises(ValueError, match="not finite"):
        mg.GAN(*mg.models.digits(sizes=((4, 3, 3), (3, 3)))).train_step(
            np.full((2, 28, 28, 1), 1e300)
        )
    assert np.array_equal(before, gan.discriminator.params.flat)


def test_a_target_may_be_one_number():
    gan = small_gan(real_targets=0.9)
    assert gan.targets.real == (0.9, 0.9)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: small_gan().sample(0), "n=0 should be a whole number of 1 or more"),
        (lambda: small_gan().sample(5, z=np.zeros((3, 3))), "n is 5"),
        (lambda: small_gan().train_step(np.zeros((2, 28, 28, 1)), latents=np.zeros((2, 3))), "z_d"),
        (lambda: mg.Sequential([mg.Dense(2)]).summary(), "not built yet"),
        (lambda: mg.Sequential([mg.Dense(2)]).predict(np.zeros((1, 2))), "not built yet"),
        (lambda: small_gan(real_targets=(1.0, 0.5)), "a number or"),
        (lambda: mg.Adam(float("inf")), "finite"),
    ],
)
def test_messages(call, text):
    with pytest.raises(ValueError, match=text) as caught:
        call()
    assert len(str(caught.value).splitlines()) <= 5


def test_a_generator_is_not_its_own_discriminator():
    model = mg.Sequential([mg.Dense(1)], input_shape=(1,))
    with pytest.raises(ValueError, match="one and the same"):
        mg.GAN(model, model)


def test_help_shows_the_arguments():
    assert "negative_slope" in str(inspect.signature(mg.LeakyReLU))
    assert "d_optimizer" in str(inspect.signature(mg.GAN))
    with pytest.raises(TypeError, match=r"GAN has no argument 'loss'"):
        mg.GAN(*mg.models.digits(), loss="bce")
    assert {"train", "save", "check_gradients", "xp"} <= set(dir(mg))


def test_a_second_training_goes_through_the_data_in_another_order():
    seen = []

    class Spy(mg.GAN):
        def train_step(self, real, labels=None, latents=None):
            seen.append(real[:, 0, 0, 0].copy())
            return super().train_step(real, labels, latents)

    gan = Spy(*mg.models.digits(sizes=((4, 3, 3), (3, 3)), latent_dim=3), batch_size=8, epochs=1)
    data = RNG.random((8, 28, 28, 1), dtype="float32")
    mg.train(gan, data, progress=False)
    mg.train(gan, data, progress=False)
    assert sorted(seen[0]) == sorted(seen[1])
    assert not np.array_equal(seen[0], seen[1])


def test_labels_for_a_generator_without_classes_are_refused():
    with pytest.raises(ValueError, match="without labels"):
        small_gan().sample(2, labels=[1, 2])


def test_hints_name_arguments_that_exist():
    with pytest.raises(TypeError, match="its arguments are") as caught:
        mg.GAN(*mg.models.digits(), lr=1e-3)
    assert "learning_rate" not in str(caught.value)
    layer = mg.Dense(2)
    layer.build((3,))
    with pytest.raises(TypeError, match=r"x.astype\('float32'\)$"):
        layer.forward(np.ones((1, 3), np.int64))
    with pytest.raises(TypeError, match=r"or build\(\.\.\., dtype='float64'\)$"):
        layer.forward(np.ones((1, 3)))
