"""Digits: Frechet distance against minutes of training, for each objective and penalty.

    python benchmarks/digits.py [--seeds 0 1 2] [--only dcgan r1 ...] [--minutes 3]

The embedded digits without labels, 28x28.  `dcgan` is the plain one of tutorials (Radford et al.,
2016).  The others have the networks of `minigan train digits`, smaller but
with one halving more in D; batches of 16 instead of 64, and so more steps a minute; both losses at
the same weights, a faster learning rate that falls, and an average of the generator's weights,
which is what is sampled.  D moves once for each step of G.  Where there is a penalty on the slope
at each image, D has no BatchNorm, which would tie the images together.
`r3gan` has networks and recipe of its own.

The distance is that of 5,000 samples to half of the 10,000 digits, in the features of a classifier
that the script trains; the other half in the samples' place gives the floor.  All methods train for
the same number of minutes, to the end of an epoch, on all digits.  Runs, report.md and report.png
are written to --out; a second call goes on where the first was stopped.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import runs

import minigan as mg
from minigan.r3gan import GAIN
from minigan.random import Key
from minigan.run import imaging
from minigan.run.metrics import frechet_distance

PLAIN: dict[str, Any] = {"batch_size": 64}
RATE = {"start": 1e-3, "end": 1e-4, "steps": 4_000}
ADAM = {"name": "adam", "learning_rate": RATE, "beta_1": 0.5, "form": "torch"}
OURS: dict[str, Any] = {
    "g_optimizer": ADAM,
    "d_optimizer": ADAM,
    "update": "simultaneous",
    "ema": 0.998,
    "batch_size": 16,
}
FALLING = mg.recipes.r3gan["penalty"]  # R1 and R2, gamma 1 to 0.1
METHODS: dict[str, dict[str, Any]] = {
    "dcgan": PLAIN,
    "non_saturating": OURS,
    "minimax": OURS | {"objective": "minimax"},
    "least_squares": OURS | {"objective": "least_squares"},
    "hinge": OURS | {"objective": "hinge"},
    "r1": OURS | {"penalty": FALLING[:1]},
    "hinge_r1": OURS | {"objective": "hinge", "penalty": FALLING[:1]},
    "wgan_gp": OURS | {"objective": "wasserstein", "penalty": "wgan-gp"},
    "pairs_r1_r2": OURS | {"objective": "relativistic_pairing", "penalty": FALLING},
    "r3gan": mg.recipes.r3gan,
}
SAYS = {
    "dcgan": "the plain DCGAN and its recipe",
    "non_saturating": "the non-saturating loss",
    "minimax": "the minimax loss",
    "least_squares": "least squares",
    "hinge": "hinge",
    "r1": "the non-saturating loss with R1",
    "hinge_r1": "hinge with R1",
    "wgan_gp": "Wasserstein distance with its gradient penalty",
    "pairs_r1_r2": "relativistic pairs, R1 and R2",
    "r3gan": "these with residual networks, and the recipe of mg.recipes.r3gan",
}


def make(method: str, seed: int) -> mg.GAN:
    """The GAN of a method, at its start."""
    recipe = copy.deepcopy(METHODS[method])
    if method == "r3gan":
        networks = mg.models.r3gan(seed=seed)
    elif method == "dcgan":
        networks = mg.models.dcgan(size=28, channels=1, width=64, dropout=0.0, seed=seed)
    else:
        networks = mg.models.clear_digits(classes=None, dropout=0.0, seed=seed)
        if recipe.get("penalty"):
            networks = networks[0], without_batch_norm(seed)
    return mg.GAN(*networks, **recipe, seed=seed)


def without_batch_norm(seed: int) -> mg.Sequential:
    """The D of mg.models.clear_digits without BatchNorm, started so that it keeps the variance."""
    start = mg.VarianceScaling(scale=GAIN)
    half: dict[str, Any] = {"strides": 2, "padding": "same", "kernel_initializer": start}
    layers: list[Any] = []
    for width in (32, 64, 128):
        layers += [mg.Conv2D(width, 4, **half), mg.LeakyReLU(0.2)]
    key = Key(seed, "weights", layer="discriminator")
    return mg.Sequential(
        [*layers, mg.Flatten(), mg.Dense(1)],
        input_shape=(28, 28, 1),
        name="discriminator",
        key=key,
    )


def at(rows: runs.Rows, minutes: float) -> float:
    """The distance after so many minutes, on the straight line between two epochs; or NaN."""
    times, distances = ([row[key] for row in rows] for key in ("minutes", "distance"))
    return float(np.interp(minutes, times, distances, left=np.nan, right=np.nan))


def report(results: runs.Results, minutes: float, floor: float) -> str:
    """The table at equal times; the last column is the plain DCGAN's distance over the method's."""
    times = [minutes / 2, minutes]
    found = {
        method: [[at(rows, t) for rows in runs.measured(seeds)] for t in times]
        for method, seeds in results.items()
    }
    plain = np.mean(found["dcgan"][1]) if "dcgan" in found else np.nan
    rows = []
    for method, distances in found.items():
        epochs = [len(rows) for rows in runs.measured(results[method])]
        ratio = runs.spread([float(plain / np.mean(distances[1]))] if distances[1] else [], 1)
        cells = [runs.spread(d, 2) for d in distances]
        rows.append([f"`{method}`: {SAYS[method]}", runs.spread(epochs, 0), *cells, ratio])
    rows.append(["the other half of the digits", "", "", f"{floor:.2f}", ""])
    head = ["Method", "Epochs", *(f"Distance after {t:g} min" for t in times), "Better by"]
    return runs.table(head, rows)


def main() -> None:
    parser = runs.arguments(__doc__, "runs/digits", METHODS)
    parser.add_argument("--minutes", type=float, default=3.0, help="of training (3)")
    args = runs.parsed(parser)
    images, labels = mg.datasets.digits()
    judge = runs.judge(args.out, images, labels, 5 if args.quick else None)
    images = images[:: 50 if args.quick else 1]
    order = Key(0, "halves").generator().permutation(len(images))
    half, other = (judge.features(images[order[k::2]]) for k in (0, 1))

    def score(gan: mg.GAN, _: Path) -> dict[str, Any]:
        fakes = imaging.to_uint8(gan.sample(len(half), seed=0), (-1.0, 1.0))
        return {"distance": round(frechet_distance(half, judge.features(fakes)), 4)}

    results = runs.trained(
        args,
        METHODS,
        make,
        lambda _: images,
        lambda rows: bool(rows) and rows[-1]["minutes"] >= args.minutes,
        score,
    )
    text = report(results, args.minutes, frechet_distance(half, other))
    made = runs.curves(results, {"distance": "Frechet distance"}, log=("distance",))
    runs.write_report(args.out, text, results, made)


if __name__ == "__main__":
    main()
