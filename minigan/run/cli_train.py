"""`minigan train`: from words to a network, a recipe, data and a run."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .arguments import DONE, count, seed


def add_train(commands: Any) -> None:
    command = commands.add_parser("train", help="train a GAN, e.g. minigan train digits")
    command.set_defaults(run=_train)
    add = command.add_argument
    add(
        "name",
        nargs="?",
        default="digits",
        metavar="NAME",
        help="the network: digits (default), flowers, dcgan64, upsample64 or mlp_digits",
    )
    add("--data", metavar="DATA", help="digits (embedded), or FILE.npz with uint8 'images'")
    add(
        "--recipe",
        metavar="NAME",
        help="a recipe; 'reference' is the network and recipe as published",
    )
    add("--objective", metavar="NAME", help="instead of the recipe's: " + ", ".join(_objectives()))
    add(
        "--penalty",
        type=_penalty,
        action="append",
        metavar="KIND",
        help="on D's slope: wgan-gp, r1 or r2, or with a weight, r1:5; may be given twice",
    )
    add("--epochs", type=count, metavar="N", help="passes over the data")
    add("--batch-size", type=count, metavar="N", help="real images a step")
    add("--seed", type=seed, default=0, metavar="S", help="of all randomness (default 0)")
    add("--out", metavar="RUN", help="a new or empty folder (default runs/NAME-seedS)")


def _train(args: argparse.Namespace) -> int:
    import minigan as mg

    from ..kernels.cpu import threads
    from . import datasets
    from .folder import next_free, refuse_used, where
    from .train import image_shape, train

    network, recipe = _choose(args.name, args.recipe)
    if args.out is not None:
        refuse_used(args.out)  # before anything that takes time
    threads.count()  # a wrong MINIGAN_THREADS is told before the folder is made
    mg.seed(args.seed)
    data = args.data or "digits"
    chosen, changed = mg.recipes.with_objective(
        mg.recipes.get(recipe), args.objective, args.penalty
    )
    networks = _build(network, *datasets.load(data))
    gan = mg.GAN(*networks, **chosen, seed=args.seed)
    _refuse_unbounded(gan)
    _note_ties(gan)
    _refuse_digits(args.name, data, image_shape(gan))
    if changed:
        print(f"for {args.objective}: {', '.join(changed)}", file=sys.stderr)
    out = args.out or next_free("runs", f"{args.name}-seed{args.seed}")
    bar = sys.stderr.isatty()
    train(
        gan,
        data,
        epochs=args.epochs,
        batch_size=args.batch_size,
        out=out,
        on_epoch=None if bar else _print_epoch,
        progress=bar,
    )
    if not bar:
        print(where(out))
    return DONE


def _build(network: str, images: Any, labels: Any) -> Any:
    """The pair of networks; those made for classes get as many as the data have, at least one."""
    import inspect

    from .. import models

    make = models.get(network)
    if inspect.signature(make).parameters["classes"].default is None:
        return make()
    classes = 1 if labels is None else int(labels.max()) + 1
    if classes > len(images):
        raise ValueError(
            f"the labels run to {classes - 1}, but there are only {len(images)} images; "
            "number the classes 0, 1, 2, ..."
        )
    return make(classes=classes)


def _choose(name: str, recipe: str | None) -> tuple[str, str]:
    """(network, recipe) of `minigan train NAME --recipe RECIPE`."""
    from .. import models, recipes
    from ..spelling import did_you_mean

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


def _objectives() -> list[str]:
    from ..objectives import NAMES

    return list(NAMES)


def _penalty(text: str) -> dict[str, Any]:
    """KIND or KIND:WEIGHT."""
    from ..penalties import GradientPenalty

    kind, colon, weight = text.partition(":")
    try:
        options: dict[str, Any] = {"weight": float(weight)} if colon else {}
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} should be a kind and a weight, as r1:5, or a kind alone"
        ) from None
    try:
        return GradientPenalty(kind, **options).config()
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _refuse_unbounded(gan: Any) -> None:
    """The Wasserstein distance needs D's slope to be bounded."""
    clip = getattr(gan.objective, "clip", 0.0)  # of WassersteinGAN alone; None: not clipped
    if clip is None and not any(penalty.weight for penalty in gan.penalties):
        raise ValueError("the wasserstein objective needs a bound on D: add --penalty wgan-gp")


def _note_ties(gan: Any) -> None:
    """A penalty is of each image's own slope only where D looks at each image by itself."""
    from ..compatibility import ties_images

    if gan.penalties and ties_images(gan.D):
        print(
            "note: this critic has BatchNorm, so an image's logit depends on its batch, and the "
            "penalty is of the slope of all logits together",
            file=sys.stderr,
        )


def _refuse_digits(name: str, data: str, shape: tuple[int, ...]) -> None:
    """The embedded digits fit only networks of their size."""
    if data == "digits" and shape not in ((28, 28, 1), (784,)):
        size = " x ".join(map(str, shape))
        raise ValueError(
            f"{name} takes images of {size}; the embedded digits are 28 x 28 x 1.\n"
            f"Give --data FILE.npz with 'images', uint8 of shape (N, {', '.join(map(str, shape))})."
        )


def _print_epoch(epoch: int, gan: Any, logs: dict[str, Any]) -> None:
    from .meter import describe

    rate = logs["images_per_second"]
    print(f"epoch {epoch}  step {logs['step']}  {describe(logs)}  {rate:.0f} images/s", flush=True)
