"""The kill switch in a running session: seen at the next close and right before each send, written down, kept over a restart, replayed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from configs.risk import RiskSettings
from configs.trading import TradingSettings
from configs.vocabulary import Mode, TradingState
from desk.books.journal import Journal, Step
from desk.books.portfolio import Portfolio
from desk.chain import Chain
from desk.events import ACTIVE, Control
from desk.execution.simulated_venue import SimulatedVenue
from desk.instruments import Instrument
from desk.market.recording import recorded
from desk.market.stored_feed import StoredFeed
from desk.modes import Setup, backtest, described, run_session
from desk.replay import read_run, replay, setup_of
from desk.session import SessionResult
from desk.strategy.policy import View

HALTED, REDUCING = Control(TradingState.HALTED, "fire drill"), Control(TradingState.REDUCING, "smoke")
MakeBars = Callable[..., pl.DataFrame]
MakeSetup = Callable[..., Setup]


@dataclass(frozen=True)
class Wavering:
    """In and out again at every close."""

    warmup_bars: int = 2

    def target(self, view: View) -> float:
        return 0.0 if view.previous else 1.0


@dataclass
class Operator:
    """Says what the script says from its moment on: (number of looks at a close, whether as orders are about to be sent) -> control."""

    script: dict[tuple[int, bool], Control]
    closes: list[datetime] = field(default_factory=list)
    told: Control = ACTIVE

    def watch(self, closed_at: datetime, sending: bool) -> Control:
        if not sending:
            self.closes.append(closed_at)
        self.told = self.script.get((len(self.closes), sending), self.told)
        return self.told


def trade(setup: Setup, bars: pl.DataFrame, journal: Path, operator: Operator) -> SessionResult:
    """One life of a session on the simulated venue, recorded as a run is."""
    with Chain(journal, sync=False) as chain:
        book = Journal(chain, setup.settings_hash)
        feed = StoredFeed(bars)
        recovered = book.recover(setup.instruments) or book.record_opening(feed.opened_at, Portfolio(setup.instruments, setup.trading.initial_cash))
        venue = SimulatedVenue(setup.instruments, setup.trading.costs, recovered.portfolio.balances())
        with recorded(feed, chain.path, described(setup, Mode.BACKTEST), recovered.at, fresh=recovered.last is None) as told:
            return run_session(told, setup, venue, (book, recovered), None, watch=operator.watch)


def steps_of(journal: Path) -> tuple[Step, ...]:
    with Chain.reading(journal) as chain:
        return Journal(chain, "").steps()


def controls_of(journal: Path) -> list[tuple[str, bool]]:
    with Chain.reading(journal) as chain:
        return [(link.payload["state"], link.payload["sending"]) for link in chain.entries(kind="control")]


def dropped(journal: Path) -> list[str]:
    with Chain.reading(journal) as chain:
        return [detail for link in chain.entries(kind="answers") for _, outcome, detail in link.payload["answers"] if outcome == "rejected"]


@pytest.fixture
def setup(make_setup: MakeSetup) -> Setup:
    return make_setup(Wavering())


def test_a_halted_session_goes_on_looking_and_sends_nothing(setup: Setup, make_bars: MakeBars, tmp_path: Path) -> None:
    result = trade(setup, make_bars(30), tmp_path / "run.sqlite", Operator({(10, False): HALTED}))

    steps = steps_of(tmp_path / "run.sqlite")
    assert result.bars == len(steps) > 20
    assert any(step.approved for step in steps[:9])
    assert not any(step.approved for step in steps[9:])
    assert {"halted"} == {each.guard for step in steps[9:] for each in step.refused}
    assert [("halted", False)] == controls_of(tmp_path / "run.sqlite")


def test_a_reducing_session_only_closes(setup: Setup, make_bars: MakeBars, tmp_path: Path) -> None:
    trade(setup, make_bars(30), tmp_path / "run.sqlite", Operator({(10, False): REDUCING}))

    late = steps_of(tmp_path / "run.sqlite")[9:]
    assert {"sell"} >= {each.order.side.value for step in late for each in step.approved}
    assert {"reduce_only"} == {each.guard for step in late for each in step.refused}


def test_what_was_approved_before_the_halt_is_not_sent_after_it(setup: Setup, make_bars: MakeBars, tmp_path: Path) -> None:
    """The switch is turned between the decision and the sending: the orders are written down as never sent."""
    journal = tmp_path / "run.sqlite"
    orders = [bool(each.approved) for each in steps_of_backtest(setup, make_bars(30))]
    number = next(n for n, (now, _) in enumerate(pairwise(orders), 1) if n > 5 and now)

    trade(setup, make_bars(30), journal, Operator({(number, True): HALTED}))

    steps = steps_of(journal)
    assert steps[number - 1].approved
    assert not steps[number].fills
    assert [f"halted: {HALTED.reason}"] * len(steps[number - 1].approved) == dropped(journal)


def steps_of_backtest(setup: Setup, bars: pl.DataFrame) -> list[Step]:
    seen: list[Step] = []
    backtest(StoredFeed(bars), setup, on_step=seen.append)
    return seen


def test_a_halt_outlives_the_session_even_when_the_switch_is_lost(setup: Setup, make_bars: MakeBars, tmp_path: Path) -> None:
    """The second start finds no switch. The journal knows."""
    journal, bars = tmp_path / "run.sqlite", make_bars(40)
    half = bars.filter(pl.col("open_time") < bars["open_time"].unique().sort()[20])
    trade(setup, half, journal, Operator({(10, False): HALTED}))
    before = len(steps_of(journal))

    trade(setup, bars, journal, Operator({}))

    assert len(steps_of(journal)) > before
    assert not any(step.approved for step in steps_of(journal)[before:])


def test_a_resumed_session_trades_again(setup: Setup, make_bars: MakeBars, tmp_path: Path) -> None:
    journal = tmp_path / "run.sqlite"
    trade(setup, make_bars(40), journal, Operator({(10, False): HALTED, (20, False): Control(reason="all clear", resumed=1)}))

    steps = steps_of(journal)
    assert not any(step.approved for step in steps[9:19])
    assert any(step.approved for step in steps[19:])


@pytest.mark.parametrize("mode", [Mode.BACKTEST, Mode.PAPER])
@pytest.mark.parametrize(
    "script", [{(10, False): HALTED, (20, False): Control(resumed=1)}, {(9, True): HALTED}, {(8, False): Control(stale=True), (12, False): ACTIVE}]
)
def test_a_run_with_an_operator_is_replayed_as_it_was(
    setup: Setup, make_bars: MakeBars, tmp_path: Path, script: dict[tuple[int, bool], Control], mode: Mode
) -> None:
    trade(setup, make_bars(30), tmp_path / "run.sqlite", Operator(script))
    run = read_run(tmp_path / "run.sqlite")

    told = replay(run, setup_of(run, setup.policy, None), mode)

    assert (None, len(run.story.steps)) == (told.divergence, told.steps)


def test_unsent_stops_do_not_count_as_resting(make_setup: MakeSetup, make_bars: MakeBars, tmp_path: Path) -> None:
    """A stop that a halt kept at home is asked for again once trading goes on."""
    setup = make_setup(Long(), TradingSettings(protective_stop=0.5))
    operator = Operator({(number, True): HALTED for number in range(8)} | {(8, False): Control(resumed=1)})

    trade(setup, make_bars(20), tmp_path / "run.sqlite", operator)

    steps = steps_of(tmp_path / "run.sqlite")
    assert [f"halted: {HALTED.reason}"] * 2 * len(setup.instruments) == dropped(tmp_path / "run.sqlite")
    assert len(setup.instruments) == len(steps[-1].stops)


@dataclass(frozen=True)
class Long:
    """Always in."""

    warmup_bars: int = 2

    def target(self, view: View) -> float:
        return 1.0


def test_a_book_is_hedged_with_a_perpetual_sold_short(make_setup: MakeSetup, make_bars: MakeBars) -> None:
    """Two coins that move as one, and the contract on one of them: what is left of the equity's variance is less than a third."""
    symbol = "BTC/USDT:USDT"
    bars = pl.concat([one_market(make_bars(400)), one_market(make_bars(400)).filter(pl.col("symbol") == "BTC/USDT").with_columns(symbol=pl.lit(symbol))])
    setup = make_setup(Long(), TradingSettings(rebalance_band=0.05), RiskSettings(max_position_weight=2.0, max_gross_weight=3.0, max_drawdown=1.0))
    perpetual = Instrument(symbol, "BTC:USDT", "USDT", Decimal("0.01"), Decimal("0.001"), Decimal(5))
    contract = {**setup.instruments, symbol: perpetual}
    hedged = replace(setup, instruments=contract, risk=setup.risk.model_copy(update={"hedge_symbol": symbol, "hedge_aversion": 1000.0}))

    naked, covered = backtest(StoredFeed(bars.filter(pl.col("symbol") != symbol)), setup), backtest(StoredFeed(bars), hedged)

    def roughness(result: SessionResult) -> float:
        equities = pl.Series([equity for _, equity in result.equity])[-200:]
        return float((equities / equities.shift(1) - 1).std() or 0)

    hedges = [fill for fill in covered.fills if fill.symbol == symbol]
    assert "sell" == hedges[0].side.value
    assert roughness(covered) < roughness(naked) / 3
    assert symbol not in {target.symbol for target in covered.targets}
    assert sum(float(fill.quantity * fill.price) for fill in hedges) < 3 * float(setup.trading.initial_cash)


def one_market(bars: pl.DataFrame) -> pl.DataFrame:
    """Every symbol with the first one's prices."""
    first = bars.filter(pl.col("symbol") == "BTC/USDT")
    return pl.concat([first.with_columns(symbol=pl.lit(symbol)) for symbol in bars["symbol"].unique().sort()])
