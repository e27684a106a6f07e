"""One progress line that behaves in a terminal, a notebook, a log file and inside R."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


class _ToStandardError(logging.Handler):
    """Writes to what standard error is now: a notebook and R put others in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        print(self.format(record), file=sys.stderr, flush=True)


LOG = logging.getLogger("bgformer")
"""Takes all lines but the one that is rewritten; its level and handlers are the user's to set."""
if not LOG.handlers:
    LOG.addHandler(_ToStandardError())
    LOG.handlers[0].setFormatter(logging.Formatter("bgformer: %(message)s"))
    LOG.setLevel(logging.INFO)
    LOG.propagate = False  # the root logger would print each line once more


class Progress:
    """Report steps, loss and seconds left on standard error.

    A terminal or a notebook sees one line rewritten in place; anything else (a log file, a pipe,
    R) gets a plain line for every tenth of the work, so that logs stay short. Used as a context
    manager, it ends that line when the work stops early.

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
        self._unfinished = False

    def __enter__(self) -> Progress:
        """Return the line itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End a line that is being rewritten, so that what follows starts on its own."""
        if self._unfinished:
            print(file=sys.stderr, flush=True)

    def update(self, step: int, loss: float) -> None:
        """Say that `step` steps are done and the last loss."""
        if not self.verbose or not self._is_due(step):
            return
        left = (time.monotonic() - self.started) / step * (self.total - step)
        text = f"step {step}/{self.total}, loss {loss:.4f}, {left:.0f} s left"
        if self.in_place:
            text = f"bgformer: {text}"
            # A line wider than the terminal would wrap, and could not be rewritten.
            width = min(79, shutil.get_terminal_size().columns - 1)
            self._unfinished = step != self.total
            end = "" if self._unfinished else "\n"
            print(f"\r{text[:width]:<{width}}", end=end, file=sys.stderr, flush=True)
        else:
            LOG.info(text)

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
    """Log one line unless told to be silent."""
    if verbose:
        LOG.info(text)
