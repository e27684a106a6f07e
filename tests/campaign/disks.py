"""Full disks and places that cannot be written: one sentence, and nothing left behind."""

import os
import random
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

import commands
from generation import one
from outcomes import (
    HANG,
    SKIPPED,
    WORKS,
    WRONG,
    Outcome,
    check_results,
    checked,
    of_shell,
)

_TAKE = 'status=$?; ls -A "$out" >"$listed"; cp -r "$out"/. "$taken"; exit $status'
SCRIPTS = {
    "full disk": 'mount -t tmpfs -o size="$size"k none "$out" || exit 99; "$@"; ' + _TAKE,
    "file limit": '(ulimit -f "$size"; exec "$@"); ' + _TAKE,
    "read-only input": 'protect "$in"; "$@"; ' + _TAKE,
    "read-only output": 'protect "$out"; "$@"; ' + _TAKE,
}
"""What bash runs, in a mount namespace of its own where it may have one."""
_BY_MOUNT = 'protect() { mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" || exit 99; }; '
_BY_MODE = 'protect() { chmod -R a-w "$1"; }; '


def cases() -> st.SearchStrategy:
    """Return a strategy of a command, a format, and what is wrong with the disk."""
    return st.fixed_dictionaries(
        {
            "command": one({"cluster": 3, "predict": 2, "save-model": 2}),
            "form": one({"h5ad": 2, "zarr": 2, "mtx": 1}),
            "disk": one(dict(zip(SCRIPTS, (4, 3, 1, 1), strict=True))),
            "seed": st.integers(0, 2**32 - 1),
        }
    )


@cache
def _mounts() -> bool:
    """Tell whether this process may mount a file system where no other process sees it."""
    script = "mount -t tmpfs -o size=64k none /mnt"
    if shutil.which("unshare") is None:  # not Linux
        return False
    tried = subprocess.run(["unshare", "-m", "bash", "-c", script], capture_output=True)
    return tried.returncode == 0


def run(case: dict[str, Any], folder: Path) -> Outcome:
    """Run a command on such a disk and return how it ended."""
    mounts = _mounts()
    if case["disk"] == "full disk" and not mounts:
        return Outcome(SKIPPED, "needs the right to mount a small file system")
    if case["disk"].startswith("read-only") and not mounts and os.geteuid() == 0:
        return Outcome(SKIPPED, "permissions do not bind root, and it may not mount")
    whole = commands.whole().folder
    places = {name: folder / name for name in ("in", "out", "taken")}
    for place in places.values():
        place.mkdir()
    source = "cells" if case["form"] == "mtx" else f"cells.{case['form']}"
    for name in (source, "model"):
        copy = shutil.copytree if (whole / name).is_dir() else shutil.copyfile
        copy(whole / name, places["in"] / name)
    before = _listed(places["in"])
    # kilobytes, most of them fewer than the output takes
    size = int(2 ** random.Random(case["seed"]).uniform(2, 12))
    variables = " ".join(f"{name}='{path}'" for name, path in places.items())
    variables += f" listed='{folder / 'listed'}' size={size}; "
    script = variables + (_BY_MOUNT if mounts else _BY_MODE) + SCRIPTS[case["disk"]]
    words = commands.words(case["command"], places["in"], places["out"], case["form"])
    inside = ["unshare", "-m"] if mounts and case["disk"] != "file limit" else []
    ended = commands.finish(commands.start([*inside, "bash", "-c", script, "bash", *words]))
    for place in places.values():
        subprocess.run(["chmod", "-R", "u+w", place], check=True)
    if ended is None:
        return Outcome(HANG, f"{size} kB")
    status, told = ended
    # bash says 128 and the number of the signal that ended the command
    outcome = of_shell(128 - status if status in (134, 135, 136, 139) else status, told)
    if outcome is None:
        outcome = checked(lambda: _check(case, places["taken"]))
    names = {"out.zarr" if case["form"] == "zarr" else "out.h5ad"}
    allowed = names if outcome.end in (WORKS, WRONG) else set()
    saved = places["taken"] / "saved"
    if any((saved / name).exists() for name in ("model.json", "unfinished/trained.npz")):
        allowed = allowed | {"saved"}  # the model is complete, or a run can go on from it
    if left := set((folder / "listed").read_text().split()) - allowed:
        outcome = Outcome(WRONG, f"left behind: {sorted(left)}; {outcome}")
    if outcome.end == WORKS and case["disk"] == "read-only output":
        outcome = Outcome(WRONG, "status 0, although nothing can be written")
    if _listed(places["in"]) != before:
        outcome = Outcome(WRONG, f"the input was changed; {outcome}")
    return outcome._replace(detail=f"{size} kB: {outcome.detail}")


def _check(case: dict[str, Any], taken: Path) -> None:
    """Check what a command wrote that says that it succeeded."""
    import anndata

    read = anndata.read_zarr if case["form"] == "zarr" else anndata.read_h5ad
    check_results(read(taken / ("out.zarr" if case["form"] == "zarr" else "out.h5ad")))


def _listed(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files in a folder, by their names."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
