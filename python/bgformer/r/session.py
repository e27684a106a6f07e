"""What Python needs inside a running R: rpy2, Ctrl-C for Python itself, and R's messages."""

from __future__ import annotations

import _thread
import ctypes
import logging
import signal
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bgformer.runtime.progress import lines_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_ATTACHED = "R was initialized outside of rpy2"
_show_in_r: Callable[[str], bool] | None = None


@contextmanager
def r_attached() -> Iterator[None]:
    """Let rpy2 attach to the running R without its warning about that, and without Ctrl-C."""
    handler = signal.getsignal(signal.SIGINT)
    logger = logging.getLogger("rpy2.rinterface_lib.embedded")
    logger.addFilter(_not_attached)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=_ATTACHED)
            # the same call in rpy2 uses a method of logging that has been renamed
            warnings.filterwarnings("ignore", message="The 'warn' method is deprecated")
            yield
    finally:
        logger.removeFilter(_not_attached)
        signal.signal(signal.SIGINT, handler)


def _not_attached(record: logging.LogRecord) -> bool:
    """Drop the log record that says the same as the warning."""
    return not record.getMessage().startswith(_ATTACHED)


@contextmanager
def interrupts_for_python() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt here, and put reticulate's way back afterwards.

    The handler of reticulate 1.28 calls R in the middle of Python's work, and R may then jump over
    Python's frames, which ends the process some time later. With any other handler R itself could
    not be interrupted any more, so that both of reticulate's are put back: Python's, and the one
    in C, which Python cannot see.
    """
    in_python = signal.getsignal(signal.SIGINT)
    in_c = _getsig(signal.SIGINT)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        if in_python is not None:
            signal.signal(signal.SIGINT, in_python)
        _setsig(signal.SIGINT, in_c)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, but never within an import: half a module fails at the next run."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            threading.Timer(0.05, _thread.interrupt_main).start()  # ask again
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def show_lines_with(show: Callable[[str], bool]) -> None:
    """Let R show the lines of the runs that it starts in this process.

    Parameters
    ----------
    show
        A function of R's. It returns False if R code wants to leave the run, and does not leave
        itself: R would jump over Python's frames.
    """
    global _show_in_r
    _show_in_r = show


@contextmanager
def lines_for_r() -> Iterator[None]:
    """Show lines in R as they come; raise KeyboardInterrupt where R wants to leave."""
    show = _show_in_r
    if show is None:  # a separate process: R reads its standard error
        yield
        return

    def show_or_stop(line: str) -> None:
        if not show(line):
            raise KeyboardInterrupt

    with lines_to(show_or_stop):
        yield


_getsig = ctypes.pythonapi.PyOS_getsig
_getsig.argtypes, _getsig.restype = [ctypes.c_int], ctypes.c_void_p
_setsig = ctypes.pythonapi.PyOS_setsig
_setsig.argtypes, _setsig.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
