"""What the lessons share: their command line, and where their pictures go.

    python examples/01_one_gradient.py [--quick] [--backend numpy|cupy|auto] [--out FOLDER]

In a notebook the environment variables MINIGAN_QUICK=1 and MINIGAN_BACKEND take the place of the
options.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import minigan as mg
from minigan.run import animation, files, imaging

IN_NOTEBOOK = "ipykernel" in sys.modules


def start(name: str) -> tuple[bool, Callable[[str, Any], Any]]:
    """Obey the command line of the lesson called `name`.

    Returns (quick, show). quick: whether a rehearsal of seconds is asked for.
    show("x.png", picture) saves a picture in the lesson's folder, and displays it in a notebook.
    A picture is a matplotlib figure or what mg.image_grid gives; for "x.gif" a list of either.
    """
    parser = argparse.ArgumentParser(description=f"Lesson {name}: README.md lists all.")
    parser.add_argument("--quick", action="store_true", help="a rehearsal of seconds")
    parser.add_argument("--backend", choices=["numpy", "cupy", "auto"], help="where arrays live")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help=f"default: runs/lessons/{name}")
    args = parser.parse_args([] if IN_NOTEBOOK else None)
    if args.backend:
        try:
            mg.use(args.backend)
        except RuntimeError as error:
            raise SystemExit(str(error)) from None
    out = args.out or Path("runs/lessons", name)
    quick = args.quick or os.environ.get("MINIGAN_QUICK") == "1"
    if quick:
        print("A rehearsal (quick): what training gives is not worth reading.")
    return quick, partial(_show, out)


def _show(out: Path, name: str, picture: Any) -> Any:
    if isinstance(picture, list):
        frames = animation.durations(len(picture), fps=8, hold=1)
        data = animation.gif(map(pixels, picture), frames)
    else:
        data = imaging.png(pixels(picture))
    out.mkdir(parents=True, exist_ok=True)
    files.write_bytes(out / name, data)
    if not IN_NOTEBOOK:
        return print(f"[{out / name}]")
    from IPython.display import Image as Shown

    return Shown(data=data, format=Path(name).suffix[1:])


def pixels(picture: Any) -> np.ndarray:
    """The pixels of a matplotlib figure, or of what is pixels already: uint8 (H, W[, 3])."""
    if isinstance(picture, np.ndarray):
        return picture
    file = io.BytesIO()
    picture.savefig(file, format="png", dpi=80)
    return np.asarray(Image.open(file).convert("RGB"))


def figure(columns: int = 1, rows: int = 1, side: float = 4.0) -> tuple[Any, list[Any]]:
    """A matplotlib figure of panels, `side` inches each, and its axes in a list, row by row."""
    made, axes = imaging.panels(columns, rows, size=(side, side))
    return made, list(axes.flat)
