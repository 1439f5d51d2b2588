"""Runs a script on the emulated device, its kernels built with a sanitizer of g++.

"address" is AddressSanitizer and UndefinedBehaviorSanitizer: accesses out of bounds of arrays of
the device (each an allocation of its own: the script's process has CuPy's memory pool off) and of
shared arrays, and overflows of signed integers.  "thread" is ThreadSanitizer: races between the
threads of a block and between blocks.  A finding ends the process with status 66, and names the
line of the kernel's source.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

RUNTIMES = {"address": ("libasan.so", "libubsan.so"), "thread": ("libtsan.so",)}
FOUND = 66
OPTIONS = {
    "ASAN_OPTIONS": f"detect_leaks=0:exitcode={FOUND}:abort_on_error=0",
    "UBSAN_OPTIONS": f"halt_on_error=1:exitcode={FOUND}:print_stacktrace=1",
    "TSAN_OPTIONS": f"exitcode={FOUND}:halt_on_error=1:ignore_noninstrumented_modules=1"
    ":report_signal_unsafe=0",
}


def run(
    script: str | Path, sanitizer: Literal["address", "thread"], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """What came of the script; a status of FOUND means that the sanitizer found something."""
    runner = Path(__file__).with_name("run.py")
    environment = {
        **os.environ,
        **OPTIONS,
        "LD_PRELOAD": " ".join(_library(name) for name in RUNTIMES[sanitizer]),
        "MINIGAN_EMU_SANITIZER": sanitizer,
        "PYTHONMALLOC": "malloc",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [sys.executable, str(runner), str(script), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def _library(name: str) -> str:
    command = ["g++", f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
