"""The folder that a training run fills.

- config.json: how it was started; written before anything else
- log.jsonl: one line of JSON an epoch
- samples/epoch_0001.png: images from the same latents each epoch
- curves.png: the losses so far
- generator.safetensors: the generator's weights and architecture
"""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from . import checkpoint, files, imaging


class RunFolder:
    """Creates the folder at `path`, with `config` in it.

    Raises FileExistsError when something is already there, WriteError (an OSError) when the disk
    does not take it.
    """

    def __init__(self, path: str | os.PathLike, config: dict[str, Any]):
        self.path = Path(path)
        refuse_used(self.path)
        files.make_folder(self.path)
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


def where(path: str | os.PathLike) -> str:
    """Where everything of the run at `path` is, a line each."""
    parts = (
        ("generator.safetensors", "the generator"),
        ("samples", "samples of each epoch"),
        ("curves.png", "loss curves"),
        ("log.jsonl", "log"),
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
                "Give another folder, or remove this one first."
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
