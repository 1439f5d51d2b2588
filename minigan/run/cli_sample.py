"""`minigan sample`: new images from a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .arguments import DONE, count, seed


def add_sample(commands: Any) -> None:
    command = commands.add_parser("sample", help="make images with the generator of a run")
    command.set_defaults(run=_sample)
    add = command.add_argument
    add("folder", metavar="RUN", help="the folder that train filled")
    add("--count", type=count, default=64, metavar="N", help="how many (default 64)")
    add("--seed", type=seed, default=None, metavar="S", help="of the latents (default: the run's)")
    add("--class", type=int, dest="label", metavar="C", help="of this class only")
    add("--out", metavar="FILE", help="a .png or .npz (default RUN/sample-seedS.png)")


def _sample(args: argparse.Namespace) -> int:
    from .sampling import SavedGenerator, write_samples

    generator = SavedGenerator(args.folder)
    seed = generator.seed if args.seed is None else args.seed
    wanted = "" if args.label is None else f"-class{args.label}"
    out = args.out or Path(args.folder) / f"sample-seed{seed}{wanted}.png"
    images, labels = generator.images(args.count, seed, args.label)
    write_samples(out, images, labels, generator.classes if args.label is None else None)
    print(out)
    return DONE
