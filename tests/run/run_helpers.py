"""Run folders: one without its training, what one holds, and a run that dies."""

from __future__ import annotations

import json
from pathlib import Path

from minigan.run import checkpoint, files


def save_run(folder: Path, gan, image_shape=None, value_range=(-1.0, 1.0), classes=None) -> Path:
    """What `minigan sample` reads of a run: config.json and generator.safetensors."""
    folder.mkdir()
    shape = gan.generator.output_shape if image_shape is None else image_shape
    data = {"image_shape": list(shape), "value_range": list(value_range), "classes": classes}
    files.write_json(folder / "config.json", {"gan": gan.config(), "data": data})
    checkpoint.save(folder / "generator.safetensors", gan.sampler)
    return folder


class Killed(BaseException):
    """What kill -9 is to the files: nothing after it happens."""


def contents(run):
    """The bytes of everything in a run, the log without its rates."""
    found = {str(f.relative_to(run)): f.read_bytes() for f in run.rglob("*") if f.is_file()}
    rows = [json.loads(line) for line in found.pop("log.jsonl", b"").splitlines()]
    for row in rows:
        row.pop("images_per_second")
    return {**found, "log": rows}


def kill_at(gan, monkeypatch, step):
    """The process dies in the midst of this step, counted from 1."""
    inner = gan.train_step

    def train_step(real, labels=None):
        if gan.step_count + 1 == step:
            raise Killed
        return inner(real, labels)

    monkeypatch.setattr(gan, "train_step", train_step)
