"""minigan.run.evaluate: samples whose faults are known, and loops that count the same."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

import minigan as mg
from minigan.run import evaluate as module
from minigan.run.evaluate import BETTER, beside_nearest, evaluate, evaluate_run, halves
from minigan.run.features import ClassifierFeatures, RandomFeatures, fitted

pytestmark = pytest.mark.usefixtures("short_training")


def pictures(count, seed, classes=(0, 1)):
    """8x8 images with a bright row (class 0) or column (class 1) somewhere, and their classes."""
    draw = np.random.default_rng(seed)
    x = draw.integers(0, 60, (count, 8, 8, 1)).astype(np.uint8)
    y = np.resize(classes, count)
    place, light = draw.integers(8, size=count), draw.integers(150, 256, count)
    for image, label, at, grey in zip(x, y, place, light, strict=True):
        image[(at, slice(None)) if label == 0 else (slice(None), at)] = grey
    return x, y


@pytest.fixture(scope="module")
def data():
    return pictures(400, 0)


@pytest.fixture(scope="module")
def judge(data):
    return fitted(*data)


def figures(samples, data, judge=None, **options):
    """{name: (of the samples, of real images)}."""
    judge = judge or RandomFeatures((8, 8, 1))
    found = evaluate(samples, data, judge=judge, **options)["figures"]
    return {name: (figure["samples"], figure["real"]) for name, figure in found.items()}


def test_new_images_of_the_same_kind_are_as_good_as_real_ones(data, judge):
    new, asked = pictures(200, 1)
    report = evaluate(new, data, asked=asked, judge=judge)
    assert {name: figure["better"] for name, figure in report["figures"].items()} == BETTER
    found = {n: (f["samples"], f["real"]) for n, f in report["figures"].items()}
    for name in ("precision", "precision_pruned", "recall", "density", "coverage"):
        ours, real = found[name]
        assert ours == pytest.approx(real, abs=0.12) and real > 0.4, name
    assert found["frechet_distance"][0] < 3 * found["frechet_distance"][1]
    assert found["class_difference"] == pytest.approx((0.03, 0.03), abs=0.06)
    assert found["class_asked_for"][0] > 0.95
    assert found["class_asked_for"][1] == judge.accuracy
    assert found["identical_among"] == found["identical_to_training"] == (0, 0)
    for name in ("near_copies_among", "near_copies_of_training"):
        assert found[name][0] < 0.05 and found[name][1] == pytest.approx(0.01, abs=0.005)
    json.dumps(report, allow_nan=False)


def test_memorised_images_are_told(data):
    x, _ = data
    found = figures(x[:150], x)
    assert found["identical_to_training"] == (1, 0) and found["identical_among"] == (0, 0)
    assert found["near_copies_of_training"][0] == 1
    assert found["near_copies_among"][0] < 0.1
    touched = x[:150] ^ 1  # every grey level off by one
    found = figures(touched, x)
    assert found["identical_to_training"][0] == 0
    assert found["near_copies_of_training"][0] == 1


def test_twins_among_real_images_hide_no_near_copies(data):
    x, _ = data
    some = np.concatenate([x, x[:40]])
    found = figures(x[:150] ^ 1, some)
    assert found["near_copies_of_training"][0] == 1
    assert 0.02 < found["identical_to_training"][1] <= found["near_copies_of_training"][1] < 0.3
    few = np.stack([x[:50], x[:50] ^ 1], axis=1).reshape(100, 8, 8, 1)
    among = figures(few, np.concatenate([x[200:], x[200:230]]))["near_copies_among"]
    assert among[0] == 1 and among[1] < 0.3


def test_images_that_are_all_the_same_have_no_limit():
    same = np.zeros((40, 8, 8, 1), np.uint8)
    report = evaluate(same, same, judge=RandomFeatures((8, 8, 1)))
    assert report["copy_limits"] == {"among": 0, "of_training": 0}
    assert report["figures"]["near_copies_of_training"]["samples"] == 1


def test_mirrored_memorised_images_are_told(data):
    x, _ = data
    turned = x[:150, :, ::-1]
    assert figures(turned, x)["identical_to_training"] == (0, 0)
    found = figures(turned, x, mirror=True)
    assert found["identical_to_training"] == (1, 0)
    assert found["near_copies_of_training"][0] == 1
    assert found["near_copies_among"][0] < 0.1
    touched = figures(turned ^ 1, x, mirror=True)["near_copies_of_training"]
    assert touched[0] == 1 and touched[1] < 0.05
    both = np.stack([x[:75], x[:75, :, ::-1]], axis=1).reshape(150, 8, 8, 1)
    found = figures(both, x, mirror=True)
    assert found["identical_among"] == (1, 0) and found["near_copies_among"][0] == 1


def test_the_floor_of_a_mirrored_run_is_of_mirrored_images():
    """Samples that face both ways are as good as real ones that do."""
    x, y = mg.datasets.digits()
    order = np.random.default_rng(0).permutation(len(x))
    known, samples = x[order[:600]], x[order[600:900]]
    samples = module.half_mirrored(samples, 9)
    assert (samples == x[order[600:900]]).all(axis=(1, 2, 3)).mean() == pytest.approx(0.5, abs=0.1)
    judge = RandomFeatures((28, 28, 1))
    straight, turned = (figures(samples, known, judge, mirror=m) for m in (False, True))
    ours, real = straight["frechet_distance"]
    assert ours > 1.5 * real
    ours, real = turned["frechet_distance"]
    assert ours < 1.2 * real


def test_mirrored_distances_are_what_loops_count(data):
    x, _ = data
    a, b, own = x[:6], x[:20], np.arange(6)
    found = module._near(a, b, 3, own, True)
    for i, image in enumerate(a.astype(float)):
        every = [
            np.linalg.norm(image - form)
            for j, other in enumerate(b)
            if j != i
            for form in (other, other[:, ::-1])
        ]
        np.testing.assert_allclose(found[i], sorted(every)[:3])


def test_noise_on_memorised_digits_hides_nothing_and_blur_is_no_copy():
    """By the distance alone, digits with this noise would be near copies in 28 of 100 cases."""
    x, _ = mg.datasets.digits()
    order = np.random.default_rng(0).permutation(len(x))
    known, new = x[order[:1500]], x[order[1500:1800]].astype(float)
    noise = np.random.default_rng(1).normal(0, 20, (300, 28, 28, 1))
    touched = np.clip(known[:300] + noise, 0, 255).astype(np.uint8)
    blurred = sum(np.roll(new, (i, j), axis=(1, 2)) for i in (-1, 0, 1) for j in (-1, 0, 1)) / 9
    judge = RandomFeatures((28, 28, 1))
    assert figures(touched, known, judge)["near_copies_of_training"][0] > 0.9
    assert figures(blurred.astype(np.uint8), known, judge)["near_copies_of_training"][0] < 0.02
    assert figures(new.astype(np.uint8), known, judge)["near_copies_of_training"][0] < 0.05


def test_a_generator_that_repeats_itself_is_told(data):
    x, _ = data
    new, _ = pictures(200, 1)
    few = np.repeat(new[:10], 20, axis=0)
    good, bad = figures(new, x), figures(few, x)
    assert bad["identical_among"] == (1, 0) and bad["near_copies_among"][0] == 1
    assert bad["identical_to_training"][0] == 0
    assert bad["recall"][0] < good["recall"][0] / 2
    assert bad["coverage"][0] < good["coverage"][0] / 2
    assert bad["frechet_distance"][0] > good["frechet_distance"][0]


def test_a_lost_class_is_told(data, judge):
    ones, asked = pictures(200, 1, classes=(1,))
    report = evaluate(ones, data, asked=asked * 0, judge=judge)
    found = report["figures"]
    assert found["class_difference"]["samples"] == pytest.approx(0.5, abs=0.07)
    assert found["class_difference"]["real"] < 0.1
    assert found["class_asked_for"]["samples"] < 0.05
    assert report["classes"]["samples"] == pytest.approx([0, 1], abs=0.05)
    assert report["classes"]["real"] == pytest.approx([0.5, 0.5], abs=0.1)


@pytest.mark.cpu("many steps of training")
def test_plain_grey_images_pass_for_digits_unless_balls_are_pruned():
    """Plain images of any grey: their usual precision is 0.64 here and 0.07 with pruned balls.

    In the features of the classifier that evaluate trains they are 0.20 and 0, and among 1,000
    photographs of flowers, in random features, 0.58 and 0.06. Real images have 0.9 and 0.5 or more.
    """
    x, y = mg.datasets.digits()
    x, y = x[::8], y[::8]
    judge = ClassifierFeatures((28, 28, 1), 10).train(x, y, steps=100)
    plain = np.zeros((600, 28, 28, 1), np.uint8)
    plain += np.random.default_rng(0).integers(0, 256, (600, 1, 1, 1)).astype(np.uint8)
    found = figures(plain, (x, y), judge)
    usual, pruned = found["precision"], found["precision_pruned"]
    assert usual[0] > 0.3 and pruned[0] < usual[0] / 3
    assert usual[1] > 0.9 and pruned[1] > 0.5
    assert found["recall"][0] < 0.05 and found["coverage"][0] < 0.05
    assert found["recall"][1] > 0.9 and found["coverage"][1] > 0.9


def test_real_images_are_judged_as_samples_would_be(data):
    """The other half, given as samples, gets the figures that stand beside it."""
    x, _ = data
    _, others = halves(400, 200, 3)
    found = figures(x[others], x, seed=3)
    for name in ("frechet_distance", "precision", "precision_pruned", "recall", "coverage"):
        assert found[name][0] == found[name][1], name
    assert found["identical_to_training"] == (1, 0)


def test_the_halves_are_disjoint_and_change_with_the_seed():
    a, b = halves(21, 10, 0)
    assert len(set(a) | set(b)) == 20 and max(*a, *b) < 21
    assert (halves(21, 10, 0)[1] == b).all() and (halves(21, 10, 1)[1] != b).any()


def test_as_many_samples_as_half_of_the_data(data):
    x, _ = data
    assert evaluate(x, x, judge=RandomFeatures((8, 8, 1)))["samples"] == 200
    report = evaluate(x[:30], x, judge=RandomFeatures((8, 8, 1)), seed=7)
    assert report["samples"] == 30 and report["seed"] == 7
    assert report["real"] == "400 training images"


def test_copies_are_what_loops_count(monkeypatch):
    """Near and identical ones, of 40x40 images averaged down by two."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (40, 40, 40, 3)).astype(np.uint8)
    images[30:] = images[20:30]  # ten stand there twice
    images[5:10] = np.clip(images[:5].astype(int) + 3, 0, 255)
    samples = np.concatenate([images[:4], images[4:8] ^ 8, images[8:9], images[8:9]])
    others = np.arange(5, 15)

    def small(image):
        rows = [[image[i : i + 2, j : j + 2].mean((0, 1)) for j in range(0, 40, 2)]
                for i in range(0, 40, 2)]  # fmt: skip
        return np.array(rows)

    def near(which, among, own):
        """The distances of each to the others, rising."""
        which, among = ([small(image) for image in images] for images in (which, among))
        return [sorted(np.sqrt(((a - b) ** 2).mean()) for j, b in enumerate(among) if j != own[i])
                for i, a in enumerate(which)]  # fmt: skip

    monkeypatch.setattr(module, "AROUND", 7)
    found, limits = module._copies(samples, images, others, False)
    real, nobody = images[others], [-1] * 10
    usual = {
        "among": [row[0] for row in near(real, real, range(10))],
        "of_training": [row[0] / np.mean(row[:7]) for row in near(real, images, others)],
    }
    ours = {
        "among": [row[0] for row in near(samples, samples, range(10))],
        "of_training": [row[0] / np.mean(row[:7]) for row in near(samples, images, nobody)],
    }
    for name in usual:
        limit = np.quantile(usual[name], 0.01)
        assert limits[name] == pytest.approx(limit, rel=1e-5)
        expected = (
            np.mean(np.array(ours[name]) <= limit * 1.00001),
            np.mean(np.array(usual[name]) <= limit),
        )
        assert found[f"near_copies_{name}"] == pytest.approx(expected)
        assert expected[0] > 0.3
    words = [image.tobytes() for image in samples]
    known = Counter(image.tobytes() for image in images)
    twice = np.mean([words.count(word) > 1 for word in words])
    assert found["identical_among"] == (twice, 0)
    taken = np.mean([known[word] > 0 for word in words])
    again = np.mean([known[image.tobytes()] > 1 for image in real])
    assert found["identical_to_training"] == (taken, again)
    assert 0 < twice < taken < 1 and again == 0


def test_a_side_that_the_averages_do_not_divide():
    x = np.random.default_rng(0).integers(0, 256, (2, 65, 33, 1)).astype(np.uint8)
    rows = module._pixels(x)
    assert rows.shape == (2, 22 * 11)
    assert rows[1, -1] == pytest.approx(x[1, [63, 64, 64]][:, [30, 31, 32], 0].mean(), rel=1e-6)


def test_shares_of_classes_are_what_loops_count(data, judge):
    new, _ = pictures(90, 2, classes=(0, 1, 1))
    report = evaluate(new, data, judge=judge)
    reference, others = halves(400, 90, 0)

    def share(images, label):
        return sum(judge.read(judge.features(images[[i]]))[0] == label for i in range(90)) / 90

    ours, theirs, real = ([share(x, c) for c in (0, 1)]
                          for x in (new, data[0][others], data[0][reference]))  # fmt: skip
    assert report["classes"]["samples"] == pytest.approx(ours)
    assert report["classes"]["real"] == pytest.approx(real)
    figure = report["figures"]["class_difference"]
    assert figure["samples"] == pytest.approx(max(abs(a - b) for a, b in zip(ours, real)))  # noqa: B905
    assert figure["real"] == pytest.approx(abs(theirs[0] - real[0]))
    assert "class_asked_for" not in report["figures"]


def test_without_labels_there_are_no_figures_of_classes(data):
    report = evaluate(pictures(50, 1)[0], data[0], asked=np.zeros(50, int))
    assert report["classes"] is None and report["features"]["name"].startswith("random")
    assert not {name for name in report["figures"] if name.startswith("class_")}


def test_the_same_seed_gives_the_same_report(data):
    new, asked = pictures(60, 1)
    few = data[0][:200], data[1][:200]
    a, b = (evaluate(new, few, asked=asked) for _ in range(2))
    assert a == b and a["features"]["name"].startswith("a classifier")
    assert evaluate(new, few, asked=asked, seed=1)["figures"] != a["figures"]


@pytest.mark.parametrize(
    "samples, images, error, words",
    [
        (5, 40, ValueError, "more than 5 of each; there are 5 samples and 40 images"),
        (40, 11, ValueError, "there are 40 samples and 11 images"),
    ],
)
def test_too_few(samples, images, error, words):
    with pytest.raises(error, match=words):
        evaluate(pictures(samples, 0)[0], pictures(images, 1)[0])


def test_samples_must_be_as_the_data(data):
    x, y = data
    with pytest.raises(TypeError, match="uint8"):
        evaluate(x / 255, x)
    with pytest.raises(ValueError, match="\\(8, 8, 1\\), got \\(9, 9, 1\\)"):
        evaluate(np.zeros((20, 9, 9, 1), np.uint8), x)
    with pytest.raises(ValueError, match="one label an image"):
        evaluate(x, (x, y[:5]))


def test_the_picture_shows_the_nearest_by_pixels_and_by_features(data, judge):
    images, _ = data
    samples = pictures(3, 1)[0]
    picture = beside_nearest(samples, images, judge, False)
    assert picture.shape == (3 * 8 + 4, 3 * 8 + 4) and picture.dtype == np.uint8
    tiles = [[picture[i : i + 8, j : j + 8] for j in (0, 10, 20)] for i in (0, 10, 20)]
    np.testing.assert_array_equal(tiles[0], samples[..., 0])
    rows = judge.features(images), images.reshape(400, 64).astype(float)
    ours = judge.features(samples), samples.reshape(3, 64).astype(float)
    by_features, by_pixels = (
        [((known - mine) ** 2).sum(axis=1).argmin() for mine in each]
        for known, each in zip(rows, ours, strict=True)
    )
    assert by_features != by_pixels
    np.testing.assert_array_equal(tiles[1], images[by_pixels, ..., 0])
    np.testing.assert_array_equal(tiles[2], images[by_features, ..., 0])


@pytest.fixture
def run(make_gan, data, tmp_path):
    """run(images, ...) trains a small GAN for an epoch and returns its folder."""

    def make(given, name="run", **options):
        mg.train(make_gan(**options), given, epochs=1, out=tmp_path / name, progress=False)
        return tmp_path / name

    return make


@pytest.fixture
def stored(data, tmp_path):
    path = tmp_path / "pictures.npz"
    np.savez(path, images=data[0], labels=data[1])
    return str(path)


def test_a_conditional_run_is_asked_for_the_classes_of_real_images(run, tmp_path):
    images, labels = pictures(120, 0, classes=(0, 1, 1))
    np.savez(tmp_path / "uneven.npz", images=images, labels=labels)
    folder = run(str(tmp_path / "uneven.npz"), classes=2)
    report, picture = evaluate_run(folder, seed=4)
    assert report["samples"] == 60 and report["features"]["held_out"] == 24
    assert set(report["figures"]) == set(BETTER)
    assert report["classes"]["names"] == ["0", "1"]
    assert picture.shape == (3 * 10 - 2, 16 * 10 - 2)
    # the latents are those of `minigan sample`, of the classes of the other half
    _, others = halves(120, 60, 4)
    wanted = labels[others]
    saved = module.SavedGenerator(folder)
    drawn = saved.sample(60, labels=wanted, seed=4)
    samples = np.rint((drawn + 1) * 127.5).astype(np.uint8)
    expected = evaluate(samples, (images, labels), asked=wanted, seed=4)
    assert report["figures"] == expected["figures"]
    shown = np.concatenate([samples[i, ..., 0] for i in range(2)], axis=1)
    np.testing.assert_array_equal(np.delete(picture[:8, :18], [8, 9], axis=1), shown)


@pytest.mark.parametrize("names", [("row", "column", "never"), ("row",), None])
def test_names_of_classes(names, run, stored, data, monkeypatch):
    folder = run(stored)
    given = mg.datasets.Dataset(*data, names)
    monkeypatch.setattr(module.datasets, "load", lambda name: given)
    report, _ = evaluate_run(folder, count=20)
    expected = {None: ["0", "1"], ("row",): ["row", "1"]}.get(names, ["row", "column"])
    assert report["classes"]["names"] == expected


def test_a_run_on_mirrored_images(make_gan, stored, data, tmp_path):
    folder = tmp_path / "mirrored"
    mg.train(make_gan(), stored, epochs=1, out=folder, mirror=True, progress=False)
    report, picture = evaluate_run(folder, count=70, seed=2)
    samples, _ = module.SavedGenerator(folder).images(70, 2)
    assert report["mirrored"] and picture.shape == (28, 16 * 10 - 2)
    assert report["figures"] == evaluate(samples, data, seed=2, mirror=True)["figures"]
    assert report["figures"] != evaluate(samples, data, seed=2)["figures"]


def test_the_picture_shows_mirror_images_where_they_are_nearer(data, judge):
    images, _ = data
    samples = images[:3, :, ::-1]
    picture = beside_nearest(samples, images, judge, True)
    for row in (0, 10, 20):
        np.testing.assert_array_equal(picture[row : row + 8], picture[:8])


def test_an_unconditional_run(run, stored, data):
    folder = run(stored)
    report, _ = evaluate_run(folder, count=70, seed=2)
    samples, _ = module.SavedGenerator(folder).images(70, 2)
    assert report["figures"] == evaluate(samples, data, seed=2)["figures"]
    assert report["samples"] == 70 and "class_asked_for" not in report["figures"]


def test_flat_images_without_labels(run, data, tmp_path):
    np.savez(tmp_path / "plain.npz", images=data[0])
    report, picture = evaluate_run(run(str(tmp_path / "plain.npz"), flat=True), count=50)
    assert report["features"] == {"name": "random convolution features"}
    assert picture.shape[0] == 28


def test_a_run_from_arrays_asks_for_the_data(run, data, stored):
    folder = run(data[0])
    with pytest.raises(ValueError, match="trained on arrays.*\n.*--data"):
        evaluate_run(folder)
    report, _ = evaluate_run(folder, stored, count=50)
    assert report["samples"] == 50


def test_data_that_moved_or_changed(run, stored, tmp_path):
    folder = run(stored)
    (tmp_path / "pictures.npz").rename(tmp_path / "elsewhere.npz")
    with pytest.raises(OSError, match="pictures.npz.*\n.*--data"):
        evaluate_run(folder)
    with pytest.raises(ValueError, match="\\(8, 8, 1\\), but those of digits have \\(28, 28, 1\\)"):
        evaluate_run(folder, "digits")
    assert evaluate_run(folder, tmp_path / "elsewhere.npz", count=20)[0]["samples"] == 20


def test_labels_that_the_generator_does_not_know(run, stored, tmp_path):
    folder = run(stored, classes=2)
    images, labels = pictures(40, 0, classes=(0, 1, 2))
    np.savez(tmp_path / "three.npz", images=images, labels=labels)
    with pytest.raises(ValueError, match="three.npz: labels must be 0 to 1"):
        evaluate_run(folder, tmp_path / "three.npz")


def test_it_is_public():
    assert mg.evaluate is evaluate
