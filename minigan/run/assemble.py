"""What a command line of `minigan train` asks for: a data set, and a GAN for it."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import models, network_parts, recipes
from ..compatibility import ties_images
from ..gan import GAN
from ..spelling import did_you_mean
from . import datasets

_OWN = "dcgan"  # the network, and the recipe, for images of any size, unless another is named
_SIZE = 64  # pixels a side, unless something says otherwise


@dataclass
class Assembly:
    """name: of the run's folder. notes: what the user should know, a line each."""

    name: str
    data: datasets.Dataset
    gan: GAN
    notes: list[str]


def assemble(args: Any) -> Assembly:
    """Read the data and build the GAN. Raises ValueError or OSError for what does not fit."""
    own = args.name if args.name in models.OF_ANY_SIZE else _OWN
    name = None if args.name == own else args.name
    sized = args.size or args.width or args.name == own
    if name is None and (args.data or "digits") in ("digits", "mnist") and not sized:
        name = "digits"
    if name is None and args.recipe == "reference":
        raise ValueError(
            f"--recipe reference goes with a published network, and {own} is none of those: give a "
            "NAME, as digits or dcgan64"
        )
    network, recipe = (own, args.recipe or own) if name is None else choose(name, args.recipe)
    # what is wrong on the command line is told before the data take their time
    recipe, changed = recipes.with_objective(recipes.get(recipe), args.objective, args.penalty)
    if args.size and name is None:
        network_parts.halvings(own, args.size)
    data = _load(args, name, network)
    networks = _own(network, data, args) if name is None else _named(network, data, args)
    gan = GAN(*networks, **_with_tips(recipe, args, len(data[0])), seed=args.seed)
    _refuse_unbounded(gan)
    notes = [f"for {args.objective}: {', '.join(changed)}"] if changed else []
    if datasets.is_pictures(args.data or "digits"):
        notes.append(data.describe())
        if name is not None and data[0].shape[3] == 1:
            notes.append(f"{name} is a network for grey images; leave out its name for RGB")
    own_name = f"{_plain(args.data or 'digits')}{data[0].shape[1]}"  # e.g. photos64
    own_name = own_name if own == _OWN else f"{own}-{own_name}"
    return Assembly(name or own_name, data, gan, [*notes, *_ties(gan)])


def _plain(data: str) -> str:
    """What a data set is called, as a part of the name of a folder."""
    return re.sub(r"\W+", "_", Path(data).resolve().stem)[:40] or _OWN


def choose(name: str, recipe: str | None) -> tuple[str, str]:
    """(network, recipe) of `minigan train NAME --recipe RECIPE`."""
    if name not in models.NAMES and datasets.is_known(name):
        raise ValueError(
            f"{name!r} is a data set, not a network: minigan train --data {name}, perhaps with "
            "--size 64"
        )
    models.get(name)  # an error names the known ones
    network, own = recipes.DEFAULT.get(name, (name, name))
    if recipe is None:
        return network, own
    if recipe == "reference" or recipe == name:
        return name, name
    if recipe not in recipes.NAMES:
        known = ["reference", *recipes.NAMES]
        raise ValueError(
            f"recipe {recipe!r} is unknown; known are {', '.join(known)}"
            f"{did_you_mean(recipe, known)}"
        )
    return network, recipe


def _load(args: Any, name: str | None, network: str) -> datasets.Dataset:
    """The data, at the size that the network takes, or that is asked for."""
    options = {"fit": args.fit or "crop", "strict": args.strict, "progress": _shows_progress(args)}
    spec = args.data or "digits"
    if name is None:
        channels = 1 if args.gray else None
        size = args.size or (_SIZE if datasets.is_pictures(spec) else None)
        return datasets.load(spec, size=size, channels=channels, **options)
    side, _, channels = shape = models.IMAGES[network]
    if args.data is None and shape != models.IMAGES["digits"]:
        raise ValueError(
            f"{name} takes images of {side} x {side} x {channels}; the embedded digits are "
            "28 x 28 x 1.\nGive --data: a folder of images, or FILE.npz."
        )
    if args.size not in (None, side) or (args.gray and channels != 1) or args.width:
        raise ValueError(
            f"{name} is a network for {side} x {side} x {channels}; leave out its name to have one "
            "for --size, --gray or --width"
        )
    return datasets.load(spec, size=side, channels=channels, **options)


def _shows_progress(args: Any) -> bool:
    import sys

    return sys.stderr.isatty() and not (args.quiet or args.json)


def _named(network: str, data: datasets.Dataset, args: Any) -> Any:
    """A network by name; those that are made for classes get them unasked, at least one."""
    make = models.get(network)
    if network in models.ALWAYS_CONDITIONAL and not args.conditional:
        return make(classes=_classes(data) or 1)
    return make(classes=_needed_classes(data)) if args.conditional else make()


def _own(network: str, data: datasets.Dataset, args: Any) -> Any:
    """A network for the size of the images."""
    _, height, width, channels = data[0].shape
    if height != width:
        raise ValueError(f"the images are {height} x {width}: give --size for square ones")
    classes = _needed_classes(data) if args.conditional else None
    options = {} if args.width is None else {"width": args.width}
    return models.get(network)(size=height, channels=channels, classes=classes, **options)


def _classes(data: datasets.Dataset) -> int | None:
    images, labels = data
    classes = data.classes
    if classes is None:
        return None
    if classes > len(images):
        raise ValueError(
            f"the labels run to {classes - 1}, but there are only {len(images)} images; "
            "number the classes 0, 1, 2, ..."
        )
    empty = np.setdiff1d(np.arange(classes), labels)
    if len(empty):
        some = ", ".join(map(str, empty[:5])) + (", ..." if len(empty) > 5 else "")
        warnings.warn(
            f"no image has the label {some}: what is made of {classes} classes will hold noise "
            "there. Number the classes 0, 1, 2, ... without gaps",
            stacklevel=2,
        )
    return classes


def _needed_classes(data: datasets.Dataset) -> int:
    classes = _classes(data)
    if classes is None:
        raise ValueError(
            "--conditional needs classes, and these data have none: a sub-folder for each class, "
            "or 'labels' in the .npz"
        )
    return classes


def _with_tips(recipe: dict[str, Any], args: Any, images: int) -> dict[str, Any]:
    """The recipe with what the command line says instead."""
    for name in ("update", "d_steps", "real_targets", "fake_targets", "flip_labels"):
        if getattr(args, name) is not None:
            recipe[name] = getattr(args, name)
    if args.ema is not None:
        recipe["ema"] = args.ema or None
    for side in "gd":
        recipe[f"{side}_optimizer"] |= stepping(args, side)
    if args.instance_noise is not None:
        stddev, steps = args.instance_noise
        batch = min(args.batch_size or recipe["batch_size"], images)
        whole = (args.epochs or recipe["epochs"]) * (images // batch)
        recipe["instance_noise"] = (stddev, steps or whole) if stddev else None
    return recipe


def stepping(args: Any, side: str) -> dict[str, float]:
    """What the command line says of the optimizer of G or D."""
    rate = getattr(args, f"{side}_lr") or args.lr
    options = {"learning_rate": rate, "global_clipnorm": args.clip_gradients}
    return {name: value for name, value in options.items() if value is not None}


def _refuse_unbounded(gan: GAN) -> None:
    """The Wasserstein distance needs D's slope to be bounded."""
    clip = getattr(gan.objective, "clip", 0.0)  # of WassersteinGAN alone; None: not clipped
    if clip is None and not any(penalty.weight for penalty in gan.penalties):
        raise ValueError("the wasserstein objective needs a bound on D: add --penalty wgan-gp")


def _ties(gan: GAN) -> list[str]:
    """A penalty is of each image's own slope only where D looks at each image by itself."""
    if not (gan.penalties and ties_images(gan.D)):
        return []
    return [
        "note: this critic has BatchNorm, so an image's logit depends on its batch, and the "
        "penalty is of the slope of all logits together"
    ]
