"""A test that is not run is reported as skipped, with the option that runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

SUITE = """
import hypothesis
import pytest

def test_always():
    assert hypothesis.settings().derandomize is {derandomize}

@pytest.mark.slow
def test_slow():
    pass

@pytest.mark.oracle
def test_oracle():
    pass

@pytest.mark.mutation
def test_mutation():
    pass
"""


@pytest.fixture
def suite(tmp_path):
    """A run of a small suite under this suite's conftest and settings."""
    shutil.copy(HERE.parent / "setup.cfg", tmp_path)
    (tmp_path / "tests").mkdir()
    shutil.copy(HERE / "conftest.py", tmp_path / "tests")

    def run(*options, derandomize=False, **environment):
        (tmp_path / "tests" / "test_it.py").write_text(SUITE.format(derandomize=derandomize))
        clean = {k: v for k, v in os.environ.items() if k not in {"CI", "MINIGAN_TESTS"}}
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
        return subprocess.run(
            command, cwd=tmp_path, env=clean | environment, capture_output=True, text=True
        )

    return run


def test_tests_on_request_are_skipped_with_a_reason(suite):
    result = suite()
    assert "1 passed, 3 skipped" in result.stdout, result.stdout + result.stderr
    for name in ("slow", "oracle", "mutation"):
        assert f"{name} test: run it with --{name}" in result.stdout


def test_options_and_environment_run_them(suite):
    result = suite("--slow", MINIGAN_TESTS="oracle,mutation")
    assert "4 passed" in result.stdout, result.stdout + result.stderr
    result = suite(MINIGAN_TESTS="slwo")
    assert result.returncode != 0
    assert "MINIGAN_TESTS names slwo; it takes slow, mutation, oracle" in result.stderr


def test_ci_draws_the_same_examples_every_time(suite):
    result = suite(CI="true", derandomize=True)
    assert "1 passed, 3 skipped" in result.stdout, result.stdout + result.stderr
