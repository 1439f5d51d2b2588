"""The folder that a training run fills.

- config.json: how it was started; written before anything else
- checkpoints/step_00001560.safetensors: the states of training that a resumed run starts from
- log.jsonl: one line of JSON an epoch
- samples/epoch_0001.png: images from the same latents each epoch
- curves.png: the losses so far
- generator.safetensors: the generator's weights and architecture
- skipped.txt: the files of the data that could not be read, if there were any
"""

from __future__ import annotations

import itertools
import json
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from . import checkpoint, files, imaging, state

_LOGGED = ("d_loss", "g_loss", "d_real", "d_fake")


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

    def list_skipped(self, skipped: list[tuple[str, str]]) -> None:
        """Write skipped.txt, the files of the data that could not be read, if there are any."""
        if skipped:
            lines = "".join(f"{file}: {why}\n" for file, why in skipped)
            files.write_bytes(self.path / "skipped.txt", lines.encode())

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
        """(progress of the newest sound checkpoint, what is wrong with newer ones).

        None: there is no checkpoint, and nothing was logged. Raises ValueError when something was,
        or when no checkpoint is sound; OSError when one cannot be opened, which may pass.
        """
        problems: list[str] = []
        for path in self.states():
            try:
                return state.load_state(path, gan), problems
            except ValueError as error:
                problems.append(str(error).splitlines()[0])
        if problems:
            raise ValueError(f"no checkpoint of {self.path} can be read: {problems[0]}")
        if (self.path / "log.jsonl").exists():
            raise ValueError(
                f"{self.path} has a log, but no checkpoint to go on from: they were removed. What "
                "it has is unchanged; train anew in another folder."
            )
        return None, []

    def rewind(self, step: int, epoch: int, epochs: int) -> list[dict[str, Any]]:
        """Take back what was logged and drawn after this step, and return the rows before it.

        epoch: how many are whole by then, of `epochs`. What a killed run left half written goes
        too. All of it is made again by the same steps. Checkpoints that are newer were found
        damaged, and are renamed.
        """
        for place in (self.path, self.path / "samples", self.path / "checkpoints"):
            for left in place.glob(files.TEMPORARY):
                left.unlink(missing_ok=True)
        for newer in [p for p in self.states() if _number(p) > step]:
            os.replace(newer, newer.with_suffix(".damaged"))
        for picture in _numbered(self.path / "samples", "epoch", "png"):
            if epoch < _number(picture) <= epochs:
                picture.unlink(missing_ok=True)
        return self._rewind_log(epoch)

    def _rewind_log(self, epoch: int) -> list[dict[str, Any]]:
        """Its first `epoch` rows. One that was edited or damaged is kept beside the new one."""
        log = self.path / "log.jsonl"
        text = log.read_bytes() if log.exists() else b""
        lines = text.splitlines(keepends=True)
        rows = [row for row in map(_row, lines) if row and row["epoch"] <= epoch]
        whole = [row["epoch"] for row in rows] == list(range(1, epoch + 1))
        if not whole or any(_row(line) is None for line in lines[:-1]):
            kept = files.write_beside(log.with_name("log.old.jsonl"), text)
            warnings.warn(f"{log} was edited or damaged; what it was is in {kept}", stacklevel=4)
        text_now = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        if text_now != text:
            files.write_bytes(log, text_now)
        return rows

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else trains in the folder meanwhile. ValueError if somebody does.

        The lock is the system's, and ends with the process. Windows has no such lock on folders.
        """
        try:
            import fcntl
        except ImportError:
            yield
            return
        handle = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"another process is training in {self.path}") from None
            except OSError:  # a disk that knows no locks
                pass
            yield
        finally:
            os.close(handle)


def _numbered(folder: Path, stem: str, suffix: str) -> list[Path]:
    """Files such as step_00000010.safetensors, in the order of their numbers."""
    found = folder.glob(f"{stem}_*.{suffix}")
    return sorted((p for p in found if re.fullmatch(rf"{stem}_\d+", p.stem)), key=_number)


def _number(path: Path) -> int:
    return int(path.stem.rpartition("_")[2])


def _row(line: bytes) -> dict[str, Any] | None:
    """A line of the log, or None for one that was not written whole, or by something else."""
    try:
        row = json.loads(line)
        needed = [row[name] for name in ("epoch", "step", *_LOGGED)]
        good = all(type(n) in (int, float) and abs(n) < 1e300 for n in [*needed, *row.values()])
        return row if good and all(type(n) is int for n in needed[:2]) else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def where(path: str | os.PathLike) -> str:
    """Where everything of the run at `path` is, a line each."""
    parts = (
        ("generator.safetensors", "the generator"),
        ("samples", "samples of each epoch"),
        ("curves.png", "loss curves"),
        ("log.jsonl", "log"),
        ("checkpoints", f"to go on from: minigan train --resume {path}"),
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
                f"the folder {path} is not empty, and a run never overwrites anything.\n"
                + (
                    f"To go on with its run: minigan train --resume {path}, in Python mg.resume."
                    if (path / "config.json").exists()
                    else "Give another folder."
                )
            )
    elif path.exists():
        raise FileExistsError(f"{path} is a file; a run needs a folder of its own")


def refuse_inside(out: str | os.PathLike, data: str | os.PathLike) -> None:
    """Raise ValueError if a run would be among the pictures that it learns from."""
    place = Path(out).resolve()
    if Path(data).resolve() in (place, *place.parents):
        raise ValueError(
            f"the run would be inside its data, {data}, and its own samples would be learned from "
            "next time; give a folder outside: --out RUN"
        )


def next_free(parent: str | os.PathLike, stem: str) -> Path:
    """The first of parent/stem, parent/stem-2, parent/stem-3, ... that does not exist."""
    names = (stem if number == 1 else f"{stem}-{number}" for number in itertools.count(1))
    return next(path for path in (Path(parent) / name for name in names) if not path.exists())


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def read_config(path: str | os.PathLike) -> dict[str, Any]:
    """The config.json of the run at `path`. Raises OSError or ValueError, naming the file."""
    file = Path(path) / "config.json"
    if not file.is_file():
        raise FileNotFoundError(
            f"{path} is not a run: it has no config.json.\n"
            "Give the folder that 'minigan train' made, e.g. runs/digits-seed0."
        )
    try:
        config = json.loads(file.read_text(encoding="utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not valid JSON ({error}); it was damaged or edited") from error
    if not isinstance(config, dict) or not isinstance(config.get("gan"), dict):
        raise ValueError(f"{file} was not written by 'minigan train': it has no 'gan' settings")
    return config
