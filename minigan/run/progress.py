"""The progress bar on stderr."""

from __future__ import annotations

import shutil
from typing import Any


def bar(total: int, show: bool) -> Any:
    """A tqdm bar that counts `total` images; silent unless `show`. It starts no thread."""
    from tqdm import tqdm

    class Bar(tqdm):
        monitor_interval = 0  # its thread would outlive the bar; miniters=1 needs none

    size = shutil.get_terminal_size((100, 24))  # tqdm shows nothing where the size is unknown
    return Bar(
        total=total,
        disable=not show,
        unit=" img",
        unit_scale=True,
        miniters=1,
        ncols=size.columns,
        nrows=size.lines,
        bar_format="{desc}|{bar}| {remaining} left {rate_noinv_fmt}{postfix}",  # fits 80 columns
    )
