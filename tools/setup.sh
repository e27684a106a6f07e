#!/usr/bin/env bash
# Sets up what `make demo` and `make test` need. Called by make, one part at a time:
#   setup.sh system     R, its packages and what building rpy2 needs, from Debian, where missing
#   setup.sh python     .venv from constraints.txt
#   setup.sh r-package  the R package into .Rlib, a library of this folder only, with vignettes whose
#                       code is not run
#   setup.sh vignettes  the same with vignettes whose code is run
#   setup.sh docs       what `make docs` needs besides, from Debian and into .venv
#   setup.sh browser    what the tests of the report need besides: Chromium from Debian, Playwright
#   setup.sh coverage   what `make coverage` needs besides, likewise
set -euo pipefail
cd "$(dirname "$0")/.."

R_PACKAGES=(
  HDF5Array Seurat SingleCellExperiment knitr lintr processx reticulate rmarkdown roxygen2 scater
  scran testthat
)
DEBIAN_PACKAGES=(
  r-base-core r-bioc-hdf5array r-bioc-scater r-bioc-scran r-bioc-singlecellexperiment r-cran-knitr
  r-cran-lintr r-cran-processx r-cran-reticulate r-cran-rmarkdown r-cran-roxygen2 r-cran-seurat
  r-cran-testthat pandoc fonts-dejavu-core
  # rpy2 is compiled against libR, so the libraries that libR names are linked again
  gcc libc6-dev libpcre2-dev liblzma-dev libbz2-dev zlib1g-dev libtirpc-dev libicu-dev libblas-dev
  python3-dev python3-venv
)

BROWSER_PACKAGE=

say() { printf 'bgformer set-up: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}

# The Python that .venv is made from: $PYTHON where given, else the first 3.11 found.
find_python() {
  local candidate
  for candidate in ${PYTHON:-python3.11 python3}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

# What is missing, one line each; nothing where the machine is ready.
missing_parts() {
  local python
  if python=$(find_python); then
    "$python" - <<'PY'
import importlib.util, os, sysconfig

if importlib.util.find_spec("ensurepip") is None:
    print("Python's venv module")
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    print("Python's header files")
if not os.path.exists(os.path.join(*map(sysconfig.get_config_var, ("LIBDIR", "INSTSONAME")))):
    print("Python's shared library")
PY
  else
    echo "Python 3.11"
  fi
  command -v pandoc >/dev/null || echo "pandoc"
  [ -z "$BROWSER_PACKAGE" ] || command -v "$BROWSER_PACKAGE" google-chrome >/dev/null || echo "Chromium"
  if ! command -v Rscript >/dev/null; then
    echo "R"
    return
  fi
  Rscript --vanilla -e 'for (p in commandArgs(TRUE)) if (!nzchar(system.file(package = p)))
    cat("R package", p, "\n")' "${R_PACKAGES[@]}"
  # shellcheck disable=SC2046  # the flags are words
  echo '#include <Rinternals.h>
int main(void) { return 0; }' | cc -x c - -o /dev/null \
    $(R CMD config --cppflags) $(R CMD config --ldflags) $(R CMD config BLAS_LIBS) 2>/dev/null ||
    echo "a C compiler with the libraries that R is linked to"
}

install_system() {
  local missing as_root=() command
  missing=$(missing_parts)
  if [ -z "$missing" ]; then
    return
  fi
  missing=$(paste -sd, <<<"$missing" | sed 's/ *,/, /g; s/ *$//')
  command="apt-get install --no-install-recommends ${DEBIAN_PACKAGES[*]}"
  if ! command -v apt-get >/dev/null; then
    die "this machine lacks $missing, and has no apt-get to install them with: install them (R 4.2 or later, Python 3.11) and run make again."
  fi
  if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
      die "this machine lacks $missing; ask an administrator to run: sudo $command"
    fi
    as_root=(sudo -n)
  fi
  say "installing from Debian, about two minutes: $missing"
  "${as_root[@]}" apt-get -qq update </dev/null ||
    die "apt-get update failed; see its message above, then run make again."
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq -y install --no-install-recommends "${DEBIAN_PACKAGES[@]}" </dev/null >/dev/null ||
    die "apt-get install failed; see its message above, then run make again."
  missing=$(missing_parts)
  if [ -n "$missing" ]; then
    die "still missing after apt-get install: $(paste -sd, <<<"$missing"). Is another R or Python first on PATH ($(command -v Rscript python3 | paste -sd' '))? PYTHON=/usr/bin/python3 chooses one."
  fi
}

make_venv() {
  local python fresh=no
  rm -f .venv/complete
  python=$(find_python) ||
    die "no Python 3.11 found${PYTHON:+ at PYTHON=$PYTHON}: the pinned packages in constraints.txt are for that version; name one with PYTHON=/path/to/python3.11"
  if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    fresh=yes
    rm -rf .venv
  fi
  # an unfinished .venv looks like a good one to R and to editors, so none is left
  trap '[ -e .venv/complete ] || [ '$fresh' = no ] || rm -rf .venv' EXIT
  trap 'exit 130' INT TERM
  say "installing Python packages into .venv, a few minutes the first time"
  local pip=(.venv/bin/python -m pip -qq --disable-pip-version-check install -c constraints.txt)
  {
    { [ $fresh = no ] || "$python" -m venv .venv; } &&
      "${pip[@]}" pip &&
      "${pip[@]}" torch &&
      "${pip[@]}" --build-constraint constraints.txt \
        --group test --group lint --group build -e '.[r]'
  } </dev/null || die "the Python packages could not be installed; see pip's message above, then run make again."
  touch .venv/complete
}

# From an archive, because R CMD INSTALL of a folder leaves out the vignettes. $1: their Python.
install_r_package() {
  local root=$PWD work
  mkdir -p .Rlib
  rm -f .Rlib/complete
  work=$(mktemp -d)
  trap "rm -rf '$work'" EXIT
  {
    (cd "$work" && RETICULATE_PYTHON=$1 R CMD build "$root/r-package") &&
      R CMD INSTALL --library=.Rlib "$work"/bgformer_*.tar.gz
  } >.Rlib/install.log 2>&1 </dev/null || {
    cat .Rlib/install.log >&2
    die "the R package could not be installed; R's messages are above."
  }
  touch .Rlib/complete
}

# One dependency group of pyproject.toml into the .venv that is there.
install_group() {
  .venv/bin/python -m pip -qq --disable-pip-version-check install -c constraints.txt \
    --group "$1" </dev/null ||
    die "the Python packages of the group $1 could not be installed; see pip's message above, then run make again."
}

case "${1:-}" in
  system) install_system ;;
  python) make_venv ;;
  r-package) install_r_package none ;;
  vignettes) install_r_package "$PWD/.venv/bin/python" ;;
  docs)
    R_PACKAGES+=(pkgdown) DEBIAN_PACKAGES+=(r-cran-pkgdown)
    install_system
    install_group docs
    ;;
  browser)
    BROWSER_PACKAGE=chromium DEBIAN_PACKAGES+=(chromium)
    install_system
    install_group browser
    ;;
  coverage)
    R_PACKAGES+=(covr) DEBIAN_PACKAGES+=(r-cran-covr)
    install_system
    install_group coverage
    ;;
  *) die "usage: tools/setup.sh system|python|r-package|vignettes|docs|browser|coverage" ;;
esac
