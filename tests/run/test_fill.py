"""minigan.run.fill: all of it, on threads that end, with a bar when asked."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings

import numpy as np
import pytest

from minigan.run import fill as module
from minigan.run.fill import fill


@pytest.fixture(autouse=True)
def _four_threads(monkeypatch):
    monkeypatch.setattr("minigan.kernels.cpu.threads.count", lambda: 4)


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 100])
def test_each_image_is_made_once(n):
    images, calls = np.zeros((n, 2), np.uint8), []

    def make(k):
        calls.append(k)
        return np.full(2, k)

    assert fill(images, make) == {}
    assert sorted(calls) == list(range(n))
    assert images[:, 1].tolist() == list(range(n))


def test_several_threads_work_at_a_time():
    together = threading.Barrier(4, timeout=5)

    def make(k):
        if k % module._BLOCK == 0:
            together.wait()
        return np.zeros(1)

    assert fill(np.zeros((4 * module._BLOCK, 1), np.uint8), make) == {}


def failing(k):
    if k % 30 == 7:
        time.sleep(0.01 if k == 7 else 0)  # the first is known last
        raise ValueError(f"no {k}")
    return np.zeros(1)


def test_failures_come_in_order():
    images = np.zeros((100, 1), np.uint8)
    assert list(fill(images, failing).items()) == [(k, f"no {k}") for k in (7, 37, 67, 97)]


def test_strict_ends_at_the_first():
    calls = []

    def make(k):
        calls.append(k)
        time.sleep(0.001)
        return failing(k)

    assert fill(np.zeros((10_000, 1), np.uint8), make, strict=True) == {7: "no 7"}
    assert len(calls) < 1000


def test_the_bar_is_on_stderr_and_only_when_asked(capsys):
    images = np.zeros((100, 1), np.uint8)
    fill(images, lambda k: np.zeros(1))
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err == ""
    fill(images, lambda k: np.zeros(1), show=True)
    shown = capsys.readouterr()
    assert shown.out == "" and "img/s" in shown.err


def test_warnings_of_the_decoders_are_not_shown():
    def make(k):
        warnings.warn("decoder", stacklevel=1)
        return np.zeros(1)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fill(np.zeros((20, 1), np.uint8), make) == {}


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process there")
def test_ctrl_c_ends_it_promptly():
    calls = []

    def make(k):
        calls.append(k)
        if k == 3:  # of the first block, whatever other threads have done
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        return np.zeros(1)

    started = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        fill(np.zeros((4000, 1), np.uint8), make, show=True)
    assert time.perf_counter() - started < 1  # a block takes 1.6 seconds
    assert len(calls) < 30
