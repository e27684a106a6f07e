"""Errors and warnings about what a user gave: a code, and a sentence that every language can word.

A sentence has placeholders for the names of arguments and places, such as ``{name[n_clusters]}``,
because the shell and R spell these differently, and for values, such as ``{n_cells}``.
"""

from __future__ import annotations

import re
from typing import Any


class Names(dict[str, str]):
    """What a language calls arguments and places, by Python's names, where it differs."""

    def __missing__(self, python: str) -> str:
        """Return Python's name."""
        return python


class _Worded:
    """What errors and warnings share.

    Parameters
    ----------
    code
        Short, and the same in every language and version: "too-many-clusters".
    sentence
        What is wrong, where, and what to do, with placeholders.
    fields
        Values of the placeholders.
    """

    def __init__(self, code: str, sentence: str, **fields: Any) -> None:
        # all that pickle calls this with; it adds the fields
        super().__init__(code, sentence)  # type: ignore[call-arg]
        self.code, self.sentence, self.fields = code, sentence, fields

    def __str__(self) -> str:
        return self.worded(Names())

    def worded(self, names: Names) -> str:
        """Return the sentence with the names of a language, on one line."""
        return re.sub(r"\s*[\r\n]+\s*", " ", self.sentence.format(name=names, **self.fields))


class InputError(_Worded, ValueError):
    """Input that cannot be used.

    Examples
    --------
    >>> error = InputError("no-seed", "{name[seed]} is {given!r}.", given="x")
    >>> str(error)
    "seed is 'x'."
    >>> error.worded(Names(seed="seed.use"))
    "seed.use is 'x'."
    """


class InputWarning(_Worded, UserWarning):
    """Input that can be used, but may not be what was meant."""


def worded(message: Exception | str, names: Names) -> str:
    """Return what an error or a warning says; those of other packages have one wording."""
    return message.worded(names) if isinstance(message, _Worded) else str(message)


def code_of(error: Exception) -> str:
    """Return the code of an error; of another class than ours, the name of that: "file-exists"."""
    if isinstance(error, _Worded):
        return error.code
    name = type(error).__name__.removesuffix("Error")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


def for_users(category: type[Warning]) -> bool:
    """Say whether a warning is meant for the user of a program, not for those who wrote it.

    A library's own filters, set when it is imported, can let others through.
    """
    return issubclass(category, UserWarning) and not issubclass(category, DeprecationWarning)
