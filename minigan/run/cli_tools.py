"""`minigan summary`, `check`, `bench` and `info`."""

from __future__ import annotations

import argparse
from typing import Any

from .arguments import DONE, count


def add_summary(commands: Any) -> None:
    command = commands.add_parser("summary", help="print the tables of a network")
    command.set_defaults(run=_summary)
    command.add_argument("name", metavar="NAME", help="digits, flowers, dcgan64, ...")


def add_check(commands: Any) -> None:
    command = commands.add_parser("check", help="check every gradient, and print the table")
    command.set_defaults(run=_check)


def add_bench(commands: Any) -> None:
    command = commands.add_parser("bench", help="time a step of each reference pair")
    command.set_defaults(run=_bench)
    add = command.add_argument
    add("names", nargs="*", metavar="NAME", help="digits, flowers, ... (default: all five)")
    add("--against", choices=["torch"], help="beside PyTorch, in turns")
    add("--batch-size", type=count, metavar="N", help="instead of each pair's own")
    add("--rounds", type=count, default=12, metavar="N", help="turns of each side (default 12)")
    add("--profile", action="store_true", help="where the time goes, stage by stage")
    add("--plan", action="store_true", help="the form that each convolution takes")
    add("--json", action="store_true", help="the figures as JSON")


def add_info(commands: Any) -> None:
    command = commands.add_parser("info", help="versions, backend and threads")
    command.set_defaults(run=_info)


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
