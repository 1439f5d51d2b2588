"""`minigan train`: from words to a network, a recipe, data and a run."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import nullcontext
from typing import Any

from .arguments import DONE, at_least_0, count, interval, penalty, positive, seed, share


def add_train(commands: Any) -> None:
    command = commands.add_parser(
        "train",
        help="train a GAN, e.g. minigan train digits",
        usage="minigan train [NAME] [--data DATA] [--size N] [options]\n"
        "       minigan train --resume RUN",
        epilog="minigan train --data FOLDER --size 64 learns from any images; sub-folders are "
        "classes with --conditional. --dry-run tells how long it will take.",
    )
    command.set_defaults(run=_train)
    _add_data(command.add_argument_group("data"))
    _add_network(command.add_argument_group("network and recipe"))
    _add_tips(command.add_argument_group("tips, each instead of the recipe's own"))
    _add_run(command.add_argument_group("run"))


def _add_data(group: Any) -> None:
    add = group.add_argument
    add(
        "--data",
        metavar="DATA",
        help="a folder of images, FILE.npz (uint8 'images', 'labels'), IDX files, mnist "
        "(downloaded once), or digits (embedded, the default), or stacked_digits (made of them)",
    )
    add(
        "--size",
        type=count,
        metavar="N",
        help="pixels a side, e.g. 32, 48, 64 (default), 80, 96, 128",
    )
    add("--gray", action="store_true", help="greyscale instead of RGB")
    add("--fit", choices=["crop", "pad", "stretch"], help="to a square (crop)")
    add("--mirror", action="store_true", help="show images also mirrored left to right")
    add("--strict", action="store_true", help="stop at a file that is no sound image")
    add("--conditional", action="store_true", help="learn the classes: labels, or sub-folders")


def _add_network(group: Any) -> None:
    add = group.add_argument
    add(
        "name",
        nargs="?",
        metavar="NAME",
        help="digits, flowers, dcgan64, upsample64, mlp_digits, or r3gan for any --size; without a "
        "name, a DCGAN for --size",
    )
    add("--recipe", metavar="NAME", help="'reference': network and recipe as published")
    add("--objective", metavar="NAME", help="instead of the recipe's: " + ", ".join(_objectives()))
    add(
        "--penalty",
        type=penalty,
        action="append",
        metavar="KIND",
        help="on D's slope: wgan-gp, r1 or r2, or with a weight, r1:5; may be given twice",
    )
    add("--width", type=count, metavar="N", help="channels for --size (32; r3gan 16)")


def _add_tips(group: Any) -> None:
    add = group.add_argument
    add("--update", choices=["separate", "joint", "simultaneous"], help="batches of real and fake")
    add("--d-steps", type=count, metavar="N", help="updates of D for each of G")
    add("--lr", type=positive, metavar="X", help="learning rate of both")
    add("--g-lr", type=positive, metavar="X", help="learning rate of G")
    add("--d-lr", type=positive, metavar="X", help="learning rate of D")
    add("--real-targets", type=interval, metavar="A:B", help="smoothed: 0.8:1, or 0.9")
    add("--fake-targets", type=interval, metavar="A:B", help="smoothed: 0:0.2 (0: one-sided)")
    add("--flip-labels", type=share, metavar="X", help="share of D's targets exchanged, 0.05")
    add(
        "--instance-noise",
        type=_noise,
        metavar="X",
        help="standard deviation of noise on D's images, gone at the end, or X:STEPS; 0 for none",
    )
    add("--ema", type=share, metavar="X", help="decay of the average of G, 0.999; 0 for none")
    add("--clip-gradients", type=positive, metavar="X", help="largest norm of a gradient")


def _add_run(group: Any) -> None:
    add = group.add_argument
    add(
        "--epochs",
        type=count,
        metavar="N",
        help="passes over the data (default: the recipe's; 300 for --size)",
    )
    add("--batch-size", type=count, metavar="N", help="real images a step")
    add("--seed", type=seed, metavar="S", help="of all randomness (0)")
    add("--out", metavar="RUN", help="a new or empty folder (default runs/NAME-seedS, or -2, ...)")
    add("--resume", metavar="RUN", help="go on with a run; --epochs prolongs it, --lr changes it")
    add("--checkpoint-every", type=count, metavar="N", help="steps (default: an epoch)")
    add("--keep", type=count, metavar="K", help="checkpoints kept (2)")
    add("--dry-run", action="store_true", help="two steps: shapes, memory, time an epoch")
    add("--quiet", action="store_true", help="print nothing but warnings and errors")
    add("--json", action="store_true", help="print an epoch a line, as JSON")


def _objectives() -> list[str]:
    from ..objectives import NAMES

    return list(NAMES)


def _noise(text: str) -> tuple[float, int | None]:
    level, colon, steps = text.partition(":")
    return at_least_0(level), count(steps) if colon else None


def _train(args: argparse.Namespace) -> int:
    from ..kernels.cpu import threads

    threads.count()  # a wrong MINIGAN_THREADS is told before the folder is made
    if args.resume is not None:
        return _resume(args)
    import minigan as mg

    from .assemble import assemble
    from .datasets import is_pictures
    from .folder import next_free, refuse_inside, refuse_used
    from .mnist import unannounced
    from .train import loop_for, train

    args.seed = args.seed or 0
    if args.out is not None:
        refuse_used(args.out)  # before anything that takes time
    if args.data and is_pictures(args.data):
        refuse_inside(args.out or "runs", args.data)
    mg.seed(args.seed)
    with unannounced() if args.quiet or args.json else nullcontext():
        plan = assemble(args)
    for note in [] if args.quiet or args.json else plan.notes:
        print(note, file=sys.stderr)
    if args.dry_run:
        from .rehearsal import rehearse

        loop = loop_for(plan.gan, plan.data, args.epochs, args.batch_size, mirror=args.mirror)
        print(rehearse(loop, args.json))
        return DONE
    out = args.out or next_free("runs", f"{plan.name}-seed{args.seed}")
    show = _Show(args)
    train(
        plan.gan,
        plan.data,
        epochs=args.epochs,
        batch_size=args.batch_size,
        out=out,
        on_epoch=show.epoch,
        progress=show.bar,
        checkpoint_every=args.checkpoint_every,
        keep=args.keep or 2,
        mirror=args.mirror,
    )
    return show.end(out)


def _resume(args: argparse.Namespace) -> int:
    from .assemble import stepping
    from .train import resume

    given = {name for name, value in vars(args).items() if value is not None and value is not False}
    if odd := given - _WITH_RESUME:
        words = ", ".join("NAME" if n == "name" else f"--{n}" for n in sorted(odd))
        raise ValueError(
            f"--resume goes on as the run was started, so it takes no {words.replace('_', '-')}.\n"
            "It takes --epochs, to prolong it, --data, if the data have moved, and --lr, --g-lr, "
            "--d-lr and --clip-gradients, to go on with others."
        )
    show = _Show(args)
    changed = {f"{side}_optimizer": stepping(args, side) for side in "gd"}
    _, history = resume(
        args.resume, args.data, args.epochs, show.epoch, show.bar,
        {name: options for name, options in changed.items() if options},
    )  # fmt: skip
    if show.epochs == 0 and not (args.quiet or args.json):
        print(f"the run was finished at epoch {len(history)}; --epochs N prolongs it")
    return show.end(args.resume)


_WITH_RESUME = {
    *("resume", "data", "epochs", "lr", "g_lr", "d_lr", "clip_gradients"),
    *("quiet", "json", "backend", "command", "run"),
}


class _Show:
    """What is printed: a progress bar for a terminal, lines for a log, JSON for a script."""

    def __init__(self, args: argparse.Namespace):
        self.json, self.quiet = args.json, args.quiet
        self.bar = sys.stderr.isatty() and not (args.json or args.quiet)
        self.epochs = 0

    def epoch(self, epoch: int, gan: Any, logs: dict[str, Any]) -> None:
        from .meter import describe

        self.epochs += 1
        if self.json:
            print(json.dumps(logs), flush=True)
        elif not (self.bar or self.quiet):
            rate = f"{logs['images_per_second']:.0f} images/s"
            print(f"epoch {epoch}  step {logs['step']}  {describe(logs)}  {rate}", flush=True)

    def end(self, out: Any) -> int:
        from .folder import where

        if self.json:
            print(json.dumps({"run": str(out)}))
        elif not (self.bar or self.quiet):
            print(where(out))
        return DONE
