#!/usr/bin/env bash
# Runs Python's tests on the bgformer that a Python has installed, where nothing of this folder can
# help it: tools/test-installed.sh PYTHON [PYTEST OPTION...]
set -euo pipefail
bin=$(cd "$(dirname "$1")" && pwd) # not beyond a link: a virtual environment's Python is one
python=$bin/$(basename "$1")
shift
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
cp -r tests/python "$work/tests"
rm "$work/tests/test_packaging.py" # it reads the source tree
cp demo/pbmc700.py pyproject.toml "$work"
cd "$work"
"$python" -c 'import bgformer, sys; sys.exit(sys.prefix not in bgformer.__file__)'
"$bin/bgformer" info
"$python" -m pytest -q -o pythonpath=. -o testpaths=tests "$@"
