"""A run folder without its training."""

from __future__ import annotations

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
