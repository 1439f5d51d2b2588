"""mg.train and mg.resume: a GAN, data, and a folder that the run can be taken up from."""

from __future__ import annotations

import copy
import math
import operator
import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..gan import GAN
from ..layers.configuration import to_config
from ..random import Key
from . import checkpoint, datasets
from .folder import RunFolder, read_config, refuse_used, where
from .loop import Loop, TrainingStopped
from .tensors import digest

__all__ = ["TrainingStopped", "image_shape", "resume", "train"]

OnEpoch = Callable[[int, Any, dict[str, Any]], object]
_NETWORKS = ("generator", "discriminator")


def train(
    gan: Any,
    data: Any,
    epochs: int | None = None,
    out: str | os.PathLike | None = None,
    on_epoch: OnEpoch | None = None,
    batch_size: int | None = None,
    progress: bool = True,
    checkpoint_every: int | None = None,
    keep: int = 2,
    mirror: bool = False,
) -> list[dict[str, Any]]:
    """Train `gan` on `data` and return one dict an epoch.

    data: images (N, H, W, C), uint8, or floats in the generator's range; (images, labels) for a
        GAN with classes; or a name that datasets.load knows.
    epochs, batch_size: those of the GAN's recipe by default. Each epoch goes through the data once
        in a new order, which depends on the GAN's seed alone; a last batch that is not full is
        left out, unless it is the only one.
    out: a new or empty folder for checkpoints, the log, samples from fixed latents, curves and
        weights (see minigan.run.folder). None writes nothing.
    on_epoch: called as on_epoch(epoch, gan, logs) after each epoch.
    progress: show a progress bar, and at the end where the files are.
    checkpoint_every: steps from one checkpoint to the next; None: one after each epoch. The newest
        `keep` stay. `resume` goes on from the newest.
    mirror: show each image as it is or mirrored left to right, by chance.

    The dict of an epoch has epoch (from 1), step, the means of what GAN.train_step returns (d_loss,
    g_loss, d_real = D(x), d_fake = D(G(z)), and penalty if there is one), spread and g_gradient
    (see minigan.run.watch), and images_per_second.  A sign of collapse is a warning of one line.

    Ctrl-C finishes the step, saves and raises KeyboardInterrupt, which says how to go on. Raises
    TrainingStopped when something is not finite, and names the layer; ValueError or TypeError when
    the arguments do not fit, FileExistsError when `out` is not empty, WriteError (an OSError) when
    it cannot be written.
    """
    if out is not None:
        refuse_used(out)
        if gan.discriminator.dtype.kind == "c":
            raise ValueError("a complex GAN cannot be saved: safetensors holds no complex numbers")
    if isinstance(data, (str, os.PathLike)):
        data = _read(data, image_shape(gan))
    every = None if checkpoint_every is None else _positive("checkpoint_every", checkpoint_every)
    keep = _positive("keep", keep)
    loop = loop_for(gan, data, epochs, batch_size, every, keep, mirror, on_epoch)
    if out is not None:
        loop.folder = RunFolder.create(out, _config(loop, data))
        with loop.folder.locked():
            loop.folder.list_skipped(getattr(data, "skipped", []))
            loop.save()  # the first weights: a run that is killed early starts from them again
            return _run(loop, progress)
    return _run(loop, progress)


def resume(
    run: str | os.PathLike,
    data: Any = None,
    epochs: int | None = None,
    on_epoch: OnEpoch | None = None,
    progress: bool = True,
    optimizers: dict[str, dict[str, Any]] | None = None,
) -> tuple[GAN, list[dict[str, Any]]]:
    """Go on with the run in a folder, to the bits that it would have had without a break.

    data: the same data again, for a run that was started from arrays; None reads what it was
        started with. epochs: how many in all instead; more of them prolong a finished run.
    on_epoch, progress: as for train.
    optimizers: options to change from here on, {"g_optimizer": {"learning_rate": 1e-4}, ...};
        config.json keeps them, and from which step on they hold.

    Starts from the newest checkpoint that can be read; what was logged after it is taken back and
    made again. Returns the GAN and the history of the whole run. Raises as `train` does, and
    ValueError when the folder is damaged or the data are others.
    """
    folder, config = RunFolder(run), read_config(run)
    before = copy.deepcopy(config)
    _change(config, epochs, optimizers or {})
    with folder.locked():
        gan = _rebuilt(folder, config)
        found, problems = folder.load_state(gan)
        for problem in problems:
            warnings.warn(f"an older checkpoint is taken: {problem}", stacklevel=2)
        data = _same_data(config, gan, data)
        loop = Loop(gan, _batches(gan, data), config, folder, on_epoch)
        _refuse_other_data(config, loop.batches)
        done, _ = loop.place(gan.step_count)
        if loop.end < gan.step_count:
            raise ValueError(f"the run has {done} epochs already; --epochs is how many in all")
        if optimizers:
            config["changes"][-1]["step"] = gan.step_count
        config["data"] |= _source(data)
        loop.history = folder.rewind(gan.step_count, done, loop.epochs)
        loop.partial = _partial(found)
        folder.prune(config["keep"])
        if config != before:
            folder.write_config(config)
        return gan, _run(loop, progress)


def _change(config: dict[str, Any], epochs: int | None, optimizers: dict[str, Any]) -> None:
    """Put what is asked for at a resumption in place of what was."""
    if epochs is not None:
        config["epochs"] = _positive("epochs", epochs)
    for name, options in optimizers.items():
        config["gan"][name] = {**config["gan"][name], **options}
    if optimizers:
        config["changes"] = [*config.get("changes", []), dict(optimizers)]


def _partial(found: dict[str, Any] | None) -> dict[str, float]:
    """The sums of the epoch that a checkpoint was made in."""
    return {str(name): float(total) for name, total in (found or {}).get("partial", ())}


def loop_for(
    gan: Any,
    data: Any,
    epochs: int | None = None,
    batch_size: int | None = None,
    checkpoint_every: int | None = None,
    keep: int = 2,
    mirror: bool = False,
    on_epoch: OnEpoch | None = None,
) -> Loop:
    """The loop of `train`, at its start and without a folder."""
    batches = _batches(gan, data)
    batch_size = _positive("batch_size", gan.batch_size if batch_size is None else batch_size)
    datasets.check_enough(len(batches), batch_size)
    if mirror and len(image_shape(gan)) != 3:
        raise ValueError("to mirror them needs images (H, W, C); these are vectors")
    settings = {
        "epochs": _positive("epochs", gan.epochs if epochs is None else epochs),
        "batch_size": min(batch_size, len(batches)),
        "checkpoint_every": checkpoint_every,
        "keep": keep,
        "mirror": mirror,
        "first_step": gan.step_count,
    }
    return Loop(gan, batches, settings, None, on_epoch)


def _run(loop: Loop, progress: bool) -> list[dict[str, Any]]:
    history = loop.run(progress)
    if loop.folder and progress:
        print(where(loop.folder.path))
    return history


def image_shape(gan: Any) -> tuple[int, ...]:
    """The shape of the images that the discriminator takes, without the batch axis."""
    shape = gan.discriminator.input_shape
    return shape[0] if gan.conditional else shape


def _positive(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a whole number of 1 or more, got {value!r}")
    return int(value)


def _batches(gan: Any, data: Any) -> datasets.Batches:
    dtype = gan.discriminator.dtype
    return datasets.Batches(data, image_shape(gan), gan.image_range, dtype, gan.classes)


def _config(loop: Loop, data: Any) -> dict[str, Any]:
    from .. import __version__

    gan, batches = loop.gan, loop.batches
    networks = {name: getattr(gan, name) for name in _NETWORKS}
    names = getattr(data, "names", None)
    return {
        "minigan": __version__,
        **loop.settings,
        "gan": gan.config(),
        "data": {
            **{"name": None, "options": {}, **_source(data)},
            "count": len(batches),
            "classes": list(names) if names and gan.classes else None,
            "image_shape": list(batches.image_shape),
            "value_range": list(batches.value_range),
            "digest": digest(batches.images, batches.labels),
        },
        "networks": {name: to_config(network) for name, network in networks.items()},
        "weights": digest(*(network.params.flat for network in networks.values())),
    }


def _source(data: Any) -> dict[str, Any]:
    """Where a data set can be read again, if it says so."""
    source = getattr(data, "source", None)
    return {"name": source[0], "options": source[1]} if source else {}


def _rebuilt(folder: RunFolder, config: dict[str, Any]) -> GAN:
    """The GAN of a run, as it was before the first step."""
    where = folder.path / "config.json"
    saved = folder.states()
    try:
        specs, seed = config["networks"], config["gan"]["seed"]
        checkpoint.check_room(where, specs.values(), saved)
        networks = [
            checkpoint.build(specs[name], Key(seed, "weights", layer=name)) for name in _NETWORKS
        ]
        gan = GAN(*networks, **config["gan"])
        gan.step_count = operator.index(config["first_step"])
        counts = ("epochs", "batch_size", "keep")
        config |= {name: _positive(name, config[name]) for name in counts}
        every, mirror = config["checkpoint_every"], config["mirror"]
        config["checkpoint_every"] = every and _positive("checkpoint_every", every)
        config["mirror"] = bool(mirror)
        known = config["weights"], config["data"]["digest"], config["data"]["count"]
    except (LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        what = " ".join(str(error).split())[:200]
        raise ValueError(f"{where} lacks or garbles {what}; it was damaged or edited") from error
    weights = digest(*(network.params.flat for network in networks))
    if not saved and weights != known[0]:
        raise ValueError(
            f"{folder.path} has no checkpoint, and its first weights cannot be drawn again (they "
            "came from Python, or from another version): train anew"
        )
    return gan


def _same_data(config: dict[str, Any], gan: GAN, data: Any) -> Any:
    """The data that the run was started with, or those that are given instead."""
    name, options = config["data"].get("name"), dict(config["data"].get("options") or {})
    if data is None and name is None:
        raise ValueError("this run was started from arrays in Python: give the data again")
    shape = image_shape(gan)
    if data is not None and not isinstance(data, (str, os.PathLike)):
        return data
    if data is not None and name is None:
        return _read(data, shape)
    size = options.get("size") or ()
    sides = size if isinstance(size, (list, tuple)) else [size]
    if not {*sides} <= {*shape, math.isqrt(shape[0])}:
        raise ValueError("config.json asks for images of another size; it was damaged or edited")
    load = datasets.load_again if data is None else datasets.load
    return load(name if data is None else data, **options)


def _read(data: str | os.PathLike, shape: tuple[int, ...]) -> datasets.Dataset:
    """The data set of this name or path; pictures of a folder as the networks take them."""
    if datasets.is_pictures(data) and len(shape) == 3:
        return datasets.load(data, size=shape[:2], channels=shape[2])
    return datasets.load(data)


def _refuse_other_data(config: dict[str, Any], batches: datasets.Batches) -> None:
    if digest(batches.images, batches.labels) != config["data"]["digest"]:
        raise ValueError(
            "the data are not those that the run was started with, so it cannot go on as it would "
            f"have: {config['data']['count']} images, now {len(batches)}, or others of them.\n"
            "Restore them, say where they are (--data), or start a new run."
        )
