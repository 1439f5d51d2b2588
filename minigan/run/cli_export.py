"""`minigan export`: the generator of a run for ONNX, PyTorch and Keras."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .arguments import DONE


def add_export(commands: Any) -> None:
    command = commands.add_parser("export", help="the generator for ONNX, PyTorch or Keras")
    command.set_defaults(run=_export)
    add = command.add_argument
    add("folder", metavar="RUN", help="the folder that train filled")
    place: dict[str, Any] = {"nargs": "?", "const": "", "default": None}
    add("--onnx", metavar="FILE", help="an ONNX graph (default RUN/generator.onnx)", **place)
    add("--torch", metavar="FOLDER", help="PyTorch source, weights (default RUN/torch)", **place)
    add("--keras", metavar="FOLDER", help="Keras source, weights (default RUN/keras)", **place)


def _export(args: argparse.Namespace) -> int:
    from .keras_export import export_keras
    from .onnx_export import export_onnx
    from .sampling import SavedGenerator
    from .torch_export import export_torch

    run = Path(args.folder)
    exports: list[tuple[Any, str | None, Path]] = [
        (export_onnx, args.onnx, run / "generator.onnx"),
        (export_torch, args.torch, run / "torch"),
        (export_keras, args.keras, run / "keras"),
    ]
    if all(place is None for _, place, _ in exports):
        raise ValueError("export: say what to write: --onnx, --torch or --keras, or several")
    saved = SavedGenerator(run)
    model = saved.generator
    if model.output_shape != saved.image_shape:
        from .exporting import reshaped

        model = reshaped(model, saved.image_shape)
    for export, place, usual in exports:
        if place is not None:
            for path in export(place or usual, model, about=_about(saved)):
                print(path)
    return DONE


def _about(saved: Any) -> str:
    """What a user of the generator must know besides its shapes."""
    noise = "N(0, 1)" if saved.latent_kind == "normal" else "the uniform distribution on [-1, 1]"
    low, high = saved.value_range
    return f"Draw z from {noise}. It was trained on images in [{low:g}, {high:g}]."
