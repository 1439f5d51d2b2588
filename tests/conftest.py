"""Which tests run, where they run, and how Hypothesis draws.

Tests marked slow, mutation or oracle are collected always and run when asked for: with --slow,
--mutation or --oracle, or with MINIGAN_TESTS=slow,oracle in the environment. The others are
reported as skipped, with the option that runs them.

--device says where arrays live: "cpu"; "emulated", the real CuPy on an emulated CUDA device
(tests/emugpu); "cuda", a real one.  On a device every test is the same as on the CPU, and its
public calls are carried over (tests/device.py).  The tests marked gpu use the device themselves,
those marked cpu look at what the CPU alone has.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import hypothesis
import pytest

ON_REQUEST = {
    "slow": "they take more than a few seconds",
    "mutation": "they edit the source and expect a failing check",
    "oracle": "they compare with another framework",
}

RIG = pytest.StashKey[Any]()

os.environ.setdefault("KERAS_BACKEND", "jax")

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("minigan")
    for name, what in ON_REQUEST.items():
        group.addoption(f"--{name}", action="store_true", help=f"run the {name} tests: {what}")
    group.addoption(
        "--device",
        choices=["cpu", "emulated", "cuda"],
        default="cpu",
        help="where arrays live: cpu, emulated (CuPy on an emulated CUDA device), cuda",
    )


def requested(config: pytest.Config) -> set[str]:
    """The names in ON_REQUEST that the command line or the environment asks for."""
    named = set(os.environ.get("MINIGAN_TESTS", "").replace(",", " ").split())
    if unknown := sorted(named - set(ON_REQUEST)):
        raise pytest.UsageError(
            f"MINIGAN_TESTS names {', '.join(unknown)}; it takes {', '.join(ON_REQUEST)}"
        )
    return named | {name for name in ON_REQUEST if config.getoption(name)}


def pytest_configure(config: pytest.Config) -> None:
    """The device comes before anything imports CuPy."""
    where = config.getoption("--device")
    if where == "emulated":
        from tests.emugpu import rig

        try:
            config.stash[RIG] = rig.install()
        except (rig.RigError, ImportError, OSError) as error:
            raise pytest.UsageError(
                f"--device emulated: {error}\nIt needs x86-64 Linux, g++, and "
                'pip install -e ".[test,emulated]"'
            ) from None
    elif where == "cuda":
        import minigan

        try:
            minigan.use("cupy")
        except RuntimeError as error:
            raise pytest.UsageError(f"--device cuda: {error}") from None
        minigan.use("numpy")
    if where != "cpu":
        from tests import device

        config.pluginmanager.register(device.Tally())


@pytest.fixture(scope="session")
def rig(request: pytest.FixtureRequest) -> Any:
    """The emulated device."""
    found = request.config.stash.get(RIG, None)
    return found or pytest.skip("it looks into the emulated device: --device emulated")


@pytest.fixture
def launcher(request: pytest.FixtureRequest) -> list[str]:
    """What stands before the path of a script, so that its CuPy finds the device."""
    emulated = request.config.getoption("--device") == "emulated"
    return [os.path.join(os.path.dirname(__file__), "emugpu", "run.py")] if emulated else []


@pytest.fixture(autouse=True)
def _on_the_device(request: pytest.FixtureRequest) -> Iterator[None]:
    """Carry the test's public calls to the device, unless it uses the device itself."""
    if request.config.getoption("--device") == "cpu":
        yield
        return
    from minigan.kernels.gpu import launch
    from tests import device

    with ExitStack() as stack:
        stack.enter_context(launch.counted(device.launches))
        if not request.node.get_closest_marker("gpu"):
            stack.enter_context(device.carried())
        yield


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = requested(config)
    on_cpu = config.getoption("--device") == "cpu"
    for item in items:
        for name in ON_REQUEST:
            if name not in wanted and item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=f"{name} test: run it with --{name}"))
        if on_cpu and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="gpu test: --device emulated, or cuda"))
        cpu = item.get_closest_marker("cpu")
        if cpu and not on_cpu:
            item.add_marker(pytest.mark.skip(reason=f"of the CPU alone: {cpu.args[0]}"))
