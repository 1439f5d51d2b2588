"""`minigan evaluate`: how good the samples of a run are."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from .arguments import DONE, count, seed

_TITLES = {  # and the digits behind the point
    "frechet_distance": ("Frechet distance", 2),
    "precision": ("precision", 3),
    "precision_pruned": ("precision, balls above the median radius left out", 3),
    "recall": ("recall", 3),
    "density": ("density", 3),
    "coverage": ("coverage", 3),
    "class_difference": ("difference of the shares of classes", 3),
    "class_asked_for": ("read as the class asked for", 3),
    "near_copies_among": ("near copies of one another", 4),
    "near_copies_of_training": ("near copies of training images", 4),
    "identical_among": ("identical to one another", 4),
    "identical_to_training": ("identical to training images", 4),
}
_SURE = 0.8  # right, from which on a classifier's features are taken at their word
_MOST_CLASSES = 20  # that are printed


def add_evaluate(commands: Any) -> None:
    command = commands.add_parser(
        "evaluate", help="how good the samples of a run are; takes minutes"
    )
    command.set_defaults(run=_evaluate)
    add = command.add_argument
    add("folder", metavar="RUN", help="the folder that train filled")
    add("--data", metavar="DATA", help="what it was trained on (default: as its config.json says)")
    add("--count", type=count, default=None, metavar="N", help="samples (default 5000)")
    add("--seed", type=seed, default=0, metavar="S", help="of samples and choices (default 0)")
    add("--out", metavar="FILE", help="the picture of neighbours (default RUN/nearest.png)")
    add("--json", action="store_true", help="the figures as JSON")


def _evaluate(args: argparse.Namespace) -> int:
    from . import files, imaging
    from .evaluate import COUNT, evaluate_run

    picture = Path(args.out or Path(args.folder) / "nearest.png")
    if picture.suffix.lower() != ".png":
        raise ValueError(f"{picture}: the picture of neighbours is a PNG; end its name in .png")
    if not picture.parent.is_dir() and args.out:  # before all that takes time
        raise FileNotFoundError(f"{picture}: there is no folder {picture.parent}")
    progress = _say if sys.stderr.isatty() else None
    try:
        report, grid = evaluate_run(
            args.folder, args.data, args.count or COUNT, args.seed, progress
        )
    finally:
        if progress:
            progress("")
    if args.count and args.count > report["samples"]:
        print(
            f"--count {args.count}: {report['samples']} samples were compared, as many as half "
            "of the data",
            file=sys.stderr,
        )
    print(json.dumps(report, indent=2) if args.json else describe(report), flush=True)
    files.write_json(Path(args.folder) / "evaluation.json", report)
    imaging.save_png(picture, grid)
    if not args.json:
        print(f"{picture}  samples, the nearest real images by pixels, and by features")
    return DONE


def describe(report: dict[str, Any]) -> str:
    """The report of evaluate as a table for people."""
    n, known = report["samples"], report["features"]
    turned = ", half of them mirrored" if report["mirrored"] else ""
    lines = [
        f"{n} samples (seed {report['seed']}) against {n} of {report['real']}{turned}",
        f"real: {n} others of these against the same ones",
        f"features: {known['name']}" + _accuracy(known),
        f"balls: up to the {report['neighbours']}th nearest neighbour",
        "",
        f"{'':50}{'samples':>9}{'real':>9}  better",
    ]
    for name, figure in report["figures"].items():
        title, digits = _TITLES[name]
        if "training images" not in report["real"]:
            title = title.replace("training images", "the data given")
        row = "".join(f"{figure[side]:9.{digits}f}" for side in ("samples", "real"))
        lines.append(f"{title:50}{row}  {figure['better']}")
    classes = report["classes"]
    if classes and len(classes["real"]) <= _MOST_CLASSES:
        names = classes.get("names") or classes["labels"]
        rows = zip(names, classes["samples"], classes["real"], strict=True)
        lines += ["", f"{'share of class':50}{'samples':>9}{'real':>9}"]
        lines += [f"{str(name):50.50}{a:9.3f}{b:9.3f}" for name, a, b in rows]
    return "\n".join(lines)


def _accuracy(known: dict[str, Any]) -> str:
    if known.get("accuracy") is None:
        return ""
    rarely = "" if known["accuracy"] >= _SURE else ", too few to trust its figures far"
    return f", right on {known['accuracy']:.1%} of {known['held_out']} that it had not seen{rarely}"


def _say(line: str) -> None:
    """Write over the line of the terminal."""
    sys.stderr.write(f"\r\x1b[K{line}")
    sys.stderr.flush()
