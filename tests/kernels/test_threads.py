"""Fixed shares, one BLAS thread inside, the user's own setting outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from minigan.kernels import cpu, reference
from minigan.kernels.cpu import threads
from minigan.kernels.geometry import Geometry, axis
from tests.helpers import draw, forced

pytestmark = pytest.mark.cpu("its threads")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def three(monkeypatch):
    monkeypatch.setattr(threads, "_count", 3)


def blas_threads():
    return [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]


@given(st.integers(1, 100), st.integers(1, 9))
def test_shares_are_a_fair_partition(n, count):
    before, threads._count = threads._count, count
    try:
        found = threads.shares(n)
    finally:
        threads._count = before
    assert [k for first, last in found for k in range(first, last)] == list(range(n))
    sizes = [last - first for first, last in found]
    assert len(found) == min(n, count) and max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)  # the longer parts first


def test_results_come_in_order_from_different_threads(three):
    barrier = threading.Barrier(3, timeout=20)

    def share(first, last):
        barrier.wait()  # passes only if the three shares run at once
        return first, last, threading.get_ident()

    found = threads.run(share, 9)
    assert [r[:2] for r in found] == [(0, 3), (3, 6), (6, 9)]
    assert len({r[2] for r in found}) == 3
    assert found[0][2] == threading.get_ident()
    again = threads.run(share, 9)
    assert [r[2] for r in again] == [r[2] for r in found]  # a fixed share on a fixed thread


def test_little_work_is_not_handed_over(three):
    found = threads.run(lambda first, last: (first, last, threading.get_ident()), 9, 1e-5)
    assert found == [(0, 9, threading.get_ident())]


def test_a_share_does_not_split_again(three):
    def outer(first, last):
        return threads.run(lambda a, b: (a, b, threading.get_ident()), 10), threading.get_ident()

    for inner, ident in threads.run(outer, 3):
        assert inner == [(0, 10, ident)]
    # and afterwards the calling thread splits as before
    assert len(threads.run(lambda a, b: None, 3)) == 3


def test_one_item_is_one_share(three):
    assert threads.run(lambda a, b: (a, b), 1) == [(0, 1)]


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_exceptions_come_out_after_every_share_has_ended(three, failing):
    ended = []

    def share(first, last):
        if first == failing:
            raise KeyError(first)
        threading.Event().wait(0.05)
        ended.append(first)

    limits = blas_threads()
    with pytest.raises(KeyError, match=str(failing)):
        threads.run(share, 3)
    assert sorted(ended) == [k for k in range(3) if k != failing]
    assert blas_threads() == limits
    assert threads.run(lambda a, b: a, 3) == [0, 1, 2]  # usable again


@pytest.mark.skipif(not blas_threads(), reason="this NumPy has no BLAS that can be limited")
def test_blas_runs_single_threaded_inside_and_is_restored(three):
    with threadpool_limits(2, user_api="blas"):
        outside = blas_threads()
        inside = threads.run(lambda a, b: blas_threads(), 3)
        assert all(n == 1 for found in inside for n in found)
        assert blas_threads() == outside
        with threads.one_blas_thread():
            with threads.one_blas_thread():
                assert set(blas_threads()) == {1}
            assert set(blas_threads()) == {1}  # the inner end restores nothing
        assert blas_threads() == outside
        with pytest.raises(ZeroDivisionError), threads.one_blas_thread():
            raise ZeroDivisionError
        assert blas_threads() == outside


def in_another_thread(function):
    with ThreadPoolExecutor(1) as other:
        return other.submit(function).result()


@pytest.mark.skipif(not blas_threads(), reason="this NumPy has no BLAS that can be limited")
def test_the_limit_holds_whichever_thread_asks(three):
    with threadpool_limits(2, user_api="blas"):
        outside = blas_threads()
    threads.run(lambda a, b: None, 3)  # the main thread was here before
    for ask in (lambda f: f(), in_another_thread, in_another_thread):
        before = blas_threads()
        inside = ask(lambda: threads.run(lambda a, b: blas_threads(), 3))
        assert all(n == 1 for found in inside for n in found)
        assert blas_threads() == before
    with threadpool_limits(2, user_api="blas"):
        assert blas_threads() == outside


@pytest.mark.skipif(not blas_threads(), reason="this NumPy has no BLAS that can be limited")
def test_the_limit_is_restored_when_another_thread_leaves_last():
    before = blas_threads()
    opened, joined = threading.Event(), threading.Event()
    inside = []

    def first():
        with threads.one_blas_thread():
            opened.set()
            joined.wait(20)

    def last():
        opened.wait(20)
        with threads.one_blas_thread():
            joined.set()
            one.join()
            inside.extend(blas_threads())  # the first has left, the region goes on

    one, two = threading.Thread(target=first), threading.Thread(target=last)
    one.start()
    two.start()
    two.join()
    assert set(inside) == {1}
    assert blas_threads() == before


def test_user_threads_at_once_get_right_results():
    geo = Geometry(axis(10, 4, 2, "same"), axis(12, 3, 2, "same"))
    limits = blas_threads()

    def work(seed):
        x, kernel = draw((5, 10, 12, 6), seed=seed), draw((4, 3, 6, 7), seed=seed + 1)
        y = draw((5, 5, 6, 7), seed=seed + 2)
        expected = [
            reference.conv2d(x, kernel, geo),
            reference.conv2d_adjoint(y, kernel, geo),
            reference.conv2d_dkernel(x, y, geo),
        ]
        for _ in range(10):
            found = [
                cpu.conv2d(x, kernel, geo),
                cpu.conv2d_adjoint(y, kernel, geo),
                cpu.conv2d_dkernel(x, y, geo),
            ]
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(a, b, atol=1e-11)

    with forced(threads_=3), ThreadPoolExecutor(4) as users:
        list(users.map(work, range(8)))
    assert blas_threads() == limits


RUN = """
import hashlib, json, sys
import numpy as np
from minigan.kernels import cpu
from minigan.kernels.cpu import threads
from minigan.kernels.geometry import Geometry, axis
run = threads.run
threads.run = lambda f, n, work=0.0: run(f, n)  # threads however small the work
rng = np.random.default_rng(0)
geo = Geometry(axis(14, 4, 2, "same"), axis(14, 4, 2, "same"))
x = rng.standard_normal((7, 14, 14, 6)).astype("float32")
k = rng.standard_normal((4, 4, 6, 5)).astype("float32")
y = cpu.conv2d(x, k, geo)
found = [y, cpu.conv2d_adjoint(y, k, geo), cpu.conv2d_dkernel(x, y, geo), cpu.column_sums(y),
         *cpu.batch_moments(x), cpu.product_sums(x, x), cpu.tanh(x), cpu.sigmoid(x),
         cpu.matmul(x.reshape(7, -1), x.reshape(7, -1).T)]
digest = hashlib.sha256(b"".join(a.tobytes() for a in found)).hexdigest()
sums = [float(np.abs(a).sum(dtype="float64")) for a in found]
print(json.dumps({"count": threads.count(), "digest": digest, "sums": sums}))
"""


def call(code, **environment):
    keep = {k: v for k, v in os.environ.items() if k not in ("MINIGAN_THREADS", "OMP_NUM_THREADS")}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=keep | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_bits_depend_on_the_number_of_threads_alone():
    found = {n: json.loads(call(RUN, MINIGAN_THREADS=str(n)).stdout) for n in (1, 2, 3)}
    assert [found[n]["count"] for n in (1, 2, 3)] == [1, 2, 3]
    again = json.loads(call(RUN, MINIGAN_THREADS="2").stdout)
    assert again["digest"] == found[2]["digest"]
    for n in (2, 3):
        np.testing.assert_allclose(found[n]["sums"], found[1]["sums"], rtol=1e-5)


COUNT = "from minigan.kernels.cpu import threads; print(threads.count())"


def test_where_the_number_of_threads_comes_from():
    assert call(COUNT, MINIGAN_THREADS="3", OMP_NUM_THREADS="5").stdout.strip() == "3"
    assert call(COUNT, OMP_NUM_THREADS="5").stdout.strip() == "5"
    assert call(COUNT, OMP_NUM_THREADS="5,2").stdout.strip() == "5"
    cores = call(COUNT).stdout.strip()
    assert call(COUNT, OMP_NUM_THREADS="many").stdout.strip() == cores
    if hasattr(os, "sched_getaffinity"):
        assert int(call(COUNT).stdout) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_a_bad_number_of_threads_is_named(text, monkeypatch):
    monkeypatch.setenv("MINIGAN_THREADS", text)
    monkeypatch.setattr(threads, "_count", None)
    with pytest.raises(ValueError, match=f"MINIGAN_THREADS='{text}'.*1 or more"):
        threads.count()


FORK = """
import os, signal, warnings
warnings.simplefilter("ignore")
import numpy as np
from minigan.kernels import cpu
a = np.random.default_rng(0).standard_normal((600, 600))
expected = cpu.matmul(a, a)          # starts the threads
pid = os.fork()
if pid == 0:
    signal.alarm(30)                 # a hanging child dies
    same = np.allclose(cpu.matmul(a, a), expected)
    os._exit(0 if same else 3)
_, status = os.waitpid(pid, 0)
assert np.array_equal(cpu.matmul(a, a), expected)
raise SystemExit(0 if status == 0 else f"the child ended with {status}")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_computes():
    done = call(FORK, MINIGAN_THREADS="3")
    assert done.returncode == 0, done.stderr


posix = pytest.mark.skipif(sys.platform == "win32", reason="it sends signals, as POSIX has them")


@posix
@pytest.mark.parametrize("interrupts", [1, 2])
def test_an_interrupt_waits_for_every_share(three, interrupts):
    """Ctrl-C, once or twice, while the calling thread waits: nobody writes after run has ended."""
    ended = []

    def share(first, last):
        if first:
            time.sleep(0.3 * first)
        ended.append(first)

    main = threading.get_ident()
    timers = [
        threading.Timer(0.05 * (k + 1), signal.pthread_kill, (main, signal.SIGINT))
        for k in range(interrupts)
    ]
    for timer in timers:
        timer.start()
    with pytest.raises(KeyboardInterrupt):
        threads.run(share, 3)
    assert sorted(ended) == [0, 1, 2]
    for timer in timers:
        timer.join()
    assert threads.run(lambda first, last: first, 3) == [0, 1, 2]


@posix
def test_interrupts_at_any_moment_neither_hang_nor_lose_a_worker():
    code = """
import signal, threading, time
from minigan.kernels.cpu import threads
threads._count = 3
done = 0
for k in range(150):
    signal.setitimer(signal.ITIMER_REAL, 0.0005 + 0.00003 * k)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for _ in range(50):
            threads.run(lambda first, last: time.sleep(0.0003), 3)
    except KeyboardInterrupt:
        done += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
assert threads.run(lambda first, last: first, 3) == [0, 1, 2]
print(done)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 100


@posix
def test_a_child_forked_inside_a_step_has_its_blas_threads_back(three):
    """Another thread holds BLAS to one thread at the moment of the fork."""
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with threads.one_blas_thread():
            inside.set()
            leave.wait(10)

    before = blas_threads()
    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait(10)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, json.dumps(blas_threads()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    leave.set()
    holder.join()
    assert json.loads(os.read(read, 1000)) == before
    os.close(read)
    os.close(write)
