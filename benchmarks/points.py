"""Ring and grid: how many Gaussians in the plane a GAN finds, and how many of its points are good.

    python benchmarks/points.py [--seeds 0 1 2] [--only r3gan plain ...] [--epochs 40]

8 Gaussians on a circle and 25 on a grid (VEEGAN, Srivastava et al., 2017; PacGAN, Lin et al.,
2018): of 2,500 points a mode counts when one lies within 3 standard deviations of its centre, and
such points are of high quality.  All methods have the same small perceptrons, and differ in
objective and penalty alone.  Runs, report.md and points.png are written to --out; a second call
goes on where the first was stopped.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import runs

import minigan as mg
from minigan.random import Key
from minigan.run.mixtures import Mixture, grid, ring

MIXTURES = {"ring": ring(), "grid": grid()}
POINTS, SAMPLES, BATCH = 128_000, 2_500, 256  # points of an epoch; what is scored; 500 steps
LATENTS, WIDTH, DEPTH = 2, 128, 3

# gamma a hundredth of that for images: the modes are narrow, and D must be steep to show it
BURN_IN = 4_000
FALLING = {"start": 0.1, "end": 0.001, "steps": BURN_IN}
ADAM = {
    "name": "adam",
    "learning_rate": {"start": 1e-3, "end": 1e-5, "steps": 20_000},
    "beta_1": 0.0,
    "beta_2": {"start": 0.9, "end": 0.99, "steps": BURN_IN},
    "form": "torch",
}
R3GAN: dict[str, Any] = {
    "objective": "relativistic_pairing",
    "penalty": [{"kind": "r1", "weight": FALLING}, {"kind": "r2", "weight": FALLING}],
    "g_optimizer": ADAM,
    "d_optimizer": ADAM,
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


def make(method: str, seed: int) -> mg.GAN:
    """The GAN of a method, at its start."""
    recipe = copy.deepcopy(R3GAN | METHODS[method])
    networks = [perceptron(LATENTS, 2, "generator", seed), perceptron(2, 1, "discriminator", seed)]
    return mg.GAN(*networks, **recipe, seed=seed)


def perceptron(inputs: int, outputs: int, name: str, seed: int) -> mg.Sequential:
    """Hidden layers with leaky ReLUs, each keeping the variance of what comes in."""
    layers: list[Any] = []
    for _ in range(DEPTH):
        layers += [mg.Dense(WIDTH, kernel_initializer="he_normal"), mg.LeakyReLU(0.2)]
    key = Key(seed, "weights", layer=name)
    return mg.Sequential([*layers, mg.Dense(outputs)], input_shape=(inputs,), name=name, key=key)


def picture(args: Any, chosen: list[str]) -> Any:
    """The points of each method's first seed over the real ones."""
    figure, axes = runs.figure(len(chosen), len(MIXTURES), side=2.4)
    for row, (name, mixture) in enumerate(MIXTURES.items()):
        real = mixture.points(2_000, seed=1)
        for column, method in enumerate(chosen):
            axis = axes[row, column]
            axis.set_title(f"{name}: {method}", fontsize=9)
            axis.plot(*real.T, ",", color="C1")
            saved = args.out / f"{name}-{method}-seed{args.seeds[0]}" / "points.npy"
            if saved.exists():
                axis.plot(*np.load(saved).T, ",", color="C0")
            limit = 1.4 * np.abs(mixture.centres).max()
            axis.set(
                xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xticks=[], yticks=[]
            )
    return figure


def report(results: dict[tuple[str, str], list[runs.Rows]]) -> str:
    """The table of the last epochs."""
    rows = []
    for method in METHODS:
        cells = []
        for name in MIXTURES:
            last = [each[-1] for each in results.get((name, method), [])]
            cells += [
                runs.spread([row[k] for row in last], 1) for k in ("modes", "good", "minutes")
            ]
        if any(cells):
            rows.append([f"`{method}`: {SAYS[method]}", *cells])
    rows.append(["a perfect sampler", "8", PERFECT, "", "25", PERFECT, ""])
    for name, modes, good, more, another in PUBLISHED:
        rows.append([f"*published: {name}*", modes, good, "", more, another, ""])
    head = ["Method"]
    head += [f"{name}: {what}" for name in MIXTURES for what in ("modes", "good, %", "minutes")]
    return runs.table(head, rows)


def main() -> None:
    parser = runs.arguments(__doc__, "runs/points")
    parser.add_argument("--epochs", type=int, default=40, help="of 500 steps (40)")
    args = runs.parsed(parser)
    chosen = args.only or list(METHODS)
    results: dict[tuple[str, str], list[runs.Rows]] = {}
    for seed in args.seeds:
        for name, mixture in MIXTURES.items():
            data = mixture.points(10 * BATCH if args.quick else POINTS, seed)
            for method in chosen:
                out = args.out / f"{name}-{method}-seed{seed}"

                def score(
                    gan: mg.GAN, out: Any = out, mixture: Mixture = mixture
                ) -> dict[str, Any]:
                    points = gan.sample(SAMPLES, seed=0)
                    np.save(out / "points.npy", points)
                    modes, share = mixture.coverage(points)
                    return {"modes": modes, "good": round(100 * share, 2)}

                rows = runs.read(out)
                if not args.report:
                    rows = runs.scored(
                        out,
                        lambda method=method, seed=seed: make(method, seed),
                        data,
                        lambda rows: len(rows) >= args.epochs,
                        score,
                    )
                if rows:
                    results.setdefault((name, method), []).append(rows)
    runs.write_report(args.out, report(results), {"points": picture(args, chosen)})


if __name__ == "__main__":
    main()
