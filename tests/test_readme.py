"""README's code runs, and its figures are those of the code."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def run(code: str, cwd: pathlib.Path) -> str:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_step_is_that_of_lesson_2():
    step = next(block for block in BLOCKS if "d_adam.step" in block)
    assert step.strip() in (ROOT / "examples/02_ring.py").read_text()


def test_the_own_layer_passes(tmp_path):
    assert "ok" in run(next(block for block in BLOCKS if "check_gradients" in block), tmp_path)


def test_the_readmes_table_of_networks():
    import minigan as mg

    rows = re.findall(r"^\| `(\w+)`([^|]*)\|[^|]*\| ([\d,]+) \| ([\d,]+) \|", README, flags=re.M)
    assert len(rows) == 10
    for name, note, g_count, d_count in rows:
        classes = {"classes": 102} if "102" in note else {}
        pair = mg.models.get(name)(**classes)
        counts = [f"{sum(model.count_params()):,}" for model in pair]
        assert counts == [g_count, d_count], name


def test_the_readmes_counts_of_comparisons_and_mutants():
    from minigan.run.checks import all_rows
    from tests.mutation.mutants import MUTANTS
    from tests.mutation.tool_mutants import TOOL_MUTANTS

    rows = list(all_rows())
    assert [row for row in rows if not row.ok] == []
    assert f"{len(rows)} comparisons" in README
    assert f"all {len(MUTANTS)} |" in README and f"all {len(TOOL_MUTANTS)} |" in README
