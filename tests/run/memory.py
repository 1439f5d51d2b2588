"""The peak of a script's resident memory, on Linux."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

_PEAK = """
def peak():
    import re
    return 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
"""


def peak_of(script: str, *arguments: str) -> int:
    """Run the script, in which peak() gives the bytes so far; return those at its end."""
    # VmHWM, as getrusage would count what the parent had at the fork
    code = f"{_PEAK}\n{textwrap.dedent(script)}\nprint(peak())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])
