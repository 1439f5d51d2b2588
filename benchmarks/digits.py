"""Digits: Frechet distance against minutes of training, for each objective and penalty.

    python benchmarks/digits.py [--seeds 0 1 2] [--only dcgan r1 ...] [--minutes 4]

The embedded digits without labels, 28x28.  `dcgan` is the plain one of tutorials (Radford et al.,
2016; examples/plain_dcgan.py).  The others have its networks, but both losses at the same weights,
a faster learning rate, and an average of the generator's weights, which is what is sampled; where
there is a penalty on the slope at each image, D has no BatchNorm, which would tie the images
together.  `r3gan` has networks and recipe of its own.

The distance is of 10,000 samples to the 10,000 digits, in the features of a classifier that the
script trains; half of the digits against the other half gives the floor.  All methods train for
the same number of minutes, to the end of an epoch.  Runs, report.md and digits.png are written to
--out; a second call goes on where the first was stopped.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import runs

import minigan as mg
from minigan.r3gan import GAIN
from minigan.random import Key
from minigan.run import imaging
from minigan.run.features import ClassifierFeatures
from minigan.run.metrics import frechet_distance

SAMPLES = 10_000
PLAIN: dict[str, Any] = {"batch_size": 64, "epochs": 20}
ADAM = {"name": "adam", "learning_rate": 5e-4, "beta_1": 0.5, "form": "torch"}
OURS: dict[str, Any] = {
    "g_optimizer": ADAM,
    "d_optimizer": ADAM,
    "update": "simultaneous",
    "ema": 0.999,
    "batch_size": 64,
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
    "r3gan": "the same, with residual networks",
}


def make(method: str, seed: int) -> mg.GAN:
    """The GAN of a method, at its start."""
    recipe = copy.deepcopy(METHODS[method])
    if method == "r3gan":
        networks = mg.models.r3gan(seed=seed)
    else:
        networks = dcgan(seed, batch_norm=not recipe.get("penalty"))
    return mg.GAN(*networks, **recipe, seed=seed)


def dcgan(seed: int, batch_norm: bool) -> tuple[mg.Sequential, mg.Sequential]:
    """The plain DCGAN's networks; D with or without BatchNorm."""
    generator, discriminator = mg.models.dcgan(
        size=28, channels=1, width=64, dropout=0.0, seed=seed
    )
    if batch_norm:
        return generator, discriminator
    start = mg.initializers.VarianceScaling(scale=GAIN)
    half: dict[str, Any] = {"strides": 2, "padding": "same", "kernel_initializer": start}
    layers = [mg.Conv2D(64, 4, **half), mg.LeakyReLU(0.2), mg.Conv2D(128, 4, **half)]
    layers += [mg.LeakyReLU(0.2), mg.Flatten(), mg.Dense(1)]
    key = Key(seed, "weights", layer="discriminator")
    return generator, mg.Sequential(layers, input_shape=(28, 28, 1), name="discriminator", key=key)


def curves(results: dict[str, list[runs.Rows]], floor: float) -> Any:
    """Distance against minutes of training; a line a seed."""
    figure, ((axis,),) = runs.figure(1, side=6.0)
    for number, (method, seeds) in enumerate(results.items()):
        for seed, rows in enumerate(seeds):
            minutes, distances = ([row[k] for row in rows] for k in ("minutes", "distance"))
            style = {"color": f"C{number}", "linestyle": "--" if method == "dcgan" else "-"}
            axis.plot(minutes, distances, **style, label=None if seed else method)
    axis.axhline(floor, color="grey", linewidth=0.8)
    axis.set(xlabel="minutes of training", ylabel="Frechet distance", yscale="log")
    axis.legend(fontsize=8)
    return figure


def at(rows: runs.Rows, minutes: float) -> float:
    """The distance after so many minutes, on the straight line between two epochs."""
    return float(np.interp(minutes, *([row[k] for row in rows] for k in ("minutes", "distance"))))


def report(results: dict[str, list[runs.Rows]], minutes: float, floor: float) -> str:
    """The table at equal times; the last column is the plain DCGAN's distance over the method's."""
    times = [minutes / 2, minutes]
    means = {m: [np.mean([at(r, t) for r in seeds]) for t in times] for m, seeds in results.items()}
    rows = []
    for method, seeds in results.items():
        cells = [runs.spread([at(rows, t) for rows in seeds], 2) for t in times]
        ratio = f"{means['dcgan'][1] / means[method][1]:.1f}" if "dcgan" in means else ""
        epochs = runs.spread([len(rows) for rows in seeds], 0)
        rows.append([f"`{method}`: {SAYS[method]}", str(len(seeds)), epochs, *cells, ratio])
    rows.append(["half of the digits against the other half", "", "", "", f"{floor:.2f}", ""])
    head = ["Method", "Seeds", "Epochs", *(f"Distance after {t:g} min" for t in times), "Better by"]
    return runs.table(head, rows)


def main() -> None:
    parser = runs.arguments(__doc__, "runs/digits")
    parser.add_argument("--minutes", type=float, default=4.0, help="of training (4)")
    args = runs.parsed(parser)
    images, labels = mg.datasets.digits()
    samples, steps = (200, 5) if args.quick else (SAMPLES, None)
    judge = ClassifierFeatures((28, 28, 1), classes=10).train(images, labels, steps=steps)
    images = images[:: 50 if args.quick else 1]
    real = judge.features(images)
    order = Key(0, "halves").generator().permutation(len(real))
    floor = frechet_distance(real[order[::2]], real[order[1::2]])

    def score(gan: mg.GAN) -> dict[str, Any]:
        fakes = imaging.to_uint8(gan.sample(samples, seed=0), (-1.0, 1.0))
        return {"distance": round(frechet_distance(real, judge.features(fakes)), 4)}

    results: dict[str, list[runs.Rows]] = {}
    for seed in args.seeds:
        for method in args.only or METHODS:
            out = args.out / f"{method}-seed{seed}"
            rows = runs.read(out)
            if not args.report:
                rows = runs.scored(
                    out,
                    lambda method=method, seed=seed: make(method, seed),
                    images,
                    lambda rows: bool(rows) and rows[-1]["minutes"] >= args.minutes,
                    score,
                )
            if rows:
                results.setdefault(method, []).append(rows)
    text = report(results, args.minutes, floor)
    runs.write_report(args.out, text, {"digits": curves(results, floor)})


if __name__ == "__main__":
    main()
