"""Stacked digits: how many of 1,000 modes a GAN finds, how evenly, and in how many minutes.

    python benchmarks/stacked.py [--seeds 0 1 2] [--only r3gan r1_alone ...] [--epochs 3]

The benchmark of Metz et al. (2017) and Srivastava et al. (2017): three digits, one in each channel
of an image; a classifier reads 26,000 samples.  Here the digits are the 10,000 embedded ones, where
published figures take all 60,000 or 70,000 of MNIST, and the classifier is our own, so what real
images reach stands beside.  All methods have the small networks of mg.models.r3gan and its recipe,
but for what their name says.  Runs, report.md and stacked.png are written to --out; a second call
goes on where the first was stopped.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import runs

import minigan as mg
from minigan.run import imaging
from minigan.run.datasets import stacked_digits
from minigan.run.features import ClassifierFeatures
from minigan.run.modes import SAMPLES, stacked_modes

PENALTIES = mg.recipes.r3gan["penalty"]
METHODS: dict[str, dict[str, Any]] = {
    "r3gan": {},
    "r1_alone": {"penalty": PENALTIES[:1]},
    "every_8th": {"penalty": [{**penalty, "every": 8} for penalty in PENALTIES]},
    "not_paired": {"objective": "non_saturating"},
    "plain": {"objective": "non_saturating", "penalty": None},
}
SAYS = {
    "r3gan": "relativistic pairs, R1 and R2 in every step",
    "r1_alone": "without R2",
    "every_8th": "R1 and R2 in every eighth step, eight times as strong",
    "not_paired": "the non-saturating loss with R1 and R2",
    "plain": "the non-saturating loss alone",
}
PUBLISHED = [  # method, modes, KL
    ("DCGAN (Lin et al., 2018)", "99", "3.40"),
    ("WGAN-GP (Huang et al., 2024)", "959", "0.73"),
    ("PacGAN (Lin et al., 2018)", "992", "0.28"),
    ("R3GAN, a large network (Huang et al., 2024)", "1,000", "0.029"),
]


def make(method: str, seed: int) -> mg.GAN:
    """The GAN of a method, at its start."""
    networks = mg.models.r3gan(channels=3, seed=seed)
    return mg.GAN(*networks, **copy.deepcopy(mg.recipes.r3gan | METHODS[method]), seed=seed)


def curves(results: dict[str, list[runs.Rows]]) -> Any:
    """Modes and KL against minutes of training; a line a seed."""
    figure, (axes,) = runs.figure(2)
    for number, (method, seeds) in enumerate(results.items()):
        for seed, rows in enumerate(seeds):
            minutes = [row["minutes"] for row in rows]
            for axis, figure_of in zip(axes, ("modes", "kl"), strict=True):
                label = None if seed else method
                values = [row[figure_of] for row in rows]
                axis.plot(minutes, values, marker=".", color=f"C{number}", label=label)
    axes[0].set(xlabel="minutes of training", ylabel="modes of 1,000")
    axes[1].set(xlabel="minutes of training", ylabel="KL, nats", yscale="log")
    axes[0].legend()
    return figure


def report(results: dict[str, list[runs.Rows]], real: dict[str, Any]) -> str:
    """The table of the last epochs."""
    rows = []
    for method, seeds in results.items():
        last = [each[-1] for each in seeds]
        images = int(np.mean([row["images"] for row in last]))
        modes, kl = (runs.spread([row[k] for row in last], d) for k, d in (("modes", 0), ("kl", 3)))
        minutes = runs.spread([row["minutes"] for row in last], 1)
        rows.append(
            [f"`{method}`: {SAYS[method]}", str(len(last)), f"{images:,}", minutes, modes, kl]
        )
    rows.append(["real images", "", "", "", f"{real['modes']:,}", f"{real['kl']:.3f}"])
    rows += [[f"*published: {name}*", "", "", "", modes, kl] for name, modes, kl in PUBLISHED]
    head = ["Method", "Seeds", "Images seen", "Minutes", "Modes of 1,000", "KL, nats"]
    return runs.table(head, rows)


def main() -> None:
    parser = runs.arguments(__doc__, "runs/stacked")
    parser.add_argument("--epochs", type=int, default=3, help="of 50,000 images (3)")
    args = runs.parsed(parser)
    count, samples, steps = (128, 100, 5) if args.quick else (50_000, SAMPLES, None)
    judge = ClassifierFeatures((28, 28, 1), classes=10)
    judge.train(*mg.datasets.digits(), steps=steps)
    real = stacked_modes(stacked_digits(samples, seed=1)[0], judge)
    data = stacked_digits(count)

    def score(gan: mg.GAN) -> dict[str, Any]:
        images = imaging.to_uint8(gan.sample(samples, seed=0), (-1.0, 1.0))
        return {"images": gan.step_count * gan.batch_size, **stacked_modes(images, judge)}

    results: dict[str, list[runs.Rows]] = {}
    for seed in args.seeds:
        for method in args.only or METHODS:
            out = args.out / f"{method}-seed{seed}"
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
                results.setdefault(method, []).append(rows)
    runs.write_report(args.out, report(results, real), {"stacked": curves(results)})


if __name__ == "__main__":
    main()
