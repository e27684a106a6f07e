#!/usr/bin/env bash
# Runs Python's tests with the oldest or the newest dependencies that pyproject.toml allows, in a
# virtual environment that it makes: tools/dependencies.sh lowest|newest FOLDER
# Takes the Python of .venv, or $PYTHON, which must have uv. Called by .ci/run and by a workflow.
set -euo pipefail
leg=${1:-} folder=${2:-}
case "$leg" in
  lowest) resolution=lowest-direct ;;
  newest) resolution=highest ;;
  *) folder= ;;
esac
if [ -z "$folder" ] || [ -e "$folder" ]; then
  echo "usage: tools/dependencies.sh lowest|newest FOLDER, where there is no FOLDER yet" >&2
  exit 2
fi
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
cd "$(dirname "$0")/.."
made_by=${PYTHON:-.venv/bin/python}
python=$folder/bin/python
constraints=$folder/constraints.txt
# Warnings that only old or new dependencies give are theirs: failures count here, and .ci/run's
# other tests have warnings as errors.
tests=(tools/test-installed.sh "$python" -o filterwarnings= --disable-warnings)
# The stored clusters are those of the pinned versions: others round otherwise.
tests+=(--ignore=tests/test_golden.py)

install() { # with all that pyproject.toml asks for at its oldest or its newest
  "$made_by" -m uv pip install --quiet --upgrade --python "$python" \
    --resolution "$resolution" --constraints "$constraints" "$@"
}

"$made_by" -m venv "$folder"
{
  if [ "$leg" = lowest ]; then
    # matplotlib before 3.10.7 makes later ones warn in the shell, where tests read every line
    echo "pyparsing<3.3"
  fi
  if [ -z "${UV_TORCH_BACKEND:-}" ]; then
    # PyPI's builds of torch bring several GB of CUDA, so the one in constraints.txt stays, and the
    # tests of torch alone are left out. UV_TORCH_BACKEND=cpu makes uv choose a CPU build of its own.
    "$python" -m pip -qq install -c constraints.txt torch >&2
    "$python" -m pip list --format=freeze | grep '^torch=='
    tests+=(--ignore=tests/runtime/test_ranks.py --ignore=tests/fit/test_trainer.py)
  fi
} >"$constraints"
install --group test .
"${tests[@]}"
if [ "$leg" = lowest ]; then
  install '.[zarr]' # later versions of what bgformer needs anyway, so not before
  "${tests[@]}" -k zarr
fi
