#!/usr/bin/env bash
# Builds the site into a folder: tools/site.sh FOLDER. Called by `make docs`; needs no network.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# pkgdown writes beside what it reads, so it reads a copy, in which links are files
cp -rL r-package "$work/bgformer"
cp docs/index.md "$work/bgformer/index.md"
cp -r docs/images "$work/bgformer/man/figures" # pkgdown takes pictures from nowhere else
# the gallery takes its cells in Python from the demo
SITE="$work/site" PACKAGE="$work/bgformer" PYTHONPATH="$PWD/demo" Rscript - <<'R'
options(pkgdown.internet = FALSE)
if (!bgformer::bgformer_available()) {
  stop("the vignettes need Python; see bgformer_sitrep().", call. = FALSE)
}
pkgdown::build_site(Sys.getenv("PACKAGE"), override = list(destination = Sys.getenv("SITE")),
                    preview = FALSE, install = FALSE, new_process = FALSE, devel = FALSE)
R

# The kernels that run the tutorial keep their files in $work, and do not ask for encryption.
export IPYTHONDIR="$work/ipython" JUPYTER_DATA_DIR="$work/jupyter" JUPYTER_CONFIG_DIR="$work/jupyter"
mkdir -p "$IPYTHONDIR/profile_default"
echo 'c.IPKernelApp.log_level = "ERROR"' >"$IPYTHONDIR/profile_default/ipython_kernel_config.py"
rm -rf docs/python/generated
.venv/bin/python -m sphinx -q -W --keep-going -d "$work/doctrees" docs/python "$work/python"
mv "$work/python" "$work/site/python"
PYTHONPATH=demo .venv/bin/python - "$work/site/report.html" <<'PY'
import sys

from pbmc700 import load_pbmc700

import bgformer as bgf

cells = load_pbmc700()
bgf.tl.cluster(cells, verbose=False)
bgf.report(cells, sys.argv[1])
PY
rm -rf "$1"
mkdir -p "$(dirname "$1")"
mv "$work/site" "$1"
echo "site: $1/index.html"
