"""`minigan sample`, `interpolate` and `animate`: pictures from a run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .arguments import DONE, count, seed

_HOLD = 2.0  # seconds that the last epoch stays longer


def add_sample(commands: Any) -> None:
    command = commands.add_parser("sample", help="make images with the generator of a run")
    command.set_defaults(run=_sample)
    add = command.add_argument
    add("folder", metavar="RUN", help="the folder that train filled")
    add("--count", type=count, default=64, metavar="N", help="how many (default 64)")
    _add_latents(command)
    add("--columns", type=count, metavar="N", help="of the grid (.png)")
    add("--scale", type=count, metavar="N", help="enlarge the grid by this whole number")
    add(
        "--out",
        metavar="PATH",
        help="a .png (a grid), an .npz (arrays), or a new folder, for a .png each "
        "(default RUN/sample-seedS.png)",
    )


def add_interpolate(commands: Any) -> None:
    command = commands.add_parser(
        "interpolate",
        help="show what lies between images of a run",
        description="From latent to latent, on arcs where they are normal: a strip or a film.",
    )
    command.set_defaults(run=_interpolate)
    add = command.add_argument
    add("folder", metavar="RUN", help="the folder that train filled")
    add("--points", type=count, default=5, metavar="N", help="latents on the way (default 5)")
    add(
        "--steps",
        type=count,
        metavar="N",
        help="images from one point to the next (default 4, in a .gif 16)",
    )
    add("--rows", type=count, default=1, metavar="N", help="ways beside each other (default 1)")
    _add_latents(command)
    add("--fps", type=float, metavar="F", help="frames a second of a .gif (default 16)")
    add("--scale", type=count, default=1, metavar="N", help="enlarge by this whole number")
    add(
        "--out",
        metavar="FILE",
        help="a .png (a strip a way), or a .gif that returns to its start "
        "(default RUN/interpolation-seedS.png)",
    )


def add_animate(commands: Any) -> None:
    command = commands.add_parser(
        "animate",
        help="make a film of a run's samples, or of any numbered PNG files",
        description="The samples of a run, or the PNG files of any folder that have a number in "
        "their names, in the order of the numbers, as an animated GIF.",
    )
    command.set_defaults(run=_animate)
    add = command.add_argument
    add("folder", metavar="RUN|FOLDER", help="a folder that train filled, or one of PNG files")
    add("--fps", type=float, default=8.0, metavar="F", help="frames a second (default 8)")
    add(
        "--most",
        type=count,
        default=200,
        metavar="N",
        help="take this many at most, evenly spaced (default 200)",
    )
    add("--scale", type=count, default=1, metavar="N", help="enlarge by this whole number")
    add("--out", metavar="FILE", help="a .gif (default animation.gif in the folder)")


def _add_latents(command: Any) -> None:
    add = command.add_argument
    add("--seed", type=seed, metavar="S", help="of the latents (default: the run's)")
    add("--class", dest="label", metavar="C", help="of this class only: its name or number")
    add(
        "--truncation",
        type=float,
        metavar="T",
        help="latents of at most T, e.g. 0.7: images more typical, and less varied",
    )


def _sample(args: argparse.Namespace) -> int:
    from . import output
    from .sampling import SavedGenerator

    kind = output.form(args.out) if args.out is not None else ".png"
    for option in ("columns", "scale"):
        if getattr(args, option) is not None and kind != ".png":
            raise ValueError(f"--{option} is of a grid: give --out FILE.png, or leave it out")
    generator = SavedGenerator(args.folder)
    batches = generator.batches(args.count, args.seed, args.label, args.truncation)
    if kind == "folder":
        output.write_folder(args.out, generator, batches)
    elif kind == ".npz":
        output.write_npz(args.out, generator, batches, args.count)
    else:
        picture = output.grid(
            generator, batches, args.count, args.columns, args.label is None, args.scale or 1
        )
        return _keep(picture, args.out, _default(args, generator, "sample"))
    print(args.out)
    return DONE


def _interpolate(args: argparse.Namespace) -> int:
    from .animation import durations
    from .interpolation import interpolation
    from .output import refuse_undrawable
    from .sampling import SavedGenerator

    film = _suffix(args.out, ".png", ".gif") == ".gif"
    if args.fps is not None and not film:
        raise ValueError("--fps is of a film: give --out FILE.gif, or leave it out")
    steps = args.steps or (16 if film else 4)
    fps = 16.0 if args.fps is None else args.fps
    milliseconds = durations(args.points * steps, fps) if film else None  # errors before the work
    generator = SavedGenerator(args.folder)
    refuse_undrawable(generator)
    wanted = args.points, steps, args.rows, args.seed, args.label, args.truncation
    images = interpolation(generator, *wanted, closed=film)
    if milliseconds is None:
        data = _strips(images, args.scale)
    else:
        data = _film(images, milliseconds, args.scale)
    return _keep(data, args.out, _default(args, generator, "interpolation"))


def _strips(images: Any, scale: int) -> bytes:
    """(frames, rows, H, W, C) as a PNG, a strip a row."""
    from .imaging import enlarged, image_grid, png
    from .output import GAP

    # (frames, rows, H, W, C) -> (rows, frames, H, W, C), row by row
    cells = images.swapaxes(0, 1).reshape(-1, *images.shape[2:])
    return png(enlarged(image_grid(cells, columns=len(images), gap=GAP), scale))


def _film(images: Any, milliseconds: list[int], scale: int) -> bytes:
    """(frames, rows, H, W, C) as a GIF, the rows of a frame in a grid."""
    from .animation import gif
    from .imaging import image_grid
    from .output import GAP

    return gif((image_grid(frame, gap=GAP) for frame in images), milliseconds, scale)


def _animate(args: argparse.Namespace) -> int:
    from . import animation

    _suffix(args.out, ".gif")
    paths = animation.numbered(_samples(Path(args.folder)))
    chosen = animation.thinned(paths, args.most)
    if len(chosen) < len(paths):
        print(f"note: {len(chosen)} of {len(paths)} pictures (--most)", file=sys.stderr)
    milliseconds = animation.durations(len(chosen), args.fps, _HOLD)
    film = animation.gif(animation.pictures(chosen), milliseconds, args.scale)
    return _keep(film, args.out, Path(args.folder) / "animation.gif")


def _samples(folder: Path) -> Path:
    """Where the pictures are: the samples of a run, or the folder itself."""
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder; give a run, or a folder of PNG files")
    if (folder / "samples").is_dir():
        return folder / "samples"
    if (folder / "config.json").is_file() and not any(folder.glob("*.png")):
        raise FileNotFoundError(
            f"{folder} has no samples: its training ended before the first epoch did, or its "
            "data are no pictures"
        )
    return folder


def _default(args: argparse.Namespace, generator: Any, what: str) -> Path:
    from .output import plain

    seed = generator.seed if args.seed is None else args.seed
    wanted = "" if args.label is None else f"-class-{plain(args.label)}"
    return Path(args.folder) / f"{what}-seed{seed}{wanted}.png"


def _suffix(out: str | None, *known: str) -> str:
    """The suffix of --out, the first of the known ones where it is not given."""
    suffix = known[0] if out is None else Path(out).suffix.lower()
    if suffix not in known:
        raise ValueError(f"{out}: give a file that ends in {' or '.join(known)}")
    return suffix


def _keep(data: bytes, out: str | None, default: Path) -> int:
    """Write a picture, and say where: where --out says, or beside all that is there already."""
    from . import files

    if out is not None:
        files.write_bytes(out, data)
    print(out if out is not None else files.write_beside(default, data))
    return DONE
