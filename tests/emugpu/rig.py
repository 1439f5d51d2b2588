"""The real CuPy on an emulated CUDA device.

CuPy's extension modules take each other's C functions from tables of capsules, when they are
imported.  `install` imports the two at the bottom, which call CUDA, replaces what is in their
tables by the functions of runtime.cpp and driver.cpp, and imports the rest of CuPy on top: its
rules of types, shapes, memory and kernels are its own compiled code.  Kernels, CuPy's generated
ones and the project's, are compiled by g++ in the place of NVRTC (compile.py) and run thread by
thread (engine.cpp); products of matrices are NumPy's (cublas.py).

    from tests.emugpu import rig
    device = rig.install()      # before the first `import cupy`
    import cupy

Not modelled, and refused: random numbers, sorts, FFT, solvers, sparse matrices, graphs, textures,
managed memory, peers, cooperative launches, cupyx.jit, half precision in products.  Not modelled,
and not seen: time, occupancy, missing synchronisation between streams (a call returns when its
work is done), and access of the host to device memory (it would work).
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Literal, NamedTuple

from . import compile as compiling
from . import cublas, signatures
from .signatures import RigError
from .unmodelled import Unmodelled, refusing

ORDERS = ("forward", "reversed", "shuffled")

# Kept as CuPy has them: constants, arithmetic on structs, and versions of the build.
KEPT = {
    "driver": {"get_build_version"},
    "runtime": {
        "_getCUDAMajorVersion",
        "check_status",
        "make_Extent",
        "make_PitchedPtr",
        "make_Pos",
    },
}
UNMODELLED_MODULES = {
    "cupy.cuda.thrust": "Thrust (sort, argsort, lexsort, unique)",
    "cupy.cuda.cufft": "cuFFT",
    "cupy.cuda.jitify": "Jitify",
    "cupyx.jit": "cupyx.jit",
    "cupy_backends.cuda.libs.curand": "cuRAND",
    "cupy_backends.cuda.libs.cusolver": "cuSOLVER",
    "cupy_backends.cuda.libs.cusparse": "cuSPARSE",
    "cupy_backends.cuda.libs.nccl": "NCCL",
}
CTYPES = {
    "PyObject *": ctypes.py_object,
    "intptr_t": ctypes.c_ssize_t,
    "uintmax_t": ctypes.c_size_t,
    "size_t": ctypes.c_size_t,
    "int": ctypes.c_int,
    "unsigned int": ctypes.c_uint,
    "float": ctypes.c_float,
}

_installed: Rig | None = None


class Counters(NamedTuple):
    """What went between host and device since the start, or the last reset."""

    uploads: int
    downloads: int
    device_copies: int
    upload_bytes: int
    download_bytes: int
    synchronisations: int


class Rig:
    """The emulated device."""

    def __init__(self, library: ctypes.PyDLL) -> None:
        self._library = library
        library.emu_launches.restype = library.emu_counters.restype = ctypes.py_object
        library.emu_set_total_memory.argtypes = [ctypes.c_size_t]
        library.emu_on_device.argtypes = [ctypes.c_ssize_t, ctypes.c_size_t]
        library.emu_poison.argtypes = [ctypes.c_ssize_t, ctypes.c_size_t]

    @property
    def launches(self) -> Counter[str]:
        """How often each kernel, and each function of cuBLAS ("cublas:gemm"), was launched."""
        return Counter(self._library.emu_launches())

    def counters(self) -> Counters:
        return Counters(*self._library.emu_counters())

    def reset(self) -> None:
        """Counters and launches begin at zero."""
        self._library.emu_reset()

    @contextmanager
    def order(
        self, order: Literal["forward", "reversed", "shuffled"], seed: int = 0
    ) -> Iterator[None]:
        """The order in which blocks, and the threads of a block, run inside the with block."""
        if order not in ORDERS:
            raise ValueError(f"order must be one of {', '.join(ORDERS)}")
        self._library.emu_set_order(ORDERS.index(order), seed)
        try:
            yield
        finally:
            self._library.emu_set_order(ORDERS.index("forward"), 0)

    @contextmanager
    def memory_limit(self, limit: int) -> Iterator[None]:
        """The device has `limit` bytes of memory in all inside the with block.

        What is in use counts, and what CuPy's memory pool keeps.
        """
        self._library.emu_set_total_memory(limit)
        try:
            yield
        finally:
            self._library.emu_set_total_memory(0)


def install() -> Rig:
    """The device of this process, made at the first call; before anything imports CuPy."""
    global _installed
    if _installed is None:
        if "cupy" in sys.modules:
            raise RigError("cupy was imported before the rig was installed")
        _installed = _install()
    return _installed


def _install() -> Rig:
    os.environ["CUPY_ACCELERATORS"] = ""
    os.environ["CUPY_CACHE_IN_MEMORY"] = "1"
    signatures.check_version()
    library = ctypes.PyDLL(str(compiling.library()), mode=ctypes.RTLD_GLOBAL)
    for api in ("driver", "runtime"):
        signatures.compare(api, signatures.capsules(api))
        _replace_functions(library, api)
    rig = Rig(library)
    _replace_modules(library)
    cupy = importlib.import_module("cupy")
    _replace_compiler(cupy)
    _refuse_names(cupy)
    _poison_pool(library, cupy)
    return rig


# ---- functions that call CUDA


def _replace_functions(library: ctypes.PyDLL, api: str) -> None:
    """Every C function of the module, and what it shows Python under the same name."""
    module = importlib.import_module(signatures.API + api)
    functions = {
        name: signature
        for name, signature in signatures.capsules(api).items()
        if "(" in signature and name not in KEPT[api]
    }
    missing = {n: s for n, s in functions.items() if not hasattr(library, f"{api}_{n}")}
    stubs = ctypes.PyDLL(str(compiling.stubs(api, missing)))
    for name, signature in functions.items():
        refused = name in missing
        function = getattr(stubs if refused else library, f"{api}_{name}")
        module.__pyx_capi__[name] = _capsule(function, signature)
        if hasattr(module, name):
            visible = refusing(f"{api}.{name}") if refused else _visible(function, signature)
            setattr(module, name, visible)
    for name in vars(module).copy():
        if name.startswith("ipc") or name == "deviceDisablePeerAccess":
            setattr(module, name, refusing(f"{api}.{name}"))


_kept_names: list[bytes] = []  # a capsule does not copy its name


def _capsule(function: Any, signature: str) -> Any:
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = (
        ctypes.py_object,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p],
    )
    _kept_names.append(signature.encode())
    return new(ctypes.cast(function, ctypes.c_void_p), _kept_names[-1], None)


def _visible(function: Any, signature: str) -> Callable[..., Any]:
    """The C function for callers in Python, who leave out the flag that Cython adds."""
    result, parameters = signature.rstrip(")").split("(", 1)
    types = [part.strip() for part in parameters.split(",")]
    own = [CTYPES[part] for part in types if part in CTYPES]
    function.restype = CTYPES[result.strip()]
    function.argtypes = own + [ctypes.c_void_p] * (len(types) - len(own))
    added = [None] * (len(types) - len(own))
    return lambda *arguments: function(*arguments, *added)


# ---- modules and names


def _replace_modules(library: ctypes.PyDLL) -> None:
    modules = {name: Unmodelled(name, feature) for name, feature in UNMODELLED_MODULES.items()}
    modules["cupy_backends.cuda.libs.cublas"] = cublas.module(library)
    libs = importlib.import_module("cupy_backends.cuda.libs")
    for name, module in modules.items():
        sys.modules[name] = module
        package, _, attribute = name.rpartition(".")
        if package == libs.__name__:
            setattr(libs, attribute, module)


def _replace_compiler(cupy: ModuleType) -> None:
    compiler = importlib.import_module("cupy.cuda.compiler")
    signatures.compare("compiler", signatures.compiler_functions(compiler))
    includes = (os.path.join(os.path.dirname(cupy.__file__), "_core", "include"),)
    key = compiler._get_cupy_cache_key()

    def compile_module(source, options=(), arch=None, filename="", name_expressions=None, *_rest):
        names = sorted(name_expressions or ())
        try:
            path, symbols = compiling.kernel_module(source, options, names, includes, str(key))
        except compiling.CompileError as error:
            raise compiler.CompileException(
                str(error), source, filename, options, "nvrtc"
            ) from None
        return str(path).encode(), symbols or None

    compiler._compile_using_nvrtc_no_warning = compile_module
    compiler._get_nvrtc_version = lambda: (12, 9)
    compiler._preprocess = lambda source, options, arch, backend: ""
    compiler.compile_using_nvcc = refusing("nvcc")


def _refuse_names(cupy: ModuleType) -> None:
    for name in ("cupy.cuda.cufft", "cupy.cuda.jitify", "cupyx.jit"):
        package, _, attribute = name.rpartition(".")
        setattr(importlib.import_module(package), attribute, sys.modules[name])
    _refuse_functions(cupy.random)
    _refuse_functions(cupy.cuda.cub)
    for name in ("set_reduction_accelerators", "set_routine_accelerators"):
        setattr(cupy._core, name, refusing(f"cupy._core.{name}"))


def _refuse_functions(module: ModuleType) -> None:
    for name, value in vars(module).copy().items():
        if callable(value) and not name.startswith("_"):
            setattr(module, name, refusing(f"{module.__name__}.{name}"))


def _poison_pool(library: ctypes.PyDLL, cupy: ModuleType) -> None:
    """Memory that CuPy's pool hands out again, or takes back, is poisoned as malloc's is.

    Hooks belong to a thread: this one.
    """

    class Poison(cupy.cuda.memory_hook.MemoryHook):
        name = "poison"

        def malloc_postprocess(self, *, size: int, mem_ptr: int, **_rest: Any) -> None:
            library.emu_poison(mem_ptr, size)

        def free_preprocess(self, *, mem_size: int, mem_ptr: int, **_rest: Any) -> None:
            library.emu_poison(mem_ptr, mem_size)

    Poison().__enter__()
