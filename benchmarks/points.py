"""Ring and grid: how many Gaussians in the plane a GAN finds, and how many of its points are good.

    python benchmarks/points.py [--seeds 0 1 2] [--only r3gan plain ...]

8 Gaussians on a circle and 25 on a grid (VEEGAN, Srivastava et al., 2017; PacGAN, Lin et al.,
2018): of 2,500 points a mode counts when one lies within 3 standard deviations of its centre, and
such points are of high quality.  All methods have the same small perceptrons, the same Adam and
as many steps; `wgan_gp` moves G in every fifth of them.  The published figures are of other
networks, trained longer.  Runs, report.md and report.png are written to --out; a second call goes
on where the first was stopped.
"""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import runs

import minigan as mg
from minigan.random import Key
from minigan.run import files, imaging
from minigan.run.mixtures import Mixture, grid, ring

MIXTURES = {"ring": ring(), "grid": grid()}
POINTS, SAMPLES, BATCH = 128_000, 2_500, 256  # points: of an epoch
EPOCHS = {"ring": 32, "grid": 48}
LATENTS, WIDTH, DEPTH = 2, 64, 5

# gamma a tenth of that for images: the modes are narrow, and D must be steep to show them
BURN_IN = 2_000
FALLING = {"start": 0.1, "end": 0.01, "steps": BURN_IN}
R3GAN: dict[str, Any] = {
    "objective": "relativistic_pairing",
    "penalty": [{"kind": "r1", "weight": FALLING}, {"kind": "r2", "weight": FALLING}],
    "update": "joint",
    "ema": 0.999,
    "batch_size": BATCH,
}
METHODS: dict[str, dict[str, Any]] = {
    "r3gan": {},
    "r1_alone": {"penalty": R3GAN["penalty"][:1]},
    "not_paired": {"objective": "non_saturating"},
    "plain": {"objective": "non_saturating", "penalty": None},
    "wgan_gp": {
        "objective": "wasserstein",
        "penalty": {"kind": "wgan-gp", "weight": 1.0},
        "d_steps": 5,
    },
}
SAYS = {
    "r3gan": "relativistic pairs, R1 and R2",
    "r1_alone": "without R2",
    "not_paired": "the non-saturating loss with R1 and R2",
    "plain": "the non-saturating loss alone",
    "wgan_gp": "Wasserstein distance, gradient penalty, five updates of D for one of G",
}
PERFECT = "98.9"  # 1 - exp(-9/2), in percent
PUBLISHED = [  # method, modes and high-quality percentage of the ring, and of the grid
    ("GAN (VEEGAN's table)", "1", "99.3", "3.3", "0.5"),
    ("GAN (PacGAN's table)", "6.3", "98.2", "17.3", "94.8"),
    ("VEEGAN", "8", "52.9", "24.6", "40"),
    ("PacGAN4", "7.8", "95.9", "24.8", "93.6"),
]


def make(name: str, seed: int) -> mg.GAN:
    """The GAN of a mixture and a method, "ring-r3gan", at its start."""
    mixture, _, method = name.partition("-")
    adam = {
        "name": "adam",
        "learning_rate": {"start": 3e-3, "end": 1e-4, "steps": POINTS // BATCH * EPOCHS[mixture]},
        "beta_1": 0.0,
        "beta_2": {"start": 0.9, "end": 0.99, "steps": BURN_IN},
        "form": "torch",
    }
    recipe = copy.deepcopy(R3GAN | METHODS[method] | {"g_optimizer": adam, "d_optimizer": adam})
    networks = [perceptron(LATENTS, 2, "generator", seed), perceptron(2, 1, "discriminator", seed)]
    return mg.GAN(*networks, **recipe, seed=seed)


def perceptron(inputs: int, outputs: int, name: str, seed: int) -> mg.Sequential:
    """Hidden layers with leaky ReLUs, each keeping the variance of what comes in."""
    layers: list[Any] = []
    for _ in range(DEPTH):
        layers += [mg.Dense(WIDTH, kernel_initializer="he_normal"), mg.LeakyReLU(0.2)]
    key = Key(seed, "weights", layer=name)
    return mg.Sequential([*layers, mg.Dense(outputs)], input_shape=(inputs,), name=name, key=key)


def picture(results: runs.Results, out: Path) -> Any:
    """The points of each method's first seed, blue, over those of the mixtures, orange."""
    methods = [m for m in METHODS if any(f"{name}-{m}" in results for name in MIXTURES)]
    figure, axes = imaging.panels(max(len(methods), 1), len(MIXTURES), size=(2.4, 2.4))
    for row, (name, mixture) in zip(axes, MIXTURES.items(), strict=True):
        for axis, method in zip(row, methods, strict=False):
            axis.set_title(f"{name}: {method}", fontsize=9)
            axis.plot(*mixture.points(2_000, seed=1).T, ",", color="C1")
            for seed in list(results.get(f"{name}-{method}", {}))[:1]:
                run = out / f"{name}-{method}-seed{seed}"
                axis.plot(*np.load(run / "points.npy").T, ",", color="C0")
            limit = 1.4 * np.abs(mixture.centres).max()
            axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
            axis.set(xticks=[], yticks=[])
    return figure


def report(results: runs.Results) -> str:
    """The table of the last epoch that all seeds of a method have."""
    rows = []
    for method in METHODS:
        cells = []
        for name in MIXTURES:
            last = runs.alike(results.get(f"{name}-{method}", {}))
            cells += [
                runs.spread([row[k] for row in last], 1) for k in ("modes", "good", "minutes")
            ]
        if set(cells) != {"–"}:
            rows.append([f"`{method}`: {SAYS[method]}", *cells])
    rows.append(["a perfect sampler", "8", PERFECT, "", "25", PERFECT, ""])
    for name, modes, good, more, another in PUBLISHED:
        rows.append([f"*published: {name}*", modes, good, "", more, another, ""])
    head = ["Method"]
    head += [f"{name}: {what}" for name in MIXTURES for what in ("modes", "good, %", "minutes")]
    return runs.table(head, rows)


def score(mixture: Mixture, gan: mg.GAN, run: Path) -> dict[str, Any]:
    """Modes and high-quality percentage; the points are kept for the picture."""
    points = gan.sample(SAMPLES, seed=0)
    with files.replacing(run / "points.npy") as file:
        np.save(file, points)
    modes, share = mixture.coverage(points)
    return {"modes": modes, "good": round(100 * share, 2)}


def main() -> None:
    args = runs.parsed(runs.arguments(__doc__, "runs/points", METHODS))
    count = 10 * BATCH if args.quick else POINTS
    results: runs.Results = {}
    for name, mixture in MIXTURES.items():
        epochs = 1 if args.quick else EPOCHS[name]
        results |= runs.trained(
            args,
            [f"{name}-{method}" for method in METHODS],
            make,
            partial(mixture.points, count),
            partial(runs.lasts, epochs),
            partial(score, mixture),
        )
    runs.write_report(args.out, report(results), results, picture(results, args.out))


if __name__ == "__main__":
    main()
