"""One side of `minigan bench`, in a process of its own, which answers lines with lines of JSON.

    python -m minigan.run.bench_worker minigan|torch|choose|check NAME BATCH [OPTIONS]

First comes a line about the process.  A number of steps then gives {"seconds": [...]}, and the end
of the input {"peak_mb": ...}.  `choose` gives PyTorch's quickest options, and `check` runs both
sides in one process and gives their distances.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import minigan as mg

from ..kernels import cpu
from ..kernels.cpu import threads
from ..layers.configuration import from_config, to_config
from .profile import Profile

CHECK_STEPS, CHECK_RATE = 3, 0.01
LARGE = 2048  # the side of the product that gives the processor's rate


def make_gan(name: str, dropout: float | None = None) -> mg.GAN:
    """The reference pair with its recipe, and PyTorch's forms of Adam and of running variances."""
    recipe = mg.recipes.get(name)
    for side in ("g_optimizer", "d_optimizer"):
        recipe[side] |= {"form": "torch", "epsilon": 1e-8}
    networks = mg.models.get(name)(seed=0, **({} if dropout is None else {"dropout": dropout}))
    for network in networks:
        for layer in network.layers:
            if isinstance(layer, mg.BatchNorm):
                layer.unbiased = True
    return mg.GAN(*networks, **recipe, seed=0)


def real_batch(gan: mg.GAN, n: int, rng: np.random.Generator) -> np.ndarray:
    """n images of uniform noise."""
    return rng.random((n, *gan.generator.output_shape), dtype=np.float32)


def latent_pair(gan: mg.GAN, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(z_d, z_g) for a batch of n real images."""
    z_d = rng.standard_normal((gan.fakes_for(n), gan.latent_dim), dtype=np.float32)
    return z_d, rng.standard_normal((n, gan.latent_dim), dtype=np.float32)


def serve(step: Callable[[Any], tuple[float, float]], images: Callable[[], Any]) -> None:
    """Answer the lines of the standard input; images() makes the next step's, untimed."""
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            real = images()
            start = time.perf_counter()
            losses = step(real)
            seconds.append(time.perf_counter() - start)
            if not all(map(math.isfinite, losses)):
                raise RuntimeError(f"the losses are not finite: {losses}")
        answer(seconds=seconds)
    answer(peak_mb=peak_megabytes())


def answer(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def peak_megabytes() -> float | None:
    """The most memory that this process has held; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, kilobytes elsewhere


def minigan_side(name: str, n: int) -> None:
    """Our steps."""
    gan, rng = make_gan(name), np.random.default_rng(0)

    def images() -> np.ndarray:
        return real_batch(gan, n, rng)

    def step(real: np.ndarray) -> tuple[float, float]:
        logs = gan.train_step(real)
        return float(logs["d_loss"]), float(logs["g_loss"])

    step(images())
    with Profile(gan) as profile:
        step(images())
    answer(
        configuration=f"{threads.count()} threads, {blas_kernels()}",
        gflop=sum(row.flops for row in profile.rows.values()) / 1e9,
        large_gflops=large_product_rate(),
    )
    serve(step, images)


def blas_kernels() -> str:
    """What NumPy's BLAS runs on."""
    from threadpoolctl import threadpool_info

    found = [lib for lib in threadpool_info() if lib["user_api"] == "blas"]
    return ", ".join(f"{lib['internal_api']} {lib.get('architecture', '')}" for lib in found)


def large_product_rate() -> float:
    """GFLOP/s of a large product on all threads, the best of a few."""
    a, b = np.random.default_rng(0).random((2, LARGE, LARGE), dtype=np.float32)
    best = math.inf
    for _ in range(6):
        start = time.perf_counter()
        cpu.matmul(a, b)
        best = min(best, time.perf_counter() - start)
    return 2e-9 * LARGE**3 / best


def torch_side(name: str, n: int, options: dict[str, Any] | None = None) -> None:
    """PyTorch's steps with these options of TorchGAN, or just the quickest options."""
    import torch

    from .bench_torch import TorchGAN, fastest, mirrored

    torch.set_num_threads(threads.count())
    gan, rng = make_gan(name), np.random.default_rng(0)

    def images() -> Any:
        return mirrored(real_batch(gan, n, rng))

    def latents() -> tuple[Any, Any]:
        return torch.randn(gan.fakes_for(n), gan.latent_dim), torch.randn(n, gan.latent_dim)

    if options is None:
        answer(**fastest(gan, lambda: (images(), *latents())))
        return
    chosen = TorchGAN(gan, **options)
    chosen.train_step(images(), *latents())
    answer(configuration=f"{torch.get_num_threads()} threads, {chosen.configuration}")
    serve(lambda real: chosen.train_step(real, *latents()), images)


def check(name: str, n: int) -> None:
    """How far the parameters of both sides are from float64's after the same steps.

    Distances are relative to what the steps moved.  Dropout is off: the two draw other masks.  And
    nothing selects: where a rounding turns the sign of a LeakyReLU's input, or makes another pixel
    the largest, gradients differ by what that one value is worth, some 1e-3 of the whole, on
    either side; likewise where Adam divides a gradient by its own size.  So activations are smooth
    here, pooling averages, and the optimizer is SGD: the kernels are those that are timed.
    """
    import torch

    from .bench_torch import TorchGAN, mirrored

    single = smooth(make_gan(name, dropout=0.0))
    networks = [m.astype("float64") for m in (single.generator, single.discriminator)]
    double = mg.GAN(*networks, **{**single.config(), "seed": 0})
    theirs = TorchGAN(single)
    start, rng = theirs.vectors(), np.random.default_rng(0)
    for _ in range(CHECK_STEPS):
        real, (z_d, z_g) = real_batch(single, n, rng), latent_pair(single, n, rng)
        theirs.train_step(mirrored(real), torch.from_numpy(z_d), torch.from_numpy(z_g))
        for gan in (single, double):
            gan.train_step(real, latents=(z_d, z_g))
    exact = TorchGAN(double).vectors()
    distances = {}
    for side, found in (("minigan", TorchGAN(single).vectors()), ("torch", theirs.vectors())):
        for network, x, e, s in zip("GD", found, exact, start, strict=True):
            distances[f"{side} {network}"] = distance(x, e, s)
    answer(**distances)


def smooth(gan: mg.GAN) -> mg.GAN:
    """The GAN with tanh for kinked activations, averages for maxima, and SGD for Adam."""
    still: dict[str, Any] = {"name": "sgd", "learning_rate": CHECK_RATE}
    twins = []
    for model in (gan.generator, gan.discriminator):
        twin = mg.Sequential(
            [replacement(layer) for layer in model.layers], input_shape=model.input_shape
        )
        twin.params.flat[...], twin.state.flat[...] = model.params.flat, model.state.flat
        twins.append(twin)
    recipe = {**gan.config(), "g_optimizer": still, "d_optimizer": still}
    return mg.GAN(*twins, **recipe)


def replacement(layer: Any) -> Any:
    """The layer again, unbuilt, or the smooth one in its place."""
    if isinstance(layer, (mg.LeakyReLU, mg.ReLU)):
        return mg.Tanh()
    if isinstance(layer, mg.MaxPooling2D):
        return mg.AveragePooling2D(**layer.config())
    return from_config(to_config(layer))


def distance(found: np.ndarray, exact: np.ndarray, start: np.ndarray) -> float:
    """|found - exact| / |exact - start|."""
    moved = exact.astype(np.float64) - start
    return float(np.linalg.norm(found - exact.astype(np.float64)) / np.linalg.norm(moved))


if __name__ == "__main__":
    sides: dict[str, Any] = {
        "minigan": minigan_side, "torch": torch_side, "choose": torch_side, "check": check
    }  # fmt: skip
    sides[sys.argv[1]](sys.argv[2], int(sys.argv[3]), *map(json.loads, sys.argv[4:]))
