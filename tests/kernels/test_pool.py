"""Leased memory: reused after the last view dies, and never before."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from minigan.kernels.cpu import pool

pytestmark = pytest.mark.cpu("its pool of arrays")

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (300, 100)  # of float32: 120,000 bytes, above the limit for small arrays


@pytest.fixture(autouse=True)
def fresh_pool():
    gc.collect()
    pool.clear()
    yield
    pool.clear()


def address(a):
    return a.__array_interface__["data"][0]


def test_memory_is_reused_after_the_array_dies():
    a = pool.empty(SHAPE, "float32")
    where = address(a)
    assert pool.shelved() == 0
    del a
    assert pool.shelved() == 120_000
    b = pool.empty((100, 300), np.float32)  # the same size in another shape
    assert address(b) == where and pool.shelved() == 0
    del b
    c = pool.empty((150, 100), np.float64)  # and in another dtype
    assert address(c) == where
    assert c.dtype == np.float64 and c.shape == (150, 100)


@pytest.mark.parametrize(
    "derive",
    [
        lambda a: a[10:20],
        lambda a: a.reshape(-1)[::7],
        lambda a: a.T,
        lambda a: a[None, :, None].swapaxes(1, 3),
        lambda a: a.view(np.uint32)[3:],
        lambda a: np.lib.stride_tricks.as_strided(a, (5, 5), (400, 4)),
        lambda a: np.lib.stride_tricks.sliding_window_view(a, (2, 2)),
        lambda a: memoryview(a),
        lambda a: np.frombuffer(a, np.uint8),
        lambda a: a.reshape(100, 300)[5:][::-1][:, 3],
    ],
)
def test_memory_is_kept_while_a_derived_view_lives(derive):
    a = pool.empty(SHAPE, "float32")
    a[...] = np.arange(a.size).reshape(SHAPE)
    view = derive(a)
    values = np.array(view)
    del a
    gc.collect()
    assert pool.shelved() == 0
    others = [pool.zeros(SHAPE, "float32") for _ in range(3)]
    assert np.array_equal(np.array(view), values)
    del view, others
    gc.collect()
    assert pool.shelved() == 4 * 120_000


def test_live_arrays_do_not_overlap():
    live = [pool.empty(SHAPE, "float32") for _ in range(4)]
    del live[1]
    live += [pool.empty(SHAPE, "float32") for _ in range(3)]
    for i, a in enumerate(live):
        a.fill(i)
    assert all((a == i).all() for i, a in enumerate(live))


def test_small_arrays_are_not_pooled():
    a = pool.empty((10, 10), "float32")
    assert a.base is None and a.shape == (10, 10)
    del a
    assert pool.shelved() == 0


def test_results_are_ordinary_arrays():
    for dtype in ("float32", "float64", "complex128", "int64", "bool"):
        a = pool.empty((400, 400), dtype)
        assert type(a) is np.ndarray and a.dtype == dtype and a.shape == (400, 400)
        assert a.flags.c_contiguous and a.flags.writeable and a.flags.aligned
    z = pool.empty(SHAPE, "float32")
    z.fill(7)
    del z
    assert not pool.zeros(SHAPE, "float32").any()
    assert pool.empty((0, 5), "float32").shape == (0, 5)


def test_the_shelf_has_a_limit(monkeypatch):
    monkeypatch.setattr(pool, "LIMIT", 300_000)
    old = pool.empty((80_000,), "uint8")
    live = [pool.empty(SHAPE, "float32") for _ in range(4)]
    del old
    del live
    assert 0 < pool.shelved() <= 300_000
    kept = pool.shelved()
    assert kept == 240_000  # the oldest size went first
    assert pool.shelved() == sum(entry.block.nbytes for entry in pool._shelf)
    huge = pool.empty((500_000,), "uint8")
    del huge
    assert pool.shelved() <= 300_000


def test_clear_gives_the_memory_back():
    a = pool.empty(SHAPE, "float32")
    del a
    pool.clear()
    assert pool.shelved() == 0
    b = pool.empty(SHAPE, "float32")  # leased before a clear, returned after it
    pool.clear()
    del b
    assert pool.shelved() == 120_000


def test_threads_share_the_pool_without_sharing_memory():
    faults = []

    def work(number):
        for _ in range(200):
            a, b = pool.empty(SHAPE, "float32"), pool.empty((100, 200), "float64")
            a.fill(number)
            b.fill(-number)
            if not ((a == number).all() and (b == -number).all()):
                faults.append(number)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(1, 5)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not faults
    gc.collect()
    total = sum(entry.block.nbytes for entry in pool._shelf)
    assert pool.shelved() == total > 0


def test_the_interpreter_ends_quietly_with_arrays_alive():
    code = (
        "import numpy as np; from minigan.kernels.cpu import pool\n"
        "a = pool.empty((500, 500), 'float32'); cycle = [a]; cycle.append(cycle)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_can_allocate_when_a_thread_held_the_lock_at_the_fork():
    code = """
import os, signal, threading, warnings
warnings.simplefilter("ignore")
from minigan.kernels.cpu import pool
held, done = threading.Event(), threading.Event()
def hold():
    with pool._lock:
        held.set()
        done.wait(20)
threading.Thread(target=hold, daemon=True).start()
held.wait()
pid = os.fork()
if pid == 0:
    signal.alarm(5)  # ends the child if the lock is never free
    pool.empty((500, 500), "float32")
    os._exit(0)
_, status = os.waitpid(pid, 0)
done.set()
raise SystemExit(0 if status == 0 else "the child waited for a lock that nobody holds")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_a_lease_may_end_while_the_pool_is_at_work(monkeypatch):
    """The collector may run anywhere: a block that comes back then waits its turn."""
    held = [pool.empty((100_000,), "uint8")]
    others = [pool.empty((size,), "uint8") for size in (200_000, 400_000)]
    del others
    search = pool.bisect_left

    def interrupted(*args):
        found = search(*args)
        held.clear()  # ends a lease between the search and the use of its result
        return found

    monkeypatch.setattr(pool, "bisect_left", interrupted)
    big = pool.empty((390_000,), "uint8")
    monkeypatch.undo()
    assert big.nbytes == 390_000
    big.fill(1)
    assert pool.shelved() == 300_000


def test_the_smallest_block_that_is_large_enough_is_taken():
    for size in (120_000, 200_000, 130_000):
        pool.empty((size,), "uint8")
    kept = [pool.empty((size,), "uint8") for size in (200_000, 120_000, 130_000)]
    del kept
    a = pool.empty((125_000,), "uint8")
    assert pool.shelved() == 200_000 + 120_000 and a.nbytes == 125_000
    b = pool.empty((100_000,), "uint8")
    assert pool.shelved() == 200_000 and b.nbytes == 100_000
    c = pool.empty((100_000,), "uint8")
    assert pool.shelved() == 0 and c.nbytes == 100_000


def test_a_block_far_too_large_stays_on_the_shelf():
    kept = [pool.empty((size,), "uint8") for size in (1_000_000, 100_000)]
    del kept[0]
    a = pool.empty((100_000,), "uint8")
    assert pool.shelved() == 1_000_000 and a.nbytes == 100_000


def test_what_was_never_needed_at_once_is_not_kept():
    """Memory of one size goes back to the system when another size needs it."""
    for size in (1_000_000, 9_000_000, 80_000_000, 900_000, 8_000_000, 79_000_000):
        pool.empty((size,), "uint8")  # none fits into another's
    assert pool.shelved() <= pool.SPARE * 80_000_000
    blocks = [entry.size for entry in pool._shelf]
    assert 80_000_000 in blocks
    again = [pool.empty((size,), "uint8") for size in blocks]  # together more than ever
    assert pool.shelved() == 0 and len(again) == len(blocks)


def test_steps_of_a_kind_allocate_nothing_after_the_second(monkeypatch):
    def step():
        held = [pool.empty((n,), "uint8") for n in (700_000, 300_000, 2_000_000)]
        del held[1]
        held.append(pool.empty((500_000,), "uint8"))
        del held[0]
        held.append(pool.empty((650_000,), "uint8"))

    step()
    step()
    monkeypatch.setattr(pool.np, "empty", None)  # a new block would need it
    step()


def test_memory_that_the_system_refuses_is_not_counted():
    with pytest.raises(MemoryError):
        pool.empty((1 << 60,), "uint8")
    assert (pool._leased, pool._most) == (0, 0)


def test_clear_forgets_the_most_that_was_out():
    pool.empty((1_000_000,), "uint8")
    assert pool._most == 1_000_000
    pool.clear()
    assert pool._most == 0
