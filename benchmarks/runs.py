"""What the benchmarks share: reports, and runs that are scored as they train, stopped or not."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import minigan as mg
from minigan import gpu
from minigan.kernels.cpu import threads
from minigan.run import files

SCORES = "scores.jsonl"
Rows = list[dict[str, Any]]


def arguments(doc: str, out: str) -> argparse.ArgumentParser:
    """The options of every benchmark; the first paragraph of `doc` says what it does."""
    parser = argparse.ArgumentParser(description=doc.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="S")
    parser.add_argument("--out", type=Path, default=Path(out), help=f"folder of the runs ({out})")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these methods alone")
    parser.add_argument("--report", action="store_true", help="train nothing: what is there")
    parser.add_argument("--quick", action="store_true", help="a rehearsal of seconds")
    parser.add_argument("--backend", choices=["numpy", "cupy", "auto"], help="where arrays live")
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The command line, obeyed as far as all benchmarks have it in common."""
    args = parser.parse_args()
    if args.quick:
        args.out = args.out.with_name(f"{args.out.name}-quick")
    if args.backend:
        mg.use(args.backend)
    return args


def scored(
    out: Path,
    make: Callable[[], mg.GAN],
    data: Any,
    enough: Callable[[Rows], bool],
    score: Callable[[mg.GAN], dict[str, Any]],
) -> Rows:
    """Train epoch by epoch until `enough`, score each epoch, and return the scores.

    The run is a folder of mg.train's, with scores.jsonl beside the log: one row an epoch, of
    epoch, step, minutes (of training alone) and what `score` returns. A run that was stopped, by
    whatever, goes on from its last checkpoint.
    """
    rows = read(out)
    while not enough(rows):
        epoch = len(rows) + 1
        if not (out / "config.json").exists():
            gan = make()
            history = mg.train(gan, data, epochs=1, out=out, progress=False)
        else:
            gan, history = mg.resume(out, data, epochs=epoch, progress=False)
        rate = history[-1]["images_per_second"]
        steps = gan.step_count - (rows[-1]["step"] if rows else 0)
        spent = steps * min(gan.batch_size, _count(data)) / rate / 60
        row = {"epoch": epoch, "step": gan.step_count}
        row["minutes"] = round(spent + (rows[-1]["minutes"] if rows else 0.0), 4)
        rows.append({**row, **score(gan)})
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        files.write_bytes(out / SCORES, lines.encode())
        print(out, json.dumps(rows[-1]), flush=True)
    return rows


def read(out: Path) -> Rows:
    """The scores of a run so far."""
    try:
        return [json.loads(line) for line in (out / SCORES).read_text().splitlines()]
    except FileNotFoundError:
        return []


def _count(data: Any) -> int:
    return len(data[0] if isinstance(data, tuple) else data)


def machine() -> str:
    """Where, and when, the figures are of."""
    if mg.xp.__name__ == "cupy":
        where = gpu.name_of_device()
    else:
        where = f"{_processor()}, {threads.count()} of {os.cpu_count()} cores"
    return f"{where}; Python {platform.python_version()}, NumPy {np.__version__}; {_today()}"


def _today() -> str:
    return datetime.date.today().isoformat()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def spread(values: list[float], digits: int) -> str:
    """The mean, and the least and greatest in brackets; nothing of nothing."""
    if not values:
        return ""
    low, high = (f"{f(values):.{digits}f}" for f in (min, max))
    return f"{np.mean(values):.{digits}f} ({low} to {high})"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figure(columns: int, rows: int = 1, side: float = 4.0) -> tuple[Any, Any]:
    """A figure of panels, `side` inches each, and its axes: an array (rows, columns)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(side * columns, side * rows), layout="constrained")
    FigureCanvasAgg(made)
    return made, made.subplots(rows, columns, squeeze=False)


def write_report(out: Path, text: str, figures: dict[str, Any]) -> None:
    """Print the report, and keep it as report.md beside the runs, and the figures as pictures."""
    out.mkdir(parents=True, exist_ok=True)
    text = f"{text}\n\n{machine()}\n"
    (out / "report.md").write_text(text)
    for name, made in figures.items():
        made.savefig(out / f"{name}.png", dpi=110)
    print(f"\n{text}\n{out}/report.md, {', '.join(f'{name}.png' for name in figures)}")
