"""What must hold of the trading loop whatever the strategy says."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

import desk.session
from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from configs.vocabulary import Side
from desk.books.journal import Journal, Step
from desk.books.portfolio import Portfolio
from desk.chain import MEMORY, Chain
from desk.errors import ClockBackwards, ContractBroken, OrderUnresolved
from desk.events import Approved, Bar, BarsClosed, Fill
from desk.execution.simulated_venue import SimulatedVenue
from desk.execution.venue import Account, Answer, Outcome, Venue
from desk.market.stored_feed import StoredFeed
from desk.modes import Setup, backtest
from desk.session import Parts, Session, SessionResult
from desk.strategy.policy import View

MakeBars = Callable[..., pl.DataFrame]
MakeSetup = Callable[..., Setup]


@dataclass
class Scripted:
    """A rule that says, for every symbol, what the script says next (the last word stays), and remembers what it was shown."""

    script: Sequence[float]
    warmup_bars: int = 1
    seen: list[View] = field(default_factory=list)

    def target(self, view: View) -> float:
        self.seen.append(view)
        said = sum(each.symbol == view.symbol for each in self.seen) - 1
        return self.script[min(said, len(self.script) - 1)]


class ScriptedFeed:
    """A feed of exactly these events."""

    def __init__(self, events: Sequence[BarsClosed]) -> None:
        self._events = events

    def history(self, bars: int, until: datetime | None) -> Iterator[BarsClosed]:
        yield from ()

    def events(self, after: datetime | None) -> Iterator[BarsClosed]:
        yield from self._events


class Watched:
    """A venue that passes everything on and lets a test look at every submission; it can answer differently, too."""

    def __init__(self, venue: Venue, on_submit: Callable[[Sequence[Approved]], None], outcome: Outcome | None = None) -> None:
        self._venue = venue
        self._on_submit = on_submit
        self._outcome = outcome

    def submit(self, orders: Sequence[Approved]) -> tuple[Answer, ...]:
        self._on_submit(orders)
        answers = self._venue.submit(orders)
        return answers if self._outcome is None else tuple(replace(answer, outcome=self._outcome) for answer in answers)

    def fills(self, event: BarsClosed) -> tuple[Fill, ...]:
        return self._venue.fills(event)

    def resolve(self, order_id: str, symbol: str) -> Answer:
        return Answer(order_id, Outcome.UNRESOLVED, "no line") if self._outcome else self._venue.resolve(order_id, symbol)

    def cancel(self, order_id: str, symbol: str) -> Answer:
        return self._venue.cancel(order_id, symbol)

    def cancel_open(self, at: datetime) -> None:
        self._venue.cancel_open(at)

    def account(self) -> Account:
        return self._venue.account()


def parts_of(setup: Setup, chain: Chain, wrap: Callable[[Venue], Venue]) -> Parts:
    """A session's parts as a backtest would have them, with the venue wrapped."""
    journal = Journal(chain, setup.settings_hash)
    portfolio = Portfolio(setup.instruments, setup.trading.initial_cash)
    recovered = journal.record_opening(datetime.fromisoformat("2024-01-01T00:00:00+00:00"), portfolio)
    venue = wrap(SimulatedVenue(setup.instruments, setup.trading.costs, portfolio.balances()))
    return Parts(setup.session_id, setup.instruments, setup.policy, venue, journal, recovered, setup.trading, setup.risk)


def run(make_setup: MakeSetup, bars: pl.DataFrame, policy: object, **settings: object) -> SessionResult:
    return backtest(StoredFeed(bars), make_setup(policy, **settings))


def test_orders_are_filled_at_the_next_open_and_never_at_the_close_they_were_decided_at(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    bars = make_bars(5)

    result = run(make_setup, bars, Scripted([0.0, 0.0, 1.0]))

    third_open = bars["open_time"].unique().sort()[3]
    assert {fill.at for fill in result.fills} == {third_open}
    opens = {row["symbol"]: row["open"] for row in bars.filter(pl.col("open_time") == third_open).iter_rows(named=True)}
    for fill in result.fills:
        assert fill.side is Side.BUY
        assert opens[fill.symbol] < float(fill.price) < opens[fill.symbol] * 1.01


def test_nothing_is_decided_before_the_policy_is_warm(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    policy = Scripted([1.0], warmup_bars=4)

    result = run(make_setup, make_bars(6), policy)

    assert len(result.targets) == 3 * 3
    assert {len(view.closes) for view in policy.seen} == {4}


def test_the_policy_sees_the_last_closes_oldest_first(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    bars = make_bars(40)
    policy = Scripted([0.0], warmup_bars=5)

    run(make_setup, bars, policy)

    closes = bars.filter(pl.col("symbol") == "ETH/USDT").sort("open_time")["close"].to_numpy()
    shown = [view.closes for view in policy.seen if view.symbol == "ETH/USDT"]
    assert len(shown) == 36
    for i, window in enumerate(shown):
        np.testing.assert_array_equal(closes[i : i + 5], window)


def test_history_warms_up_without_being_traded(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    bars = make_bars(10)
    start = bars["open_time"].unique().sort()[6]

    result = backtest(StoredFeed(bars, start=start), make_setup(Scripted([1.0], warmup_bars=5)))

    assert result.bars == 4
    assert result.targets[0].closed_at == start + timedelta(hours=1)


def test_an_undefined_exposure_is_recorded_and_trades_nothing(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    policy = Scripted([1.0, math.nan])

    result = run(make_setup, make_bars(6), policy)

    assert {fill.at.hour for fill in result.fills} == {1}
    assert sum(math.isnan(target.exposure) for target in result.targets) == 3 * 5
    assert {view.previous for view in policy.seen[3:]} == {1.0}


def test_an_exposure_outside_its_range_stops_the_session(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    with pytest.raises(ContractBroken, match=r"\[-1, 1\]"):
        run(make_setup, make_bars(3), Scripted([1.5]))


def test_a_symbol_without_a_bar_is_left_alone_and_its_order_dies(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    """SOL is ordered at the close of bar 0, prints no bar 1, and may only be filled from bar 3 on: it is decided afresh at bar 2."""
    bars = make_bars(6)
    times = bars["open_time"].unique().sort()
    holed = bars.filter(~((pl.col("symbol") == "SOL/USDT") & (pl.col("open_time") == times[1])))

    result = run(make_setup, holed, Scripted([1.0]))

    assert next(fill.at for fill in result.fills if fill.symbol == "SOL/USDT") == times[3]
    assert not [target for target in result.targets if target.symbol == "SOL/USDT" and target.closed_at == times[2]]


def test_a_bar_of_an_unknown_symbol_stops_the_session(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    with pytest.raises(ContractBroken, match="DOGE"):
        run(make_setup, make_bars(3).with_columns(pl.col("symbol").str.replace("SOL", "DOGE")), Scripted([0.0]))


def test_events_out_of_order_stop_the_session(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    events = list(StoredFeed(make_bars(3)).events(None))
    parts = parts_of(make_setup(Scripted([0.0])), Chain(MEMORY, sync=False), lambda venue: venue)

    with pytest.raises(ClockBackwards):
        Session(parts).run(ScriptedFeed([events[0], events[2], events[1]]))


def test_sells_are_sent_before_buys(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    sent: list[list[Side]] = []
    setup = make_setup()
    parts = parts_of(setup, Chain(MEMORY, sync=False), lambda venue: Watched(venue, lambda orders: sent.append([each.order.side for each in orders])))

    Session(parts).run(StoredFeed(make_bars(300)))

    assert any(len(set(sides)) == 2 for sides in sent)
    assert all(sides == sorted(sides, key=lambda side: side is Side.BUY) for sides in sent)


def test_an_order_is_in_the_journal_before_it_is_sent(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    chain = Chain(MEMORY, sync=False)
    setup = make_setup()
    checked: list[str] = []

    def look(orders: Sequence[Approved]) -> None:
        assert Journal(chain, "any").steps()[-1].approved == tuple(orders)
        checked.extend(approved.order.order_id for approved in orders)

    Session(parts_of(setup, chain, lambda venue: Watched(venue, look))).run(StoredFeed(make_bars(60)))

    assert checked
    assert len(checked) == len(set(checked))


def test_an_order_nobody_can_account_for_stops_the_session(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    chain = Chain(MEMORY, sync=False)
    parts = parts_of(make_setup(Scripted([1.0])), chain, lambda venue: Watched(venue, lambda orders: None, Outcome.UNRESOLVED))

    with pytest.raises(OrderUnresolved, match="no line"):
        Session(parts).run(StoredFeed(make_bars(5)))

    assert [link.kind for link in chain.entries()] == ["opened", "step", "answers", "answers"]


def test_what_risk_refuses_is_recorded_and_never_sent(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    result = run(make_setup, make_bars(5), Scripted([1.0]), risk=RiskSettings(max_position_weight=0.1))

    assert not result.fills
    assert {refusal.guard for refusal in result.refusals} == {"position"}


def test_a_drawdown_latches_for_good(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    """Costs alone pull equity below a limit of 0.01 %; from then on positions only shrink."""
    steps: list[Step] = []
    setup = make_setup(risk=RiskSettings(max_drawdown=0.0001))

    backtest(StoredFeed(make_bars(200)), setup, on_step=steps.append)

    first = next(i for i, step in enumerate(steps) if step.marks.reducing)
    assert all(step.marks.reducing for step in steps[first:])
    assert not [each for step in steps[first:] for each in step.approved if each.order.side is Side.BUY]


def test_equity_is_the_start_plus_every_gain_less_every_cost(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    """An independent sum over the fills, in Decimal, of what the session computed step by step."""
    bars = make_bars(400)
    result = run(make_setup, bars, None, risk=RiskSettings(max_drawdown=0.99))
    last = {row["symbol"]: Decimal(repr(row["close"])) for row in bars.sort("open_time").group_by("symbol", maintain_order=True).last().iter_rows(named=True)}

    gains = sum((fill.side.sign * fill.quantity * (last[fill.symbol] - fill.price) - fill.fee for fill in result.fills), Decimal(0))

    assert len(result.fills) > 100
    assert float(Decimal(100000) + gains) == pytest.approx(result.equity[-1][1], rel=1e-12)


def test_cash_never_goes_below_zero(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    """With all capital in play and dear costs, buys are cut to what the cash carries."""
    setup = make_setup(trading=TradingSettings(gross_weight=1.0, costs=CostSettings(fee_rate=0.02)), risk=RiskSettings(max_drawdown=0.99, max_daily_loss=0.99))
    chain = Chain(MEMORY, sync=False)
    parts = parts_of(setup, chain, lambda venue: venue)
    lowest: list[Decimal] = []

    Session(parts).run(StoredFeed(make_bars(300)), lambda step: lowest.append(parts.book.portfolio.cash))

    assert min(lowest) > Decimal("-1e-6")
    assert parts.book.portfolio.balances() == parts.venue.account().balances


def test_the_same_bars_give_the_same_hashes(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    first, second = (run(make_setup, make_bars(50), None) for _ in range(2))

    assert first == second
    assert len(set(first.decision_hashes)) == 50


def test_target_hashes_do_not_know_the_book_and_decision_hashes_do(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    rich, poor = (run(make_setup, make_bars(50), None, trading=TradingSettings(initial_cash=Decimal(cash))) for cash in (100000, 500))

    assert rich.target_hashes == poor.target_hashes
    assert rich.decision_hashes != poor.decision_hashes


class Doubler:
    """Two features: the close, and twice the close; cold for two bars."""

    def __init__(self) -> None:
        self._seen = 0

    def update(self, bar: Bar) -> NDArray[np.float32]:
        self._seen += 1
        return np.array([bar.close, 2 * bar.close] if self._seen > 2 else [math.nan] * 2, dtype=np.float32)


class Oracle:
    """Keeps the windows it was shown and answers with digits beyond the rounding."""

    lookback_bars = 3

    def __init__(self) -> None:
        self.windows: list[NDArray[np.float32]] = []

    def forecast(self, symbol: str, closed_at: datetime, window: NDArray[np.float32]) -> tuple[float, float]:
        self.windows.append(window)
        return 0.12345649, 0.98765451

    def name_at(self, closed_at: datetime) -> str:
        return "oracle"


def test_a_forecast_is_asked_for_whole_windows_only_and_rounded(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    """Two cold bars and a lookback of three: the fifth bar is the first with a forecast; without one the policy is told so."""
    policy, oracle = Scripted([0.0]), Oracle()
    parts = parts_of(make_setup(policy), Chain(MEMORY, sync=False), lambda venue: venue)
    streams = {symbol: Doubler() for symbol in parts.instruments}

    Session(replace(parts, streams=streams, forecaster=oracle)).run(StoredFeed(make_bars(30)))

    btc = [view for view in policy.seen if view.symbol == "BTC/USDT"]
    assert [view.forecast is None for view in btc] == [True] * 4 + [False] * 26
    assert (btc[4].forecast.mean, btc[4].forecast.sd, btc[4].forecast.model) == (0.123456, 0.987655, "oracle")  # type: ignore[union-attr]
    assert len(oracle.windows) == 3 * 26
    assert all(window.shape == (3, 2) and np.isfinite(window).all() for window in oracle.windows)
    np.testing.assert_array_equal(oracle.windows[-1][-1], next(view.features for view in reversed(policy.seen) if view.symbol == "SOL/USDT"))


def test_a_session_says_nothing_of_the_way_it_is_run() -> None:
    """The loop must not know whether it is a backtest, paper or live: the words do not occur in it."""
    text = Path(desk.session.__file__).read_text(encoding="utf-8").lower()

    assert re.findall(r"\b(?:modes?|backtest|paper|live)\b", text) == []
