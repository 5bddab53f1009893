"""A run told again from its recording decides the same, and says where when somebody changed what it was told."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from configs.operations import OperationsSettings
from configs.risk import RiskSettings
from configs.trading import TradingSettings
from configs.vocabulary import Mode
from desk.chain import Chain
from desk.errors import BadFile
from desk.instruments import Instrument
from desk.market.recording import Inputs, inputs_of
from desk.market.stored_feed import StoredFeed
from desk.modes import Setup, backtest
from desk.strategy.policy import View
from tasks.replay import difference, replay_run

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
WARMUP, STEPS = 8, 40


class Crossing:
    """Trades often."""

    warmup_bars = 8

    def target(self, view: View) -> float:
        return float(view.closes[-3:].mean() > view.closes.mean())


def walk(symbols: tuple[str, ...]) -> pl.DataFrame:
    """Bars of a seeded random walk."""
    chance, rows = np.random.default_rng(7), []
    for symbol in symbols:
        close = 100.0
        for hour in range(WARMUP + STEPS):
            opened, close = close, close * float(np.exp(chance.normal(0, 0.01)))
            high, low = max(opened, close) * 1.001, min(opened, close) * 0.999
            rows.append((symbol, "1h", BEGIN + timedelta(hours=hour), opened, high, low, close, 1e5))
    names = ["symbol", "timeframe", "open_time", "open", "high", "low", "close", "volume"]
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(pl.col("open_time").dt.cast_time_unit("us"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The journal of a backtest in two windows, with a restart between them."""
    return traded(tmp_path / "run.sqlite")


def traded(journal: Path) -> Path:
    """Trade into this journal."""
    symbols = ("AAA/USDT", "BBB/USDT")
    instruments = {symbol: Instrument(symbol, symbol[:3], "USDT", Decimal("0.01"), Decimal("0.001"), Decimal(5)) for symbol in symbols}
    setup = Setup("replayed", "settings-1", instruments, Crossing(), TradingSettings(), RiskSettings())
    bars, start = walk(symbols), BEGIN + timedelta(hours=WARMUP)
    for until in (STEPS // 2, STEPS):
        feed = StoredFeed(bars.filter(pl.col("open_time") < start + timedelta(hours=until)), start=start)
        with Chain(journal, sync=True) as chain:
            backtest(feed, setup, chain)
    return journal


def change(run: Path, event: int, alter: Callable[[list[list[object]]], None]) -> datetime:
    """Alter one event's rows in the inputs; returns its close."""
    with sqlite3.connect(inputs_of(run)) as db:
        sequence, at, payload = db.execute("SELECT sequence, at, payload FROM chain WHERE kind = 'bars' ORDER BY sequence").fetchall()[event]
        row = json.loads(payload)
        alter(row["bars"])
        db.execute("UPDATE chain SET payload = ? WHERE sequence = ?", (json.dumps(row), sequence))
    db.close()
    return datetime.fromisoformat(at)


@pytest.mark.parametrize("mode", list(Mode))
def test_a_recorded_run_decides_the_same_in_every_mode(run: Path, mode: Mode) -> None:
    told = replay_run(str(run), mode, OperationsSettings(), Crossing())

    assert told.divergence is None
    assert told.steps == STEPS
    assert told.orders > 5


def test_a_run_whose_rule_is_nowhere_names_it(run: Path) -> None:
    """The journal names the rule's module; one that is nowhere is named."""
    change_rule(run, "nowhere:Nowhere")

    with pytest.raises(BadFile, match="expected the rule nowhere:Nowhere"):
        replay_run(str(run), Mode.BACKTEST, OperationsSettings())


def change_rule(run: Path, name: str) -> None:
    """Name another rule in the inputs."""
    with sqlite3.connect(inputs_of(run)) as db:
        db.execute("UPDATE chain SET payload = json_set(payload, '$.policy', ?) WHERE kind = 'setup'", (name,))
    db.close()


@pytest.mark.parametrize("mode", list(Mode))
def test_a_changed_price_is_named_at_its_event(run: Path, mode: Mode) -> None:
    closed_at = change(run, WARMUP + 17, lambda bars: bars[1].__setitem__(6, float(str(bars[1][6])) * (1 + 1e-12)))

    told = replay_run(str(run), mode, OperationsSettings(), Crossing())

    assert told.divergence is not None
    assert told.divergence.startswith(f"step 18 of {STEPS}, closed at {closed_at.isoformat()}: bars differ")


@pytest.mark.parametrize("mode", list(Mode))
def test_a_changed_timestamp_is_named_at_its_event(run: Path, mode: Mode) -> None:
    def later(bars: list[list[object]]) -> None:
        for bar in bars:
            bar[2] = (datetime.fromisoformat(str(bar[2])) + timedelta(minutes=1)).isoformat()

    closed_at = change(run, WARMUP + 5, later)

    told = replay_run(str(run), mode, OperationsSettings(), Crossing())

    assert told.divergence is not None
    assert told.divergence.startswith(f"step 6 of {STEPS}, closed at {closed_at.isoformat()}")


def test_what_was_told_is_written_once_whatever_the_number_of_starts(run: Path) -> None:
    inputs = Inputs.read(inputs_of(run))

    assert len(inputs.events) == WARMUP + STEPS
    assert sorted({event.closed_at for event in inputs.events}) == [event.closed_at for event in inputs.events]
    assert len(inputs.heard) == len(inputs.events)


def test_a_new_journal_sets_the_inputs_of_an_old_one_aside(run: Path, tmp_path: Path) -> None:
    """Somebody took the journal away and left what lay beside it: the new run is told from its own beginning."""
    run.unlink()
    again = traded(run)

    assert len(Inputs.read(inputs_of(again)).events) == WARMUP + STEPS
    assert len(Inputs.read(tmp_path / "run.inputs.1").events) == WARMUP + STEPS
    assert replay_run(str(again), Mode.PAPER, OperationsSettings(), Crossing()).divergence is None


def test_a_run_is_no_different_from_itself(run: Path) -> None:
    same, lines = difference(str(run), str(run), OperationsSettings())

    assert same
    assert lines[0] == "every target and every order is the same"
    assert "+0.00 bps dearer in the first" in lines[1]


def test_two_runs_are_told_apart_at_their_first_difference(run: Path, tmp_path: Path) -> None:
    """The same journal beside inputs of which one was changed is the same run; with a step less it is not."""
    shorter = tmp_path / "shorter.sqlite"
    for path in (run, inputs_of(run)):
        shutil.copyfile(path, shorter.with_suffix(path.suffix))
    with sqlite3.connect(shorter) as db:
        db.execute("DELETE FROM chain WHERE sequence = (SELECT max(sequence) FROM chain WHERE kind = 'step')")
    db.close()

    same, lines = difference(str(run), str(shorter), OperationsSettings())

    assert not same
    assert lines[0] == f"{STEPS} steps against {STEPS - 1}; the others are the same"
