"""minigan.run.sampling: the generator of a run, and images from it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import minigan as mg
from minigan.run import checkpoint, imaging
from tests.run.run_helpers import save_run

NAMES = ["rose", "tulip", "2"]


@pytest.fixture
def saved(make_gan, tmp_path):
    """saved(**options of the GAN) -> the GAN, and its generator out of a run."""

    def make(classes=None, names=None, image_shape=None, **options):
        gan = make_gan(classes=classes, **options)
        folder = save_run(tmp_path / f"run{len(list(tmp_path.iterdir()))}", gan, image_shape,
                          classes=names)  # fmt: skip
        return gan, mg.SavedGenerator(folder)

    return make


def test_images_are_those_of_the_gan(saved):
    gan, generator = saved(seed=3)
    images, labels = generator.images(300, seed=8)  # more than one batch
    assert images.shape == (300, 8, 8, 1) and images.dtype == np.uint8 and labels is None
    np.testing.assert_array_equal(images, imaging.to_uint8(gan.sample(300, seed=8), (-1, 1)))
    default, _ = generator.images(4)
    np.testing.assert_array_equal(default, imaging.to_uint8(gan.sample(4, seed=3), (-1, 1)))
    near, _ = generator.images(300, seed=8, truncation=0.2)
    expected = imaging.to_uint8(gan.sample(300, seed=8, truncation=0.2), (-1, 1))
    np.testing.assert_array_equal(near, expected)
    assert near.astype(float).std(axis=0).mean() < 0.5 * images.astype(float).std(axis=0).mean()


def test_batches_hold_a_part_at_a_time(saved):
    _, generator = saved(classes=3)
    parts = list(generator.batches(300, seed=1))
    assert [len(images) for images, _ in parts] == [128, 128, 44]
    images, labels = generator.images(300, seed=1)
    np.testing.assert_array_equal(np.concatenate([part for part, _ in parts]), images)
    np.testing.assert_array_equal(labels, np.arange(300) % 3)
    assert next(generator.batches(10**15))[0].shape == (128, 8, 8, 1)


def test_latents_and_labels_of_ones_own(saved):
    gan, generator = saved(classes=3)
    z = generator.noise(300, mg.random.Key(5, "mine"))
    labels = np.random.default_rng(0).integers(0, 3, 300)
    expected = imaging.to_uint8(gan.sample(300, labels=labels, z=z), (-1, 1))
    np.testing.assert_array_equal(generator.draw(z, labels), expected)


def test_one_class_by_number_or_name(saved):
    gan, generator = saved(classes=3, names=NAMES)
    assert generator.names == tuple(NAMES)
    tulips, labels = generator.images(5, seed=1, label="tulip")
    np.testing.assert_array_equal(labels, [1] * 5)
    expected = gan.sample(5, labels=[1] * 5, seed=1)
    np.testing.assert_array_equal(tulips, imaging.to_uint8(expected, (-1, 1)))
    for same in (1, "1", np.int64(1)):
        np.testing.assert_array_equal(generator.images(5, seed=1, label=same)[0], tulips)
    assert [generator.class_number(name) for name in (*NAMES, "0", 2, None)] == [
        0,
        1,
        2,
        0,
        2,
        None,
    ]
    assert [generator.class_name(number) for number in range(3)] == NAMES


def test_a_name_wins_over_a_number(saved):
    _, generator = saved(classes=3, names=["2", "0"])
    assert [generator.class_number(each) for each in ("2", "0", "1", 2, 0)] == [0, 1, 1, 2, 0]
    assert generator.names == ("2", "0", "2")


@pytest.mark.parametrize("wanted", ["tulp", "3", 3, -1, "-1", "1.0", "", "9" * 6000, "²", True])
def test_an_unknown_class_names_the_known_ones(saved, wanted):
    _, generator = saved(classes=3, names=NAMES[:2])
    with pytest.raises(ValueError, match="0 to 2, named 'rose', 'tulip', '2'$") as caught:
        generator.images(2, label=wanted)
    assert (wanted == "tulp") == ("did you mean 'tulip'?" in str(caught.value))


def test_a_generator_without_classes(saved):
    _, generator = saved(names=NAMES)  # the data had some; the network takes none
    assert generator.names is None and generator.images(2)[1] is None
    with pytest.raises(ValueError, match="without classes"):
        generator.images(2, label="rose")
    with pytest.raises(ValueError, match="count=0"):
        generator.images(0)


def test_shapes(saved):
    for image_shape, found in [((8, 8), (8, 8, 1)), ((64,), (8, 8, 1)), ((4, 16), (4, 16, 1))]:
        gan, generator = saved(flat=True, image_shape=image_shape)
        images, _ = generator.images(3)
        assert generator.image_shape == found and images.shape == (3, *found)
        expected = imaging.to_uint8(gan.sample(3), (-1, 1)).reshape(3, *found)
        np.testing.assert_array_equal(images, expected)
    _, generator = saved(image_shape=(32, 1, 2))  # no picture
    assert generator.image_shape == (32, 1, 2)
    assert generator.images(2)[0].shape == (2, 32, 1, 2)


def test_spoiled_weights_are_told(make_gan, tmp_path):
    gan = make_gan()
    gan.generator.params.flat[-3:] = math.nan
    folder = save_run(tmp_path / "run", gan)
    with pytest.raises(ValueError, match="not finite"):
        mg.SavedGenerator(folder).images(2)


HUGE = 10**400


@pytest.mark.parametrize(
    "part, change, words",
    [
        ("gan", {"seed": None}, "None should be a whole number"),
        ("gan", {"seed": 1.5}, "whole number"),
        ("gan", {"seed": True}, "whole number"),
        ("gan", {"seed": ...}, "it has no 'seed'"),
        ("gan", {"latents": "cauchy"}, "latents"),
        ("gan", {"latents": [["normal"]]}, "latents"),
        ("data", {"image_shape": ...}, "it has no 'image_shape'"),
        ("data", {"image_shape": [8, 8]}, None),
        ("data", {"image_shape": [8, 8, 2]}, "does not fit a generator of"),
        ("data", {"image_shape": [8, 8, HUGE]}, "does not fit"),
        ("data", {"image_shape": [-8, -8, 1]}, "does not fit"),
        ("data", {"image_shape": [8.0, 8, 1]}, "whole number"),
        ("data", {"image_shape": "64"}, "whole number"),
        ("data", {"image_shape": []}, "does not fit"),
        ("data", {"image_shape": [0, HUGE]}, "does not fit"),
        ("data", {"image_shape": 64}, "not iterable"),
        ("data", {"image_shape": [1] * 100_000}, "does not fit"),
        ("data", {"value_range": [1, -1]}, "the lower first"),
        ("data", {"value_range": [0, 0]}, "the lower first"),
        ("data", {"value_range": [-1]}, "unpack"),
        ("data", {"value_range": ["a", "b"]}, "float"),
        ("data", {"value_range": [0, math.inf]}, "Infinity is no number"),
        ("data", {"value_range": [math.nan, 1]}, "NaN is no number"),
        ("data", {"value_range": [0, HUGE]}, "large"),
        ("data", {"value_range": None}, "NoneType"),
        ("data", {"classes": "abc"}, "the names of 3 or fewer"),
        ("data", {"classes": 7}, "not iterable"),
        ("data", {"classes": [1, 2]}, "the names of"),
        ("data", {"classes": ["a", "b", "c", "d"]}, "the names of"),
        ("data", {"classes": {"a": 1}}, "the names of"),
        ("data", {"classes": ["x" * 10_000]}, "the names of"),
        ("data", {"classes": []}, None),
        ("data", {"classes": ...}, None),
    ],
)
def test_a_damaged_config_is_one_short_error(make_gan, tmp_path, part, change, words):
    folder = save_run(tmp_path / "run", make_gan(classes=3))
    config = json.loads((folder / "config.json").read_text())
    config[part] |= change
    config[part] = {k: v for k, v in config[part].items() if v is not ...}
    (folder / "config.json").write_text(json.dumps(config))
    if words is None:
        assert mg.SavedGenerator(folder).images(2)[0].shape == (2, 8, 8, 1)
        return
    with pytest.raises(ValueError, match=r"config.json .*damaged or edited") as caught:
        mg.SavedGenerator(folder)
    text = str(caught.value)
    assert words in text and len(text) < 500 + len(str(folder)) and "\n" not in text


@pytest.mark.parametrize("data", [None, [], "data", 3])
def test_a_config_without_data(make_gan, tmp_path, data):
    folder = save_run(tmp_path / "run", make_gan())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "data": data}))
    with pytest.raises(ValueError, match="config.json was damaged or edited"):
        mg.SavedGenerator(folder)


@pytest.mark.parametrize("kind", ["discriminator", "labels", "other pairs"])
def test_another_network_is_no_generator(make_gan, tmp_path, kind):
    folder = save_run(tmp_path / "run", make_gan())
    networks = {
        "discriminator": lambda: make_gan().discriminator,
        "labels": lambda: mg.Sequential([mg.Embedding(3, 64)], input_shape=()),
        "other pairs": lambda: mg.Sequential(
            [mg.Parallel([mg.Dense(4), mg.Dense(60)])], input_shape=((4,), (4,))
        ),
    }
    checkpoint.save(folder / "generator.safetensors", networks[kind]())
    with pytest.raises(ValueError, match="generator.safetensors holds a network for inputs of"):
        mg.SavedGenerator(folder)
