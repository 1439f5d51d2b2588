"""README's code and the scripts in examples/ run, and do what they say."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def run(script: pathlib.Path, *args: str, cwd: pathlib.Path) -> str:
    command = [sys.executable, str(script), *args]
    env_root = f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv = {command[1:]!r}; "
    code = env_root + "import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=600
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_ring_is_learned(tmp_path):
    before, after = re.findall(r"(\d\.\d+)", run(ROOT / "examples/ring.py", cwd=tmp_path))
    assert float(before) > 0.5
    assert float(after) < 0.1


def test_the_readme_shows_the_ring_example_and_its_figures(tmp_path):
    code = (ROOT / "examples/ring.py").read_text()
    assert code[code.index("import numpy") :].strip() in README
    before, after = re.findall(r"(\d\.\d+)", run(ROOT / "examples/ring.py", cwd=tmp_path))
    stated = re.search(r"prints (\S+) and then a figure below (\S+) ", README)
    assert stated and before == stated[1] and float(after) < float(stated[2])


def test_own_layer_passes_and_its_mistake_is_named(tmp_path):
    right, wrong = run(ROOT / "examples/own_layer.py", cwd=tmp_path).split("\n\n")
    assert "FAIL" not in right
    assert "FAIL" in wrong
    assert "factor 0.5" in wrong


def test_the_readmes_own_layer_block_runs(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    block = next(b for b in blocks if "check_gradients" in b)
    script = tmp_path / "block.py"
    script.write_text(block)
    assert "ok" in run(script, cwd=tmp_path)


def test_the_readmes_table_of_networks():
    import minigan as mg

    rows = re.findall(r"^\| `(\w+)`([^|]*)\|[^|]*\| ([\d,]+) \| ([\d,]+) \|", README, flags=re.M)
    assert len(rows) == 7
    for name, note, g_count, d_count in rows:
        classes = {"classes": 102} if "102" in note else {}
        pair = mg.models.get(name)(**classes)
        counts = [f"{sum(model.count_params()):,}" for model in pair]
        assert counts == [g_count, d_count], name


def test_the_readmes_counts_of_comparisons_and_mutants():
    from minigan.run.checks import all_rows
    from tests.mutation.mutants import MUTANTS

    rows = list(all_rows())
    assert all(row.ok for row in rows)
    assert f"{len(rows)} comparisons" in README
    assert f"all {len(MUTANTS)} |" in README


def test_the_penaltys_gradient_is_right_and_r1_flattens_the_field(tmp_path):
    out = run(ROOT / "examples/gradient_penalty.py", str(tmp_path / "field.png"), cwd=tmp_path)
    by_hand, numeric = (float(x) for x in re.findall(r"(-?\d\.\d{15})", out))
    assert abs(by_hand - numeric) <= 1e-13 and abs(by_hand) > 1e-4
    free, penalised = (float(x) for x in re.findall(r"on the ring (\d+\.\d+)", out))
    assert penalised < 0.2 * free
    assert (tmp_path / "field.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_penalties_cost_no_more_than_they_should(tmp_path):
    out = run(ROOT / "examples/time_penalties.py", "mlp_digits", "digits", cwd=tmp_path)
    rows = [line for line in out.splitlines() if "digits" in line]
    assert len(rows) == 2
    for row in rows:
        none, r1, between, both = (float(x) for x in re.findall(r"(\d\.\d\d) \(", row))
        assert none == 1 and r1 <= 2.2 and between <= 2.2 and both <= 2.5, row


def test_examples_are_short():
    for path in (ROOT / "examples").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 130, path


@pytest.mark.slow
def test_a_run_is_scored(tmp_path):
    import minigan as mg

    images, labels = mg.datasets.digits()
    gan = mg.GAN(*mg.models.clear_digits(), **mg.recipes.clear_digits)
    mg.train(gan, (images[::10], labels[::10]), epochs=1, out=tmp_path / "run", progress=False)
    out = run(ROOT / "examples/score_digits.py", str(tmp_path / "run"), cwd=tmp_path)
    floor, distance = (float(x) for x in re.findall(r"distance (\d+\.\d+)", out))
    assert floor < 2 < distance
