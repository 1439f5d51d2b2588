"""Build the course and the reference, to be read from disk without a network.

    python docs/build.py [--quick] [--out runs/course]

Runs all lessons: minutes each, or seconds each with --quick; MINIGAN_BACKEND says where. Then it
looks at every link of every page, and fails if one leads nowhere.  Needs pip install -e ".[docs]".
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.cmd.build import main as sphinx

ROOT = Path(__file__).resolve().parents[1]
FIRST = '<meta http-equiv="refresh" content="0; url=pages/docs/index.html">\n'


class Page(HTMLParser):
    """What a page links to, and what can be linked to in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []  # what a reader may follow
        self.parts: list[str] = []  # what the page itself is made of: scripts, styles, pictures
        self.anchors: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key in ("href", "src") and value:
                (self.links if tag == "a" else self.parts).append(value)
            elif key in ("id", "name") and value:
                self.anchors.add(value)


def dead_links(out: Path) -> list[str]:
    """The links of the pages under `out` that lead nowhere in it, and parts from a network."""
    out = out.resolve()
    pages = {path: Page(path) for path in out.rglob("*.html")}
    dead = []
    for path, page in pages.items():
        for link in [*page.links, *page.parts]:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "mailto") and link in page.links:
                continue  # a reader may go there; nothing else needs it
            if parts.scheme == "data":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = pages[target].anchors if target in pages else {parts.fragment}
            found = not (parts.scheme or parts.netloc) and target.is_relative_to(out)
            if not (found and target.exists() and (parts.fragment or "") in {"", *known}):
                dead.append(f"{path.relative_to(out)}: {link}")
    return dead


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="lessons of seconds")
    out = ROOT / "runs/course"
    parser.add_argument("--out", type=Path, default=out, help="folder of the pages (runs/course)")
    args = parser.parse_args()
    os.environ["MINIGAN_QUICK"] = str(int(args.quick))
    words = ["-W", "--keep-going", "-c", str(ROOT / "docs"), str(ROOT)]
    pages = args.out / "pages"
    if (pages / "objects.inv").exists():  # an earlier build, whose pages would keep links alive
        shutil.rmtree(pages)
    with tempfile.TemporaryDirectory() as folder:  # what Jupyter would put into the user's
        os.environ |= {"IPYTHONDIR": folder, "JUPYTER_RUNTIME_DIR": folder}
        settings = Path(folder, "profile_default", "ipython_kernel_config.py")
        settings.parent.mkdir()
        settings.write_text("get_config().Application.log_level = 'ERROR'\n")
        failed = sphinx([*words, "-d", f"{folder}/doctrees", str(pages)])
    shutil.rmtree(args.out / "jupyter_execute", ignore_errors=True)  # the pages have copies
    dead = [] if failed else dead_links(pages)
    print(*(f"dead link in {line}" for line in dead), sep="\n", end="")
    if failed or dead:
        return 1
    (args.out / "index.html").write_text(FIRST)
    print(args.out / "index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
