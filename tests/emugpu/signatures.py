"""What the rig relies on inside CuPy: names and signatures, as the supported version has them.

The capsules are how CuPy's extension modules export C functions to each other.  A capsule's name is
the C signature, which is all that the importing side looks at: a replacement that CuPy would call
in another way has to be found here, before it is called.  expected.json holds the signatures;

    python -m tests.emugpu.signatures > tests/emugpu/expected.json

writes it anew, for a new version of CuPy whose changes have been read.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
import inspect
import json
from pathlib import Path
from types import ModuleType
from typing import Any

EXPECTED = Path(__file__).with_name("expected.json")
PACKAGES = ("cupy-cuda12x", "cupy-cuda13x")
VERSION = "14.2."
API = "cupy_backends.cuda.api."
PATCHED = (  # in cupy.cuda.compiler
    "_compile_using_nvrtc_no_warning",
    "_get_nvrtc_version",
    "_preprocess",
    "compile_using_nvcc",
)

capsule_name = ctypes.pythonapi.PyCapsule_GetName
capsule_name.restype, capsule_name.argtypes = ctypes.c_char_p, [ctypes.py_object]


class RigError(Exception):
    """The rig does not fit this CuPy, or was installed too late."""


def expected() -> dict[str, dict[str, str]]:
    return json.loads(EXPECTED.read_text())


def check_version() -> None:
    """RigError unless one of the packages is there, in the supported version."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if not any(version.startswith(VERSION) for version in found.values()):
        raise RigError(f"the rig is for CuPy {VERSION}*, and there is {found or 'none'}")


def capsules(api: str) -> dict[str, str]:
    """The C signatures that cupy_backends.cuda.api.<api> exports."""
    exported = importlib.import_module(API + api).__pyx_capi__
    return {name: capsule_name(capsule).decode() for name, capsule in sorted(exported.items())}


def compiler_functions(compiler: ModuleType | Any) -> dict[str, str]:
    """The signatures of the Python functions that the rig replaces."""
    functions = {name: getattr(compiler, name, None) for name in PATCHED}
    return {name: str(inspect.signature(f)) if f else "missing" for name, f in functions.items()}


def compare(what: str, found: dict[str, str]) -> None:
    """RigError, saying what changed, unless `found` is what was expected."""
    wanted = expected()[what]
    changes = [
        f"{name}: expected {wanted.get(name, 'nothing')}, found {found.get(name, 'nothing')}"
        for name in sorted(wanted.keys() | found.keys())
        if wanted.get(name) != found.get(name)
    ]
    if changes:
        raise RigError(f"{what} is not as in CuPy {VERSION}*:\n  " + "\n  ".join(changes))


def main() -> None:
    found = {api: capsules(api) for api in ("driver", "runtime")}
    compiler = importlib.import_module("cupy.cuda.compiler")
    print(json.dumps({**found, "compiler": compiler_functions(compiler)}, indent=1))


if __name__ == "__main__":
    main()
