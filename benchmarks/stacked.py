"""Stacked digits: how many of 1,000 modes a GAN finds, how evenly, and in how many minutes.

    python benchmarks/stacked.py [--seeds 0 1 2] [--only r3gan r1_alone ...] [--epochs 3]

The benchmark of Metz et al. (2017) and Srivastava et al. (2017): three digits, one in each channel
of an image; a classifier reads 26,000 samples.  Here the digits are the 10,000 embedded ones, where
published figures take all 60,000 or 70,000 of MNIST, and the classifier is our own, so what real
images reach stands beside.  All methods have the small networks of mg.models.r3gan and its recipe,
but for what their name says.  Runs, report.md and report.png are written to --out; a second call
goes on where the first was stopped.
"""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import runs

import minigan as mg
from minigan.run import imaging
from minigan.run.datasets import stacked_digits
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
    ("DCGAN (Srivastava et al., 2017)", "99", "3.40"),
    ("WGAN-GP (Huang et al., 2024)", "959", "0.73"),
    ("PacGAN (Huang et al., 2024)", "992", "0.28"),
    ("PacDCGAN2 (Lin et al., 2018)", "1,000", "0.06"),
    ("R3GAN, a large network (Huang et al., 2024)", "1,000", "0.029"),
]


def make(method: str, seed: int) -> mg.GAN:
    """The GAN of a method, at its start."""
    networks = mg.models.r3gan(channels=3, seed=seed)
    return mg.GAN(*networks, **copy.deepcopy(mg.recipes.r3gan | METHODS[method]), seed=seed)


def report(results: runs.Results, real: dict[str, Any]) -> str:
    """The table of the last epoch that all seeds of a method have."""
    rows = []
    for method, seeds in results.items():
        last = runs.alike(seeds)
        columns = (("images", 0), ("minutes", 1), ("modes", 1), ("kl", 3))
        cells = [runs.spread([row[key] for row in last], digits) for key, digits in columns]
        rows.append([f"`{method}`: {SAYS[method]}", *cells])
    rows.append(["real images", "", "", f"{real['modes']:,}", f"{real['kl']:.3f}"])
    rows += [[f"*published: {name}*", "", "", modes, kl] for name, modes, kl in PUBLISHED]
    return runs.table(["Method", "Images seen", "Minutes", "Modes of 1,000", "KL, nats"], rows)


def main() -> None:
    parser = runs.arguments(__doc__, "runs/stacked", METHODS)
    parser.add_argument("--epochs", type=int, default=3, help="of 50,000 images (3)")
    args = runs.parsed(parser)
    count, samples, steps = (128, 100, 5) if args.quick else (50_000, SAMPLES, None)
    images, labels = mg.datasets.digits()
    judge = runs.judge(args.out, images, labels, steps)
    data = stacked_digits(count)[0]

    def score(gan: mg.GAN, _: Path) -> dict[str, Any]:
        images = imaging.to_uint8(gan.sample(samples, seed=0), (-1.0, 1.0))
        return {"images": gan.step_count * gan.batch_size, **stacked_modes(images, judge)}

    results = runs.trained(
        args, METHODS, make, lambda _: data, partial(runs.lasts, args.epochs), score
    )
    real = stacked_modes(stacked_digits(samples, seed=1)[0], judge)
    panels = {"modes": "modes of 1,000", "kl": "KL, nats"}
    runs.write_report(
        args.out, report(results, real), results, runs.curves(results, panels, log=("kl",))
    )


if __name__ == "__main__":
    main()
