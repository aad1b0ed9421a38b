"""The site: Sphinx with the theme Furo, of Markdown pages and executed notebooks.

``sphinx-build --fail-on-warning docs SITE`` in an environment with the extra ``docs``.
No page loads anything from another host: fonts are the reader's own, and the search
index is a file beside the pages.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from gathered import fill_page

import deepspot_scale

project = "deepspot_scale"
copyright = "the deepspot_scale developers"
release = deepspot_scale.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["**.ipynb_checkpoints"]

html_theme = "furo"
html_title = f"deepspot_scale {release}"
html_static_path = ["style.css"]
html_css_files = ["style.css"]
html_show_sphinx = False
html_copy_source = False

# Words in single backticks of docstrings are code.
default_role = "code"
# Types stand beside what a parameter means: its shape, unit and range.
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
python_use_unqualified_type_names = True
autodoc_member_order = "bysource"
# A signature reads as it is written: `project: Literal["max", "mean"]`.
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
napoleon_google_docstring = False
napoleon_use_rtype = False
# "See `convert`" in a docstring is no link; all that are links must lead somewhere.
nitpicky = False

nb_execution_mode = "off"  # a test executes them
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3


def setup(app: object) -> None:
    """Fill what pages take from the package before they are parsed."""
    app.connect("source-read", fill_page)  # type: ignore[attr-defined]
