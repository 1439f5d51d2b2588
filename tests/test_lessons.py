"""The lessons in examples/: each runs, its claims are its asserts, its links lead somewhere."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
LESSONS = sorted((ROOT / "examples").glob("[01][0-9]_*.py"))
every_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


links = module(ROOT / "docs/links.py")


def run(path, *words, cwd, launcher=()):
    command = [sys.executable, *launcher, str(path), *words, "--out", "pictures"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_are_twelve():
    assert [int(path.name[:2]) for path in LESSONS] == list(range(1, 13))


@every_lesson
def test_its_form(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 130
    title = f"# %% [markdown]\n# # {int(path.name[:2])}. "
    assert text.startswith(title) and f'lesson.start("{path.stem}")' in text
    for cell in re.split(r"^# %%", text, flags=re.MULTILINE)[1:]:
        first, _, body = cell.partition("\n")
        assert first in ("", " [markdown]")
        if first:
            assert all(line.startswith("#") for line in body.strip().splitlines()), body
    assert re.search(r"^ *assert ", text, flags=re.MULTILINE)


@every_lesson
def test_its_links_lead_to_one_line(path):
    text = path.read_text()
    found = links.LINK.findall(text)
    assert len(found) == text.count("](<")
    for file, line in found:
        assert links.line_number(ROOT / file, line) > 0


def test_a_dead_link_is_found(tmp_path):
    (tmp_path / "a.py").write_text("one\ntwo\ntwo\n")
    assert links.line_number(tmp_path / "a.py", "one") == 1
    for text in ("two", "three"):
        with pytest.raises(ValueError, match="and should on one"):
            links.line_number(tmp_path / "a.py", text)


def test_dead_links_of_the_rendered_course(tmp_path):
    pytest.importorskip("sphinx", reason='needs pip install -e ".[docs]"')
    (tmp_path / "else.html").write_text("")
    out = tmp_path / "course"
    out.mkdir()
    (out / "b.html").write_text('<p id="here">')
    links = ["b.html", "b.html#here", "#top", "https://example.org", "c.html", "b.html#gone",
             "../else.html", "#bottom"]  # fmt: skip
    anchors = "".join(f'<a href="{link}"></a>' for link in links)
    script = '<script src="https://example.org/a.js"></script>'
    (out / "a.html").write_text(f'<h1 id="top"></h1>{anchors}{script}')
    dead = [*links[4:], "https://example.org/a.js"]
    found = module(ROOT / "docs/build.py").dead_links(out)
    assert found == [f"a.html: {link}" for link in dead]


@every_lesson
@pytest.mark.cpu("runs scripts on the CPU")
def test_it_runs(path, tmp_path):
    out = run(path, "--quick", cwd=tmp_path)
    shown = re.findall(r"^\[(\S+)\]$", out, flags=re.MULTILINE)
    assert sorted(shown) == sorted(f"pictures/{p.name}" for p in (tmp_path / "pictures").iterdir())
    assert shown and [p.name for p in tmp_path.iterdir()] == ["pictures"]


@every_lesson
@pytest.mark.gpu
def test_it_runs_on_the_gpu(path, tmp_path, launcher):
    run(path, "--quick", "--backend", "cupy", cwd=tmp_path, launcher=launcher)
    assert any((tmp_path / "pictures").iterdir())
