#!/usr/bin/env bash
# Checks the R archive, with its tests and vignettes, on R 4.5, Seurat 5, NumPy 2 and rpy2 3.6:
#   tools/debian13.sh ARCHIVE
# Debian 13 is unpacked into memory (about 2 GB), in a mount namespace of its own and without
# network in the end. So nothing of it is ever among this machine's files or mounts, and all of it
# is gone when this script ends, however it ends. Needs root, and .venv from `make setup`.
set -euo pipefail
cd "$(dirname "$0")/.."
checkout=$PWD

DEBIAN_PACKAGES=(
  r-base-core r-bioc-hdf5array r-bioc-scater r-bioc-scran r-bioc-singlecellexperiment
  r-cran-ggplot2 r-cran-knitr r-cran-processx r-cran-reticulate r-cran-rmarkdown r-cran-seurat
  r-cran-testthat r-cran-xml2 pandoc
  # rpy2 is compiled against libR, so the libraries that libR names are linked again
  gcc make libc6-dev libpcre2-dev libdeflate-dev libzstd-dev liblzma-dev libbz2-dev zlib1g-dev
  libtirpc-dev libicu-dev libblas-dev
)
# In place of the versions in .venv, which R 4.2 and reticulate 1.28 hold back.
PYTHON_PACKAGES=(numpy==2.3.5 rpy2==3.6.9 rpy2-rinterface==3.6.7 rpy2-robjects==3.6.6)

die() {
  printf 'bgformer, Debian 13: %s\n' "$*" >&2
  exit 1
}

# The Debian mirror that this machine uses itself.
mirror() {
  apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
    awk -v own="$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" \
      '$1 == own || $1 ~ /^(old)?stable$/ { print $2; exit }'
}

# The files of the Python that .venv is made from, wherever it is installed.
python_files() {
  .venv/bin/python - <<'PY'
import glob, os, sys, sysconfig

base, name = sys.base_prefix, f"python3.{sys.version_info.minor}"
library = os.path.join(sysconfig.get_config_var("LIBDIR"), f"lib{name}.so*")
print(os.path.realpath(sys._base_executable), sysconfig.get_path("stdlib"), sep="\n")
for pattern in f"{base}/include/{name}", f"{base}/include/*/{name}", library:
    for path in glob.glob(pattern):
        print(path)
PY
}

bind() {
  if [ -d "$1" ]; then
    mkdir -p "$2$1"
  else
    mkdir -p "$2$(dirname "$1")" && touch "$2$1"
  fi
  mount --rbind "$1" "$2$1"
}

# In the mount namespace: Debian 13 under $1, with the packages of .venv but those that differ.
unpack() {
  local root=$1 python=() site path
  mount -t tmpfs -o mode=755,size=6g tmpfs "$root"
  mmdebstrap --quiet --variant=minbase \
    --include="$(IFS=, && echo "${DEBIAN_PACKAGES[*]}")" trixie "$root" "$(mirror)"
  mount -t proc proc "$root/proc"
  bind /dev "$root"
  bind /sys "$root" # joblib counts the cores there
  mapfile -t python < <(python_files)
  for path in "${python[@]}"; do bind "$path" "$root"; done
  bind "$checkout/.venv/lib" "$root"
  mkdir "$root/opt/packages"
  .venv/bin/python -m pip -qq --disable-pip-version-check download --no-deps \
    --no-build-isolation --dest "$root/opt/packages" "${PYTHON_PACKAGES[@]}"
  chroot "$root" "${python[0]}" -m venv --without-pip /opt/venv
  site=$(cd "$root" && echo opt/venv/lib/python3*/site-packages)
  find .venv/lib/python3*/site-packages -mindepth 1 -maxdepth 1 -not -name 'numpy*' \
    -not -name 'rpy2*' -not -name '_rinterface*' -not -name '*bgformer*' \
    -printf "$checkout/%p\0" | xargs -0 ln -s -t "$root/$site"
  chroot "$root" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/root /bin/sh -c \
    '/opt/venv/bin/python -m pip -qq install --no-index --no-deps --no-build-isolation /opt/packages/*'
}

check() {
  local root=$1 archive=$2
  cp "$archive" tools/check.sh "$root/opt"
  unshare --net chroot "$root" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/root \
    RETICULATE_PYTHON=/opt/venv/bin/python \
    /opt/check.sh /tmp "/opt/$(basename "$archive")"
}

if [ "${1:-}" = --inside ]; then
  unpack "$2"
  check "$2" "$3"
  exit
fi

[ $# -eq 1 ] && [ -f "$1" ] || die "usage: tools/debian13.sh ARCHIVE, as tools/build.sh makes it"
[ "$(id -u)" -eq 0 ] || die "only root can mount and enter another Debian: run this as root."
[ -x .venv/bin/python ] || die "there is no .venv yet: run make setup first."
command -v apt-get >/dev/null || die "this machine has no apt-get to take a Debian mirror from."
if ! command -v mmdebstrap >/dev/null; then
  apt-get -qq update </dev/null &&
    apt-get -qq -y install --no-install-recommends mmdebstrap </dev/null >/dev/null ||
    die "mmdebstrap could not be installed; see apt-get's message above."
fi
[ -n "$(mirror)" ] || die "apt's sources on this machine name no mirror of Debian itself."

root=$(mktemp -d)
inside=
# with the first process of the namespaces, all others end, and with them the mounts
trap '[ -z "$inside" ] || kill -KILL "$inside" 2>/dev/null; rmdir "$root"' EXIT
trap 'exit 130' INT TERM
setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc \
  "$checkout/tools/debian13.sh" --inside "$root" "$(realpath "$1")" </dev/null &
inside=$!
wait "$inside" && status=0 || status=$?
inside=
exit "$status"
