"""The command, as it is installed and as `python -m bgformer`."""

import os
import signal
import sys


def _stop(number: int, _: object) -> None:
    """End the process: until `main` runs, there is nothing to tidy up."""
    os.write(2, b"bgformer: interrupted\n")
    os._exit(128 + number)


# Before all else is imported, which takes longest: Python would print a traceback.
signal.signal(signal.SIGINT, _stop)
signal.signal(signal.SIGTERM, _stop)

from bgformer.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
