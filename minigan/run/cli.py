"""The command `minigan`. Heavy modules are imported by the commands that need them."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DONE, FAILED, MISUSED = 0, 1, 2  # exit codes
_ERROR_LINES = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    0: done. 1: a check failed or the run stopped. 2: the command line or the input is wrong. An
    error is at most five lines on stderr.
    """
    with warnings.catch_warnings():
        # A diverging run overflows before its loss shows it; the loop reports that, once.
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        warnings.showwarning = _show_warning  # type: ignore[assignment]
        try:
            args = _parser().parse_args(argv)
            if getattr(args, "backend", None) and args.run is not _info:
                _use(args.backend)
            return args.run(args)
        except SystemExit as stop:  # argparse: --help, or a wrong command line
            return int(stop.code or 0)
        except KeyboardInterrupt as interrupt:
            return _fail(str(interrupt) or "interrupted", FAILED)
        except MemoryError as error:
            advice = "out of memory; a smaller --batch-size or --count needs less"
            return _fail(str(error) or advice, FAILED)
        except BrokenPipeError:  # e.g. `minigan summary digits | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILED
        except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
            return _fail(str(error) or type(error).__name__, _code(error))


def _code(error: Exception) -> int:
    from .files import WriteError

    stopped = type(error).__name__ == "TrainingStopped"  # importing train costs half a second
    return FAILED if stopped or isinstance(error, WriteError) else MISUSED


def _fail(message: str, code: int) -> int:
    lines = f"minigan: {message}".splitlines()[:_ERROR_LINES]
    print("\n".join(line[:500] for line in lines), file=sys.stderr)
    return code


def _show_warning(message: Any, *rest: Any) -> None:
    print(f"minigan: warning: {message}", file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        self.exit(MISUSED, f"{self.prog}: {message}\nSee {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="minigan", description="Train small GANs, and make images with them.")
    parser.set_defaults(run=lambda args: _help(parser))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Parser)
    for add in (_add_train, _add_sample, _add_summary, _add_check, _add_bench, _add_info):
        add(commands)
    for command in commands.choices.values():
        text = "numpy (default), cupy (a GPU), or auto"
        command.add_argument("--backend", default=None, metavar="B", help=text)
    return parser


def _use(backend: str) -> None:
    import minigan as mg

    mg.use(backend)


def _help(parser: argparse.ArgumentParser) -> int:
    parser.print_help()
    return DONE


def _add_train(commands: Any) -> None:
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
    add("--epochs", type=_count, metavar="N", help="passes over the data")
    add("--batch-size", type=_count, metavar="N", help="real images a step")
    add("--seed", type=_seed, default=0, metavar="S", help="of all randomness (default 0)")
    add("--out", metavar="RUN", help="a new or empty folder (default runs/NAME-seedS)")


def _add_sample(commands: Any) -> None:
    command = commands.add_parser("sample", help="make images with the generator of a run")
    command.set_defaults(run=_sample)
    add = command.add_argument
    add("folder", metavar="RUN", help="the folder that train filled")
    add("--count", type=_count, default=64, metavar="N", help="how many (default 64)")
    add("--seed", type=_seed, default=None, metavar="S", help="of the latents (default: the run's)")
    add("--class", type=int, dest="label", metavar="C", help="of this class only")
    add("--out", metavar="FILE", help="a .png or .npz (default RUN/sample-seedS.png)")


def _add_summary(commands: Any) -> None:
    command = commands.add_parser("summary", help="print the tables of a network")
    command.set_defaults(run=_summary)
    command.add_argument("name", metavar="NAME", help="digits, flowers, dcgan64, ...")


def _add_check(commands: Any) -> None:
    command = commands.add_parser("check", help="check every gradient, and print the table")
    command.set_defaults(run=_check)


def _add_bench(commands: Any) -> None:
    command = commands.add_parser("bench", help="time a step of each reference pair")
    command.set_defaults(run=_bench)
    add = command.add_argument
    add("names", nargs="*", metavar="NAME", help="digits, flowers, ... (default: all five)")
    add("--against", choices=["torch"], help="beside PyTorch, in turns")
    add("--batch-size", type=_count, metavar="N", help="instead of each pair's own")
    add("--rounds", type=_count, default=12, metavar="N", help="turns of each side (default 12)")
    add("--profile", action="store_true", help="where the time goes, stage by stage")
    add("--plan", action="store_true", help="the form that each convolution takes")
    add("--json", action="store_true", help="the figures as JSON")


def _add_info(commands: Any) -> None:
    command = commands.add_parser("info", help="versions, backend and threads")
    command.set_defaults(run=_info)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} should be a whole number of 1 or more")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 64:
        raise argparse.ArgumentTypeError(f"{text!r} should be a whole number of 0 or more")
    return int(text)


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
    from .train import describe

    rate = logs["images_per_second"]
    print(f"epoch {epoch}  step {logs['step']}  {describe(logs)}  {rate:.0f} images/s", flush=True)


def _sample(args: argparse.Namespace) -> int:
    from .sampling import SavedGenerator, write_samples

    generator = SavedGenerator(args.folder)
    seed = generator.seed if args.seed is None else args.seed
    wanted = "" if args.label is None else f"-class{args.label}"
    out = args.out or Path(args.folder) / f"sample-seed{seed}{wanted}.png"
    images, labels = generator.images(args.count, seed, args.label)
    write_samples(out, images, labels, generator.classes if args.label is None else None)
    print(out)
    return DONE


def _summary(args: argparse.Namespace) -> int:
    from .. import models
    from ..sequential import stacked_summary

    generator, discriminator = models.get(args.name)()
    tables = generator.summary(), discriminator.summary()
    print("\n\n".join([*tables, stacked_summary(generator, discriminator)]))
    return DONE


def _check(args: argparse.Namespace) -> int:
    from . import checks

    return checks.main()


def _bench(args: argparse.Namespace) -> int:
    import numpy as np

    from ..backend import xp
    from . import bench

    names = args.names or list(bench.BATCHES)
    for name in names:
        bench.batch_of(name)  # an error names the known ones
    if args.plan:
        return bench.plans(names, args.batch_size)
    if xp() is not np:
        from . import bench_gpu

        if args.against or args.profile:
            raise ValueError(
                "bench on a GPU takes neither --against nor --profile; it shows its kernels by "
                "itself"
            )
        return bench_gpu.main(names, args.rounds, args.batch_size, args.json)
    if args.profile:
        return bench.profile(names, args.batch_size)
    return bench.main(names, args.against, args.rounds, args.batch_size, args.json)


def _info(args: argparse.Namespace) -> int:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import minigan
    from minigan import gpu
    from minigan.kernels.cpu import threads

    print(
        f"minigan {minigan.__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}"
    )
    for name in ("numpy", "pillow", "safetensors", "matplotlib", "cupy-cuda12x", "cupy-cuda13x"):
        try:
            print(f"{name} {version(name)}")
        except PackageNotFoundError:
            if not name.startswith("cupy"):
                print(f"{name} is missing")
    try:
        module = minigan.use(args.backend) if args.backend else minigan.xp
        print(f"backend {module.__name__}, {threads.count()} threads")
    except RuntimeError:
        print("backend cupy was asked for, and cannot be used:")
    print("\n".join(gpu.describe()))
    return DONE
