"""One progress line that behaves in a terminal, a notebook, a log file and inside R."""

from __future__ import annotations

import sys
import time


class Progress:
    """Report steps, loss and seconds left on standard error.

    A terminal or a notebook sees one line rewritten in place; anything else (a log file, a pipe,
    R) gets a plain line for every tenth of the work, so that logs stay short.

    Parameters
    ----------
    total
        Number of steps.
    verbose
        False prints nothing.
    """

    def __init__(self, total: int, *, verbose: bool = True) -> None:
        self.total = total
        self.verbose = verbose
        self.started = time.monotonic()
        self.in_place = sys.stderr.isatty() or "ipykernel" in sys.modules
        self._shown_at = 0.0
        self._tenth = 0

    def update(self, step: int, loss: float) -> None:
        """Say that `step` steps are done and the last loss."""
        if not self.verbose or not self._is_due(step):
            return
        left = (time.monotonic() - self.started) / step * (self.total - step)
        text = f"bgformer: step {step}/{self.total}, loss {loss:.4f}, {left:.0f} s left"
        if self.in_place:
            end = "\n" if step == self.total else ""
            print(f"\r{text:<70}", end=end, file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def _is_due(self, step: int) -> bool:
        """Tell whether a line is worth printing now."""
        if step == self.total:
            return True
        if self.in_place:
            now = time.monotonic()
            due = now - self._shown_at > 0.2
            self._shown_at = now if due else self._shown_at
            return due
        tenth = step * 10 // self.total
        due = tenth > self._tenth
        self._tenth = tenth
        return due


def say(text: str, *, verbose: bool) -> None:
    """Print one line of the log unless told to be silent."""
    if verbose:
        print(f"bgformer: {text}", file=sys.stderr, flush=True)
