"""Carries a test's public calls over to a device: --device emulated, --device cuda.

A test hands NumPy arrays to layers, losses, optimizers and kernels, and looks at NumPy arrays.
While `carried` is in force, each such call runs on the device: what goes in is uploaded, a twin of
the layer with its parameters on the device computes, and what comes out is fetched.  So every test
that is written for the CPU is a test of the device, with the same name.  Complex numbers, which
the device has not, stay on the CPU: a complex step there is what the device's gradients are checked
against.
"""

from __future__ import annotations

import functools
import inspect
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import cupy
import numpy as np
import pytest

from minigan import losses, objectives, optimizers, penalties
from minigan.backend import move, on_gpu
from minigan.flat import FlatDict
from minigan.kernels import cpu, gpu
from minigan.kernels.gpu import launch
from minigan.layers.base import Cache, First, Layer

launches: Counter[tuple[str, str, str]] = Counter()  # of the project's kernels
LEAST = 0.9  # of the tests that the CPU runs, how many the device must run
_open = True  # inside a call that runs on the device, calls are not carried again


class Saved:
    """What a pass on the device left for the next, and the twin that made it."""

    def __init__(self, twin: Layer, inner: Any) -> None:
        self.twin, self.inner = twin, inner


@contextmanager
def carried() -> Iterator[None]:
    """Inside the block public calls run on the device."""
    global _open
    _open = True  # whatever a test that interrupts itself has left
    with ExitStack() as stack:

        def patch(owner: Any, name: str, value: Any) -> None:
            stack.enter_context(mock.patch.object(owner, name, value))

        patch(Layer, "forward", _forward(Layer.forward))
        for name in ("backward", "tangent", "input_gradient", "backward_tangent"):
            patch(Layer, name, _pass(getattr(Layer, name)))
        for name in cpu.__all__:
            patch(cpu, name, _kernel(getattr(cpu, name), getattr(gpu, name)))
        patch(losses.Loss, "__call__", _function(losses.Loss.__call__))
        patch(penalties.GradientPenalty, "__call__", _function(penalties.GradientPenalty.__call__))
        for cls in set(objectives.NAMES.values()) | {objectives.Objective}:
            for name in ("d_loss", "g_loss"):
                if name in vars(cls):
                    patch(cls, name, _function(vars(cls)[name]))
        patch(optimizers.Optimizer, "step", _step(optimizers.Optimizer.step))
        yield


class Tally:
    """A pytest plugin: what ran on the device, said at the end, and held to the whole suite."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.reached = 0  # tests that launched a kernel

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any, nextitem: Any) -> Any:
        before = launches.total()
        result = yield
        self.reached += launches.total() > before
        return result

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.skipped:
            on_request = "test: run it with --" in str(report.longrepr)
            self.outcomes["on request" if on_request else "skipped"] += 1
        elif report.when == "call":
            self.outcomes["run"] += 1

    def pytest_terminal_summary(self, terminalreporter: Any, config: Any) -> None:
        run, of = self.outcomes["run"], self.outcomes["run"] + self.outcomes["skipped"]
        terminalreporter.write_line(
            f"device {config.getoption('--device')}: {run} of {of} tests run, {self.reached} of "
            f"them launched minigan's kernels, {launches.total()} launches"
        )
        for fault in self.faults(config):
            terminalreporter.write_line(f"device: {fault}", red=True)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: Any) -> None:
        if session.exitstatus == 0 and self.faults(session.config):
            session.exitstatus = 1

    def faults(self, config: Any) -> list[str]:
        """What a run of the whole suite must not lack."""
        whole = config.args_source is config.ArgsSource.TESTPATHS
        if not whole or config.option.keyword or config.option.markexpr:
            return []  # a part of the suite
        every = {name for file in launch.files() for name in launch.kernels(file)}
        never = every - {name for _, name, _ in launches}
        found = [f"kernels that were never launched: {', '.join(sorted(never))}"] if never else []
        run, skipped = self.outcomes["run"], self.outcomes["skipped"]
        if run < LEAST * (run + skipped):
            found.append(f"only {run} of {run + skipped} tests run, fewer than {LEAST:.0%}")
        return found


@contextmanager
def _inside() -> Iterator[None]:
    global _open
    before, _open = _open, False
    try:
        yield
    finally:
        _open = before


def there(tree: Any) -> Any:
    """A tree of arrays on the device; ready-made objects in it stay what they are."""
    return _mapped(tree, lambda a: move(a, cupy) if isinstance(a, np.ndarray) else a)


def back(tree: Any) -> Any:
    """A tree of arrays on the host; a number of the device becomes a NumPy scalar."""
    return _mapped(tree, lambda a: a.get()[()] if on_gpu(a) else a)


def _mapped(tree: Any, function: Any) -> Any:
    if isinstance(tree, FlatDict):
        return FlatDict({k: a.shape for k, a in tree.items()}, function(tree.flat))
    if isinstance(tree, dict):
        return {k: _mapped(a, function) for k, a in tree.items()}
    if type(tree) in (tuple, list):
        return type(tree)(_mapped(a, function) for a in tree)
    return function(tree)


def _arrays(tree: Any) -> Iterator[np.ndarray]:
    """The NumPy arrays of a tree."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if type(tree) in (tuple, list):
        for part in tree:
            yield from _arrays(part)
    elif isinstance(tree, np.ndarray):
        yield tree


def _carries(*trees: Any) -> bool:
    """Whether a call with these arguments goes to the device: real floats, no call around it."""
    arrays = list(_arrays(list(trees)))
    kinds = {a.dtype.name for a in arrays if a.dtype.kind not in "iub"}
    return _open and bool(arrays) and kinds <= {"float32", "float64"}


def _runs_there(layer: Layer) -> bool:
    """Whether this layer's arrays are real, and on the host."""
    owned = [*layer.params.values(), *layer.state.values()]
    return layer.output_shape is not None and _carries(np.empty(0, layer.dtype), *owned)


def _forward(original: Any) -> Any:
    @functools.wraps(original)
    def forward(self, x, training=True, rng=None, keep=True):
        if not _runs_there(self) or not _carries(x):
            return original(self, x, training, rng, keep)
        self.check_input(x)
        twin = self.to("cupy")
        with _inside():
            y, cache = original(twin, there(x), training, rng, keep)
        saved = None if cache.saved is None else Saved(twin, cache)
        return back(y), Cache(saved, back(cache.state), cache.batch, self)

    return forward


def _pass(original: Any) -> Any:
    """Of a pass that follows a forward on the device."""
    signature = inspect.signature(original)

    @functools.wraps(original)
    def following(self, *given, **named):
        arguments = signature.bind(self, *given, **named).arguments
        cache = arguments.get("cache")
        if not _open or not isinstance(getattr(cache, "saved", None), Saved):
            return original(self, *given, **named)
        self._check_pass(original.__name__, cache, arguments.get("wrt", "both"))
        saved = cache.saved
        for own, twins in ((self.params, saved.twin.params), (self.state, saved.twin.state)):
            for name, array in own.items():
                twins[name][...] = there(array)
        moved = {k: _unwrapped(v) for k, v in arguments.items() if k not in ("self", "cache")}
        with _inside():
            found = original(saved.twin, **there(moved), cache=saved.inner)
        return _wrapped(back(found), cache)

    return following


def _unwrapped(dy: Any) -> Any:
    """A First as the device left it."""
    if isinstance(dy, First) and isinstance(dy.kept, Saved):
        return First(dy.kept.inner, dy.kept.twin)
    return dy


def _wrapped(found: Any, cache: Cache) -> Any:
    """What `input_gradient` returns, with a First of the caller's own cache."""
    if isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], First):
        first = found[1]
        return found[0], First(Saved(first.cache, first.kept), cache)  # type: ignore[arg-type]
    return found


def _function(original: Any) -> Any:
    """Of a function of arrays: arguments there, the result back."""

    @functools.wraps(original)
    def function(self, *given, **named):
        if not _carries(given, named):
            return original(self, *given, **named)
        with _inside():
            return back(original(self, *there(given), **there(named)))

    return function


def _kernel(original: Any, on_device: Any) -> Any:
    """Of a kernel: the device's, and what it wrote into its arguments comes back too."""

    @functools.wraps(original)
    def kernel(*given, **named):
        if not _carries(given, named):
            return original(*given, **named)
        moved = there((given, named))
        with _inside():
            found = on_device(*moved[0], **moved[1])
        pairs = list(zip((*given, *named.values()), (*moved[0], *moved[1].values()), strict=True))
        for a, b in pairs:
            if (
                isinstance(a, np.ndarray)
                and a.flags.writeable
                and not np.array_equal(a, b.get(), equal_nan=a.dtype.kind == "f")
            ):
                a[...] = b.get()
        same = [a for a, b in pairs if b is found]
        return same[0] if same else back(found)

    return kernel


def _step(original: Any) -> Any:
    """Of an optimizer: parameters, gradients and moments there; the parameters come back."""

    @functools.wraps(original)
    def step(self, params, grads, at=None):
        if not _carries(params):
            return original(self, params, grads, at)
        self._check(params, grads)
        self._moments = {k: there(m) for k, m in self._moments.items()}
        moved = there(params)
        with _inside():
            original(self, moved, there(grads), at)
        for name, p in params.items():
            p[...] = moved[name].get()
        self._moments = {k: back(m) for k, m in self._moments.items()}

    return step
