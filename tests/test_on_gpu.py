"""Whole models on the GPU: the CPU's numbers, and nothing between the two during a step."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import minigan as mg
from minigan import backend, gpu, recipes
from minigan.random import Key
from tests.golden.record import SIZES

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).resolve().parent.parent
BATCH, STEPS = 4, 3
SMALL = {name: {"sizes": sizes} for name, sizes in SIZES.items()}
OWN = {  # recipes beside the published ones: every objective, penalty, optimizer and kind of target
    "hinge": {"objective": "hinge", "update": "joint", "d_fakes": "inference"},
    "wgan-gp": {"objective": "wasserstein", "penalty": "wgan-gp"},
    "wasserstein clipped": {"objective": {"name": "wasserstein", "clip": 0.01}},
    "r1 and r2": {"penalty": ["r1", "r2"], "update": "joint"},
    "relativistic": {"objective": "relativistic_pairing", "update": "joint"},
    "least squares": {"objective": "least_squares", "real_targets": (0.8, 1.1), "ema": 0.9},
    "flipped": {"flip_labels": 0.3, "fake_targets": (0.0, 0.2), "update": "simultaneous"},
    "sgd": {"g_optimizer": "sgd", "d_optimizer": {"name": "sgd", "momentum": 0.9}},
    "rmsprop": {"g_optimizer": "rmsprop", "objective": "minimax", "latents": "uniform"},
    "torch adam": {"d_optimizer": {"name": "adam", "form": "torch"}, "fakes_per_real": 0.5},
    "noise": {"instance_noise": (0.2, 10), "d_steps": 2, "update": "joint"},
    "noise, simultaneous": {"instance_noise": (0.2, 10), "d_steps": 2, "update": "simultaneous"},
    "gradients clipped": {"d_optimizer": {"name": "adam", "global_clipnorm": 0.01}},
    "logit clip": {"objective": {"name": "non_saturating", "logit_clip": 0.1}},
}
CASES = {
    **{name: (name, SMALL[name], recipes.get(name)) for name in SIZES},
    **{name: ("digits", SMALL["digits"], recipe) for name, recipe in OWN.items()},
    "classes": ("digits", {**SMALL["digits"], "classes": 3}, {"penalty": "wgan-gp"}),
    "clear_digits": ("clear_digits", {"classes": 3}, recipes.get("clear_digits")),
}
every_case = pytest.mark.parametrize("case", CASES)


@contextmanager
def little_memory(rig, room):
    """A device with so many bytes left, and an empty pool."""
    import cupy

    free, total = cupy.cuda.runtime.memGetInfo()
    with cupy.cuda.using_allocator(cupy.cuda.MemoryPool().malloc):
        with rig.memory_limit(total - free + room):
            yield


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    monkeypatch.setattr(backend, "_module", backend._module)


def make(case, where, dtype="float64"):
    """The GAN of a case with its networks on a backend."""
    mg.use(where)
    network, arguments, recipe = CASES[case]
    return mg.GAN(*mg.models.get(network)(dtype=dtype, seed=1, **arguments), **recipe, seed=2)


def batches(gan):
    """(real images, labels) of each step."""
    rng = np.random.default_rng(3)
    for _ in range(STEPS):
        real = rng.uniform(-1, 1, (BATCH, *gan.generator.output_shape)).astype(np.float32)
        yield real, rng.integers(gan.classes, size=BATCH) if gan.conditional else None


def ends(gan, null=True):
    """Every array that training moves, on the host.

    null=False leaves out parameters whose gradient is zero, which Adam moves by what the rounding
    errors say, and the means that they shift.
    """
    found = []
    for model in (gan.generator, gan.discriminator, gan.sampler):
        out = set() if null else model.null_gradients()
        means = {k for k in model.state if out and k.endswith("moving_mean")}
        arrays = {**model.params, **model.state}
        found += [mg.to_numpy(a) for k, a in arrays.items() if k not in out | means]
    if null:
        moments = [a for o in (gan.g_optimizer, gan.d_optimizer) for a in o.state.values()]
        found += [mg.to_numpy(a) for a in moments if hasattr(a, "dtype")]
    return found


def close(found, expected, tolerance=1e-12):
    """The same arrays, up to a tolerance relative to the largest element."""
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert np.abs(a - b).max(initial=0) <= tolerance * max(1.0, np.abs(b).max(initial=0))


@every_case
def test_steps_agree_to_round_off(case):
    here, there = make(case, "numpy"), make(case, "cupy")
    assert all(map(np.array_equal, ends(here), ends(there)))  # the same initial weights, to the bit
    for (real, labels), _ in zip(batches(here), range(STEPS), strict=True):
        expected = here.train_step(real, labels)
        found = there.train_step(real, labels)
        assert all(backend.on_gpu(v) or isinstance(v, float) for v in found.values())
        close(*([np.array([float(v) for v in logs.values()])] for logs in (found, expected)))
    close(ends(there, null=False), ends(here, null=False))
    close([there.sample(5, seed=7)], [here.sample(5, seed=7)], 1e-6)  # in float32


@every_case
def test_float32_trains_in_float32(case):
    gan = make(case, "cupy", "float32")
    for real, labels in batches(gan):
        logs = gan.train_step(real, labels)
    assert {a.dtype.name for a in ends(gan)} == {"float32"}
    assert all(v.dtype.name == "float32" for v in logs.values() if hasattr(v, "dtype"))
    assert all(np.isfinite(float(v)) for v in logs.values())


@every_case
def test_a_step_uploads_once_and_waits_for_nothing(case, rig):
    gan = make(case, "cupy", "float32")
    (first, *rest) = batches(gan)
    gan.train_step(*first)  # constants go up once
    for real, labels in rest:
        before = rig.counters()
        gan.train_step(real, labels)
        after = rig.counters()
        assert after.uploads - before.uploads == 1
        assert after.downloads == before.downloads
        assert after.synchronisations == before.synchronisations


def test_losses_come_in_one_download(rig):
    gan = make("digits", "cupy", "float32")
    logs = [gan.train_step(*batch) for batch in batches(gan)]
    before = rig.counters()
    found = backend.fetched(logs)
    assert rig.counters().downloads == before.downloads + 1
    assert found == [{k: float(v) for k, v in step.items()} for step in logs]


def test_uploads_are_one_copy_of_any_number_of_arrays(rig):
    tree = {"a": (np.arange(5.0), None), "b": [np.ones((2, 3), "int32"), np.zeros((0, 2))]}
    cupy = mg.use("cupy")
    before = rig.counters()
    moved = backend.move(tree, cupy)
    assert rig.counters().uploads == before.uploads + 1
    again = backend.move(backend.move(moved, cupy), np)  # there already: the same arrays
    assert again["a"][1] is None
    for a, b in zip((again["a"][0], *again["b"]), (tree["a"][0], *tree["b"]), strict=True):
        assert a.dtype == b.dtype and np.array_equal(a, b)


def test_draws_are_the_same_bits_on_both():
    found = {}
    for where in ("numpy", "cupy"):
        gan = make("digits", where)
        _, cache = gan.D.forward(mg.asarray(np.ones((2, 28, 28, 1))), rng=Key(1, "test", 3))
        masks = [saved[0] for saved in cache.saved if type(saved) is tuple and len(saved) == 1]
        assert masks
        found[where] = [mg.to_numpy(m) for m in masks] + [gan.noise(4, Key(0, "test"))]
    assert all(map(np.array_equal, found["numpy"], found["cupy"]))


def test_training_shuffles_and_reports_alike(tmp_path):
    images = np.random.default_rng(0).integers(256, size=(24, 28, 28, 1), dtype=np.uint8)
    histories = []
    for where in ("numpy", "cupy"):
        gan = make("digits", where)
        out = tmp_path / where
        histories.append(mg.train(gan, images, epochs=2, batch_size=8, out=out, progress=False))
        assert (out / "samples" / "epoch_0002.png").exists()
    for here, there in zip(*histories, strict=True):
        del here["images_per_second"], there["images_per_second"]
        assert there == pytest.approx(here, abs=1e-10)


@pytest.mark.parametrize("first, then", [("numpy", "cupy"), ("cupy", "numpy")])
def test_a_file_written_on_one_loads_on_the_other(first, then, tmp_path):
    model = make("flowers", first, "float32").generator
    mg.save(tmp_path / "model.safetensors", model)
    written = (tmp_path / "model.safetensors").read_bytes()
    mg.use(then)
    loaded = mg.load(tmp_path / "model.safetensors")
    assert loaded.home is mg.xp
    for own, other in ((loaded.params, model.params), (loaded.state, model.state)):
        assert np.array_equal(mg.to_numpy(own.flat), mg.to_numpy(other.flat))
    mg.save(tmp_path / "again.safetensors", loaded)
    assert (tmp_path / "again.safetensors").read_bytes() == written
    z = model.input_shape and np.random.default_rng(0).standard_normal((3, *model.input_shape))
    close([mg.to_numpy(loaded.predict(z))], [mg.to_numpy(model.predict(z))], 1e-5)


def test_the_state_of_an_optimizer_goes_over():
    here, there = make("digits", "numpy"), make("digits", "cupy")
    for real, labels in batches(here):
        here.train_step(real, labels)
    for own, other in (
        (there.generator, here.generator),
        (there.discriminator, here.discriminator),
    ):
        own.params.update(other.params)  # NumPy arrays into the GPU's
        own.state.update(other.state)
    there.step_count = here.step_count
    for own, other in (
        (there.g_optimizer, here.g_optimizer),
        (there.d_optimizer, here.d_optimizer),
    ):
        state = other.state
        own.state = backend.move({k: a for k, a in state.items() if k != "t"}, mg.xp) | {
            "t": state["t"]
        }
    batch = next(iter(batches(here)))
    here.train_step(*batch)
    there.train_step(*batch)
    close(ends(there), ends(here))


def test_both_backends_side_by_side():
    mg.use("numpy")
    here = mg.Dense(3)
    here.build((4,), "float64", Key(0, "weights"))
    there = here.to("cupy") if mg.use("cupy") else None
    x = np.random.default_rng(0).standard_normal((2, 4))
    y, cache = here.forward(x)
    y_there, cache_there = there.forward(mg.asarray(x))
    close([mg.to_numpy(y_there)], [y])
    close([mg.to_numpy(there.backward(y_there, cache_there)[0])], [here.backward(y, cache)[0]])
    assert there.to("numpy").home is np and here.home is np and there.home is mg.xp
    with pytest.raises(TypeError, match="the input is on the CPU, the parameters on the GPU"):
        there.forward(x)
    with pytest.raises(TypeError, match="the input is on the GPU, the parameters on the CPU"):
        here.forward(mg.asarray(x))
    with pytest.raises(ValueError, match="'torch' is unknown; choose"):
        here.to("torch")


def test_a_failed_step_holds_nothing(rig):
    gan = make("wgan-gp", "cupy", "float32")
    real = np.zeros((64, 28, 28, 1), np.float32)
    with little_memory(rig, 1000):  # not even the upload fits
        with pytest.raises(MemoryError, match=r"train_step: a batch of 64 .* batch size of 32"):
            gan.train_step(real)
    assert not gan._drawn


def test_a_copy_goes_up_without_trying_the_gpu_again(rig):
    mg.use("cupy")
    model = make("digits", "numpy").generator
    before = rig.counters()
    model.to("cupy")
    after = rig.counters()
    assert after.downloads == before.downloads
    assert after.synchronisations == before.synchronisations


def test_complex_numbers_stay_on_the_cpu():
    mg.use("cupy")
    layer = mg.Dense(3, activation="tanh")
    layer.build((4,), "complex128", Key(0, "weights"))
    with pytest.raises(TypeError, match="complex models stay on the CPU"):
        layer.forward(mg.asarray(np.ones((2, 4), "complex128")))


def test_labels_are_looked_at_before_they_go_up():
    gan = make("classes", "cupy", "float32")
    real, labels = next(iter(batches(gan)))
    with pytest.raises(ValueError, match="labels run from 0 to 2, got"):
        gan.train_step(real, labels * 0 + 3)
    with pytest.raises(ValueError, match="the input is not finite"):
        gan.train_step(real * np.nan, labels)


def test_out_of_memory_names_a_batch_size_to_try(rig):
    gan = make("digits", "cupy", "float32")
    real = np.zeros((64, 28, 28, 1), np.float32)
    gan.train_step(real[:2])
    with little_memory(rig, 300_000):  # the batch alone has 200,000
        with pytest.raises(MemoryError, match=r"a batch of 64 .* try a batch size of 32"):
            gan.train_step(real)
    with little_memory(rig, 60_000):
        with pytest.raises(MemoryError, match=r"predict: a batch of 40 .* batch size of 20"):
            gan.D.predict(real, batch_size=40)
        with pytest.raises(MemoryError, match=r"predict: a batch of 64 .* batch size of 32"):
            gan.D.predict(real, batch_size=128)
    assert np.isfinite(float(gan.train_step(real[:2])["d_loss"]))


@pytest.mark.parametrize(
    "layer, shape",
    [
        (lambda: mg.Conv2D(3, 3, strides=2, padding="same", activation="tanh"), (5, 6, 2)),
        (lambda: mg.BatchNorm(), (4, 3)),
        (lambda: mg.Sequential([mg.UpSampling2D(2), mg.Conv2D(2, 3), mg.LeakyReLU()]), (3, 4, 2)),
    ],
)
def test_the_checker_compares_with_the_cpu(layer, shape):
    mg.use("cupy")
    report = mg.check_gradients(layer(), shape)
    assert report.ok, str(report)
    rows = [row for row in report.rows if row.engine == "GPU, float64"]
    assert {"input", "tangent", "d input"} <= {row.quantity for row in rows}
    assert max(row.error for row in rows) < 1e-12


@pytest.mark.parametrize("wrong", ["conv2d", "conv2d_gradients", "biased_activation_backward"])
def test_the_checker_finds_a_wrong_kernel_of_the_gpu(wrong, monkeypatch):
    from minigan.kernels import gpu as kernels

    right = getattr(kernels, wrong)

    def doubled(*arguments):
        found = right(*arguments)
        return (2 * found[0], found[1]) if isinstance(found, tuple) else 2 * found

    monkeypatch.setattr(kernels, wrong, doubled)
    mg.use("cupy")
    layers = [mg.Conv2D(3, 3, strides=2, padding="same"), mg.Tanh()]
    report = mg.check_gradients(mg.Sequential(layers), (5, 6, 2))
    assert {row.engine for row in report.failures} >= {"GPU, float64", "GPU, float32"}


def test_the_checker_compares_whole_gans():
    report = mg.check_gradients(make("hinge", "cupy", "float32"))
    assert report.ok, str(report)
    names = {row.quantity for row in report.rows if row.engine == "GPU, float64"}
    gan = make("hinge", "cupy")
    assert names == set(gan.D.params) | set(gan.generator.params)


def test_auto_takes_a_gpu_that_can_be_used(capsys):
    assert mg.use("auto").__name__ == "cupy"
    assert f"auto chose cupy: {gpu.name_of_device()}" in capsys.readouterr().err


def test_a_missing_compiler_is_found_out(rig, tmp_path):
    """In a process that has compiled nothing yet."""
    script = tmp_path / "script.py"
    script.write_text(
        "from cupy.cuda import compiler\n"
        "def missing(*_, **__):\n"
        "    raise RuntimeError('CuPy failed to load libnvrtc.so.12')\n"
        "compiler._compile_using_nvrtc_no_warning = missing\n"
        "import minigan\n"
        "minigan.use('cupy')\n"
    )
    command = [sys.executable, ROOT / "tests" / "emugpu" / "run.py", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "NVRTC or the CUDA headers may be missing" in done.stderr
    assert "libnvrtc.so.12" in done.stderr and "minigan[cuda12]" in done.stderr


def test_a_missing_cublas_is_found_out(rig, monkeypatch):
    from cupy_backends.cuda.libs import cublas

    def missing(*_, **__):
        raise ImportError("libcublas.so.12: cannot open shared object file")

    for name in ("sgemm", "gemmEx"):
        monkeypatch.setattr(cublas, name, missing)
    with pytest.raises(RuntimeError, match="cuBLAS may be missing"):
        mg.use("cupy")


def test_a_full_gpu_is_found_out(rig):
    with pytest.raises(RuntimeError, match="the GPU has no free memory"):
        with little_memory(rig, 1000):
            mg.use("cupy")
