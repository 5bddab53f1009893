"""The compiled loop on disk: fresh when any formula changes, absent until it is wanted, optional."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PLAY = """
import numpy as np
from configs.risk import RiskSettings
from configs.trading import CostSettings
from desk.backtest.kernel import simulate
from desk.backtest.panel import Panel
times = np.datetime64("2024-01-01", "us") + np.arange(3) * np.timedelta64(1, "h")
prices = np.full((3, 1), 10.0)
bars = Panel(times, ("BTC/USDT",), prices, prices, prices, prices, prices * 1e6)
free = CostSettings(fee_rate=0.01, half_spread_bps=0, impact_bps=0)
print(simulate(bars, np.array([[0.5], [np.nan], [np.nan]]), free, RiskSettings()).equity[-1])
"""


def python(code: str, tree: Path, cache: Path) -> str:
    environment = {**os.environ, "TRADEWIND_CACHE": str(cache), "PYTHONPATH": str(tree)}
    ran = subprocess.run([sys.executable, "-c", code], cwd=tree, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert 0 == ran.returncode, ran.stderr
    return ran.stdout.strip()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_an_edited_fee_formula_is_charged_at_once(tmp_path: Path) -> None:
    """47500 bought at 1 % cost 475; with the formula doubled 950, although a compiled kernel lies in the cache."""
    for package in ("configs", "desk"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    formula = tmp_path / "desk" / "costs.py"
    before = python(PLAY, tmp_path, tmp_path / "cache")

    text = formula.read_text()
    formula.write_text(text.replace("return notional * fee_rate", "return notional * fee_rate * 2"))
    after = python(PLAY, tmp_path, tmp_path / "cache")

    assert text != formula.read_text()
    assert [99_525.0, 99_050.0] == [float(before), float(after)]
    assert 2 == len(list((tmp_path / "cache").iterdir()))


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_where_nothing_can_be_written_the_kernel_still_runs(tmp_path: Path) -> None:
    blocked = tmp_path / "a_file"
    blocked.touch()

    assert 99_525.0 == float(python(PLAY, ROOT, blocked))


def test_importing_the_kernel_compiles_nothing_and_writes_nothing(tmp_path: Path) -> None:
    said = python("import sys, desk.backtest.kernel; print('numba' in sys.modules)", ROOT, tmp_path / "cache")

    assert "False" == said
    assert not (tmp_path / "cache").exists()
