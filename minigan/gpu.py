"""Whether a GPU can be used, and what is missing if not.

CuPy imports, and answers many questions, on machines where nothing can be computed: it needs a
driver, NVRTC (which compiles kernels when they are first used), cuBLAS (matrix products) and some
memory, and says nothing of a missing one until it is needed.  So `probed` tries each in turn.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

OLDEST = 14  # version of CuPy
INSTALL = "pip install 'minigan[cuda12]' (or [cuda13], to match the driver)"
NUMPY = 'or use the CPU: mg.use("numpy"), --backend numpy'


class Probe(NamedTuple):
    """One thing that must work: `attempt` raises if it does not."""

    what: str
    attempt: Callable[[Any], None]
    remedy: str


def probed() -> ModuleType:
    """CuPy, after each part that it stands on has worked; RuntimeError naming the one that did not.

    A driver and a device; memory; an array operation (NVRTC); a matrix product (cuBLAS); one of
    minigan's own kernels.
    """
    try:
        import cupy
    except Exception as error:  # one built for another NumPy fails in its own ways
        raise RuntimeError(
            f"the cupy backend needs CuPy, which cannot be imported ({error}).\n"
            f"Install it with {INSTALL},\n{NUMPY}"
        ) from error
    if int(cupy.__version__.split(".")[0]) < OLDEST:
        raise RuntimeError(
            f"the cupy backend needs CuPy {OLDEST} or newer, this is {cupy.__version__}.\n"
            f"Install it with {INSTALL},\n{NUMPY}"
        )
    for probe in PROBES:
        try:
            probe.attempt(cupy)
        except Exception as error:  # CuPy has its own error class for each library below it
            text = " ".join(str(error).split())[:200] or type(error).__name__
            raise RuntimeError(
                f"no GPU can be used: {probe.what} ({text}).\n{probe.remedy},\n{NUMPY}"
            ) from error
    return cupy


def _device(cupy: Any) -> None:
    if not cupy.cuda.runtime.getDeviceCount():
        raise RuntimeError("the driver lists none")


def _memory(cupy: Any) -> None:
    cupy.empty(1 << 20, "uint8")


def _operation(cupy: Any) -> None:
    _agree(cupy.arange(4.0) + 1, np.arange(4.0) + 1)


def _product(cupy: Any) -> None:
    a = cupy.arange(4, dtype="float32").reshape(2, 2)
    _agree(a @ a, [[2, 3], [6, 11]])


def _kernel(cupy: Any) -> None:
    from .kernels import gpu

    x = cupy.array([-1, 2], dtype="float32")
    _agree(gpu.leaky_relu(x, 0.5), [-0.5, 2])


def _agree(found: Any, expected: Any) -> None:
    if not np.array_equal(found.get(), expected):
        raise RuntimeError(f"{found.get()} instead of {expected}")


PROBES = (
    Probe(
        "there is no NVIDIA driver, or no device, or the driver is too old",
        _device,
        "Install or update the NVIDIA driver; nvidia-smi should list the GPU, and a CUDA version "
        "of at least CuPy's (12 or 13)",
    ),
    Probe(
        "the GPU has no free memory",
        _memory,
        "Close what else uses the GPU (nvidia-smi lists it), choose another with "
        "CUDA_VISIBLE_DEVICES",
    ),
    Probe(
        "CuPy cannot compile an array operation; NVRTC or the CUDA headers may be missing",
        _operation,
        f"Install them with {INSTALL}",
    ),
    Probe(
        "CuPy cannot multiply matrices; cuBLAS may be missing",
        _product,
        f"Install it with {INSTALL}",
    ),
    Probe(
        "minigan's own kernels do not run",
        _kernel,
        "Clear CuPy's cache of kernels (~/.cupy), and report this if it stays",
    ),
)


def name_of_device() -> str:
    """The current device as CuPy knows it: its number, name and compute capability."""
    import cupy

    device = cupy.cuda.Device()
    name = cupy.cuda.runtime.getDeviceProperties(device.id)["name"].decode()
    return f"device {device.id}, {name}, compute capability {device.compute_capability}"


def memory() -> tuple[int, int]:
    """(free, total) bytes of the current device; what CuPy's pool holds unused counts as free."""
    import cupy

    free, total = cupy.cuda.Device().mem_info
    return free + cupy.get_default_memory_pool().free_bytes(), total


def describe() -> list[str]:
    """Lines for `minigan info`: CuPy, what it stands on, and the device; or why there is none."""
    try:
        cupy = probed()
    except RuntimeError as error:
        return [f"GPU: {error}"]
    from cupy_backends.cuda.libs import nvrtc

    runtime = cupy.cuda.runtime
    free, total = memory()
    return [
        f"CuPy {cupy.__version__}, CUDA runtime {runtime.runtimeGetVersion()}, driver "
        f"{runtime.driverGetVersion()}, NVRTC {'.'.join(map(str, nvrtc.getVersion()))}",
        f"GPU: {name_of_device()}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free",
    ]
