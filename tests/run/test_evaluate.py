"""minigan.run.evaluate: samples whose faults are known, and loops that count the same."""

from __future__ import annotations

import json

import numpy as np
import pytest

import minigan as mg
from minigan.run import evaluate as module
from minigan.run.evaluate import BETTER, evaluate, evaluate_run, halves
from minigan.run.features import ClassifierFeatures, RandomFeatures
from tests.run.evaluate_helpers import figures, pictures

pytestmark = pytest.mark.usefixtures("short_training")


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


def test_labels_that_are_far_apart(data):
    new, asked = pictures(60, 1)
    few = data[0][:200], data[1][:200]
    plain = evaluate(new, few, asked=asked)
    report = evaluate(new, (few[0], 7 + few[1] * 2**40), asked=7 + asked * 2**40)
    assert report["classes"]["labels"] == [7, 7 + 2**40]
    assert report["classes"]["real"] == plain["classes"]["real"]
    assert report["figures"] == plain["figures"]


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
    with pytest.raises(ValueError, match="asked: expected one label .* \\(20,\\), got \\(19,\\)"):
        evaluate(x[:20], x, asked=y[:19])
    with pytest.raises(TypeError, match="asked: .* whole numbers"):
        evaluate(x[:20], x, asked=y[:20] / 2)


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
    with pytest.raises(ValueError, match="(?s)pictures.npz.*say where it is: --data"):
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
