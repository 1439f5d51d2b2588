"""Record the golden trace: python -m tests.golden.record, from the checkout.

Ten steps of each reference pair in float64, from fixed seeds: its architecture with few channels,
its recipe, dropout included (its masks are a function of seed and step).

A golden number changes only in a commit that says why the old one was wrong.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import minigan as mg

FILE = Path(__file__).with_name("trace.json")
STEPS = 10
BATCH = 8

SIZES = {
    "digits": ((4, 6, 5), (5, 6)),
    "flowers": ((4, 4, 3, 4, 3), (3, 4, 5, 4, 5)),
    "dcgan64": ((8, 6, 5, 4), (4, 5, 6, 8)),
    "upsample64": ((12, 4, 5, 4), (4, 5, 6, 12)),
    "mlp_digits": ((16, 12, 20, 16), (20, 16, 12)),
}


def trace(name: str) -> dict[str, Any]:
    """The logs of the steps, and of every array at the end its sum and its sum of squares."""
    pair = getattr(mg.models, name)(sizes=SIZES[name], dtype="float64", seed=1)
    gan = mg.GAN(*pair, **{**getattr(mg.recipes, name), "seed": 2})
    low, high = gan.image_range or (0.0, 1.0)
    draw = np.random.Generator(np.random.Philox(3)).random  # uniform: its bits never change
    logs = []
    for _ in range(STEPS):
        real = low + (high - low) * draw((BATCH, *gan.generator.output_shape))
        logs.append({key: float(value) for key, value in gan.train_step(real).items()})
    return {"steps": logs, "sums": {m.name: sums(m) for m in pair}}


def sums(model: mg.Sequential) -> dict[str, list[float]]:
    """name -> [sum, sum of squares] of parameters and running statistics.

    A parameter whose gradient is null holds rounding errors, which are no trace of anything.
    """
    arrays = {**model.params, **model.state}
    null = model.null_gradients()
    return {k: [float(a.sum()), float((a * a).sum())] for k, a in arrays.items() if k not in null}


if __name__ == "__main__":
    FILE.write_text(json.dumps({name: trace(name) for name in SIZES}, indent=1) + "\n")
    print(f"wrote {FILE}")
