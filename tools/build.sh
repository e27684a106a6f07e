#!/usr/bin/env bash
# Builds the wheel, the Python source archive and the R archive into a folder: tools/build.sh FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p "$1"
out=$(cd "$1" && pwd)
.venv/bin/python -m build --no-isolation --outdir "$out" .
# R CMD build follows the links of r-package, so the archive holds vignettes, tests and Python source
root=$PWD
cd "$out" && R CMD build "$root/r-package"
