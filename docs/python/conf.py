"""How Sphinx builds the Python documentation; `make docs` does it, without a network."""

import os
from pathlib import Path

from bgformer import __version__

ROOT = Path(__file__).parents[2]
os.environ["PYTHONPATH"] = str(ROOT / "demo")  # where the tutorial finds its cells

project = "bgformer"
author = "bgformer developers"
copyright = author
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
default_role = "literal"  # `name` in a docstring

# The docstrings have no types; they come from the signatures.
autodoc_typehints = "description"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autosummary_generate = True
napoleon_google_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]  # a list, as of parameters
python_maximum_signature_line_length = 80

# Pages that are notebooks are run at each build, and an error in one of them ends it.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_execution_show_tb = True
nb_output_stderr = "warn"  # a warning that the page does not explain ends it, too
nb_merge_streams = True

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# [text](site:articles/batches.html) is a page of the R site, which this one is a folder of
myst_url_schemes = {"http": None, "https": None, "site": "../{{path}}"}

html_theme = "sphinx_book_theme"
html_title = f"bgformer {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "home_page_in_toc": True,
    "navbar_persistent": [],  # a second search field
    "primary_sidebar_end": ["site.html"],
    "show_navbar_depth": 1,
    "use_download_button": False,
}


def prose_returns(app, what, name, obj, options, lines):
    """Make a field of the section Returns: napoleon takes it for a list of types, it is prose."""
    if "Returns" not in lines:
        return
    start = lines.index("Returns")
    if not lines[start + 1].startswith("---"):
        return
    end = next((i for i in range(start + 2, len(lines)) if lines[i].startswith("---")), 0)
    end = end - 1 if end else len(lines)
    body = [f"    {line}" if line else "" for line in lines[start + 2 : end]]
    body[0] = f":returns: {body[0].strip()}"
    lines[start:end] = ["", "", *body, ""]  # two empty lines end the section before


def of_metadata_routing(app, what, name, obj, skip, options):
    """Leave out what scikit-learn adds to every estimator for its pipelines."""
    return True if name.endswith(("_request", "_metadata_routing")) else None


def setup(app):
    """Come before napoleon, and choose members."""
    app.connect("autodoc-process-docstring", prose_returns, priority=100)
    app.connect("autodoc-skip-member", of_metadata_routing)
