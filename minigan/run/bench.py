"""`minigan bench`: whole adversarial steps of the reference pairs, beside PyTorch's if asked.

The two sides run in a process each and take turns, so that a machine whose speed drifts slows
both: what is quoted is the ratio of neighbouring turns.  Each step has fresh images.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import registry
from ..kernels.cpu import threads
from ..layers.conv import Convolution
from ..layers.stage import Wrapped
from ..layers.upsampled import UpsampledConv

BATCHES = {"mlp_digits": 128, "digits": 128, "dcgan64": 64, "upsample64": 32, "flowers": 32}
TURN = 0.5  # seconds that a turn lasts at least
PROFILED = 3  # steps
CLOSE = 2.0  # times as far from float64 as PyTorch's parameters, that ours may be
FAR = 0.05  # PyTorch's own distance from our float64, from which on one of the two is wrong


class Side:
    """A worker process."""

    def __init__(self, side: str, name: str, batch: int, *options: str) -> None:
        self.side = side
        command = [sys.executable, "-W", "ignore", "-m", "minigan.run.bench_worker"]
        env = {**os.environ, "MINIGAN_THREADS": str(threads.count())}
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [*sys.path[:1], *_checkout()]))
        self.process = subprocess.Popen(
            [*command, side, name, str(batch), *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=env,
        )  # fmt: skip
        self.about = self.read()

    def read(self) -> dict[str, Any]:
        """The next line of its answers; lines that are no answers are shown."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
            print(line, end="", file=sys.stderr)
        raise RuntimeError(f"the {self.side} side of the benchmark stopped: see above")

    def ask(self, steps: int) -> list[float]:
        """The seconds of this many steps."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{steps}\n")
        return self.read()["seconds"]

    def close(self) -> float | None:
        """End it; its peak memory in MB."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        peak = self.read()["peak_mb"]
        self.process.wait()
        return peak


def _checkout() -> list[str]:
    """The folder of this checkout, for the workers of a clone that is not installed."""
    root = Path(__file__).resolve().parents[2]
    return [str(root)] if (root / "setup.cfg").exists() else []


def batch_of(name: str) -> int:
    """The batch of a reference pair; ValueError for another name."""
    return registry.find("reference pair", BATCHES, name)


def profile(names: list[str], batch: int | None) -> int:
    """Print where a few steps of each pair spend their time."""
    import numpy as np

    from .bench_worker import make_gan, real_batch
    from .profile import Profile

    for name in names:
        gan, rng = make_gan(name), np.random.default_rng(0)
        images = [real_batch(gan, batch or batch_of(name), rng) for _ in range(PROFILED + 1)]
        gan.train_step(images[0])
        with Profile(gan) as found:
            for real in images[1:]:
                gan.train_step(real)
        print(f"{name}, batch {len(images[0])}, {PROFILED} steps\n{found.table()}\n")
    return 0


def plans(names: list[str], batch: int | None) -> int:
    """Print the planner's choice for each convolution and pass, with the estimates it rests on."""
    from .. import models
    from ..kernels.cpu import plan

    print(f"{'layer':<40}{'pass':<16}{'form':<24}{'ms':>8}{'plain ms':>10}   (one thread)")
    for name in names:
        n = batch or batch_of(name)
        for model in models.get(name)():
            for label, C, OC, geo in convolutions(model):
                shape = plan.Shape(C, OC, geo, n)
                for what in ("forward", "adjoint", "dkernel"):
                    path = getattr(plan, what)(shape)
                    with plan.exactly():
                        plain = getattr(plan, what)(shape)
                    print(
                        f"{f'{name} {model.name} {label}':<40}{what:<16}{form_of(path):<24}"
                        f"{path.cost * n / 1e6:>8.1f}{plain.cost * n / 1e6:>10.1f}"
                    )
    return 0


def convolutions(model: Any) -> Iterator[tuple[str, int, int, Any]]:
    """(name, channels of the big side, of the small side, geometry) of a model's convolutions."""
    for name, stage in model._stages:
        while isinstance(stage, Wrapped):
            stage = stage.layer
        if isinstance(stage, UpsampledConv):
            channels, filters = stage.params["kernel"].shape[2:]
            yield f"{name}, upsampled", filters, channels, stage.geometry
        elif isinstance(stage, Convolution):
            yield name, *stage.kernel.shape[2:], stage.geometry


def form_of(path: Any) -> str:
    """A path in words."""
    t = path.toom
    if t is None:
        return path.form
    tiles = f"F({t.rows.m}x{t.cols.m}, {t.rows.r}x{t.cols.r})"
    return f"toom {tiles} {'outwards' if t.outward else 'inwards'}"


def measure(name: str, batch: int, against: str | None, rounds: int) -> dict[str, Any]:
    """The figures of one pair."""
    sides = [Side("minigan", name, batch)]
    if against:
        options = Side("choose", name, batch).about  # in a process whose memory does not count
        sides.append(Side(against, name, batch, json.dumps(options)))
    turns = [max(1, math.ceil(TURN / statistics.median(side.ask(2)))) for side in sides]
    times = [
        [statistics.median(side.ask(n)) for side, n in zip(sides, turns, strict=True)]
        for _ in range(rounds)
    ]
    ours = statistics.median(t[0] for t in times)
    found: dict[str, Any] = {
        "name": name,
        "batch": batch,
        "seconds": ours,
        "images_per_second": batch / ours,
        "gflops": sides[0].about["gflop"] / ours,
        "large_product_gflops": sides[0].about["large_gflops"],
        "configuration": sides[0].about["configuration"],
    }
    peaks = [side.close() for side in sides]
    found["peak_mb"] = peaks[0]
    if against:
        ratios = sorted(t[1] / t[0] for t in times)
        found[against] = {
            "seconds": statistics.median(t[1] for t in times),
            "configuration": sides[1].about["configuration"],
            "peak_mb": peaks[1],
            "ratio": statistics.median(ratios),
            "ratios": ratios,
            "distances": Side("check", name, min(batch, 16)).about,
        }
    return found


def main(
    names: list[str], against: str | None, rounds: int, batch: int | None, as_json: bool
) -> int:
    """Measure, print, and return the exit code: 1 if the sides' parameters differ too much."""
    if against and importlib.util.find_spec(against) is None:
        raise ValueError(f"--against {against} needs PyTorch: pip install 'minigan[bench]'")
    results = []
    if not as_json:
        print(HEAD + (HEAD_AGAINST if against else ""))
    for name in names:
        results.append(measure(name, batch or batch_of(name), against, rounds))
        if not as_json:
            print(row(results[-1], against), flush=True)
    ratios = [result[against]["ratio"] for result in results] if against else []
    apart = [r["name"] for r in results if against and too_far(r[against]["distances"])]
    if as_json:
        print(json.dumps({"pairs": results, "geometric_mean": mean(ratios), "apart": apart}))
    elif against:
        print_ends(results, against, mean(ratios))
    if apart:
        print(f"parameters differ from PyTorch's too much: {', '.join(apart)}", file=sys.stderr)
    return 1 if apart else 0


HEAD = f"{'pair':<12}{'batch':>6}{'ms/step':>9}{'images/s':>10}{'GFLOP/s':>9}{'peak MB':>9}"
HEAD_AGAINST = f"{'torch ms':>10}{'peak MB':>9}{'ratio':>7}  {'spread':<12}"


def row(r: dict[str, Any], against: str | None) -> str:
    """A line of the table."""
    line = (
        f"{r['name']:<12}{r['batch']:>6}{r['seconds'] * 1e3:>9.1f}{r['images_per_second']:>10.0f}"
        f"{r['gflops']:>9.0f}{megabytes(r):>9}"
    )
    if against:
        t = r[against]
        spread = f"{t['ratios'][0]:.2f}-{t['ratios'][-1]:.2f}"
        line += f"{t['seconds'] * 1e3:>10.1f}{megabytes(t):>9}{t['ratio']:>7.2f}  {spread:<12}"
    return line.rstrip()


def megabytes(side: dict[str, Any]) -> str:
    """Its peak memory."""
    return "-" if side["peak_mb"] is None else f"{side['peak_mb']:.0f}"


def print_ends(results: list[dict[str, Any]], against: str, geometric: float | None) -> None:
    """What stands below the table."""
    first = results[0]
    print(f"\nratio: {against}'s time over minigan's; geometric mean {geometric:.2f}")
    print(f"minigan: {first['configuration']}; {against}: {first[against]['configuration']}")
    print(f"a large product: {first['large_product_gflops']:.0f} GFLOP/s")
    print("smooth networks, three steps: distance from float64, relative to what they moved:")
    for r in results:
        cells = ", ".join(f"{k} {v:.0e}" for k, v in r[against]["distances"].items())
        print(f"  {r['name']:<12}{cells}")


def mean(ratios: list[float]) -> float | None:
    """The geometric mean."""
    return statistics.geometric_mean(ratios) if ratios else None


def too_far(distances: dict[str, float]) -> bool:
    """Whether our parameters are much further from float64's than PyTorch's, or both are lost."""
    pairs = [(distances[f"minigan {n}"], distances[f"torch {n}"]) for n in "GD"]
    return not all(ours <= CLOSE * theirs and theirs <= FAR for ours, theirs in pairs)
