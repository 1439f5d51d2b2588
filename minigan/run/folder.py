"""The folder that a training run fills.

- config.json: how it was started; written before anything else
- checkpoints/step_00001560.safetensors: the states of training that a resumed run starts from
- log.jsonl: one line of JSON an epoch
- samples/epoch_0001.png: images from the same latents each epoch
- curves.png: the losses so far
- generator.safetensors: the generator's weights and architecture
"""

from __future__ import annotations

import itertools
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from . import checkpoint, files, imaging, state


class RunFolder:
    """The folder of a run, at `path`."""

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)

    @classmethod
    def create(cls, path: str | os.PathLike, config: dict[str, Any]) -> RunFolder:
        """A new folder, with `config` in it.

        Raises FileExistsError when something is already there, WriteError (an OSError) when the
        disk does not take it.
        """
        refuse_used(path)
        folder = cls(files.make_folder(path))
        folder.write_config(config)
        return folder

    def write_config(self, config: dict[str, Any]) -> None:
        """Write config.json."""
        files.write_json(self.path / "config.json", config)

    def record(self, history: list[dict[str, Any]], grid: np.ndarray | None, model: Any) -> None:
        """Keep an epoch: its grid of samples (if any), weights, curves.

        Its line of the log comes last: what the log names is there.
        """
        latest = history[-1]
        if grid is not None:
            files.make_folder(self.path / "samples")
            imaging.save_png(self.path / "samples" / f"epoch_{latest['epoch']:04d}.png", grid)
        self.save_weights(model)
        imaging.save_curves(self.path / "curves.png", history)
        files.append_json(self.path / "log.jsonl", latest)

    def save_weights(self, model: Any) -> None:
        """Write generator.safetensors."""
        checkpoint.save(self.path / "generator.safetensors", model)

    def save_state(self, gan: Any, progress: dict[str, Any], keep: int) -> Path:
        """Write a checkpoint, and remove all but the newest `keep`. Returns its path."""
        files.make_folder(self.path / "checkpoints")
        path = self.path / "checkpoints" / f"step_{gan.step_count:08d}.safetensors"
        state.save_state(path, gan, progress)
        self.prune(keep)
        return path

    def prune(self, keep: int) -> None:
        """Remove all checkpoints but the newest `keep`."""
        for old in self.states()[keep:]:
            old.unlink(missing_ok=True)

    def states(self) -> list[Path]:
        """The checkpoints, the newest first."""
        return _numbered(self.path / "checkpoints", "step", "safetensors")[::-1]

    def load_state(self, gan: Any) -> tuple[dict[str, Any] | None, list[str]]:
        """(progress of the newest checkpoint that can be read, what is wrong with newer ones).

        None: there is no checkpoint. ValueError: there are some, and none can be read.
        """
        problems: list[str] = []
        for path in self.states():
            try:
                return state.load_state(path, gan), problems
            except (ValueError, OSError) as error:
                problems.append(str(error).splitlines()[0])
        if problems:
            raise ValueError(f"no checkpoint of {self.path} can be read: {problems[0]}")
        return None, []

    def rewind(self, step: int) -> list[dict[str, Any]]:
        """Take back what was logged and drawn after this step, and return the rows before it.

        What a killed run left half written goes too. All of it is made again by the same steps.
        """
        for place in (self.path, self.path / "samples", self.path / "checkpoints"):
            for left in place.glob(".*.tmp"):
                left.unlink(missing_ok=True)
        log = self.path / "log.jsonl"
        text = log.read_bytes() if log.exists() else b""
        rows = [row for row in map(_row, text.splitlines()) if row and row["step"] <= step]
        kept = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        if kept != text:
            files.write_bytes(log, kept)
        last = rows[-1]["epoch"] if rows else 0
        pictures = _numbered(self.path / "samples", "epoch", "png")
        for later in [p for p in pictures if _number(p) > last]:
            later.unlink()
        for newer in [p for p in self.states() if _number(p) > step]:
            newer.unlink()
        return rows


def _numbered(folder: Path, stem: str, suffix: str) -> list[Path]:
    """Files such as step_00000010.safetensors, in the order of their numbers."""
    found = folder.glob(f"{stem}_*.{suffix}")
    return sorted((p for p in found if re.fullmatch(rf"{stem}_\d+", p.stem)), key=_number)


def _number(path: Path) -> int:
    return int(path.stem.rpartition("_")[2])


def _row(line: bytes) -> dict[str, Any] | None:
    """A line of the log, or None for one that was not written whole."""
    try:
        row = json.loads(line)
        return row if isinstance(row["step"], int) and isinstance(row["epoch"], int) else None
    except (ValueError, KeyError, TypeError):
        return None


def where(path: str | os.PathLike) -> str:
    """Where everything of the run at `path` is, a line each."""
    parts = (
        ("generator.safetensors", "the generator"),
        ("samples", "samples of each epoch"),
        ("curves.png", "loss curves"),
        ("log.jsonl", "log"),
        ("checkpoints", "to go on from: minigan train --resume"),
    )
    there = [(Path(path) / name, what) for name, what in parts if (Path(path) / name).exists()]
    width = max((len(str(file)) for file, _ in there), default=0)
    return "\n".join(f"{str(file):{width}}  {what}" for file, what in there)


def refuse_used(path: str | os.PathLike) -> None:
    """Raise FileExistsError if `path` is a file or a folder that is not empty."""
    path = Path(path)
    if path.is_dir():
        if any(path.iterdir()):
            raise FileExistsError(
                f"the folder {path} is not empty, and a run never overwrites another.\n"
                f"To go on with its run: minigan train --resume {path}\n"
                "Otherwise give another folder, or remove this one first."
            )
    elif path.exists():
        raise FileExistsError(f"{path} is a file; a run needs a folder of its own")


def next_free(parent: str | os.PathLike, stem: str) -> Path:
    """The first of parent/stem, parent/stem-2, parent/stem-3, ... that does not exist."""
    names = (stem if number == 1 else f"{stem}-{number}" for number in itertools.count(1))
    return next(path for path in (Path(parent) / name for name in names) if not path.exists())


def read_config(path: str | os.PathLike) -> dict[str, Any]:
    """The config.json of the run at `path`. Raises OSError or ValueError, naming the file."""
    file = Path(path) / "config.json"
    if not file.is_file():
        raise FileNotFoundError(
            f"{path} is not a run: it has no config.json.\n"
            "Give the folder that 'minigan train' made, e.g. runs/digits-seed0."
        )
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not valid JSON ({error}); it was damaged or edited") from error
    if not isinstance(config, dict) or not isinstance(config.get("gan"), dict):
        raise ValueError(f"{file} was not written by 'minigan train': it has no 'gan' settings")
    return config
