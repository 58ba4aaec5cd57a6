"""The documentation site: `sphinx-build -W -b html docs build/site`."""

import re
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import cnnx

project = "cnnx"
author = "The cnnx developers"
copyright = author
version = release = cnnx.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
root_doc = "index"
templates_path = ["_templates"]
exclude_patterns = ["sg_execution_times.rst", "gallery/sg_execution_times.rst"]
# A name in backticks is a link where there is such a name.
default_role = "autolink"

html_theme = "pydata_sphinx_theme"
html_title = "cnnx"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": False,
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
# Short pages need no list of what stands beside them.
html_sidebars = {"get-started": [], "deck": [], "kernels": []}

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

myst_url_schemes = ["http", "https", "mailto"]

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_show_inherited_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
    "min_reported_time": 10_000,
    "reset_modules_order": "both",
}
warnings.filterwarnings("ignore", message=".*non-interactive.*")


def as_they_read(app, what, name, obj, options, lines):
    """What docstrings leave to the reader of the source: `*shape` is no emphasis, and indented lines are formulas."""
    lines[:] = [re.sub(r"\*(?=\w+_shape)", r"\\*", line) for line in lines]
    if what == "module":
        for place in reversed(range(2, len(lines))):
            if lines[place].startswith("    ") and not lines[place - 1] and lines[place - 2][:1].strip():
                lines[place:place] = ["::", ""]


def setup(app):
    """Sphinx calls this."""
    app.connect("autodoc-process-docstring", as_they_read, priority=0)
