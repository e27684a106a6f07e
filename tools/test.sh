#!/usr/bin/env bash
# Runs all tests, Python's and R's at once, and ends with one line for both. Called by `make test`.
set -uo pipefail
set -m # each in a process group of its own: Ctrl-C, which is tested too, is ignored otherwise
cd "$(dirname "$0")/.."
reports=$(mktemp -d)
trap 'kill -- $(jobs -p | sed s/^/-/) 2>/dev/null; rm -rf "$reports"' EXIT
trap 'exit 130' INT TERM

echo "R's tests are shown as they run, Python's after them."
Rscript tools/testthat.R "$reports/r.txt" &
r_tests=$!
.venv/bin/python -m pytest --junitxml="$reports/python.xml" >"$reports/python.log" 2>&1 &
python_tests=$!
wait "$r_tests"
r_status=$?
wait "$python_tests"
python_status=$?
cat "$reports/python.log"

# A suite that stops before it can report counts as one failure, so that the line never flatters.
python_counts=$(.venv/bin/python - "$reports/python.xml" 2>/dev/null <<'PY'
import sys
from xml.etree import ElementTree

n = {key: 0 for key in ("tests", "failures", "errors", "skipped")}
for suite in ElementTree.parse(sys.argv[1]).iter("testsuite"):
    n = {key: n[key] + int(suite.get(key)) for key in n}
failed = n["failures"] + n["errors"]
print(n["tests"] - failed - n["skipped"], failed, n["skipped"])
PY
) || python_counts="0 1 0"
r_counts=$(cat "$reports/r.txt" 2>/dev/null) || r_counts="0 1 0"

read -r python_passed python_failed python_skipped <<<"$python_counts"
read -r r_passed r_failed r_skipped <<<"$r_counts"
echo
echo "Python: $python_passed passed, $python_failed failed, $python_skipped skipped"
echo "R: $r_passed passed, $r_failed failed, $r_skipped skipped"
echo "$((python_passed + r_passed)) passed, $((python_failed + r_failed)) failed," \
  "$((python_skipped + r_skipped)) skipped"
[ $python_status -eq 0 ] && [ $r_status -eq 0 ]
