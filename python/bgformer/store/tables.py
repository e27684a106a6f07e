"""Columns of ``obs`` written as text, for programs that read no AnnData."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np

from bgformer.store import copies

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


def write_csv(path: Path, columns: dict[str, Iterable[Any]], output: Path) -> None:
    """Write columns of equal length as a table of comma-separated values.

    Text is quoted, so that names with commas, quotes or line breaks are read as they are. Numbers
    have as many digits as tell them apart in their own precision.

    Parameters
    ----------
    path
        The file to write.
    columns
        Text or numbers, by the names of the columns.
    output
        What it will be renamed to, for messages.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    with copies.writing(output), path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*map(_plain, columns.values()), strict=True))


def _plain(values: Iterable[Any]) -> Iterator[Any]:
    """Yield values of a column; single-precision numbers without the digits they do not have."""
    for value in values:
        yield float(str(value)) if isinstance(value, np.floating) else value
