"""Runs a script or a module, with its arguments, on the emulated device.

python tests/emugpu/run.py -m minigan train --backend cupy
python tests/emugpu/run.py script.py argument
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path


def main() -> None:
    # This folder, where Python looks first for a script's imports, gives way to the checkout.
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    from tests.emugpu import rig

    rig.install()
    sys.argv.pop(0)
    if sys.argv[:1] == ["-m"]:
        sys.argv.pop(0)
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    elif sys.argv:
        sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
