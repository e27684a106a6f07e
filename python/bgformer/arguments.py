"""Checks of arguments: one clear sentence for a value that cannot be meant."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from bgformer.messages import InputError


def whole(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """Return a whole number from `least` to `most`, or raise InputError."""
    is_whole = isinstance(value, Real) and not isinstance(value, bool) and value % 1 == 0
    if not is_whole or value < least or (most is not None and value > most):
        limits = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise _wrong(name, value, f"a whole number {limits}")
    return int(value)


def whole_or_auto(name: str, value: Any, least: int = 1) -> int | str:
    """Return a whole number of at least `least` or "auto", or raise InputError."""
    if isinstance(value, str) and value == "auto":
        return value
    if isinstance(value, str):
        raise _wrong(name, value, "a whole number or 'auto'")
    return whole(name, value, least)


def positive(name: str, value: Any) -> float:
    """Return a finite number above 0, or raise InputError."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not value > 0:
        raise _wrong(name, value, "a number above 0")
    return float(value)


def not_both(resolution: float | None, n_clusters: int | str | None) -> None:
    """Raise InputError if a resolution and a number of clusters (not "auto") are both given."""
    if resolution is not None and n_clusters not in (None, "auto"):
        raise InputError(
            "resolution-and-number",
            "give {name[resolution]} or {name[n_clusters]}, not both: each decides the other.",
        )


def _wrong(name: str, value: object, wanted: str) -> InputError:
    """Return the error that an argument's value is not what is wanted."""
    sentence = f"{{name[{name}]}} is {{given!r}}; it must be {{wanted}}."
    return InputError("wrong-value", sentence, given=value, wanted=wanted)
