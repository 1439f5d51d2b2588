"""The command `minigan`. Heavy modules are imported by the commands that need them."""

from __future__ import annotations

import argparse
import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from ..spelling import did_you_mean
from .arguments import DONE, FAILED, MISUSED
from .cli_evaluate import add_evaluate
from .cli_export import add_export
from .cli_sample import add_animate, add_interpolate, add_sample
from .cli_tools import add_bench, add_check, add_info, add_summary
from .cli_train import add_train

_COMMANDS = (
    add_train,
    add_sample,
    add_interpolate,
    add_animate,
    add_evaluate,
    add_export,
    add_summary,
    add_check,
    add_bench,
    add_info,
)
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
            args = parsed(argv)
            if getattr(args, "backend", None) and args.command != "info":
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
        except (
            ValueError,
            TypeError,
            OSError,
            RuntimeError,
            ImportError,
            ArithmeticError,
        ) as error:
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
        wrong = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if wrong:
            message += did_you_mean(wrong[1], re.findall(r"[\w-]+", wrong[2]))
        self.exit(MISUSED, f"{self.prog}: {message}\nSee {self.prog} --help\n")


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """What a command line says. SystemExit, with a hint, for one that is wrong."""
    parser, commands = _parsers()
    args, odd = parser.parse_known_args(argv)
    if odd:
        command = commands.get(args.command, parser)
        known = re.findall(r"--[\w-]+", command.format_help())
        hint = did_you_mean(odd[0].partition("=")[0], known)
        command.error(f"unrecognized arguments: {' '.join(odd)}{hint}")
    return args


def _parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser of the command line, and those of the commands by name."""
    parser = _Parser(prog="minigan", description="Train small GANs, and make images with them.")
    parser.set_defaults(run=lambda args: _help(parser))
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", parser_class=_Parser
    )
    for add in _COMMANDS:
        add(commands)
    for command in commands.choices.values():
        text = "numpy (default), cupy (a GPU), or auto"
        command.add_argument("--backend", default=None, metavar="B", help=text)
    return parser, dict(commands.choices)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *rest: Any) -> None:
        from importlib.metadata import version

        print(f"minigan {version('minigan')}")
        parser.exit()


def _use(backend: str) -> None:
    import minigan as mg

    mg.use(backend)


def _help(parser: argparse.ArgumentParser) -> int:
    parser.print_help()
    return DONE
