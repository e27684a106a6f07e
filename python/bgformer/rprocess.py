"""The process that R starts for one run: ``python -m bgformer.rprocess FOLDER``.

Counts and request are in the folder, and the answer is written there (see `rstore`). R is not
needed. Progress goes to standard error. Standard input is R's end of a pipe: when it closes, R has
gone, and this process ends too.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path


def main() -> None:
    """Answer the request in the folder that the command names."""
    threading.Thread(target=_end_with_r, daemon=True).start()
    from bgformer import rbridge, rstore

    folder = Path(sys.argv[1])
    rstore.write_answer(folder, rbridge.run_stored(str(folder)))


def _end_with_r() -> None:
    """Wait until R has gone, then end at once: nobody would read the answer."""
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
