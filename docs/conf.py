"""Settings of Sphinx for the course and the reference: `python docs/build.py` builds them."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT)]
# where the kernel that runs the lessons finds their helper, and the library
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "examples"), str(ROOT)])

project = "minigan"
author = copyright = "The minigan authors"
html_title = "minigan: GAN mathematics, line by line"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.linkcode", "house"]
root_doc = "docs/index"
include_patterns = ["docs/*.md", "examples/[01][0-9]_*.py", "CONTRIBUTING.md", "CHANGELOG.md"]

# A lesson is a script in the percent format, which jupytext reads as a notebook.
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_timeout = -1  # a lesson in full takes minutes
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_mime_priority_overrides = [("html", "image/gif", 0)]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
# What house.py makes of a link to a line of the library.
myst_url_schemes = {
    "http": None,
    "https": None,
    "source": {"url": "../source/{{path}}.html#{{fragment}}"},
}
suppress_warnings = ["myst.header"]

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_inherit_docstrings = True
add_module_names = False

html_theme = "alabaster"
html_static_path = ["course.css"]
html_css_files = ["course.css"]
html_math_renderer = "mathml"
html_theme_options = {
    "page_width": "1000px",
    "sidebar_width": "200px",
    "font_size": "16px",
    "show_relbars": True,
}
html_sidebars = {"**": ["about.html", "navigation.html", "searchbox.html"]}
html_show_sourcelink = False
html_copy_source = False
