"""How a case can end, and the checks that tell these ends apart."""

import os
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

WORKS, SENTENCE, SKIPPED = "works", "sentence", "skipped"
UNCLEAR, FOREIGN, TRACEBACK = "unclear message", "foreign message", "traceback"
CRASH, HANG, WRONG = "crash", "hang", "wrong"
CLASSES = (WORKS, SENTENCE, SKIPPED, UNCLEAR, FOREIGN, TRACEBACK, CRASH, HANG, WRONG)
FINE = (WORKS, SENTENCE, SKIPPED)
SECONDS = 60
"""What runs longer hangs; the inputs of the campaign take less than two."""

_PLACES = re.compile(
    r"adata|\bX\b|layer|\bobsm?\b|\buns\b|\bcells?\b|\bgenes?\b|matrix|\bdevice\b|\bcounts\b|\bmodel\b|loss|"
    r"folder|file|'[^']*[/.][^']*'|--[a-z]|\bcluster_name\b|\bkey_added\b"
)
"""What a message can name, besides the arguments of the case."""


def patience() -> float:
    """Return after how many seconds a case hangs on a machine that is as busy as this one."""
    return SECONDS * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


class Outcome(NamedTuple):
    """How a case ended, and what was seen."""

    end: str
    detail: str = ""


class WrongError(AssertionError):
    """Something is silently wrong: no message, but not what was asked for either."""


def require(holds: bool, what: str) -> None:
    """Raise WrongError with what is wrong unless a condition holds."""
    if not holds:
        raise WrongError(what)


def outcome_of(case: Callable[[], Any], names: tuple[str, ...] = ()) -> Outcome:
    """Run a case in Python and return how it ended; `names` are those of its arguments."""
    try:
        case()
    except WrongError as error:
        return Outcome(WRONG, str(error))
    except Exception as error:
        return of_exception(error, names)
    return Outcome(WORKS)


def checked(check: Callable[[], None]) -> Outcome:
    """Run the checks of what has succeeded; whatever they raise shows that it is wrong."""
    try:
        check()
    except Exception as error:
        kind = "" if isinstance(error, WrongError) else f"{type(error).__name__}: "
        return Outcome(WRONG, f"{kind}{error}")
    return Outcome(WORKS)


def of_exception(error: Exception, names: tuple[str, ...]) -> Outcome:
    """Return the class of an exception: ours was raised in a file of bgformer."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    told = f"{type(error).__name__}: {error} [{Path(where.filename).name}:{where.lineno}]"
    if "bgformer" not in Path(where.filename).parts:
        return Outcome(TRACEBACK, told)
    return Outcome(of_text(str(error), names), told)


def of_text(text: str, names: tuple[str, ...]) -> str:
    """Return the class of a message: ours are one sentence that names an argument or a place."""
    if "\n" in text or "[Errno" in text or not text.endswith("."):
        return FOREIGN
    named = any(re.search(rf"\b{re.escape(name)}\b", text) for name in names)
    return SENTENCE if named or _PLACES.search(text) else UNCLEAR


def of_shell(status: int, told: str, names: tuple[str, ...] = ()) -> Outcome | None:
    """Return how a command ended by its status and its standard error; None if it succeeded.

    `names` are those of its arguments.
    """
    if status < 0:
        return Outcome(CRASH, f"ended by signal {-status}: {' '.join(told.split())[-200:]}")
    if "Traceback (most recent call last)" in told:
        return Outcome(TRACEBACK, " ".join(told.split())[-300:])
    if status == 0:
        return None
    beside = ("bgformer: warning: ", "bgformer: the trained model is kept; to continue, run: ")
    lines = [line for line in told.splitlines() if not line.startswith(beside)]
    start = "bgformer: error: "
    if status != 2 or len(lines) != 1 or not lines[0].startswith(start):
        return Outcome(FOREIGN, f"status {status}: {told[-300:]}")
    return Outcome(of_text(lines[0].removeprefix(start), names), lines[0])


def check_labels(labels: Any, confidence: Any, n_cells: int) -> None:
    """Check clusters as AnnData holds them: a category for each cell, and a probability."""
    require(len(labels) == len(confidence) == n_cells, "not one label for each cell")
    require(not labels.isna().any(), "cells without a label")
    names = [str(name) for name in labels.cat.categories]
    require(names == [str(k) for k in range(len(names))], f"clusters are named {names[:9]}")
    check_probabilities(np.asarray(confidence))


def check_probabilities(values: np.ndarray) -> None:
    """Check that all are finite and from 0 to 1."""
    require(bool(np.isfinite(values).all()), "confidence is not finite")
    require(bool(((values >= 0) & (values <= 1 + 1e-5)).all()), "confidence is not from 0 to 1")


def check_results(adata: Any, key: str = "bgformer") -> None:
    """Check all results that an AnnData holds under a name."""
    check_labels(adata.obs[key], adata.obs[f"{key}_confidence"], adata.n_obs)
    require(bool(np.isfinite(adata.obsm[f"X_{key}"]).all()), "the latent is not finite")
    weights = adata.obsm[f"{key}_anchors"]
    require(np.allclose(weights.sum(axis=1), 1, atol=1e-4), "weights do not sum to 1")
    n_clusters = len(adata.obs[key].cat.categories)
    require(int(adata.uns[key]["n_clusters"]) == n_clusters, "another number of clusters in uns")


def same_results(found: Any, expected: Any, key: str = "bgformer") -> bool:
    """Tell whether two AnnData hold the same clusters, confidence and latent, to the bit."""
    return (
        list(found.obs[key]) == list(expected.obs[key])
        and np.array_equal(found.obs[f"{key}_confidence"], expected.obs[f"{key}_confidence"])
        and np.array_equal(found.obsm[f"X_{key}"], expected.obsm[f"X_{key}"])
    )
