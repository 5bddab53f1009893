"""Money that comes and goes while a live session trades or sleeps: booked once, with its cause, and no guard takes it for a gain or a loss."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from configs.risk import RiskSettings
from configs.trading import ExecutionSettings, TradingSettings
from configs.vocabulary import Mode, Timeframe, TradingState
from desk.books.journal import Journal, Step, Story
from desk.books.portfolio import Portfolio
from desk.chain import Chain
from desk.clock import WallClock
from desk.control import Subject, Word, flatten
from desk.events import Control
from desk.execution.exchange_venue import ExchangeVenue, market_now
from desk.execution.readiness import preflight, trading_scope
from desk.modes import Clearance, Setup, live, open_book
from desk.replay import read_run, replay, setup_of
from desk.risk.switch import Watch, unwatched
from desk.security.arming import ArmedLease
from desk.session import SessionResult
from desk.strategy.policy import View

EVENTS = 12


class Swing:
    """In and out, close by close."""

    warmup_bars = 3

    def target(self, view: View) -> float:
        return 0.0 if view.previous else 0.5


class Wavering:
    """Always in, more or less."""

    warmup_bars = 3

    def target(self, view: View) -> float:
        return 0.25 if view.previous == 0.5 else 0.5


class Still:
    """Holds nothing."""

    warmup_bars = 3

    def target(self, view: View) -> float:
        return 0.0


def ask(tape: Any, path: str, body: dict[str, Any]) -> None:
    """One question on the exchange's admin port."""
    question = urllib.request.Request(tape.greeting["admin"] + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    urllib.request.urlopen(question, timeout=10).read()


def trade(tape: Any, setup: Setup, folder: Path, on_step: Callable[[Step], None], watch: Watch = unwatched) -> SessionResult:
    """One life of a live session."""
    with Chain(folder / "live.sqlite", sync=False) as chain, ArmedLease(folder / "lease", WallClock().now() + timedelta(minutes=5)) as lease:
        venue = ExchangeVenue(tape.client, tape.instruments, clock=WallClock(), lease=lease, bar=Timeframe.H1.delta)
        passed, scope = preflight(tape.client, tape.instruments), trading_scope(tape.client)
        feed = tape.feed(EVENTS)
        return live(feed, setup, venue, Clearance(passed, open_book(setup, venue, chain, feed.opened_at), lease, scope), chain, on_step=on_step, watch=watch)


def story_of(tape: Any, folder: Path) -> Story:
    with Chain.reading(folder / "live.sqlite") as chain:
        story = Journal(chain, "").story(tape.instruments)
    assert story is not None
    return story


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_money_that_moves_between_two_lives_and_within_one_is_booked_and_trips_nothing(new_tape: Callable[[], Any], tmp_path: Path) -> None:
    """Half of the account leaves, which by the books of a session that does not look would be a loss of half; more than that comes back."""
    tape = new_tape()
    ask(tape, "/deposit", {"asset": "USDT", "amount": "1000"})  # before the journal is opened: part of its opening
    setup = replace(tape.setup(Swing()), risk=RiskSettings(max_drawdown=0.1, max_daily_loss=0.05))
    steps = list[Step]()

    def on_step(step: Step) -> None:
        steps.append(step)
        if len(steps) == 3 * EVENTS // 2:
            ask(tape, "/deposit", {"asset": "USDT", "amount": "70000.25"})
            ask(tape, "/deposit", {"asset": "ETH", "amount": "0.5"})
            ask(tape, "/streams/close", {})

    trade(tape, setup, tmp_path, steps.append)
    ask(tape, "/withdraw", {"asset": "USDT", "amount": "50000"})
    trade(tape, setup, tmp_path, on_step)

    booked = [flow for _, found in sorted(story_of(tape, tmp_path).between.items()) for flow in found.flows]
    assert [("withdrawal", "USDT", "-50000"), ("deposit", "USDT", "70000.25"), ("deposit", "ETH", "0.5")] == [
        (flow.cause, flow.asset, f"{flow.amount.normalize():f}") for flow in booked
    ]
    assert 2 * EVENTS == len(steps)
    assert not any(step.marks.reducing or step.marks.day_reducing for step in steps)
    assert any(step.approved for step in steps[-4:])

    run = read_run(tmp_path / "live.sqlite")
    for mode in Mode:
        told = replay(run, setup_of(run, Swing(), None), mode)
        assert (None, 2 * EVENTS) == (told.divergence, told.steps)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_money_is_noticed_at_leisure_and_no_close_counts_it_as_a_return(new_tape: Callable[[], Any], tmp_path: Path) -> None:
    """Nothing is traded, so whatever the account grows by came from outside: the growth of one unit stays 1."""
    tape, steps = new_tape(), list[Step]()
    setup = replace(tape.setup(Still()), trading=TradingSettings(execution=ExecutionSettings(flows_every_s=0)))

    def on_step(step: Step) -> None:
        steps.append(step)
        if len(steps) in (3, 6):
            ask(tape, "/deposit", {"asset": "USDT", "amount": str(25_000 * len(steps))})

    trade(tape, setup, tmp_path, on_step)

    with Chain.reading(tmp_path / "live.sqlite") as chain:
        recovered = Journal(chain, "").recover(tape.instruments)
    assert recovered is not None
    assert steps[-1].equity == steps[0].equity + 225_000
    assert 1.0 == recovered.growth
    assert {"deposit"} == {flow.cause for found in story_of(tape, tmp_path).between.values() for flow in found.flows}
    assert steps[-1].marks.peak == steps[-1].equity


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_run_with_a_halt_a_deposit_and_an_operators_hand_is_replayed_as_it_was(new_tape: Callable[[], Any], tmp_path: Path) -> None:
    """Halted in the middle, funded in the middle, closed by hand between two lives, with stops that rest all the while."""
    tape, steps = new_tape(), list[Step]()
    setup = replace(tape.setup(Wavering()), trading=TradingSettings(protective_stop=0.5, execution=ExecutionSettings(flows_every_s=0)))

    def watch(closed_at: datetime, sending: bool) -> Control:
        return Control(TradingState.HALTED, "drill") if 4 <= len(steps) < 7 else Control(resumed=int(len(steps) >= 7))

    def on_step(step: Step) -> None:
        steps.append(step)
        if len(steps) == 9:
            ask(tape, "/deposit", {"asset": "USDT", "amount": "30000"})

    trade(tape, setup, tmp_path, on_step, watch)
    with Chain(tmp_path / "live.sqlite", sync=False) as chain, ArmedLease(tmp_path / "lease", WallClock().now() + timedelta(minutes=5)) as lease:
        venue = ExchangeVenue(tape.client, tape.instruments, clock=WallClock(), lease=lease, bar=Timeframe.H1.delta)
        closed = flatten(subject_of(tape, setup), venue, Journal(chain, setup.settings_hash), Word("drill", WallClock().now()))
    trade(tape, setup, tmp_path, on_step, watch)

    story = story_of(tape, tmp_path)
    assert closed.flat
    assert {"deposit"} == {flow.cause for found in story.between.values() for flow in found.flows}
    assert closed.closed
    assert any(found.closing for found in story.between.values())
    assert any(step.stops for step in steps[EVENTS:])
    run = read_run(tmp_path / "live.sqlite")
    for mode in Mode:
        told = replay(run, setup_of(run, Wavering(), None), mode)
        assert (None, 2 * EVENTS) == (told.divergence, told.steps)


def subject_of(tape: Any, setup: Setup) -> Subject:
    """Whose positions an operator closes."""

    def prices(symbols: Sequence[str]) -> dict[str, float]:
        return {symbol: float(tape.client.fetch_ticker(symbol)["last"]) for symbol in symbols}

    return Subject(setup.session_id, setup.instruments, setup.risk, prices, lambda: market_now(tape.client))


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_fees_in_a_discount_token_are_valued_at_its_price(
    new_tape: Callable[[], Any], practice_exchange: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Three quarters of the usual rate of what was traded, to the rounding of the token; the token itself is no part of the book."""
    options = ("--seed", "5", "--symbols", "BNB/USDT,BTC/USDT,ETH/USDT", "--history-bars", "400", "--stream-bars", "100")
    tape = type(new_tape())(practice_exchange(*options))
    ask(tape, "/deposit", {"asset": "BNB", "amount": "100"})
    tape.client.load_markets()
    tape.client.sapi_post_bnbburn({"spotBNBBurn": "true"})
    del tape.instruments["BNB/USDT"]

    result = trade(tape, tape.setup(Swing()), tmp_path, lambda step: None)

    traded = sum(fill.quantity * fill.price for fill in result.fills)
    assert {"BNB"} == {fill.fee_asset for fill in result.fills}
    assert result.fees == pytest.approx(float(traded) * 0.00075, rel=0.02)
    assert "BNB" not in Portfolio(tape.instruments, Decimal(0)).balances()
