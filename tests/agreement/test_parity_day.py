"""A day of one-minute bars is decided the same as backtest, on paper and live, and every run can be replayed in every mode."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_two_hours_of_minutes_are_the_same_in_every_mode_and_every_replay() -> None:
    """The proof `parity` on 120 bars; `tradewind prove --only parity` trades the whole day."""
    done = subprocess.run([sys.executable, "tests/proofs/parity.py", "--set", "bars=120"], cwd=ROOT, capture_output=True, text=True, check=False)

    verdict = json.loads(done.stdout)
    assert verdict["detail"]["wrong"] == []
    assert done.returncode == 0
    assert verdict["detail"]["replays"] == 9
    assert verdict["detail"]["live_fills"] > 10
    assert verdict["detail"]["largest_residual_bps"] < 1
