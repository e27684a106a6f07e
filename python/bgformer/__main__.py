"""Run the command by `python -m bgformer`."""

import sys

from bgformer.cli import main

sys.exit(main())
