"""Compiles a .cu file with NVRTC alone, for each architecture: nothing but the driver is missing.

python -m tests.nvrtc FILE float32|float64

Prints each finding, and ends with status 1 if there is one.  In float32 a spill and a product in
float64 are findings of ptxas; warnings of the compiler are findings always.  The emulated device
stands in the place of NVRTC, so this runs in a process of its own.
"""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Iterator
from pathlib import Path

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
CUPY = ("-ftz=true", "--device-as-default-execution-space")  # what CuPy adds
STRICT = {
    "float32": ("-warn-spills", "-warn-double-usage", "-Werror"),
    "float64": (),
}


MISSING = 'CuPy and NVRTC are not installed: pip install -e ".[test,emulated]"'


def is_there() -> bool:
    """Whether there are CuPy and the wheel of NVRTC, looked for without importing either."""
    if importlib.util.find_spec("cupy") is None:
        return False
    namespace = importlib.util.find_spec("nvidia")
    places = list(namespace.submodule_search_locations or []) if namespace else []
    return any(list(Path(place).rglob("libnvrtc.so*")) for place in places)


def findings(path: Path, dtype: str) -> Iterator[str]:
    """What the compiler says about the file, for each architecture that it speaks of."""
    from cupy.cuda import compiler

    from minigan.kernels.gpu import launch

    strict = [f"--ptxas-options={option}" for option in STRICT[dtype]]
    for architecture in ARCHITECTURES:
        options = [*launch.options(dtype), *CUPY, f"-arch=sm_{architecture}", *strict]
        program = compiler._NVRTCProgram(path.read_text(), path.name, method="cubin")
        log = io.StringIO()
        try:
            program.compile(options, log)
        except compiler.CompileException as error:
            log.write(str(error))
        if said := log.getvalue().strip("\0 \n"):
            yield f"{path.name}, {dtype}, sm_{architecture}: {said}"


def main(path: str, dtype: str) -> int:
    found = list(findings(Path(path), dtype))
    print(*found, sep="\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
