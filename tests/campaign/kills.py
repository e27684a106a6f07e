"""Signals at random moments of real runs: nothing damaged, nothing left, the next run equal."""

import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

import commands
from generation import one
from outcomes import (
    FINE,
    HANG,
    TRACEBACK,
    WRONG,
    Outcome,
    checked,
    require,
    same_results,
)

COMMANDS = {"cluster h5ad": 4, "cluster zarr": 4, "predict h5ad": 3, "save": 3, "resume h5ad": 4}

_OURS = re.compile(r'File ".*/(python|site-packages)/bgformer/.*", line ')
"""A line of a traceback through a file of bgformer."""


def cases() -> st.SearchStrategy:
    """Return a strategy of a command, a signal, and the part of the run that it falls into."""
    return st.fixed_dictionaries(
        {
            "command": one(COMMANDS),
            "signal": st.sampled_from(["SIGKILL", "SIGINT", "SIGTERM"]),
            "part": one({"start": 1, "any": 3, "end": 2, "writing": 4}),
            "over old": st.booleans(),
            "seed": st.integers(0, 2**32 - 1),
        }
    )


def run(case: dict[str, Any], folder: Path) -> Outcome:
    """Start a run, send it the signal, and run it again."""
    whole = commands.whole()
    command, _, form = case["command"].partition(" ")
    form = form or "h5ad"
    source = whole.folder / ("model" if command == "save" else f"cells.{form}")
    before = _bytes(source)
    words = commands.words(command, whole.folder, folder, form)
    names = {word.name for word in words if isinstance(word, Path) and word.parent == folder}
    is_over_old = case["over old"] and command != "resume"
    if is_over_old:
        _put_old(whole.folder, folder, command, form)
        words += ["--force"] if command != "save" else []
    process = commands.start(words)
    delay = _send(process, case, whole.seconds[case["command"]], folder, names)
    ended = commands.finish(process)
    if ended is None:
        return Outcome(HANG, f"{case['signal']} after {delay:.2f} s, and it goes on")
    status, told = ended

    def check() -> None:
        require(_bytes(source) == before, "the input was changed")
        old = _old_name(command, form) if is_over_old else None
        _check_output(whole.folder, folder, command, form, old, complete=status == 0)
        if case["signal"] != "SIGKILL" and command not in ("save", "resume"):
            _check_names(folder, names, "left behind at once")
        _run_again(words, status, folder, command)
        _check_output(whole.folder, folder, command, form, None, complete=True)
        _check_names(folder, names, "left behind after the next run")
        require(_bytes(source) == before, "the input was changed")

    outcome = checked(check)
    if outcome.end in FINE and command != "save":
        outcome = _of_end(status, told, signal.Signals[case["signal"]]) or outcome
    return outcome._replace(detail=f"after {delay:.2f} s, status {status}: {outcome.detail}")


def _of_end(status: int, told: str, number: int) -> Outcome | None:
    """Return what is wrong with the end of a command that was sent a signal; None if nothing."""
    if _OURS.search(told):
        return Outcome(TRACEBACK, told.strip()[-300:])
    if "Traceback" in told:  # Python itself was still starting, which no program can change
        return None
    if status not in (0, 128 + number, -number):
        return Outcome(WRONG, f"status {status}: {told[-300:]}")
    return None


def _send(
    process: subprocess.Popen, case: dict[str, Any], seconds: float, folder: Path, names: set[str]
) -> float:
    """Wait for the moment, send the signal, and return after how many seconds it was sent."""
    rng = random.Random(case["seed"])
    started = time.monotonic()
    if case["part"] == "writing":  # something new lies beside the output
        known = _everything(folder)
        while process.poll() is None and not _is_writing(folder, known):
            time.sleep(0.001)
        time.sleep(rng.random() * 0.15)
    else:
        first, last = {"start": (0.0, 0.1 / seconds), "any": (0.0, 1.0), "end": (0.8, 1.1)}[
            case["part"]
        ]
        time.sleep(seconds * (first + (last - first) * rng.random()))
    process.send_signal(signal.Signals[case["signal"]])
    return time.monotonic() - started


def _is_writing(folder: Path, known: set[Path]) -> bool:
    """Tell whether there is more by now than the folder that an output is made in."""
    new = _everything(folder) - known
    return any(not path.name.startswith((".bgformer-", "owner")) for path in new)


def _everything(folder: Path) -> set[Path]:
    """Return what is below a folder, of which parts may vanish meanwhile."""
    return {
        Path(at, name) for at, folders, files in os.walk(folder) for name in (*folders, *files)
    }


def _run_again(words: list[Any], status: int, folder: Path, command: str) -> None:
    """Run the same command again, or resume it, until it is through."""
    target = next(word for word in words if isinstance(word, Path) and word.parent == folder)
    if command == "resume" and status != 0 and (folder / "saved").exists():
        again = [*commands.IN_BLOCKS, "cluster", "--resume", folder / "saved"]
        ended = commands.finish(commands.start(again))
        require(ended is not None, "the resumed run hangs")
        if ended[0] == 0:
            return
        require("there is no unfinished run" in ended[1], f"cannot be resumed: {ended}")
    exists = target.exists() or (folder / "saved").exists()
    force = ["--force"] if exists and command != "save" and "--force" not in words else []
    ended = commands.finish(commands.start([*words, *force]))
    require(ended is not None, "the next run hangs")
    require(ended[0] == 0, f"the next run fails: {ended}")


def _old_name(command: str, form: str) -> str:
    """Return which output of the whole runs lies where a run is to write."""
    if command == "save":
        return "old-saved"
    return "old-out.h5ad" if form == "h5ad" else "cells.zarr"


def _put_old(whole: Path, folder: Path, command: str, form: str) -> None:
    old = whole / _old_name(command, form)
    target = folder / ("saved" if command == "save" else f"out.{form}")
    (shutil.copytree if old.is_dir() else shutil.copyfile)(old, target)


def _check_output(
    whole: Path, folder: Path, command: str, form: str, old: str | None, *, complete: bool
) -> None:
    """Check that what is there is the old output, or that of a whole run."""
    target = folder / ("saved" if command == "save" else f"out.{form}")
    if not target.exists():
        require(not complete, "status 0, but no output")
        require(old is None, "the old output is gone")
        return
    if old is not None and not complete and _bytes(target) == _bytes(whole / old):
        return
    if command == "save":
        require(_bytes(target) == _bytes(whole / "model"), "the model is not that of a whole run")
        return
    import anndata

    read = anndata.read_zarr if form == "zarr" else anndata.read_h5ad
    expected = f"{command}.{form}"
    found, wanted = read(target), read(whole / expected)
    require(same_results(found, wanted), "the output is not that of a whole run")
    require((found.X != wanted.X).nnz == 0, "the output has other counts")
    if command == "resume" and complete:
        saved = (folder / "saved" / "model.safetensors").read_bytes()
        same = saved == (whole / "saved" / "model.safetensors").read_bytes()
        require(same, "the model is not that of a whole run")


def _check_names(folder: Path, names: set[str], what: str) -> None:
    left = {path.name for path in folder.iterdir()} - names
    require(not left, f"{what}: {sorted(left)}")


def _bytes(path: Path) -> dict[str, bytes]:
    """Return the bytes of all files, by their names below a path."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}
