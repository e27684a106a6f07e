"""One run of the command: its arguments, and how errors and signals end it."""

from __future__ import annotations

import signal
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from bgformer.cli.options import parser
from bgformer.messages import Names, for_users, worded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from sys import UnraisableHookArgs
    from types import FrameType


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments
        What follows the command's name; None for those of this process.

    Returns
    -------
    The exit status: 0; 2 for input that cannot be used, after one line on standard error; 128 and
    the signal's number if interrupted.
    """
    if sys.platform == "win32":
        print(
            "bgformer: error: this command runs on Linux and macOS; on Windows, run it in the "
            "Windows Subsystem for Linux.",
            file=sys.stderr,
        )
        return 2
    received: list[int] = []
    try:
        with _signals_raised(received), warnings.catch_warnings():
            options = parser().parse_args(arguments)
            warnings.simplefilter("ignore")
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            options.run(options)
    except (InterruptedBySignalError, Exception) as error:
        # Libraries in C turn an interrupt into an error of theirs.
        if received:
            print("bgformer: interrupted", file=sys.stderr)
            return 128 + received[0]
        if not isinstance(error, ValueError | OSError | FloatingPointError):
            raise
        print(f"bgformer: error: {_line(error) or type(error).__name__}", file=sys.stderr)
        return 2
    return 0


class _Options(Names):
    """Arguments as they are written in the shell; one word is understood without dashes."""

    def __missing__(self, python: str) -> str:
        """Return the name of an option, of a file's part, or of the command for a function."""
        if python.startswith("bgformer.tl."):
            return "bgformer " + python.removeprefix("bgformer.tl.").split("(")[0]
        argument, _, part = python.partition(".")
        if argument in _FILES:
            return f"{_FILES[argument]}'s {part}" if part else _FILES[argument]
        return f"--{python.replace('_', '-')}" if "_" in python else python


_FILES = {"adata": "the input", "reference": "the reference"}
"""What Python takes as arguments and the command reads from files."""


def _line(message: Exception | str) -> str:
    """Return what an error or a warning says, in one line and in the shell's words."""
    return " ".join(worded(message, _Options()).split())


class InterruptedBySignalError(BaseException):
    """A signal asked the command to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def _signals_raised(received: list[int]) -> Iterator[None]:
    """Raise SIGINT and SIGTERM as exceptions, so that nothing half-written is left behind.

    Python swallows an exception that happens to be raised inside a destructor, of which torch has
    many; so an alarm raises it again, until it has come through.

    Parameters
    ----------
    received
        Takes the numbers of the signals that come.
    """

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        received.append(number)
        signal.setitimer(signal.ITIMER_REAL, 2.0)
        raise InterruptedBySignalError(received[0])

    def unless_interrupted(unraisable: UnraisableHookArgs) -> None:
        if not isinstance(unraisable.exc_value, InterruptedBySignalError):
            report(unraisable)

    report = sys.unraisablehook
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = [signal.signal(number, stop) for number in numbers]
    sys.unraisablehook = unless_interrupted  # a swallowed one would be shown as a traceback
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        sys.unraisablehook = report


def _show_warning(message: Warning | str, category: type[Warning], *_: object) -> None:
    """Print a warning as one line, without the source line it came from."""
    if for_users(category):
        print(f"bgformer: warning: {_line(message)}", file=sys.stderr)
