"""What the benchmarks share: reports, and runs that are scored as they train, stopped or not."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import minigan as mg
from minigan import gpu
from minigan.kernels.cpu import threads
from minigan.layers.configuration import to_config
from minigan.run import files, folder, imaging
from minigan.run.features import ClassifierFeatures
from minigan.run.train import TrainingStopped

Rows = list[dict[str, Any]]
Results = dict[str, dict[int, Rows]]  # method -> seed -> an epoch a row
SCORES = "scores.jsonl"


def arguments(doc: str, out: str, methods: Iterable[str]) -> argparse.ArgumentParser:
    """The options of every benchmark; the first paragraph of `doc` says what it does."""
    parser = argparse.ArgumentParser(description=doc.split("\n\n")[0])
    add = parser.add_argument
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="S")
    known = list(methods)
    add(
        "--only",
        nargs="+",
        choices=known,
        default=known,
        metavar="METHOD",
        help="train these alone",
    )
    add("--out", type=Path, default=Path(out), help=f"folder of the runs ({out})")
    add("--report", action="store_true", help="train no GAN: report the runs that are there")
    add("--quick", action="store_true", help="a rehearsal of seconds, in a folder of its own")
    add("--backend", choices=["numpy", "cupy", "auto"], help="where arrays live")
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The command line, obeyed as far as all benchmarks have it in common."""
    args = parser.parse_args()
    if args.quick:
        args.out = args.out.with_name(f"{args.out.name}-quick")
    if args.backend:
        mg.use(args.backend)
    args.out.mkdir(parents=True, exist_ok=True)
    return args


def trained(
    args: argparse.Namespace,
    methods: Iterable[str],
    make: Callable[[str, int], mg.GAN],
    data: Callable[[int], Any],
    enough: Callable[[Rows], bool],
    score: Callable[[mg.GAN, Path], dict[str, Any]],
) -> Results:
    """Train what the command line asks for of `methods`; the scores of all that the folder has.

    make(method, seed): the GAN at its start. data(seed): what it learns. enough(rows): whether
    these epochs suffice. score(gan, run): the figures of an epoch.
    """
    for seed in [] if args.report else args.seeds:
        for method in methods:
            if method.rpartition("-")[2] in args.only:
                out = args.out / f"{method}-seed{seed}"
                scored(out, make(method, seed), data(seed), enough, score)
    return {method: found for method in methods if (found := _on_disk(args.out, method))}


def scored(
    out: Path,
    start: mg.GAN,
    data: Any,
    enough: Callable[[Rows], bool],
    score: Callable[[mg.GAN, Path], dict[str, Any]],
) -> Rows:
    """Train epoch by epoch until `enough`, score each epoch, and return the scores.

    The run is a folder of mg.train's, with scores.jsonl beside the log: one row an epoch, of
    epoch, step, minutes (of training alone), what `score` returns and the machine. A run that was
    killed goes on from its last checkpoint; one whose numbers ceased to be finite has ended, and
    its last row says where: "stopped".
    """
    rows = read(out)
    while not (rows and "stopped" in rows[-1]) and not enough(rows):
        try:
            gan, last = _next_epoch(out, start, data, len(rows) + 1)
        except TrainingStopped as error:
            rows.append({"epoch": len(rows) + 1, "stopped": str(error).splitlines()[0]})
        else:
            rows.append({**_place(gan, rows, last, data), **score(gan, out), "machine": machine()})
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        files.write_bytes(out / SCORES, lines.encode())
        print(out, lines.splitlines()[-1], flush=True)
    return rows


def _next_epoch(out: Path, start: mg.GAN, data: Any, epoch: int) -> tuple[mg.GAN, dict[str, Any]]:
    """(the GAN after this many epochs, the last row of its log)."""
    if not (out / "config.json").exists():
        for left in out.glob(files.TEMPORARY):  # of a process that was killed as it began
            left.unlink()
        return start, mg.train(start, data, epochs=1, out=out, progress=False)[-1]
    config = folder.read_config(out)
    networks = {name: to_config(getattr(start, name)) for name in config["networks"]}
    asked = {"gan": start.config(), "networks": networks}
    if json.loads(json.dumps(asked)) != {key: config[key] for key in asked}:
        raise SystemExit(f"{out} is a run of another recipe: remove it, or give another --out")
    gan, history = mg.resume(out, data, epochs=epoch, progress=False)
    return gan, history[-1]


def _place(gan: mg.GAN, rows: Rows, last: dict[str, Any], data: Any) -> dict[str, Any]:
    """Epoch, step, and minutes of training so far."""
    before = rows[-1] if rows else {"step": 0, "minutes": 0.0}
    images = (gan.step_count - before["step"]) * min(gan.batch_size, len(data))
    minutes = before["minutes"] + images / last["images_per_second"] / 60
    return {"epoch": len(rows) + 1, "step": gan.step_count, "minutes": round(minutes, 4)}


def read(out: Path) -> Rows:
    """The scores of a run so far."""
    try:
        return [json.loads(line) for line in (out / SCORES).read_text().splitlines()]
    except FileNotFoundError:
        return []


def _on_disk(out: Path, method: str) -> dict[int, Rows]:
    """The runs of a method that have a score, seed by seed."""
    found = {int(p.name.rpartition("-seed")[2]): read(p) for p in out.glob(f"{method}-seed*")}
    return {seed: found[seed] for seed in sorted(found) if found[seed]}


def measured(seeds: dict[int, Rows]) -> list[Rows]:
    """The epochs with figures, a list a seed."""
    kept = [[row for row in rows if "stopped" not in row] for rows in seeds.values()]
    return [rows for rows in kept if rows]


def lasts(epochs: int, rows: Rows) -> bool:
    """Whether a run has that many epochs."""
    return len(rows) >= epochs


def alike(seeds: dict[int, Rows]) -> list[dict[str, Any]]:
    """A row a seed: that of the last epoch that all of them have."""
    found = measured(seeds)
    last = min(map(len, found), default=0) - 1
    return [rows[last] for rows in found]


def judge(out: Path, images: np.ndarray, labels: np.ndarray, steps: int | None) -> Any:
    """A classifier of single digits: trained once, and kept beside the runs that it scores."""
    reader, saved = ClassifierFeatures(images.shape[1:], classes=10), out / "judge.safetensors"
    if saved.exists():
        kept = mg.load(saved)
        reader.model.params.flat[...] = mg.asarray(mg.to_numpy(kept.params.flat))
        reader.model.state.flat[...] = mg.asarray(mg.to_numpy(kept.state.flat))
        return reader
    reader.train(images, labels, steps=steps)
    mg.save(saved, reader.model)
    return reader


def machine() -> str:
    """Where, and when, a figure is measured."""
    if mg.xp.__name__ == "cupy":
        where = f"{gpu.name_of_device()}; CuPy {mg.xp.__version__}"
    else:
        where = f"{_processor()}, {threads.count()} of {os.cpu_count()} cores"
    versions = f"Python {platform.python_version()}, NumPy {metadata.version('numpy')}"
    return f"{where}; {versions}; {datetime.date.today().isoformat()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def spread(values: Iterable[float], digits: int) -> str:
    """The mean, and the least and greatest in brackets if they differ; a dash for nothing."""
    values = [v for v in values if np.isfinite(v)]
    if not values:
        return "–"
    mean, low, high = (f"{f(values):,.{digits}f}" for f in (np.mean, min, max))
    return mean if low == high else f"{mean} ({low} to {high})"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def curves(results: Results, panels: dict[str, str], log: tuple[str, ...]) -> Any:
    """Figures against minutes of training, a line a seed. panels: key of the figure -> its name."""
    made, (axes,) = imaging.panels(len(panels), size=(4.5, 4.5))
    for number, (method, seeds) in enumerate(results.items()):
        for first, rows in enumerate(measured(seeds)):
            for axis, key in zip(axes, panels, strict=True):
                points = [row["minutes"] for row in rows], [row[key] for row in rows]
                label = None if first else method
                axis.plot(*points, marker=".", color=f"C{number}", label=label)
    for axis, (key, name) in zip(axes, panels.items(), strict=True):
        scale = "log" if key in log else "linear"
        axis.set(xlabel="minutes of training", ylabel=name, yscale=scale)
    axes[0].legend(fontsize=8)
    return made


def write_report(out: Path, text: str, results: Results, made: Any) -> None:
    """Print the report, and keep it beside the runs: report.md, and the figure as report.png."""
    lines = [text, "", *sorted({_of(method, seeds) for method, seeds in results.items()})]
    every = [(m, seed, rows) for m, seeds in results.items() for seed, rows in seeds.items()]
    for method, seed, rows in every:
        if "stopped" in rows[-1]:
            lines.append(f"- `{method}`, seed {seed}: {rows[-1]['stopped']}")
    machines = {row["machine"] for *_, rows in every for row in rows if "machine" in row}
    text = "\n".join([*lines, "", *(f"Measured on {where}." for where in sorted(machines)), ""])
    (out / "report.md").write_text(text)
    made.savefig(out / "report.png", dpi=110)
    print(f"\n{text}\n{out}/report.md, {out}/report.png")


def _of(method: str, seeds: dict[int, Rows]) -> str:
    epochs = ", ".join(str(len(rows)) for rows in measured(seeds))
    return f"- `{method}`: seeds {', '.join(map(str, seeds))}; epochs {epochs or 'none'}"
