"""Links from prose to a line of the library.

[text](<../minigan/layers/dense.py#part of the line>), in a file of examples/.
"""

from __future__ import annotations

import re
from pathlib import Path

LINK = re.compile(r"\]\(<\.\./([^#>]+)#([^>]+)>\)")


def line_number(path: Path, text: str) -> int:
    """The number of the one line of the file in which `text` stands. Raises ValueError."""
    lines = path.read_text().splitlines()
    found = [number for number, line in enumerate(lines, 1) if text in line]
    if len(found) != 1:
        raise ValueError(f"{text!r} stands on {len(found)} lines of {path}, and should on one")
    return found[0]
