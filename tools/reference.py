"""The Python reference as web pages: tools/reference.py FOLDER, called by `make docs`."""

import sys
from pathlib import Path

import pdoc

import bgformer

# Public names are imported when they are first used, and pdoc looks only at what is there.
vars(bgformer).update({name: getattr(bgformer, name) for name in bgformer.__all__})

pdoc.render.configure(docformat="numpy", show_source=False)
pdoc.pdoc("bgformer", output_directory=Path(sys.argv[1]))
