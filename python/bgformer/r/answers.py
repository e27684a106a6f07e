"""How the functions that R calls end: an answer, or what went wrong, in R's words."""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any

from bgformer.messages import Names, code_of, for_users, worded
from bgformer.r.session import interrupts_for_python, lines_for_r

if TYPE_CHECKING:
    from collections.abc import Callable

R_NAMES = Names(
    {
        "n_clusters": "n.clusters",
        "n_genes": "n.genes",
        "batch_key": "batch.var",
        "seed": "seed.use",
        "checkpoint": "checkpoint.dir",
        "adata.obs": "the cells' metadata",
    }
)
"""What R calls otherwise than Python in messages."""
_EXPECTED_ERRORS = (ValueError, TypeError, OSError)


def answering(function: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Return errors, warnings and interrupts to R instead of raising them.

    Every answer has ``error`` (a sentence, or None; with one also its ``code``),
    ``warnings`` (sentences) and ``interrupted``.
    """

    @functools.wraps(function)
    def answered(*args: Any, **kwargs: Any) -> dict[str, Any]:
        with interrupts_for_python(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", UserWarning)
            try:
                with lines_for_r():
                    answer = function(*args, **kwargs)
            except KeyboardInterrupt:
                answer = {"interrupted": True}
            except _EXPECTED_ERRORS as error:
                answer = {"error": _one_line(worded(error, R_NAMES)), "code": code_of(error)}
            except Exception as error:  # R shows one sentence whatever went wrong
                said = f"Python stopped with {type(error).__name__}: {error}"
                answer = {"error": _one_line(said), "code": "unexpected"}
        plain = {"error": None, "interrupted": False}
        told = [
            _one_line(worded(one.message, R_NAMES)) for one in caught if for_users(one.category)
        ]
        return {**plain, **answer, "warnings": told}

    return answered


def _one_line(said: str) -> str:
    """Return a message on one line: a name or a path in it may hold line breaks."""
    return " ".join(said.splitlines())
