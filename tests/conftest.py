"""Which tests run, and how Hypothesis draws.

Tests marked slow, mutation or oracle are collected always and run when asked for: with --slow,
--mutation or --oracle, or with MINIGAN_TESTS=slow,oracle in the environment. The others are
reported as skipped, with the option that runs them.
"""

from __future__ import annotations

import os

import hypothesis
import pytest

ON_REQUEST = {
    "slow": "they take more than a few seconds",
    "mutation": "they edit the source and expect a failing check",
    "oracle": "they compare with another framework",
}

os.environ.setdefault("KERAS_BACKEND", "jax")

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("minigan")
    for name, what in ON_REQUEST.items():
        group.addoption(f"--{name}", action="store_true", help=f"run the {name} tests: {what}")


def requested(config: pytest.Config) -> set[str]:
    """The names in ON_REQUEST that the command line or the environment asks for."""
    named = set(os.environ.get("MINIGAN_TESTS", "").replace(",", " ").split())
    if unknown := sorted(named - set(ON_REQUEST)):
        raise pytest.UsageError(
            f"MINIGAN_TESTS names {', '.join(unknown)}; it takes {', '.join(ON_REQUEST)}"
        )
    return named | {name for name in ON_REQUEST if config.getoption(name)}


def missing_device() -> str | None:
    """Why the tests marked gpu cannot run here, or None."""
    try:
        import cupy

        devices = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # no CuPy, no driver or no device: each has its own exception
        return f"no CUDA device: {error}"
    return None if devices else "no CUDA device"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = requested(config)
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    no_device = missing_device() if on_gpu else None
    for item in items:
        for name in ON_REQUEST:
            if name not in wanted and item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=f"{name} test: run it with --{name}"))
    for item in on_gpu:
        if no_device:
            item.add_marker(pytest.mark.skip(reason=no_device))
