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
# without Python the vignettes are built all the same, and say that nothing in them was run
if tar -xzOf bgformer_*.tar.gz --wildcards 'bgformer/inst/doc/*.html' | grep -q 'built without Python'; then
  echo "tools/build.sh: the vignettes were not run, because R found no Python; see bgformer_sitrep()." >&2
  rm bgformer_*.tar.gz
  exit 1
fi
