"""The only way to launch a CUDA kernel: every argument is checked against the kernel's source.

CuPy's own launch takes what it is given: too few arguments, a float for an int, a float64 array for
a float*, a strided view read as if it were contiguous, a grid of no blocks.  Here the signature is
read from the .cu file, and each call is held to it:

    im2col = kernel("columns", "im2col")       # compiled for a dtype when it is first needed there
    im2col(x.size, x, columns, ...)            # one thread for each of n elements
    sums.blocks((4, 2), (32, 8), a, ...)       # or blocks and threads as given

A kernel that has one thread for an element takes `n`, their number, as its first parameter, which
is the number of threads launched too, so that its guard and its grid agree.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Array = Any
THREADS = 256  # of a block
FOLDER = Path(__file__).resolve().parent.parent / "cuda"
SIGNATURE = re.compile(
    r'extern "C" __global__ void (?:__launch_bounds__\(\d+\) )?(\w+)\(([^)]*)\)', re.DOTALL
)
PARAMETER = re.compile(r"(const )?(REAL|int|long long|word)\s*(\*?)\s*(?:__restrict__ )?(\w+)")
NUMBERS: dict[str, Any] = {"int": np.int32, "long long": np.int64, "word": np.uint64}
LIMITS = {name: (int(np.iinfo(t).min), int(np.iinfo(t).max)) for name, t in NUMBERS.items()}


class Parameter(NamedTuple):
    """One parameter of a kernel: `type` is that of the number, or of an array's elements."""

    name: str
    type: str
    pointer: bool


class Kernel:
    """A kernel of one .cu file, and its signature."""

    def __init__(self, file: str, name: str, parameters: tuple[Parameter, ...]) -> None:
        self.file, self.name, self.parameters = file, name, parameters

    def __call__(self, n: int, *arguments: Any) -> None:
        """Launch one thread for each of n elements; nothing if there is none."""
        if self.parameters[0][:2] not in (("n", "int"), ("n", "long long")):
            raise TypeError(f"{self}: its first parameter is not n; use blocks(grid, block, ...)")
        if n:
            self.blocks((-(-n // THREADS),), (THREADS,), n, *arguments)

    def blocks(self, grid: tuple[int, ...], block: tuple[int, ...], *arguments: Any) -> None:
        """Launch a grid of blocks of threads."""
        if min(*grid, *block) < 1:
            raise ValueError(f"{self}: a launch of {grid} blocks of {block} threads does nothing")
        dtype = self._dtype(arguments)
        compiled(self.file, self.name, dtype.name)(grid, block, self.checked(arguments, dtype))

    def checked(self, arguments: tuple[Any, ...], dtype: np.dtype) -> tuple[Any, ...]:
        """The arguments as the kernel reads them; TypeError or ValueError if one cannot be."""
        if len(arguments) != len(self.parameters):
            names = ", ".join(p.name for p in self.parameters)
            raise TypeError(
                f"{self} takes {len(self.parameters)} arguments ({names}), got {len(arguments)}"
            )
        here = current_device()
        return tuple(
            self._array(p, a, dtype, here) if p.pointer else self._number(p, a, dtype)
            for p, a in zip(self.parameters, arguments, strict=True)
        )

    def _array(self, p: Parameter, a: Any, dtype: np.dtype, here: int) -> Array:
        wanted = dtype if p.type == "REAL" else np.dtype(NUMBERS[p.type])
        if not isinstance(a, _cupy().ndarray):
            raise TypeError(f"{self}: {p.name} is a {type(a).__name__}; give a CuPy array")
        if a.dtype != wanted:
            raise TypeError(f"{self}: {p.name} is {a.dtype}, the kernel reads {wanted}")
        if not a.flags.c_contiguous:
            raise ValueError(f"{self}: {p.name} is a strided view of shape {a.shape}; copy it")
        if a.data.device_id != here:
            there = a.data.device_id
            raise ValueError(
                f"{self}: {p.name} is on device {there}, the current one is {here}; compute inside "
                f"`with cupy.cuda.Device({there}):`"
            )
        return a

    def _number(self, p: Parameter, a: Any, dtype: np.dtype) -> Any:
        if p.type == "REAL":
            if type(a) is bool or not isinstance(a, (int, float, np.number)):
                raise TypeError(f"{self}: {p.name} is a {type(a).__name__}; give a number")
            return dtype.type(a)
        if type(a) is not int and not isinstance(a, np.integer):  # a bool is neither
            raise TypeError(f"{self}: {p.name} is a {type(a).__name__}; give a whole number")
        low, high = LIMITS[p.type]
        if not low <= a <= high:
            raise ValueError(
                f"{self}: {p.name}={a} does not fit into {p.type}; "
                "give the operation fewer elements at a time"
            )
        return NUMBERS[p.type](a)

    def _dtype(self, arguments: tuple[Any, ...]) -> np.dtype:
        """REAL in this launch: the dtype of the first array of REAL."""
        for p, a in zip(self.parameters, arguments, strict=False):
            if p.pointer and p.type == "REAL" and hasattr(a, "dtype"):
                return check_real(a.dtype, self)
        raise TypeError(f"{self}: no array among the arguments {[p.name for p in self.parameters]}")

    def __str__(self) -> str:
        return f"{self.file}.cu: {self.name}"


@contextmanager
def counted(
    counts: Counter[tuple[str, str, str]] | None = None,
) -> Iterator[Counter[tuple[str, str, str]]]:
    """Inside the block, how often each kernel is launched: {(file, kernel, dtype): count}."""
    found = Counter[tuple[str, str, str]]() if counts is None else counts
    blocks = Kernel.blocks

    def counting(self: Kernel, grid: Any, block: Any, *arguments: Any) -> None:
        blocks(self, grid, block, *arguments)
        found[self.file, self.name, self._dtype(arguments).name] += 1

    Kernel.blocks = counting  # type: ignore[method-assign]
    try:
        yield found
    finally:
        Kernel.blocks = blocks  # type: ignore[method-assign]


def current_device() -> int:
    """The number of the device that CuPy computes on in this thread."""
    return _cupy().cuda.device.get_device_id()


def check_real(dtype: np.dtype, where: Any) -> np.dtype:
    """The dtype if kernels compute in it: float32 or float64."""
    if dtype.char not in "fd":
        raise TypeError(
            f"{where}: {dtype} does not run on the GPU, which has float32 and float64; "
            "complex models stay on the CPU (mg.use('numpy'))"
        )
    return dtype


@cache
def source(file: str) -> str:
    """The text of a .cu file."""
    return (FOLDER / f"{file}.cu").read_text(encoding="utf-8")


@cache
def kernels(file: str) -> dict[str, Kernel]:
    """The kernels of a .cu file by their names."""
    found = {}
    for name, parameters in SIGNATURE.findall(source(file)):
        parts = [PARAMETER.fullmatch(part.strip()) for part in parameters.split(",")]
        if None in parts:
            raise ValueError(f"{file}.cu: the parameters of {name} cannot be read: {parameters}")
        found[name] = Kernel(
            file,
            name,
            tuple(Parameter(m[4], m[2], bool(m[3])) for m in parts if m),
        )
    return found


def kernel(file: str, name: str) -> Kernel:
    """One kernel; it is compiled when it is first launched."""
    return kernels(file)[name]


def files() -> list[str]:
    """The names of the .cu files."""
    return sorted(path.stem for path in FOLDER.glob("*.cu"))


def options(dtype: str) -> tuple[str, ...]:
    """What a file is compiled with; CuPy adds the architecture, and -ftz=true."""
    return ("-std=c++17", f"-DREAL={'float' if dtype == 'float32' else 'double'}")


@cache
def compiled(file: str, name: str, dtype: str) -> Any:
    """The kernel as CuPy launches it; CuPy itself keeps one for each device."""
    return _module(file, dtype).get_function(name)


@cache
def _module(file: str, dtype: str) -> Any:
    return _cupy().RawModule(code=source(file), options=options(dtype))


def _cupy() -> Any:
    import cupy

    return cupy
