"""mg.train and mg.resume: a GAN, data, and a folder that the run can be taken up from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import to_numpy
from ..gan import GAN
from ..layers.base import to_config
from ..random import Key
from . import checkpoint, datasets
from .folder import RunFolder, read_config, refuse_used, where
from .loop import Loop, TrainingStopped

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

    The dict of an epoch has epoch (from 1), step, the means of what GAN.train_step returns (d_loss,
    g_loss, d_real = D(x), d_fake = D(G(z)), and penalty if there is one), spread and g_gradient
    (see minigan.run.watch), and images_per_second.  A sign of collapse is a warning of one line.

    Ctrl-C finishes the step, saves and raises KeyboardInterrupt, which says how to go on. Raises
    TrainingStopped when something is not finite, and names the layer; ValueError or TypeError when
    the arguments do not fit, FileExistsError when `out` is not empty, WriteError (an OSError) when
    it cannot be written.
    """
    epochs = _positive("epochs", gan.epochs if epochs is None else epochs)
    batch_size = _positive("batch_size", gan.batch_size if batch_size is None else batch_size)
    every = None if checkpoint_every is None else _positive("checkpoint_every", checkpoint_every)
    keep = _positive("keep", keep)
    if out is not None:
        refuse_used(out)
    if isinstance(data, (str, os.PathLike)):
        data = datasets.load(data)
    batches = _batches(gan, data)
    settings = {
        "epochs": epochs,
        "batch_size": min(batch_size, len(batches)),
        "checkpoint_every": every,
        "keep": keep,
        "first_step": gan.step_count,
    }
    folder = None
    if out is not None:
        folder = RunFolder.create(out, _config(gan, batches, data, settings))
    loop = Loop(gan, batches, settings, folder, on_epoch)
    loop.save()  # the first weights: a run that is killed early starts from them again
    return _run(loop, progress)


def resume(
    run: str | os.PathLike,
    data: Any = None,
    epochs: int | None = None,
    on_epoch: OnEpoch | None = None,
    progress: bool = True,
) -> tuple[GAN, list[dict[str, Any]]]:
    """Go on with the run in a folder, to the bits that it would have had without a break.

    data: the same data again, for a run that was started from arrays; None reads what it was
        started with. epochs: where to end instead; more of them prolong a finished run.

    Starts from the newest checkpoint that can be read; what was logged after it is taken back and
    made again. Returns the GAN and the history of the whole run. Raises as `train` does, and
    ValueError when the folder is damaged or the data are others.
    """
    folder, config = RunFolder(run), read_config(run)
    gan = _rebuilt(folder, config)
    found, problems = folder.load_state(gan)
    for problem in problems:
        print(f"an older checkpoint is taken: {problem}")
    if epochs is not None:
        config["epochs"] = _positive("epochs", epochs)
    batches = _batches(gan, _same_data(config, data))
    _refuse_other_data(config, batches)
    loop = Loop(gan, batches, config, folder, on_epoch)
    loop.history = folder.rewind(gan.step_count)
    loop.partial = dict((found or {}).get("partial", ()))
    folder.prune(config["keep"])
    if epochs is not None:
        folder.write_config(config)
    return gan, _run(loop, progress)


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


def _config(gan: Any, batches: Any, data: Any, settings: dict[str, Any]) -> dict[str, Any]:
    from .. import __version__

    networks = {name: getattr(gan, name) for name in _NETWORKS}
    name, options = getattr(data, "source", None) or (None, {})
    names = getattr(data, "names", None)
    return {
        "minigan": __version__,
        **settings,
        "gan": gan.config(),
        "data": {
            "name": name,
            "options": options,
            "count": len(batches),
            "classes": list(names) if names and gan.classes else None,
            "image_shape": list(batches.image_shape),
            "value_range": list(batches.value_range),
            "digest": _digest(batches.images, batches.labels),
        },
        "networks": {name: to_config(network) for name, network in networks.items()},
        "weights": _digest(*(network.params.flat for network in networks.values())),
    }


def _digest(*arrays: Any) -> str:
    """A hash of the arrays' bytes; None counts as nothing."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        if array is not None:
            digest.update(np.ascontiguousarray(to_numpy(array)).data)
    return digest.hexdigest()


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
        gan.step_count = int(config["first_step"])
        settings = ("epochs", "batch_size", "keep")
        config |= {name: _positive(name, config[name]) for name in settings}
        known = config["weights"], config["data"]["digest"]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{where} lacks or garbles {error}; it was damaged or edited") from error
    weights = _digest(*(network.params.flat for network in networks))
    if not saved and weights != known[0]:
        raise ValueError(
            f"{folder.path} has no checkpoint, and its first weights cannot be drawn again (they "
            "came from Python, or from another version): train anew"
        )
    return gan


def _same_data(config: dict[str, Any], data: Any) -> Any:
    name, options = config["data"].get("name"), config["data"].get("options") or {}
    if data is None and name is None:
        raise ValueError("this run was started from arrays in Python: give the data again")
    if data is None:
        return datasets.load(name, **options)
    return datasets.load(data, **options) if isinstance(data, (str, os.PathLike)) else data


def _refuse_other_data(config: dict[str, Any], batches: datasets.Batches) -> None:
    if _digest(batches.images, batches.labels) != config["data"]["digest"]:
        raise ValueError(
            f"the data are not those that the run was started with ({config['data']['count']} "
            f"images; now {len(batches)}), so it cannot go on as it would have.\n"
            "Restore them, give their place (--data), or start a new run."
        )
