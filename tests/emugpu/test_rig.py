"""The emulated device: what it answers, counts and refuses.  Planted faults are in faults.cu."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from . import compile as compiling
from . import rig as rigs
from . import signatures

HERE = Path(__file__).parent
RUN = HERE / "run.py"
REVERSE = np.arange(63, -1, -1, dtype=np.float32)

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("rig")]


@pytest.fixture
def cupy(rig: rigs.Rig) -> Any:
    return importlib.import_module("cupy")


@pytest.fixture
def launch(cupy: Any) -> Callable[..., Any]:
    """Launches a kernel of faults.cu, and returns its y."""
    module = cupy.RawModule(code=(HERE / "faults.cu").read_text())

    def run(name: str, blocks: int = 1, threads: int = 64, x: Any = None, shared: int = 0) -> Any:
        x = cupy.arange(128, dtype=np.float32) if x is None else x
        y = cupy.zeros(64, np.float32)
        kernel = module.get_function(name)
        kernel((blocks,), (threads,), (x, y, np.int32(64)), shared_mem=shared)
        return y.get()

    return run


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RUN), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def script(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "script.py"
    path.write_text(text)
    return process(str(path), "an argument")


# ---- kernels


def test_barriers_and_shared_memory(launch: Callable[..., Any]) -> None:
    assert np.array_equal(launch("correct_reverse"), REVERSE)


def test_shuffles(launch: Callable[..., Any]) -> None:
    assert np.array_equal(launch("correct_shuffles"), np.repeat([496, 1520], 32))


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ("divergent_barrier", "some threads ended before the __syncthreads()"),
        ("early_return", "some threads ended before the __syncthreads()"),
        ("two_barriers", "threads wait at the __syncthreads() of lines"),
    ],
)
def test_a_divergent_barrier_ends_the_process(kernel: str, message: str) -> None:
    result = process(str(HERE / "launch_fault.py"), kernel, "1")
    assert result.returncode < 0
    assert f"kernel {kernel}, block (0, 0, 0): {message}" in result.stderr


@pytest.mark.parametrize(
    ("kernel", "shared"), [("unwritten_shared", 0), ("unwritten_dynamic", 256)]
)
def test_unwritten_shared_memory_is_nan(
    launch: Callable[..., Any], kernel: str, shared: int
) -> None:
    launch("correct_reverse")  # leaves numbers where the next kernel's array may be
    y = launch(kernel, shared=shared)
    assert np.array_equal(y[:32], np.arange(32)) and np.isnan(y[32:]).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_unwritten_device_memory_is_nan(cupy: Any, dtype: type) -> None:
    address = cupy.ones(5000, dtype).data.ptr
    x = cupy.empty(5000, dtype)
    assert x.data.ptr == address, "the pool was to hand out the same memory again"
    assert np.isnan(x.get()).all()


def test_freed_memory_is_nan(cupy: Any, launch: Callable[..., Any]) -> None:
    x = cupy.ones(128, np.float32)
    view = cupy.ndarray(
        (128,),
        np.float32,
        cupy.cuda.MemoryPointer(cupy.cuda.UnownedMemory(x.data.ptr, 512, None, 0), 0),
    )
    assert launch("correct_copy", x=view)[0] == 1
    del x
    assert np.isnan(view.get()).all()


@pytest.mark.parametrize(
    ("grid", "block", "shared"),
    [
        ((1,), (1025,), 0),
        ((1,), (1, 1, 65), 0),
        ((1, 65536), (1,), 0),
        ((1, 1, 65536), (1,), 0),
        ((1,), (1,), 48 * 1024 + 1),
    ],
)
def test_limits_of_a_launch(cupy: Any, grid: Any, block: Any, shared: int) -> None:
    kernel = cupy.RawKernel('extern "C" __global__ void limits() {}', "limits")
    kernel((1,), (1,), ())
    with pytest.raises(cupy.cuda.driver.CUDADriverError, match="INVALID_VALUE"):
        kernel(grid, block, (), shared_mem=shared)


def test_launch_bounds(cupy: Any, launch: Callable[..., Any]) -> None:
    launch("bounded", threads=64)
    with pytest.raises(cupy.cuda.driver.CUDADriverError, match="__launch_bounds__"):
        launch("bounded", threads=65)


@pytest.mark.parametrize("address", [1234, np.zeros(1).ctypes.data])
def test_a_pointer_to_the_host_is_refused(
    cupy: Any, launch: Callable[..., Any], address: int
) -> None:
    with pytest.raises(cupy.cuda.driver.CUDADriverError, match="argument 0"):
        launch("correct_copy", x=address)


def test_options_are_honoured(cupy: Any) -> None:
    source = 'extern "C" __global__ void fill(REAL* y) { y[threadIdx.x] = REAL(1) / 3; }'
    for dtype, name in ((np.float32, "float"), (np.float64, "double")):
        y = cupy.empty(3, dtype)
        options = ("-std=c++17", f"-DREAL={name}")
        cupy.RawModule(code=source, options=options).get_function("fill")((1,), (3,), (y,))
        assert np.array_equal(y.get(), np.full(3, 1 / dtype(3), dtype))


def test_arithmetic_of_the_device(cupy: Any) -> None:
    kernel = cupy.RawKernel(
        """
        extern "C" __global__ void arithmetic(const unsigned long long* x, unsigned long long* y)
        {
            y[0] = __umul64hi(x[0], x[1]);
            y[1] = __umulhi((unsigned)x[0], (unsigned)x[1]);
            y[2] = min(3, 5) + max(3LL, 5LL);
            y[3] = min(nanf(""), 7.0f) + max(8.0, nan(""));
        }
        """,
        "arithmetic",
    )
    a, b = 0xFEDCBA9876543210, 0x0123456789ABCDEF
    y = cupy.empty(4, np.uint64)
    kernel((1,), (1,), (cupy.asarray(np.array([a, b], np.uint64)), y))
    low = (a & 0xFFFFFFFF) * (b & 0xFFFFFFFF) >> 32
    assert y.get().tolist() == [a * b >> 64, low, 8, 15]


def test_products_and_sums_are_not_contracted(cupy: Any) -> None:
    kernel = cupy.RawKernel(
        'extern "C" __global__ void f(const float* x, float* y) { y[0] = x[0] * x[0] - x[1]; }', "f"
    )
    x = np.float32(1 + 2**-12)
    y = cupy.empty(1, np.float32)
    kernel((1,), (1,), (cupy.asarray(np.array([x, x * x], np.float32)), y))
    assert y.get() == 0


def test_a_mistake_in_a_kernel_is_shown(cupy: Any) -> None:
    kernel = cupy.RawKernel('extern "C" __global__ void f(float* y) { y[0] = z; }', "f")
    with pytest.raises(cupy.cuda.compiler.CompileException, match="‘?z'?’? was not declared"):
        kernel.compile()


def test_an_unknown_option_is_an_error(cupy: Any) -> None:
    kernel = cupy.RawKernel('extern "C" __global__ void f() {}', "f", options=("--frobnicate",))
    with pytest.raises(cupy.cuda.compiler.CompileException, match="--frobnicate"):
        kernel.compile()


def test_two_processes_may_build_the_same(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("MINIGAN_EMU_CACHE", str(tmp_path))
    command = [sys.executable, str(RUN), str(HERE / "launch_fault.py"), "correct_reverse", "1"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [p.communicate()[0] for p in both] == ["ran 2016.0\n"] * 2
    assert {path.suffix for path in tmp_path.iterdir()} == {".so"}


# ---- order


ORDERS = [("forward", 0), ("reversed", 0), ("shuffled", 0), ("shuffled", 1)]


def in_orders(rig: rigs.Rig, function: Callable[[], Any]) -> set[bytes]:
    results = set()
    for order, seed in ORDERS:
        with rig.order(order, seed):
            results.add(function().tobytes())
    return results


def test_the_order_of_threads_shows_in_atomic_sums(
    rig: rigs.Rig, cupy: Any, launch: Callable[..., Any]
) -> None:
    x = cupy.asarray(np.random.default_rng(0).standard_normal(128).astype(np.float32))
    assert len(in_orders(rig, lambda: launch("atomic_sum", x=x)[:1])) > 1
    assert len(in_orders(rig, lambda: launch("correct_rounds", x=x))) == 1


def test_the_order_of_threads_shows_in_a_missing_barrier(
    rig: rigs.Rig, launch: Callable[..., Any]
) -> None:
    assert len(in_orders(rig, lambda: launch("read_before_write"))) > 1


@pytest.mark.parametrize(("order", "seed"), ORDERS)
def test_every_block_and_thread_runs_once(rig: rigs.Rig, cupy: Any, order: Any, seed: int) -> None:
    kernel = cupy.RawKernel(
        """
        extern "C" __global__ void count(int* y)
        {
            int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
            int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
            ++y[block * blockDim.x * blockDim.y * blockDim.z + thread];
        }
        """,
        "count",
    )
    y = cupy.zeros(3 * 5 * 7 * 2 * 3 * 4, np.int32)
    with rig.order(order, seed):
        kernel((3, 5, 7), (2, 3, 4), (y,))
    assert (y.get() == 1).all()


def test_an_unknown_order_is_an_error(rig: rigs.Rig) -> None:
    with pytest.raises(ValueError, match="forward, reversed, shuffled"), rig.order("random"):
        pass


# ---- counters


def difference(rig: rigs.Rig, function: Callable[[], Any]) -> rigs.Counters:
    before = rig.counters()
    kept = function()
    after = rig.counters()
    del kept
    return rigs.Counters(*(b - a for a, b in zip(before, after, strict=True)))


def test_copies_and_synchronisations_are_counted(rig: rigs.Rig, cupy: Any) -> None:
    host = np.ones(10, np.float32)
    x = cupy.asarray(host)
    assert difference(rig, lambda: x + x) == (0, 0, 0, 0, 0, 0)
    assert difference(rig, lambda: cupy.asarray(host))[:4] == (1, 0, 0, 40)
    assert difference(rig, lambda: x.set(host))[:4] == (1, 0, 0, 40)
    assert difference(rig, x.get) == (0, 1, 0, 0, 40, 1)
    assert difference(rig, lambda: float(x.sum())) == (0, 1, 0, 0, 4, 1)
    assert difference(rig, lambda: bool((x > 0).all())) == (0, 1, 0, 0, 1, 1)
    y = cupy.empty_like(x)
    assert difference(rig, lambda: y.data.copy_from_device(x.data, 40)) == (0, 0, 1, 0, 0, 0)


def test_each_way_to_wait_is_counted(rig: rigs.Rig, cupy: Any) -> None:
    event = cupy.cuda.Event()
    event.record()
    for wait in (
        cupy.cuda.Stream.null.synchronize,
        cupy.cuda.Device().synchronize,
        event.synchronize,
    ):
        assert difference(rig, wait).synchronisations == 1


def test_launches_are_counted_by_name(rig: rigs.Rig, cupy: Any, launch: Callable[..., Any]) -> None:
    x = cupy.ones((3, 3), np.float32)
    rig.reset()
    assert rig.launches == {} and rig.counters() == (0,) * 6
    x @ x
    x @ x
    launch("correct_copy", x=x)
    launches = rig.launches
    assert launches["cublas:gemm"] == 2 and launches["correct_copy"] == 1
    assert launches["correct_reverse"] == 0


# ---- memory, streams, events


def test_out_of_memory(rig: rigs.Rig, cupy: Any) -> None:
    cupy.get_default_memory_pool().free_all_blocks()
    _, total = cupy.cuda.Device().mem_info
    with rig.memory_limit(1 << 20):
        assert cupy.cuda.Device().mem_info[1] == 1 << 20
        with pytest.raises(cupy.cuda.memory.OutOfMemoryError):
            cupy.zeros(1 << 20)
    assert cupy.cuda.Device().mem_info[1] == total
    assert cupy.zeros(1 << 20).sum() == 0


def test_free_memory_follows_allocations(cupy: Any) -> None:
    before, _ = cupy.cuda.Device().mem_info
    memory = cupy.cuda.Memory(1 << 20)
    assert cupy.cuda.Device().mem_info[0] == before - (1 << 20)
    del memory
    assert cupy.cuda.Device().mem_info[0] == before


def test_copies_go_where_they_say(cupy: Any) -> None:
    runtime = cupy.cuda.runtime
    host, x, y = np.zeros(10, np.uint8), cupy.zeros(10, np.uint8), cupy.cuda.Memory(10)
    address = {"host": host.ctypes.data, "device": x.data.ptr, "own": y.ptr}
    upload, download, device_copy = 1, 2, 3
    runtime.memcpy(address["device"], address["host"], 10, upload)
    for to, start, size, kind in (
        ("host", "device", 10, upload),
        ("device", "host", 10, download),
        ("host", "device", 10, device_copy),
        ("device", "device", 10, upload),
        ("own", "host", 11, upload),
    ):
        with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorInvalidValue"):
            runtime.memcpy(address[to], address[start], size, kind)


def test_a_second_free_is_an_error(cupy: Any) -> None:
    runtime = cupy.cuda.runtime
    address = runtime.malloc(100)
    runtime.free(address)
    with pytest.raises(runtime.CUDARuntimeError, match="twice"):
        runtime.free(address)


def test_events_measure_time(cupy: Any) -> None:
    first, second = cupy.cuda.Event(), cupy.cuda.Event()
    first.record()
    second.record()
    assert cupy.cuda.get_elapsed_time(first, second) >= 0
    untimed = cupy.cuda.Event(disable_timing=True)
    untimed.record()
    with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="InvalidResourceHandle"):
        cupy.cuda.get_elapsed_time(first, untimed)


def test_a_stream_runs_kernels(cupy: Any) -> None:
    with cupy.cuda.Stream(non_blocking=True) as stream:
        x = cupy.arange(5) + 1
    stream.synchronize()
    assert x.get().tolist() == [1, 2, 3, 4, 5]


def test_the_device_says_what_it_is(cupy: Any) -> None:
    runtime, device = cupy.cuda.runtime, cupy.cuda.Device()
    assert cupy.cuda.is_available() and runtime.getDeviceCount() == 1
    assert runtime.getDeviceProperties(0)["name"] == b"emulated sm_90"
    assert device.compute_capability == "90"
    assert device.attributes["MaxThreadsPerBlock"] == 1024
    assert runtime.driverGetVersion() == runtime.runtimeGetVersion() == 12090
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorInvalidDevice"):
        cupy.cuda.Device(1).use()


# ---- fails closed


def test_every_function_is_replaced_or_kept(rig: rigs.Rig) -> None:
    for api in ("driver", "runtime"):
        module = importlib.import_module(signatures.API + api)
        for name, signature in signatures.expected()[api].items():
            kept = name in rigs.KEPT[api] or "(" not in signature
            visible = getattr(module, name, None)
            assert kept or visible is None or type(visible).__name__ == "function", name


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "VERSION", "14.3.")
    with pytest.raises(signatures.RigError, match="for CuPy 14.3"):
        signatures.check_version()


def test_a_changed_signature_is_refused() -> None:
    found = signatures.expected()["runtime"]
    signatures.compare("runtime", found)
    changed = {**found, "malloc": "intptr_t (size_t, int, int __pyx_skip_dispatch)"}
    with pytest.raises(signatures.RigError, match=r"malloc: expected .*, found .*int, int"):
        signatures.compare("runtime", changed)
    del changed["malloc"]
    with pytest.raises(signatures.RigError, match="malloc: expected .*, found nothing"):
        signatures.compare("runtime", changed)
    with pytest.raises(signatures.RigError, match="new: expected nothing"):
        signatures.compare("runtime", {**found, "new": "int (int)"})


def test_a_changed_function_is_refused() -> None:
    class Compiler:
        @staticmethod
        def _preprocess(source: str, options: tuple[str, ...]) -> None: ...

    with pytest.raises(signatures.RigError, match="_get_nvrtc_version.*missing"):
        signatures.compare("compiler", signatures.compiler_functions(Compiler))


def test_the_rig_comes_before_cupy() -> None:
    code = "import cupy; from tests.emugpu import rig; rig.install()"
    root = HERE.parents[1]
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert "cupy was imported before the rig was installed" in result.stderr


def test_an_unknown_option_is_not_dropped() -> None:
    options = ("-DREAL=float", "--std=c++14", "-ftz=true")
    assert compiling.translate(options) == ["-DREAL=float", "-std=c++14"]
    with pytest.raises(compiling.CompileError):
        compiling.translate(("-use_fast_math",))


# ---- other processes


def test_a_script_runs_with_its_arguments(tmp_path: Path) -> None:
    text = "import cupy, sys\nprint(sys.argv[1], float(cupy.ones(3).sum()), __name__)\n"
    assert script(tmp_path, text).stdout == "an argument 3.0 __main__\n"


def test_a_module_runs_with_its_arguments() -> None:
    result = process("-m", "minigan", "--help")
    assert result.returncode == 0 and "train" in result.stdout, result.stderr


def test_an_exit_status_is_passed_on(tmp_path: Path) -> None:
    assert script(tmp_path, "import sys\nsys.exit(3)\n").returncode == 3
