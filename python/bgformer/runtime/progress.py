"""A progress line that works in a terminal, in a notebook, in a log file and in R."""

from __future__ import annotations

import logging
import shutil
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType


class _Shown(logging.Handler):
    """Writes to the current standard error, which a notebook may have replaced; see `lines_to`."""

    show: Callable[[str], None] | None = None
    thread: int | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Show one line."""
        line = self.format(record)
        if self.show is not None and self.thread == threading.get_ident():
            self.show(line)
        else:
            print(line, file=sys.stderr, flush=True)


_SHOWN = _Shown()
_SHOWN.setFormatter(logging.Formatter("bgformer: %(message)s"))
LOG = logging.getLogger("bgformer")
"""Logger of all lines except the one rewritten in place; users can set its level and handlers."""
if not LOG.handlers:
    LOG.addHandler(_SHOWN)
    LOG.setLevel(logging.INFO)
    LOG.propagate = False  # the root logger would print each line again


@contextmanager
def lines_to(show: Callable[[str], None]) -> Iterator[None]:
    """Give each line to a function instead of printing it.

    Parameters
    ----------
    show
        Called with a line, on the thread that is in this context. What other threads log is
        printed. What it raises goes through to the code that reports progress.
    """
    before = _SHOWN.show, _SHOWN.thread
    _SHOWN.show, _SHOWN.thread = show, threading.get_ident()
    try:
        yield
    finally:
        _SHOWN.show, _SHOWN.thread = before


class Progress:
    """Report steps and remaining seconds.

    In a terminal or a notebook, one line is rewritten in place. Elsewhere (a log file, a pipe, R),
    a line is logged for every tenth of the steps, so that logs stay short. As a context manager,
    it ends the rewritten line if the work stops early.

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
        self.in_place = _SHOWN.show is None and (sys.stderr.isatty() or "ipykernel" in sys.modules)
        self._shown_at = 0.0
        self._tenth = 0
        self._unfinished = False

    def __enter__(self) -> Progress:
        """Return the progress line."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End an unfinished line, so that the next output starts on a new one."""
        if self._unfinished:
            print(file=sys.stderr, flush=True)

    def update(self, step: int) -> None:
        """Report that `step` steps are done."""
        if not self.verbose or not self._is_due(step):
            return
        left = (time.monotonic() - self.started) / step * (self.total - step)
        text = f"step {step}/{self.total}, {left:.0f} s left"
        if self.in_place:
            text = f"bgformer: {text}"
            # A line wider than the terminal would wrap and could not be rewritten.
            width = min(79, shutil.get_terminal_size().columns - 1)
            self._unfinished = step != self.total
            end = "" if self._unfinished else "\n"
            print(f"\r{text[:width]:<{width}}", end=end, file=sys.stderr, flush=True)
        else:
            LOG.info(text)

    def _is_due(self, step: int) -> bool:
        """Return whether to print a line now."""
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
    """Log one line if `verbose`."""
    if verbose:
        LOG.info(text)
