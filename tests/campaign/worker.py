"""The process in which risky cases run; the parent sees when it dies or does not return.

It reads one pickled case per line and answers with one line of JSON each.
"""

import base64
import contextlib
import json
import os
import pickle
import resource
import sys
import warnings
from importlib import import_module

from outcomes import WRONG, Outcome

MEMORY = 12 * 2**30
"""Most address space; without a limit, a mistaken size would take the machine down."""


def main() -> None:
    """Answer until there are no more cases."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what cases print does not come between the answers
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        module, case, folder = pickle.loads(base64.b64decode(line))
        try:
            outcome = import_module(module).run(case, folder)
        except Exception as error:  # of the campaign itself, which must not pass for fine
            outcome = Outcome(WRONG, f"the campaign failed: {type(error).__name__}: {error}")
        _close_figures()
        answers.write(json.dumps(outcome) + "\n")


def _close_figures() -> None:
    with contextlib.suppress(KeyError):
        sys.modules["matplotlib.pyplot"].close("all")


if __name__ == "__main__":
    main()
