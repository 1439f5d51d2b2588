"""g++ in the place of NVRTC, and a cache of what it made."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
HEADERS = [HERE / "engine.h", HERE / "cuda_emu.h", *sorted((HERE / "shadow").rglob("*.cuh"))]
LIBRARY_SOURCES = sorted(HERE.glob("*.cpp"))

# Results are those of IEEE arithmetic: a product and a sum are not contracted.
KERNEL_FLAGS = ("-x", "c++", "-O1", "-fPIC", "-shared", "-w", "-ffp-contract=off")
LIBRARY_FLAGS = ("-std=c++17", "-O2", "-fPIC", "-shared", "-fopenmp", "-Wall", "-Wextra")
SANITIZERS = {
    "address": ("-fsanitize=address,undefined", "-fsanitize-sections=emu_shared"),
    "thread": ("-fsanitize=thread",),
}

# Options of CuPy that say nothing about the meaning of a kernel on a CPU.
IGNORED_OPTIONS = ("-ftz=", "-arch=", "--device-as-default-execution-space")

KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+(?:void\s+)?'
    r"(?:__launch_bounds__\s*\((?P<bound>[^()]*(?:\([^()]*\)[^()]*)*)\)\s*)?"
    r"(?:void\s+)?(?P<name>\w+)\s*\("
)
DYNAMIC_SHARED = re.compile(
    r"extern\s+__shared__\s+(?:__align__\s*\([^)]*\)\s*)?(?P<type>[\w:\s]+?)\s+(?P<name>\w+)"
    r"\s*\[\s*\]\s*;"
)


class CompileError(Exception):
    """What g++ wrote."""


def sanitizer() -> str | None:
    """The sanitizer of this process's kernels: set by sanitize.py in the processes it starts."""
    return os.environ.get("MINIGAN_EMU_SANITIZER")


def cache_folder() -> Path:
    """MINIGAN_EMU_CACHE, or a folder of this user in the system's folder for temporary files."""
    default = Path(tempfile.gettempdir()) / f"minigan-emugpu-{os.getuid()}"
    folder = Path(os.environ.get("MINIGAN_EMU_CACHE", default))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


@cache
def compiler_version() -> str:
    return subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True).stdout


def _text(paths: Iterable[Path]) -> str:
    return "\n".join(path.read_text() for path in paths)


@cache
def _headers() -> str:
    return _text(HEADERS)


def build(source: str, flags: Sequence[str], key: str) -> Path:
    """The shared object that g++ makes of `source`; `key` is what else the result depends on.

    Processes may build the same one at once: each writes a file of its own, then renames it.
    """
    digest = hashlib.sha256("\0".join([source, *flags, key, compiler_version()]).encode())
    target = cache_folder() / f"{digest.hexdigest()[:32]}.so"
    if not target.exists():
        unfinished = target.with_suffix(f".{os.getpid()}")
        command = ["g++", *flags, "-o", str(unfinished), "-"]
        result = subprocess.run(command, input=source, capture_output=True, text=True)
        if result.returncode:
            raise CompileError(result.stderr)
        unfinished.replace(target)
    return target


def library() -> Path:
    """The engine and the driver."""
    python = sysconfig.get_paths()["include"]
    flags = ("-x", "c++", *LIBRARY_FLAGS, f"-I{HERE}", f"-I{python}")
    source = "".join(f'#include "{path.name}"\n' for path in LIBRARY_SOURCES)
    return build(source, flags, _text([*LIBRARY_SOURCES, *sorted(HERE.glob("*.h"))]))


def stubs(api: str, signatures: dict[str, str]) -> Path:
    """A function <api>_<name> for each signature, that raises RuntimeError."""
    functions = [_stub(api, name, signature) for name, signature in signatures.items()]
    source = (
        "#include <cstdint>\n#include <cstdio>\n#include <cstdlib>\n#include <string>\n"
        "void raise_unmodelled(const std::string& what);\n"
    )
    return build(source + "".join(functions), ("-x", "c++", "-fPIC", "-shared"), "")


def _stub(api: str, name: str, signature: str) -> str:
    result = signature.split("(")[0].strip()
    head = f'extern "C" intptr_t {api}_{name}()'
    if result.startswith("cuda"):  # a struct: no value of it reports an exception
        return f'{head} {{ fputs("{api}.{name} is not modelled\\n", stderr); abort(); }}\n'
    failure = -1 if result in ("int", "unsigned int") else 0
    return f'{head} {{ raise_unmodelled("{api}.{name}"); return {failure}; }}\n'


def kernel_module(
    source: str,
    options: Sequence[str] = (),
    expressions: Sequence[str] = (),
    includes: Sequence[str] = (),
    key: str = "",
) -> tuple[Path, dict[str, str]]:
    """A module of the kernels in `source`, and the symbol of each name expression."""
    kernels = list(_kernels(source))
    symbols = {expression: f"expression{i}" for i, expression in enumerate(expressions)}
    exports = [f"EMU_EXPORT({name}, {name}, {rest})" for name, rest in kernels]
    exports += [f"EMU_EXPORT({symbols[name]}, ({name}), 0, true)" for name in expressions]
    file = f"{kernels[0][0] if kernels else 'module'}.cu"
    body = DYNAMIC_SHARED.sub(r"\g<type>* \g<name> = (\g<type>*)emu::dynamic_shared;", source)
    text = "\n".join(
        ['#include "cuda_emu.h"', f'#line 1 "{file}"', body, '#line 1 "exports"', *exports, ""]
    )
    first = (f"-I{HERE}", f"-I{HERE / 'shadow'}")
    flags = [*_flags(), *first, *translate(options), *(f"-I{path}" for path in includes)]
    return build(text, flags, _headers() + key), symbols


def _kernels(source: str) -> Iterable[tuple[str, str]]:
    """Each kernel's name, and for EMU_EXPORT its launch bound and whether it has shared memory."""
    matches = list(KERNEL.finditer(source))
    ends = [match.start() for match in matches[1:]] + [len(source)]
    for match, end in zip(matches, ends, strict=True):
        shares = "__shared__" in source[match.end() : end]
        yield match["name"], f"{match['bound'] or 0}, {str(shares).lower()}"


def _flags() -> tuple[str, ...]:
    if (name := sanitizer()) is None:
        return KERNEL_FLAGS
    return (*KERNEL_FLAGS, "-g", "-DEMU_SANITIZED", *SANITIZERS[name])


def translate(options: Sequence[str]) -> list[str]:
    """The options that g++ is given for CuPy's; an unknown one is an error."""
    result = []
    for option in options:
        if option.startswith(("-D", "-I", "-std=", "--std=")):
            result.append(option.removeprefix("-") if option.startswith("--std") else option)
        elif not option.startswith(IGNORED_OPTIONS):
            raise CompileError(f"the emulated device does not know the option {option}")
    if not any(option.startswith("-std=") for option in result):
        result.append("-std=c++17")
    return result
