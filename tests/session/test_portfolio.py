"""What a portfolio policy is told, and what it may keep."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from desk.errors import ContractBroken
from desk.market.stored_feed import StoredFeed
from desk.modes import Setup, backtest
from desk.strategy.policy import CrossSection, Decision, View

MakeBars = Callable[..., pl.DataFrame]
MakeSetup = Callable[..., Setup]
START = datetime(2024, 1, 1, tzinfo=UTC)
BTC, ETH, SOL = "BTC/USDT", "ETH/USDT", "SOL/USDT"


@dataclass
class Witness:
    """Holds half of everything, keeps what it is given to keep, and writes down what it saw."""

    kept: Mapping[str, float] = field(default_factory=dict)
    warmup_bars: int = 4
    seen: list[CrossSection] = field(default_factory=list)

    def decide(self, market: CrossSection) -> Decision:
        self.seen.append(market)
        return Decision({view.symbol: 0.5 for view in market.views}, self.kept)


@dataclass(frozen=True)
class Half:
    """The same, symbol by symbol."""

    warmup_bars: int = 4

    def target(self, view: View) -> float:
        return 0.5


def hour(number: int) -> datetime:
    return START + timedelta(hours=number)


def test_a_portfolio_is_asked_once_for_all_symbols(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    witness = Witness()

    backtest(StoredFeed(make_bars(10)), make_setup(witness))

    assert [hour(number) for number in range(4, 11)] == [market.views[0].closed_at for market in witness.seen]
    assert {(BTC, ETH, SOL)} == {tuple(view.symbol for view in market.views) for market in witness.seen}


def test_closes_lie_side_by_side_even_where_a_bar_is_missing(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    """ETH has no bar of hour 6: that row repeats its close of hour 5, while the closes in its own view go by its own bars."""
    witness, bars = Witness(), make_bars(10)
    missing = (pl.col("symbol") == ETH) & (pl.col("open_time") == hour(6))
    close = {symbol: bars.filter(pl.col("symbol") == symbol)["close"].to_list() for symbol in (BTC, ETH, SOL)}

    backtest(StoredFeed(bars.filter(~missing)), make_setup(witness))
    during, after = (next(market for market in witness.seen if market.views[0].closed_at == hour(at)) for at in (7, 8))

    assert (BTC, SOL) == tuple(view.symbol for view in during.views)
    assert [[close[symbol][row] for symbol in (BTC, SOL)] for row in range(3, 7)] == during.closes.tolist()
    assert [close[ETH][row] for row in (4, 5, 5, 7)] == after.closes[:, 1].tolist()
    assert [close[ETH][row] for row in (3, 4, 5, 7)] == after.views[1].closes.tolist()


def test_what_absent_symbols_hold_is_told(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    witness = Witness()
    missing = (pl.col("symbol") == ETH) & (pl.col("open_time") == hour(6))

    backtest(StoredFeed(make_bars(10).filter(~missing)), make_setup(witness))

    assert [0.5 if market.views[0].closed_at == hour(7) else 0.0 for market in witness.seen] == [market.elsewhere for market in witness.seen]
    assert {0.95 / 3} == {market.share for market in witness.seen}


def test_numbers_to_keep_come_back_at_the_next_close(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    witness = Witness({"lesson": 3.5})

    backtest(StoredFeed(make_bars(6)), make_setup(witness))

    assert [{}, {"lesson": 3.5}, {"lesson": 3.5}] == [dict(market.kept) for market in witness.seen]


@pytest.mark.parametrize("kept", [{BTC: 0.3}, {"lesson": math.nan}, {"lesson": math.inf}])
def test_numbers_that_cannot_be_kept_stop_the_session(kept: dict[str, float], make_setup: MakeSetup, make_bars: MakeBars) -> None:
    with pytest.raises(ContractBroken, match="finite numbers to keep"):
        backtest(StoredFeed(make_bars(6)), make_setup(Witness(kept)))


def test_a_portfolio_that_keeps_nothing_has_the_hashes_of_a_rule_that_wants_the_same(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    """One decision path: which port was used cannot be seen; what is kept can."""

    def hashes(policy: Any) -> tuple[str, ...]:
        return backtest(StoredFeed(make_bars(12)), make_setup(policy)).decision_hashes

    assert hashes(Half()) == hashes(Witness())
    assert hashes(Half()) != hashes(Witness({"lesson": 3.5}))


def test_a_symbol_that_a_portfolio_leaves_out_is_not_ordered(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    class OnlyBitcoin(Witness):
        def decide(self, market: CrossSection) -> Decision:
            return Decision({BTC: 1.0})

    result = backtest(StoredFeed(make_bars(12)), make_setup(OnlyBitcoin()))

    assert {BTC} == {fill.symbol for fill in result.fills}
    assert all(math.isnan(target.exposure) for target in result.targets if target.symbol != BTC)
