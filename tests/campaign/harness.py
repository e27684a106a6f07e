"""Runs cases in worker processes and tells which case a crash or a hang belongs to."""

import base64
import json
import os
import pickle
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

from outcomes import CRASH, HANG, SECONDS, Outcome, patience

HERE = Path(__file__).parent
_CASES = 300
"""After so many, a worker is replaced, so that what it has gathered in memory decides nothing."""


def environment() -> dict[str, str]:
    """Return the environment in which other processes find this package and draw no window."""
    source = HERE.parents[1] / "python"
    paths = [str(source)] if source.is_dir() else []
    paths += [path for path in [os.environ.get("PYTHONPATH")] if path]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "MPLBACKEND": "agg",
        "OMP_NUM_THREADS": "1",
        "PYTHONFAULTHANDLER": "0",
    }


class Worker:
    """A process that runs cases one by one and is replaced when it dies."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None
        self._n_cases = 0

    def run(self, module: str, case: Any, folder: Path) -> Outcome:
        """Run a case in an empty folder; the module of this folder has the function ``run``."""
        if self._process is None or self._n_cases >= _CASES:
            self.stop()
            self._start()
        process = self._process
        assert process is not None
        self._n_cases += 1
        line = base64.b64encode(pickle.dumps((module, case, folder)))
        process.stdin.write(line + b"\n")
        process.stdin.flush()
        # the first case also waits for the imports, on a machine that may be busy
        seconds = patience() + (SECONDS if self._n_cases == 1 else 0)
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        answer = process.stdout.readline() if ready else b""
        if answer:
            return Outcome(*json.loads(answer))
        if not ready:
            self.stop()
            return Outcome(HANG, f"no answer within {seconds:.0f} s")
        status = process.wait()
        self.stop()
        return Outcome(CRASH, f"the process ended with status {status}")

    def _start(self) -> None:
        self._n_cases = 0
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
        )

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
