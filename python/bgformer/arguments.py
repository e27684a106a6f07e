"""Checks of arguments: one clear sentence for a value that cannot be meant."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real
from typing import Any

from bgformer.messages import InputError

_MOST = 2**53
"""Whole numbers up to this are the same in every language and file."""
_LARGEST = 1e100
"""Bound on other numbers, so that their multiples are finite too."""
_SHOWN = 60
"""Maximum number of characters of a value in a message."""


def whole(name: str, value: Any, least: int = 1, most: int = _MOST) -> int:
    """Return a whole number from `least` to `most`, or raise InputError."""
    is_whole = _is_number(value) and value % 1 == 0
    if not is_whole or not least <= value <= most:
        limits = f"of at least {least}"
        if most < _MOST or (is_whole and value > most):
            limits = f"from {least} to {most}"
        raise wrong(name, value, f"a whole number {limits}")
    return int(value)


def whole_or_auto(name: str, value: Any, least: int = 1) -> int | str:
    """Return a whole number of at least `least` or "auto", or raise InputError."""
    if isinstance(value, str) and value == "auto":
        return value
    if isinstance(value, str):
        raise wrong(name, value, "a whole number or 'auto'")
    return whole(name, value, least)


def positive(name: str, value: Any) -> float:
    """Return a finite number above 0, or raise InputError."""
    if not _is_number(value) or not 0 < value < _LARGEST:
        raise wrong(name, value, "a number above 0")
    return float(value)


def resolutions_in(given: Any) -> list[float]:
    """Return resolutions in ascending order, or raise InputError."""
    if not is_several(given):
        raise wrong("resolutions", given, "a list of numbers above 0")
    wanted = sorted(positive("resolution", one) for one in given)
    if not wanted:
        raise InputError(
            "no-resolution", "{name[resolutions]} is empty; give at least one resolution."
        )
    return wanted


def weight(name: str, value: Any) -> float:
    """Return a finite number of at least 0, or raise InputError."""
    if not _is_number(value) or not 0 <= value < _LARGEST:
        raise wrong(name, value, "a number of at least 0")
    return float(value)


def flag(name: str, value: Any) -> bool:
    """Return True or False, or raise InputError."""
    if type(value).__name__ not in ("bool", "bool_"):  # Python's own and NumPy's
        raise wrong(name, value, "True or False")
    return bool(value)


def text_or_none(name: str, value: Any) -> str | None:
    """Return a string or None, or raise InputError."""
    if value is not None and not isinstance(value, str):
        raise wrong(name, value, "a string or None")
    return value


def is_several(value: Any) -> bool:
    """Tell whether a value has elements: it is neither a string nor an array without axes."""
    return (
        isinstance(value, Iterable)
        and not isinstance(value, str)
        and getattr(value, "ndim", 1) > 0
    )


def not_both(resolution: float | None, n_clusters: int | str | None) -> None:
    """Raise InputError if a resolution and a number of clusters (not "auto") are both given."""
    if resolution is not None and n_clusters not in (None, "auto"):
        raise InputError(
            "resolution-and-number",
            "give {name[resolution]} or {name[n_clusters]}, not both: each decides the other.",
        )


def wrong(name: str, value: object, wanted: str) -> InputError:
    """Return the error that an argument's value is not what is wanted."""
    sentence = f"{{name[{name}]}} is {{given}}; it must be {{wanted}}."
    return InputError("wrong-value", sentence, given=_shown(value), wanted=wanted)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _shown(value: object) -> str:
    """Return a value as code, cut short."""
    try:
        shown = repr(value)
    except ValueError:  # a number of thousands of digits
        shown = f"a very large {type(value).__name__}"
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."
