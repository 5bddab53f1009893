"""A journal of the release before, with open positions and open orders, is read as ours and traded on."""

from __future__ import annotations

import json
import math
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from configs.risk import RiskSettings
from configs.trading import JournalSettings, TradingSettings
from configs.vocabulary import OrderKind, TradingState
from desk.books.journal import Journal, Step
from desk.books.upcasters import VERSION, current
from desk.chain import Chain, Entry
from desk.errors import JournalBroken
from desk.instruments import Instrument
from desk.market.stored_feed import StoredFeed
from desk.modes import Setup, backtest
from desk.strategy.policy import View

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
GRID = {symbol: Instrument(symbol, symbol[:3], "USDT", Decimal("0.01"), Decimal("0.001"), Decimal(5)) for symbol in ("AAA/USDT", "BBB/USDT")}
# As version 1 wrote it: nine steps, protected positions, a market order and two stops approved at the last of them and never answered.
WRITTEN = [json.loads(line) for line in (Path(__file__).parent / "journal_v1.jsonl").read_text(encoding="utf-8").splitlines()]
WARMUP, CUT, BARS = 3, 12, 30


class Leaning:
    """More while the market rises."""

    warmup_bars = WARMUP

    def target(self, view: View) -> float:
        return 1.0 if view.closes[-1] >= view.closes[0] else 0.25


def waves() -> pl.DataFrame:
    """The bars it was written on, and those after them."""
    rows = []
    for place, symbol in enumerate(GRID):
        last = 100.0
        for hour in range(BARS):
            close = round(100 + 8 * math.sin((hour + 3 * place) / 2.5) + hour * 0.1, 2)
            rows.append((symbol, "1h", BEGIN + timedelta(hours=hour), last, max(last, close) + 0.5, min(last, close) - 0.5, close, 1e5))
            last = close
    names = ["symbol", "timeframe", "open_time", "open", "high", "low", "close", "volume"]
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(pl.col("open_time").dt.cast_time_unit("us"))


def aged() -> Setup:
    return Setup("aged", "settings-1", GRID, Leaning(), TradingSettings(protective_stop=0.06, journal=JournalSettings(snapshot_steps=5)), RiskSettings())


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The file as it was, written by nobody's code but the chain's."""
    path = tmp_path / "old.sqlite"
    with Chain(path, sync=False) as chain:
        for row in WRITTEN:
            chain.append([Entry(datetime.fromisoformat(row["at"]), row["kind"], row["payload"])])
    return path


def test_the_old_words_are_not_ours() -> None:
    """Or nothing is tested here."""
    assert all("version" not in row["payload"] for row in WRITTEN)
    assert {list} == {type(row["payload"]["marks"]) for row in WRITTEN if row["kind"] == "step"}


def test_hashes_are_over_what_was_written(old: Path) -> None:
    """The chain of then is the chain of now, link by link."""
    with Chain.reading(old) as chain:
        assert [row["hash"] for row in WRITTEN] == [link.hash for link in chain.entries()]
        assert len(WRITTEN) == chain.verify().count


def test_a_session_goes_on_from_an_old_journal_as_if_it_had_written_it(old: Path) -> None:
    """Positions, resting stops and the unanswered orders are taken over: every later step equals that of a session that ran through."""
    start = BEGIN + timedelta(hours=WARMUP)
    through = list[Step]()
    backtest(StoredFeed(waves(), start=start), aged(), on_step=through.append)
    with Chain(old, sync=False) as chain:
        recovered = Journal(chain, "settings-1").recover(GRID)
        assert recovered is not None
        assert recovered.last is not None
        assert {OrderKind.MARKET, OrderKind.STOP} == {each.order.kind for each in recovered.pending}
        assert 2 == len(recovered.last.stops)
        assert recovered.portfolio.lots["BBB/USDT"] > 0

        steps = list[Step]()
        backtest(StoredFeed(waves(), start=start), aged(), chain, steps.append)

        assert len(WRITTEN) < chain.verify().count
        assert len(through) == len(Journal(chain, "").steps())
        assert VERSION in {link.payload.get("version") for link in chain.entries()}
    assert CUT - WARMUP + len(steps) == len(through)
    assert through[-len(steps) :] == steps


def test_an_old_and_long_journal_is_read_from_a_snapshot_the_next_time(old: Path) -> None:
    with Chain(old, sync=False) as chain:
        first = Journal(chain, "", JournalSettings(snapshot_steps=4)).recover(GRID)
        second = Journal(chain, "", JournalSettings(snapshot_steps=4)).recover(GRID)

        assert 1 == len(chain.snapshots())
    assert first is not None
    assert second is not None
    assert repr(replace(first, portfolio=None)) == repr(replace(second, portfolio=None))  # type: ignore[arg-type]
    assert first.portfolio.state() == second.portfolio.state()


def test_marks_without_operators_are_read_as_active() -> None:
    """The oldest journals of version 1 wrote five marks and no stops."""
    row = current("step", {"marks": [9.0, "2024-01-01", 8.0, True, False], "equity": 7.0}, "here")

    assert TradingState.ACTIVE.value == row["marks"]["latched"]
    assert (9.0, True, 0, [], []) == (row["marks"]["peak"], row["marks"]["reducing"], row["marks"]["resumed"], row["stops"], row["cancels"])


def test_upcasting_changes_nothing_that_was_handed_in() -> None:
    given = {"marks": [9.0, "2024-01-01", 8.0, True, False, "halted", 3]}

    current("step", given, "here")

    assert {"marks": [9.0, "2024-01-01", 8.0, True, False, "halted", 3]} == given


@pytest.mark.parametrize("version", [VERSION + 1, "two", None])
def test_words_of_a_later_release_are_refused(old: Path, version: object) -> None:
    with Chain(old, sync=False) as chain:
        chain.append([Entry(BEGIN, "answers", {"version": version, "answers": []})])

        with pytest.raises(JournalBroken, match=f"expected entries of version {VERSION} or before in .*old.sqlite.*use the release that wrote it"):
            Journal(chain, "").recover(GRID)


def test_an_old_journal_is_not_rewritten(old: Path) -> None:
    """Reading upgrades what is read, never what is kept."""
    with Chain(old, sync=False) as chain:
        Journal(chain, "").recover(GRID)

    with sqlite3.connect(old) as database:
        assert [(json.dumps(row["payload"], sort_keys=True),) for row in WRITTEN] == [
            (json.dumps(json.loads(text), sort_keys=True),) for (text,) in database.execute("SELECT payload FROM chain ORDER BY sequence")
        ]
    database.close()
