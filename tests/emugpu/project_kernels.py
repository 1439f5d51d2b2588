"""Runs every kernel of the project on small shapes, and prints what was launched.

python tests/emugpu/run.py tests/emugpu/project_kernels.py ROOT once|few|all

ROOT is the checkout whose sources are run.  Ends with an error unless every kernel of every .cu
file was launched: with "once" in float32, else in float64 too, and from strided views.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DTYPES = ("float32", "float64")


def calls(how_many: str) -> Iterator[Any]:
    """Of tests/gpu_calls.py; "once" has one call of a function, and each form of the sums."""
    from tests import gpu_calls

    for dtype in DTYPES[: 1 if how_many == "once" else 2]:
        seen = Counter[str]()
        for call in gpu_calls.small_calls(dtype, few=how_many != "all"):
            seen[call.name] += 1
            if how_many != "once" or seen[call.name] == 1 or call.name == "sums":
                yield call


def run(how_many: str) -> list[tuple[str, str, str]]:
    """(file, kernel, dtype) of what was launched."""
    from minigan.kernels.gpu import launch
    from tests import gpu_calls

    with launch.counted() as counts:
        for call in calls(how_many):
            gpu_calls.run(call, ("C",) if how_many == "once" else ("C", "strided"))
    dtypes = DTYPES[: 1 if how_many == "once" else 2]
    wanted = {(f, k, d) for f in launch.files() for k in launch.kernels(f) for d in dtypes}
    if missing := wanted - counts.keys():
        sys.exit(f"not launched: {sorted(missing)}")
    return sorted(counts)


def main(root: str, how_many: str) -> None:
    sys.path.insert(0, root)
    import cupy

    import minigan

    if Path(minigan.__file__).resolve().parents[1] != Path(root).resolve():
        sys.exit(f"minigan is {minigan.__file__}, not that of {root}")
    # Each array is an allocation of its own, so that AddressSanitizer sees its bounds.
    cupy.cuda.set_allocator(None)
    for file, kernel, dtype in run(how_many):
        print("launched", file, kernel, dtype)


if __name__ == "__main__":
    main(*sys.argv[1:])
