"""Launches the kernel of faults.cu that the first argument names, in as many blocks of 64 as the
second says, with as much dynamic shared memory as the third.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cupy
import numpy as np

SOURCE = Path(__file__).with_name("faults.cu")


def launch(name: str, blocks: int, shared: int = 0) -> None:
    """y.sum() is printed, so that a reduction of CuPy's own runs too."""
    # Each array is an allocation of its own, so that AddressSanitizer sees its bounds.
    cupy.cuda.set_allocator(None)
    x = cupy.asarray(np.arange(128, dtype=np.float32))
    y = cupy.zeros(64, np.float32)
    kernel = cupy.RawModule(code=SOURCE.read_text()).get_function(name)
    kernel((blocks,), (64,), (x, y, np.int32(64)), shared_mem=shared)
    print("ran", float(y.sum()))


if __name__ == "__main__":
    launch(sys.argv[1], *map(int, sys.argv[2:]))
