"""What is in the wheel and the source archive, and which files each kind of install imports.

Every build and install works on a copy of the checkout, in a temporary folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
JUNK = ("__pycache__", "*.py[cod]", ".*", "*.egg-info")

# Where each part of the package was found, as JSON.
WHERE = """
import json, minigan, minigan.kernels.cpu, minigan.kernels.reference
from importlib import resources
print(json.dumps({
    "minigan": minigan.__file__,
    "reference": minigan.kernels.reference.__file__,
    "cpu": minigan.kernels.cpu.__file__,
    "digits": str(resources.files("minigan.run") / "data" / "digits.npz"),
}))
"""


def call(*command, cwd, **environment):
    """The standard output of a command that must succeed."""
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, f"{command} failed\n{result.stdout}\n{result.stderr}"
    return result.stdout


def python(*arguments, cwd, site=None):
    """Run Python on the dependencies of this process, with `site` before them.

    -S leaves out what is installed here, an editable minigan included; its folders come back as
    plain entries of PYTHONPATH, without their .pth files.
    """
    found = [entry for entry in sys.path if entry and Path(entry).resolve() != ROOT]
    path = os.pathsep.join([str(site), *found] if site else found)
    return call(sys.executable, "-S", *arguments, cwd=cwd, PYTHONPATH=path)


def need(*tools):
    """Skip the test where a tool of the extra `test` is not installed."""
    for tool in tools:
        if find_spec(tool) is None:
            pytest.skip(f'needs {tool}: pip install -e ".[test]"')


def install(*what, site):
    """Install into the folder `site`, with the tools at hand and without the package index."""
    need("pip", "setuptools")
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target", site)
    call(sys.executable, "-m", "pip", "install", *options, *what, cwd=site.parent)


def where(*before, cwd, site=None):
    code = "\n".join([*before, WHERE])
    places = json.loads(python("-c", code, cwd=cwd, site=site))
    return {name: Path(place).resolve() for name, place in places.items()}


def files(folder):
    """The files of a folder, relative to it, without caches."""
    junk = shutil.ignore_patterns(*JUNK)
    for here, folders, names in os.walk(folder):
        folders[:] = set(folders) - junk(here, folders)
        for name in set(names) - junk(here, names):
            yield (Path(here) / name).relative_to(folder).as_posix()


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of the files that the package is built from."""
    clone = tmp_path_factory.mktemp("clone") / "checkout"
    clone.mkdir()
    for folder in ("minigan", "kernels", "tests", "docs", "examples", "benchmarks"):
        if (ROOT / folder).is_dir():
            ignore = shutil.ignore_patterns(*JUNK)
            shutil.copytree(ROOT / folder, clone / folder, ignore=ignore)
    for path in ROOT.iterdir():
        ours = path.suffix in (".md", ".cfg", ".toml", ".in") or path.name == "LICENSE"
        if path.is_file() and ours:  # and nothing that a user has put here
            shutil.copy(path, clone)
    return clone


@pytest.fixture(scope="module")
def archives(clone, tmp_path_factory):
    """The source archive, and the wheel that was built from it."""
    need("build", "setuptools")
    out = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, clone, cwd=out)
    (sdist,) = out.glob("*.tar.gz")
    (wheel,) = out.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def installed(archives, tmp_path_factory):
    """A folder into which the wheel was installed."""
    site = tmp_path_factory.mktemp("site")
    _, wheel = archives
    install(wheel, site=site)
    return site


@pytest.fixture
def elsewhere(tmp_path):
    """A working directory that is no checkout."""
    return tmp_path


def metadata(wheel):
    """The name of the metadata folder, and the metadata, of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return name.partition("/")[0], Parser().parsestr(archive.read(name).decode())


def test_wheel_holds_the_two_folders_and_nothing_else(archives):
    _, wheel = archives
    info, _ = metadata(wheel)
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.startswith(f"{info}/")}
        data = archive.read("minigan/run/data/digits.npz")
    expected = {f"minigan/{name}" for name in files(ROOT / "minigan")}
    expected |= {f"minigan/kernels/{name}" for name in files(ROOT / "kernels")}
    assert names == expected
    assert data == (ROOT / "minigan/run/data/digits.npz").read_bytes()
    for name in ("kernels/reference.py", "run/data/NOTICE.md", "py.typed"):
        assert f"minigan/{name}" in names


def test_wheel_metadata(archives):
    _, wheel = archives
    info, fields = metadata(wheel)
    assert fields["Name"] == "minigan"
    assert fields["Requires-Python"] == ">=3.10"
    assert {"test", "cuda12", "cuda13", "oracles"} <= set(fields.get_all("Provides-Extra"))
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        scripts = archive.read(f"{info}/entry_points.txt").decode()
        source = archive.read("minigan/__init__.py").decode()
    assert f'__version__ = "{fields["Version"]}"' in source
    assert "minigan = minigan.run.cli:main" in scripts
    for licence in ("LICENSE", "minigan/run/data/NOTICE.md"):
        assert f"{info}/licenses/{licence}" in names


def test_source_archive_holds_what_it_is_built_and_tested_from(archives, clone):
    sdist, _ = archives
    with tarfile.open(sdist) as archive:
        names = {m.name.partition("/")[2] for m in archive.getmembers() if m.isfile()}
    missing = {name for name in files(clone) if name not in names}
    assert not missing


def test_wheel_imports_from_anywhere(installed, elsewhere):
    places = where(cwd=elsewhere, site=installed)
    assert places == {
        "minigan": installed / "minigan/__init__.py",
        "reference": installed / "minigan/kernels/reference.py",
        "cpu": installed / "minigan/kernels/cpu/__init__.py",
        "digits": installed / "minigan/run/data/digits.npz",
    }
    assert places["digits"].is_file()


def test_command_of_the_wheel(installed, elsewhere):
    code = """
from importlib.metadata import distribution
(script,) = distribution("minigan").entry_points.select(group="console_scripts")
assert script.name == "minigan"
assert callable(script.load())
"""
    python("-c", code, cwd=elsewhere, site=installed)


def checkout_places(clone):
    return {
        "minigan": clone / "minigan/__init__.py",
        "reference": clone / "kernels/reference.py",
        "cpu": clone / "kernels/cpu/__init__.py",
        "digits": clone / "minigan/run/data/digits.npz",
    }


def test_clone_needs_no_install(clone):
    assert where(cwd=clone) == checkout_places(clone)


def test_editable_install_imports_the_files_of_the_clone(clone, elsewhere):
    site = elsewhere / "site"
    install("--editable", clone, site=site)
    read_pth_files = f"import site; site.addsitedir({str(site)!r})"
    places = where(read_pth_files, cwd=elsewhere, site=site)
    assert places == checkout_places(clone)


def test_clone_beside_an_installed_wheel_tests_its_own_files(clone, installed):
    probe = clone / "tests" / "test_probe.py"
    probe.write_text(
        "import minigan.kernels.reference\n"
        "def test_probe():\n"
        f"    assert minigan.__file__ == {str(clone / 'minigan/__init__.py')!r}\n"
        "    file = minigan.kernels.reference.__file__\n"
        f"    assert file == {str(clone / 'kernels/reference.py')!r}\n"
    )
    try:
        assert "1 passed" in python("-m", "pytest", probe, cwd=clone, site=installed)
    finally:
        probe.unlink()


def test_import_is_quick_and_light(installed, elsewhere):
    code = """
import time
start = time.perf_counter()
import minigan
seconds = time.perf_counter() - start
import json, sys
print(json.dumps([seconds, sorted(sys.modules)]))
"""
    best = float("inf")
    for _ in range(8):  # a busy machine slows some of the runs
        seconds, modules = json.loads(python("-c", code, cwd=elsewhere, site=installed))
        best = min(best, seconds)
        if best < 0.3:
            break
    assert best < 0.3
    assert not {"matplotlib", "cupy", "PIL", "pooch", "tqdm"} & set(modules)


@pytest.mark.slow
def test_mypy_finds_the_kernels_of_a_checkout(elsewhere):
    need("mypy")
    if not (ROOT / "typings").is_dir():
        pytest.skip("a source archive has no typings/")
    user = elsewhere / "user.py"
    user.write_text("import minigan.kernels.geometry as g\nreveal_type(g.axis)\n")
    output = call(sys.executable, "-m", "mypy", "--follow-imports=silent", user, cwd=ROOT)
    assert "def (size: int" in output
