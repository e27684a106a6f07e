#!/usr/bin/env bash
# R CMD check on the R archive, in a folder: tools/check.sh FOLDER ARCHIVE [OPTION...]
# Fails on an ERROR, on a WARNING and on more than one NOTE, and shows what the tests said.
set -euo pipefail
export LC_ALL=C.UTF-8 # a locale that every Debian has: R CMD check looks for UTF-8
export _R_CHECK_FORCE_SUGGESTS_=false
folder=$1 archive=$2
shift 2
R CMD check --no-manual --output="$folder" "$@" "$archive" || true # its log says what went wrong
for said in "$folder"/bgformer.Rcheck/tests/*.Rout.fail; do
  [ ! -e "$said" ] || cat "$said"
done
for said in "$folder"/bgformer.Rcheck/tests/*.Rout; do
  [ ! -e "$said" ] || grep '^\[ FAIL' "$said"
done
grep -qE '^Status: (OK|1 NOTE)$' "$folder/bgformer.Rcheck/00check.log"
