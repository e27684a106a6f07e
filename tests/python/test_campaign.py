"""A slice of the campaign that ``make campaign`` runs in full; see docs/reliability.md."""

import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).parents[1] / "campaign"


@pytest.mark.skipif(not CAMPAIGN.is_dir(), reason="the campaign is not shipped with the tests")
def test_odd_inputs_and_killed_runs_end_in_results_or_in_one_sentence():
    done = subprocess.run(
        [sys.executable, str(CAMPAIGN), "--cases", "40", "--seed", "1"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
