"""The configuration of the book: `make docs` builds it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "containerkit"
author = "the containerkit authors"
release = version = "0.1.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "picture", "plain", "runs", "shown"]
exclude_patterns = ["_ext", "scripts", "exercises"]
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "containerkit"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["book.css"]
pygments_style = "friendly"

default_role = "py:obj"  # `Plan` in a docstring leads to Plan
manpages_url = "https://man7.org/linux/man-pages/man{section}/{page}.{section}.html"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 160

# The package whose public objects must all be in the API reference: see _ext/shown.py.
shown_package = "containerkit"
