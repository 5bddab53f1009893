"""Protective stops in a session: every position has one, it closes what it should, and without the setting nothing changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from configs.vocabulary import OrderKind, Side, Timeframe
from desk.books.journal import Journal, Step
from desk.books.portfolio import Portfolio
from desk.chain import MEMORY, Chain
from desk.errors import ContractBroken
from desk.events import Approved
from desk.execution.simulated_venue import SimulatedVenue
from desk.execution.venue import Answer, Outcome
from desk.market.stored_feed import StoredFeed
from desk.modes import Setup, backtest
from desk.session import Parts, Session
from desk.strategy.policy import View

MakeBars = Callable[..., pl.DataFrame]
MakeSetup = Callable[..., Setup]
BARS = 120
ROOMY = RiskSettings(max_position_weight=2.0, max_gross_weight=2.0, max_daily_loss=1.0, max_drawdown=1.0)


class Always:
    """Wants everything, all the time."""

    warmup_bars = 1

    def target(self, view: View) -> float:
        return 1.0


class OnceIn:
    """Enters at its first chance; once stopped out it stays out."""

    warmup_bars = 1

    def __init__(self) -> None:
        self._entered: set[str] = set()

    def target(self, view: View) -> float:
        if view.symbol in self._entered:
            return view.previous
        self._entered.add(view.symbol)
        return 1.0


def steps_of(setup: Setup, bars: pl.DataFrame) -> list[Step]:
    steps: list[Step] = []
    backtest(StoredFeed(bars), setup, on_step=steps.append)
    return steps


def stopped(settings: float, **more: object) -> TradingSettings:
    return TradingSettings.model_validate({"protective_stop": settings, **more})


def test_every_position_has_a_stop_of_its_size_at_the_fraction_below_its_entry(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    setup = make_setup(trading=stopped(0.05), risk=ROOMY)
    steps = steps_of(setup, make_bars(BARS))
    portfolio = Portfolio(setup.instruments, setup.trading.initial_cash)

    assert sum(len(step.fills) for step in steps) > 40
    for step in steps:
        for fill in step.fills:
            portfolio.apply(fill)
        changing = {approved.order.symbol for approved in step.approved if approved.order.kind is OrderKind.MARKET}
        stops = {stop.symbol: stop for stop in step.stops}
        for symbol, lots in portfolio.lots.items():
            if symbol in changing:
                continue
            assert (lots > 0) == (symbol in stops)
            if lots > 0:
                assert lots * setup.instruments[symbol].lot == stops[symbol].quantity
                assert stops[symbol].stop_price == portfolio.entries[symbol] * Decimal("0.95") // Decimal("0.01") * Decimal("0.01")


def test_a_stop_sells_inside_the_bar_in_which_the_price_falls(make_setup: MakeSetup) -> None:
    """Bought at the open of 100, stopped at 95 less costs of nothing, in the very bar of the entry; the rule is out and stays out."""
    setup = make_setup(policy=OnceIn(), trading=stopped(0.05, costs=CostSettings(fee_rate=0, half_spread_bps=0, impact_bps=0)), risk=ROOMY)
    steps = steps_of(setup, falling(["100,100,100,100", "100,101,90,92", "92,93,91,92"]))

    bought, sold = steps[1].fills

    assert [(Side.BUY, Decimal("100.00")), (Side.SELL, Decimal("95.00"))] == [(bought.side, bought.price), (sold.side, sold.price)]
    assert bought.quantity == sold.quantity
    assert ((), ()) == (steps[1].approved, steps[1].stops)
    assert 0.0 == steps[2].exposures["BTC/USDT"]


def test_a_position_too_small_for_a_stop_is_recorded_once_and_kept(make_setup: MakeSetup) -> None:
    """6 USDT of a least notional of 5: the entry is legal, a stop at half its price is not."""
    trading = stopped(0.5, initial_cash=20, costs=CostSettings(fee_rate=0))
    steps = steps_of(make_setup(policy=OnceIn(), trading=trading, risk=ROOMY), falling(["100,100,100,100"] * 4))

    assert [["protection"], [], [], []] == [[refused.guard for refused in step.refused] for step in steps]
    assert all(() == step.stops for step in steps)


def test_without_the_setting_nothing_is_placed_and_the_decisions_have_the_same_hashes(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    plain = steps_of(make_setup(trading=TradingSettings()), make_bars(BARS))
    never_reached = steps_of(make_setup(trading=stopped(0.0)), make_bars(BARS))

    assert plain == never_reached
    assert all(() == step.stops == step.cancels for step in plain)


def test_a_stop_that_is_never_reached_changes_no_market_order(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    plain = steps_of(make_setup(trading=TradingSettings()), make_bars(BARS))
    guarded = steps_of(make_setup(trading=stopped(0.9)), make_bars(BARS))

    assert [step.fills for step in plain] == [step.fills for step in guarded]
    assert [step.equity for step in plain] == [step.equity for step in guarded]


@pytest.mark.parametrize("every", [2, 3, 7])
def test_a_session_that_is_started_again_and_again_tells_the_story_of_one_that_was_not(
    make_setup: MakeSetup, make_bars: MakeBars, tmp_path: Path, every: int
) -> None:
    """Stops rest in the venue's memory only: each start places them again."""
    setup, bars = make_setup(trading=stopped(0.02), risk=ROOMY), make_bars(BARS)
    whole = steps_of(setup, bars)

    restarted: list[Step] = []
    with Chain(tmp_path / "pieces.sqlite", sync=False) as chain:
        while len(restarted) < BARS:
            restarted += piece(setup, bars, chain, every)

    assert any(fill.order_id in {stop.order_id for stop in before.stops} for before, step in pairwise(whole) for fill in step.fills)
    assert whole == restarted


def piece(setup: Setup, bars: pl.DataFrame, chain: Chain, events: int) -> list[Step]:
    """One life of a session: some events, continuing where the journal ends."""
    journal, steps = Journal(chain, setup.settings_hash), list[Step]()
    book = journal.recover(setup.instruments)
    if book is None:
        book = journal.record_opening(StoredFeed(bars).opened_at, Portfolio(setup.instruments, setup.trading.initial_cash))
    venue = SimulatedVenue(setup.instruments, setup.trading.costs, book.portfolio.balances())
    session = Session(Parts(setup.session_id, setup.instruments, setup.policy, venue, journal, book, setup.trading, setup.risk))
    end = book.at + events * Timeframe.H1.delta
    session.run(StoredFeed(bars.filter(pl.col("open_time") < end)), steps.append)
    return steps


def falling(rows: list[str]) -> pl.DataFrame:
    """Bars of one symbol from "open,high,low,close"."""
    opens = [pl.datetime(2024, 1, 1, time_zone="UTC") + timedelta(hours=hour) for hour in range(len(rows))]
    prices = [dict(zip(("open", "high", "low", "close"), map(float, row.split(",")), strict=True)) for row in rows]
    times = pl.select(pl.concat_list(opens).explode().cast(pl.Datetime("us", "UTC")).alias("open_time"))["open_time"]
    frame = pl.DataFrame(prices).with_columns(times, symbol=pl.lit("BTC/USDT"), timeframe=pl.lit("1h"), volume=pl.lit(1e6))
    return frame.select("symbol", "timeframe", "open_time", "open", "high", "low", "close", "volume")


def test_a_gain_is_taken_at_its_price_when_the_market_trades_through_it_and_a_stop_in_the_same_bar_comes_first(make_setup: MakeSetup) -> None:
    """Bought at 100: stop at 95, gain at 110. A bar to 110 touches and no more; one to 111 fills at 110; one from 94 to 111 is a stop."""
    free = CostSettings(fee_rate=0, half_spread_bps=0, impact_bps=0)
    setups = [make_setup(policy=OnceIn(), trading=stopped(0.05, take_profit=0.1, costs=free), risk=ROOMY) for _ in range(2)]

    touched = steps_of(setups[0], falling(["100,100,100,100", "100,110,100,105", "105,111,104,108"]))
    both = steps_of(setups[1], falling(["100,100,100,100", "100,111,94,100"]))

    assert 1 == len(touched[1].fills)
    assert [Decimal("110.00")] == [fill.price for fill in touched[2].fills]
    assert [Decimal("100.00"), Decimal("95.00")] == [fill.price for fill in both[1].fills]


def test_a_trailing_stop_follows_the_best_close_and_never_goes_back(make_setup: MakeSetup) -> None:
    free = CostSettings(fee_rate=0, half_spread_bps=0, impact_bps=0)
    setup = make_setup(policy=OnceIn(), trading=TradingSettings(trailing_stop=0.1, costs=free), risk=ROOMY)

    steps = steps_of(setup, falling(["100,100,100,100", "100,100,100,100", "100,120,100,120", "120,120,112,112", "112,112,105,106"]))

    assert ["90.00", "90.00", "108.00", "108.00"] == [str(step.stops[0].stop_price) for step in steps[:4]]
    assert [Decimal("108.00")] == [fill.price for fill in steps[4].fills]


def test_a_stop_that_was_executed_does_not_protect_the_position_that_is_bought_again(make_setup: MakeSetup) -> None:
    """A fixed size, bought again at the old price: the new position has a stop of the same size and price, and it is another order that rests."""
    free = CostSettings(fee_rate=0, half_spread_bps=0, impact_bps=0)
    setup = make_setup(policy=Always(), trading=stopped(0.05, fixed_units=1.0, costs=free), risk=ROOMY)

    steps = steps_of(setup, falling(["100,100,100,100", "100,100,100,100", "100,100,94,100", "100,100,94,100"]))

    assert [Side.SELL, Side.BUY, Side.SELL] == [fill.side for step in steps[2:] for fill in step.fills]
    assert steps[1].stops[0].order_id != steps[2].stops[0].order_id


def test_a_gain_without_a_stop_is_refused(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    with pytest.raises(ContractBroken, match="beside take_profit"):
        steps_of(make_setup(trading=TradingSettings(take_profit=0.1)), make_bars(3))


class Unprotecting(SimulatedVenue):
    """A venue that takes no stops."""

    def submit(self, orders: Sequence[Approved]) -> tuple[Answer, ...]:
        market = [each for each in orders if each.order.kind is OrderKind.MARKET]
        refused = [Answer(each.order.order_id, Outcome.REJECTED, "Stop price would trigger immediately.") for each in orders if each not in market]
        return (*super().submit(market), *refused)


class Racing(SimulatedVenue):
    """A venue on which every stop that is cancelled turns out to have been executed just before."""

    def cancel(self, order_id: str, symbol: str) -> Answer:
        stop = self._open[order_id]
        super().cancel(order_id, symbol)
        return Answer(order_id, Outcome.CONFIRMED, "filled", stop.quantity)


def run_on(venue_type: type[SimulatedVenue], setup: Setup, bars: pl.DataFrame) -> tuple[list[Step], SimulatedVenue, Journal]:
    steps, journal = list[Step](), Journal(Chain(MEMORY, sync=False), setup.settings_hash)
    book = journal.record_opening(StoredFeed(bars).opened_at, Portfolio(setup.instruments, setup.trading.initial_cash))
    venue = venue_type(setup.instruments, setup.trading.costs, book.portfolio.balances())
    parts = Parts(setup.session_id, setup.instruments, setup.policy, venue, journal, book, setup.trading, setup.risk)
    Session(parts).run(StoredFeed(bars), steps.append)
    return steps, venue, journal


def test_a_position_whose_stop_is_refused_is_closed_at_once_and_the_intent_was_written_before(make_setup: MakeSetup) -> None:
    setup = make_setup(policy=OnceIn(), trading=stopped(0.05), risk=ROOMY)

    steps, venue, journal = run_on(Unprotecting, setup, falling(["100,100,100,100"] * 4))

    bought = [fill for step in steps for fill in step.fills if fill.side is Side.BUY]
    sold = [fill for step in steps for fill in step.fills if fill.side is Side.SELL]
    assert sum(fill.quantity for fill in bought) == sum(fill.quantity for fill in sold) > 0
    assert Decimal(0) == venue.account().balances["BTC"]
    recovered = journal.recover(setup.instruments)
    assert recovered is not None
    assert Decimal(0) == recovered.portfolio.positions["BTC/USDT"]


def test_an_order_whose_position_its_stop_has_just_closed_is_not_sent(make_setup: MakeSetup) -> None:
    """The rule wants out, the stop was faster: selling again would sell what is not there."""
    setup = make_setup(policy=InThenOut(), trading=stopped(0.05), risk=ROOMY)

    steps, _, journal = run_on(Racing, setup, falling(["100,100,100,100"] * 4))

    (dropped,) = [each.order.order_id for each in steps[2].approved]
    recovered = journal.recover(setup.instruments)
    assert not any(fill.order_id == dropped for step in steps for fill in step.fills)
    assert recovered is not None
    assert dropped not in {each.order.order_id for each in recovered.pending}


class InThenOut:
    """In for two bars, then out."""

    warmup_bars = 1

    def __init__(self) -> None:
        self._calls = 0

    def target(self, view: View) -> float:
        self._calls += 1
        return float(self._calls <= 2)
