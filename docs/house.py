"""What Sphinx is taught for this course.

Links to lines of the library, pages that show its source, formulas as MathML (which browsers draw
themselves, offline), docstrings in plain text, and prose beside its code.
"""

from __future__ import annotations

import html
import importlib
import inspect
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from links import LINK, line_number
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_for_filename
from sphinx.util import logging

ROOT = Path(__file__).resolve().parents[1]
ARGUMENT = re.compile(r"[\w*][\w*, ]*: ")
SHOWN = ("minigan/**/*.py", "kernels/**/*.py", "kernels/cuda/*.cu", "examples/*.py")
warn = logging.getLogger(__name__).warning


def link_to_lines(app: Any, name: str, source: list[str]) -> None:
    """In a lesson: a link to a file of the library and a line's text becomes one to the line."""

    def target(match: re.Match[str]) -> str:
        try:
            return f"](source:{match[1]}#line-{line_number(ROOT / match[1], match[2])})"
        except (ValueError, OSError) as error:
            warn("%s", error, location=name)
            return match[0]

    if name.startswith("examples/"):
        source[0] = LINK.sub(target, source[0])


def source_pages(app: Any) -> Iterator[tuple[str, dict[str, Any], str]]:
    """A page for each file of the library, its lines numbered."""
    form = HtmlFormatter(
        linenos="inline", linespans="line", anchorlinenos=True, cssclass="highlight"
    )
    for path in sorted(path for pattern in SHOWN for path in ROOT.glob(pattern)):
        name = path.relative_to(ROOT).as_posix()
        lexer = get_lexer_for_filename("x.cpp" if path.suffix == ".cu" else path.name)
        body = f"<h1>{html.escape(name)}</h1>{highlight(path.read_text(), lexer, form)}"
        yield f"source/{name}", {"title": name, "body": body}, "page.html"


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """Where the source pages have an object of the reference."""
    found: Any = importlib.import_module(info["module"])
    for part in info["fullname"].split("."):
        found = getattr(found, part)
    try:
        path = Path(inspect.getsourcefile(found) or "").resolve().relative_to(ROOT)
        return f"../source/{path.as_posix()}.html#line-{inspect.getsourcelines(found)[1]}"
    except (TypeError, OSError, ValueError):
        return None  # data, not code


def plain_text(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text.

    A paragraph that begins indented (a formula, code) is shown as it stands, the rest as prose;
    where lines name arguments ("x: ...", continued on indented lines), each begins a new line.
    """
    out: list[str] = []
    for blank, group in groupby(lines, lambda line: not line.strip()):
        block = list(group)
        if blank:
            continue
        if block[0].startswith(" "):
            out += ["::", "", *(f"    {line}" for line in block)]
        elif block[0].startswith(">>>"):
            out += block
        else:
            argued = any(line[0] == " " or ARGUMENT.match(line) for line in block[1:])
            text = [escaped(line) for line in block]
            if argued:
                text = [line if line[0] == " " else f"| {line}" for line in text]
            out += text
        out.append("")
    lines[:] = out


def signature(
    app: Any, what: str, name: str, obj: Any, options: Any, shown: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """A class without a constructor of its own takes nothing."""
    return ("()" if shown == "(*args, **kwargs)" else shown), returned


def escaped(line: str) -> str:
    """A line in which nothing is markup but `code`."""
    parts = re.split(r"(`[^`]+`)", line)
    return "".join(f"`{part}`" if part[:1] == "`" else bare(part) for part in parts)


def bare(text: str) -> str:
    """Text in which nothing is markup."""
    return re.sub(r"([\\*`|_])", r"\\\1", text)


def beside(app: Any, doctree: nodes.document) -> None:
    """In a lesson: what is read before a cell stands beside it, in one row."""
    for section in list(doctree.findall(nodes.section)):
        rows: list[nodes.Node] = []
        prose: list[nodes.Node] = []
        for node in section.children:
            cell = isinstance(node, nodes.container) and "cell" in node["classes"]
            if cell:
                left = nodes.container("", *prose, classes=["prose"])
                rows.append(nodes.container("", left, node, classes=["row"]))
                prose = []
            elif isinstance(node, (nodes.title, nodes.section)):
                rows += [*_row(prose), node]
                prose = []
            else:
                prose.append(node)
        if any(isinstance(node, nodes.container) for node in section.children):
            section.children = []
            section.extend([*rows, *_row(prose)])


def _row(prose: list[nodes.Node]) -> list[nodes.Node]:
    if not prose:
        return []
    return [nodes.container("", nodes.container("", *prose, classes=["prose"]), classes=["row"])]


def visit_math(self: Any, node: nodes.Element) -> None:
    """A formula in the text."""
    self.body.append(convert(node.astext()))
    raise nodes.SkipNode


def visit_math_block(self: Any, node: nodes.Element) -> None:
    """A formula on a line of its own."""
    self.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.config.linkcode_resolve = linkcode_resolve
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    app.connect("source-read", link_to_lines)
    app.connect("html-collect-pages", source_pages)
    app.connect("autodoc-process-docstring", plain_text)
    app.connect("autodoc-process-signature", signature)
    app.connect("doctree-read", beside)
    return {"parallel_read_safe": True}
