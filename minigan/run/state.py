"""The state of training on disk: all that the next step depends on.

Every draw is a function of (seed, purpose, step), so besides weights and moments the state is a
few integers. Tensors are named "<network>/params/<name>", "<network>/state/<name>" and
"<optimizer>/<moment>.<name>"; the header has the steps taken and what the caller adds.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from ..backend import home, move, to_numpy
from ..flat import write
from ..optimizers import Optimizer
from . import checkpoint, tensors

FORMAT = 1

_STEPPED = {"g_optimizer": "generator", "d_optimizer": "discriminator"}


def save_state(path: str | os.PathLike, gan: Any, progress: dict[str, Any]) -> None:
    """Write the state of `gan`, and `progress` (JSON), to `path`, atomically.

    Raises WriteError (an OSError) when the disk does not take it, ValueError for a complex GAN.
    """
    if gan.discriminator.dtype.kind == "c":
        raise ValueError("a complex GAN cannot be saved: safetensors holds no complex numbers")
    updates = {name: opt.t for name, opt in _optimizers(gan).items()}
    arrays = {name: to_numpy(a) for name, a in {**_weights(gan), **_moments(gan)}.items()}
    facts = {"format": FORMAT, "step": gan.step_count, "updates": updates, "progress": progress}
    tensors.write(path, arrays, {**facts, "digest": _digest(facts, arrays)})


def load_state(path: str | os.PathLike, gan: Any) -> dict[str, Any]:
    """Bring `gan` to the state in the file, wherever it lives, and return its progress.

    Raises ValueError when the file is damaged or belongs to other networks or optimizers, OSError
    when it cannot be opened; the GAN is then as it was.
    """
    with tensors.reading(path) as file:
        header = tensors.header(path, file, FORMAT)
        step, updates, progress = _facts(path, header)
        weights = _weights(gan)
        blank = {
            name: _blank_moments(opt, getattr(gan, _STEPPED[name])) if updates[name] else {}
            for name, opt in _optimizers(gan).items()
        }
        implied = {f"{name}/{key}": a for name, found in blank.items() for key, a in found.items()}
        tensors.compare(path, {**weights, **implied}, file)
        arrays = {name: file.get_tensor(name) for name in (*weights, *implied)}
    if header.pop("digest", None) != _digest(header, arrays):
        raise tensors.damaged(path, "its contents are not those that were written")
    for name, target in weights.items():
        write(target, arrays[name])
    for name, opt in _optimizers(gan).items():
        read = {key: arrays[f"{name}/{key}"] for key in blank[name]}
        opt.state = {"t": updates[name], **move(read, home(gan.generator.params.flat))}
    gan.step_count = step
    return progress


def _facts(path: str | os.PathLike, header: Any) -> tuple[int, dict[str, int], dict[str, Any]]:
    """(steps, updates of each optimizer, progress) of a header."""
    try:
        step, updates, progress = header["step"], header["updates"], header["progress"]
        counts = [step, *(updates[name] for name in _STEPPED)]
    except (KeyError, TypeError) as error:
        raise tensors.damaged(path, "it is no state of training") from error
    if not all(isinstance(n, int) and 0 <= n < 1 << 63 for n in counts):
        raise tensors.damaged(path, f"its counts of steps are {str(counts):.60}")
    if not isinstance(progress, dict):
        raise tensors.damaged(path, "it is no state of training")
    return step, updates, progress


def _digest(facts: Any, arrays: dict[str, np.ndarray]) -> str:
    """A hash of all that a state says, which tells damage that leaves the file readable."""
    parts = [part for name in sorted(arrays) for part in (name.encode(), arrays[name])]
    return tensors.digest(json.dumps(facts, sort_keys=True).encode(), *parts)


def is_finite(gan: Any) -> bool:
    """Whether every weight, statistic and moment is a finite number."""
    vectors = [v.flat for model in _networks(gan).values() for v in (model.params, model.state)]
    vectors += [v.flat for opt in _optimizers(gan).values() for v in opt._moments.values()]
    return all(bool(np.isfinite(vector).all()) for vector in vectors)


def _networks(gan: Any) -> dict[str, Any]:
    networks = {"generator": gan.generator, "discriminator": gan.discriminator}
    return networks if gan.ema is None else {**networks, "average": gan.sampler}


def _optimizers(gan: Any) -> dict[str, Optimizer]:
    return {name: getattr(gan, name) for name in _STEPPED}


def _weights(gan: Any) -> dict[str, Any]:
    return {
        f"{network}/{name}": array
        for network, model in _networks(gan).items()
        for name, array in checkpoint.arrays(model).items()
    }


def _moments(gan: Any) -> dict[str, Any]:
    return {
        f"{name}/{key}": array
        for name, opt in _optimizers(gan).items()
        for key, array in opt.state.items()
        if key != "t"
    }


def _blank_moments(optimizer: Optimizer, model: Any) -> dict[str, Any]:
    """What each moment of each parameter is like."""
    params = model.params.items()
    return {f"{moment}.{name}": p for moment in optimizer.moments for name, p in params}
