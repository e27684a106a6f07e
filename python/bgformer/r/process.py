"""The process that R starts for one run: ``python -m bgformer.r.process FOLDER``.

Counts and request are in the folder, and the answer is written there (see `store`). R is not
needed. Progress goes to standard error. Standard input is a pipe: when R's end closes, R has gone,
and this process removes the folder and ends too.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from pathlib import Path


def main() -> None:
    """Answer the request in the folder that the command names."""
    folder = Path(sys.argv[1])
    threading.Thread(target=_end_with_r, args=(folder,), daemon=True).start()
    from bgformer.r import bridge, resumable, store

    answer = bridge.run_stored(str(folder))
    store.write_answer(folder, answer)
    if answer["error"] is None and not answer["interrupted"]:
        resumable.forget(folder)


def _end_with_r(folder: Path) -> None:
    """Wait until R has gone, then end at once: nobody would read the answer or tidy up."""
    os.read(0, 1)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    main()
