"""The trading loop, the same wherever it runs.

Take an event; book what was executed; update features; ask for a forecast; set targets; size them; let risk approve or refuse; write it
all down; send what was approved; write down the answers. It starts by recovering: a fresh start is a recovery from nothing.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from configs.risk import RiskSettings
from configs.trading import TradingSettings
from configs.vocabulary import OrderKind, TradingState
from desk import log
from desk.books.journal import Journal, Recovered, Step
from desk.books.portfolio import fee_in_quote
from desk.books.reconcile import Audit, Besides, nothing_besides, unaudited
from desk.books.records import closed_by
from desk.chain import canonical
from desk.clock import EventClock
from desk.errors import ContractBroken
from desk.events import Approved, Bar, BarsClosed, Control, Fill, Forecast, Order, Refused, Target
from desk.execution.carried import Carried, unchanged
from desk.execution.manager import OrderManager
from desk.execution.order import flattening, order_of
from desk.execution.perpetual import FORCED
from desk.execution.protection import Protection
from desk.execution.venue import TOO_SMALL, Answer, Outcome, Venue
from desk.instruments import Instrument
from desk.market.feed import Feed
from desk.risk.exposure import Book, RiskDesk, binding, marked
from desk.risk.hedge import Hedge
from desk.risk.switch import Watch, unwatched
from desk.strategy.forecast import Forecaster
from desk.strategy.policy import CrossSection, PortfolioPolicy, Strategy, View, decided, wanted
from desk.strategy.sizing import fixed_lots, order_lots

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_FEATURES = np.zeros(0, dtype=np.float32)
_NO_CLOSES = np.zeros((0, 0))
_FORECAST_DIGITS = 6  # batch and single forecasts differ below this; above it they must agree


class FeatureStream(Protocol):
    """One symbol's features, one closed bar at a time."""

    def update(self, bar: Bar) -> NDArray[np.float32]:
        """Feature row of this bar; NaN until warm."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a session is made of. `book` says where it stands; `streams` is empty for a rule without features, `forecaster` None without a model.

    `feature_warmup` is the number of bars the streams need before their first finite row; `watch` says how the session is to trade;
    `audit` compares the book with the account where there is one and cause to; `besides` says what happened to it besides our orders.
    """

    session_id: str
    instruments: Mapping[str, Instrument]
    policy: Strategy
    venue: Venue
    journal: Journal
    book: Recovered
    trading: TradingSettings
    risk: RiskSettings
    streams: Mapping[str, FeatureStream] = field(default_factory=dict)
    forecaster: Forecaster | None = None
    feature_warmup: int = 0
    watch: Watch = unwatched
    audit: Audit = unaudited
    besides: Besides = nothing_besides


def warmup_bars(policy: Strategy, feature_warmup: int, forecaster: Forecaster | None, risk: RiskSettings) -> int:
    """Events that a session wants to see before its first one for trading; where there are so many, it sees no more."""
    lookback = forecaster.lookback_bars if forecaster else 1
    return max(policy.warmup_bars, feature_warmup + lookback, risk.warmup_bars)


@dataclass(frozen=True, slots=True)
class SessionResult:
    """What happened since this start: equity in the quote currency at every close, and everything decided.

    `fees` are in the quote currency; those in a third asset that nobody could value are not in them.
    """

    equity: tuple[tuple[datetime, float], ...]
    fills: tuple[Fill, ...]
    refusals: tuple[Refused, ...]
    targets: tuple[Target, ...]
    decision_hashes: tuple[str, ...]
    bars: int
    fees: float

    @property
    def target_hashes(self) -> tuple[str, ...]:
        """One per symbol and close, in the order they were decided."""
        return tuple(target.hash for target in self.targets)


class Session:
    """One account, one policy, one venue. What differs between its uses is which parts it is given."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._portfolio = parts.book.portfolio
        self._clock = EventClock(parts.book.at)
        self._manager = OrderManager(parts.venue, parts.journal)
        self._risk = RiskDesk(parts.instruments, parts.risk)
        self._hedge = Hedge.of(parts.instruments, parts.risk, parts.trading.costs, self._risk.covariance)
        self._share = parts.trading.gross_weight / max(len(parts.instruments) - (self._hedge is not None), 1)
        self._grid = {symbol: (float(each.lot), float(each.min_notional)) for symbol, each in parts.instruments.items()}
        lookback = parts.forecaster.lookback_bars if parts.forecaster else 1
        self._warmup = warmup_bars(parts.policy, parts.feature_warmup, parts.forecaster, parts.risk)
        self._closes = {symbol: _Trail(parts.policy.warmup_bars) for symbol in parts.instruments}
        self._rows = {symbol: _Trail(lookback) for symbol in parts.streams}
        # All symbols' last closes on one time axis, which only a portfolio needs; a hedge is nobody's to choose.
        self._order = {symbol: place for place, symbol in enumerate(sorted(set(parts.instruments) - {parts.risk.hedge_symbol}))}
        self._panel = _Trail(parts.policy.warmup_bars) if isinstance(parts.policy, PortfolioPolicy) else None
        last = parts.book.last
        self._last_close: dict[str, float] = {}
        self._exposures = dict.fromkeys(sorted(parts.instruments), 0.0) | (last.exposures if last else {})
        self._marks = last.marks if last else None
        self._equity = last.equity if last else math.nan
        self._told = parts.book.told
        self._fresh: set[str] = set()
        self._carried = Carried(parts.instruments, parts.trading.carry_partials)
        self._carried.sent(last.approved if last else ())
        self._protection = Protection.recovered(parts.session_id, parts.instruments, parts.trading, last)

    def run(self, feed: Feed, on_step: Callable[[Step], None] | None = None) -> SessionResult:
        """Recover, warm up, then trade every event until the feed's window ends."""
        self._recover(feed)
        steps: list[Step] = []
        for event in feed.events(self._parts.book.at):
            steps.append(self._step(event))
            if on_step is not None:
                on_step(steps[-1])
        return _result(steps, self._parts.instruments)

    def _recover(self, feed: Feed) -> None:
        """Stand again where the journal ends: the same warm-up bars, the same state, every order accounted for."""
        book = self._parts.book
        for event in self._history(feed):
            self._observe(event)
        if book.last is not None:
            log.event("session.resumed", steps=book.steps, closed_at=book.at.isoformat(), growth=round(book.growth, 6))
            self._last_close.update(book.last.closes)
        if book.last is not None:
            self._manager.cancel(book.last.cancels, book.at)
        pending = {approved.order.order_id: approved for approved in (*book.pending, *map(Approved, self._protection.resting.values()))}
        answers = self._send(self._manager.missing(tuple(pending.values())), book.at)
        self._flatten({answer.order_id: answer for answer in answers}, tuple(self._protection.resting.values()))
        self._look_besides(book.at, leisure=True)

    def _history(self, feed: Feed) -> list[BarsClosed]:
        """Events to warm up on, so many that everything is bit-equal to an uninterrupted run's: to where the first start warmed up, or to where nothing
        reaches back any further. Windows end; a symbol that is often silent needs more events to fill its own.
        """
        book, reach = self._parts.book, 2 * self._warmup + self._risk.memory_bars
        most = self._warmup + book.steps
        while True:
            events = list(feed.history(min(reach, most), book.at))
            bars = Counter(bar.symbol for event in events for bar in event.bars)
            if reach >= most or all(bars[symbol] > self._warmup for symbol in self._closes):
                return events
            reach *= 4

    def _look_besides(self, at: datetime, *, leisure: bool) -> None:
        """Book money that came or went at the last closes, and hear whose position somebody else closed."""
        found = self._parts.besides(self._portfolio, at, leisure)
        self._parts.journal.record_flows(at, found.flows)
        for flow in found.flows:
            self._portfolio.move(flow)
            value = self._portfolio.worth(flow, self._last_close)
            if self._marks is not None:
                self._marks, self._equity = self._marks.funded(self._equity, value), self._equity + value
            log.event("account.funded", cause=flow.cause, asset=flow.asset, amount=str(flow.amount), worth=round(value, 2))
        self._exposures |= closed_by(found.closing)
        self._protection.forget(found.gone)

    def _step(self, event: BarsClosed) -> Step:
        """One close, from the news to the orders."""
        self._clock.advance(event.closed_at)
        fills = tuple(fill for fill in self._parts.venue.fills(event) if self._portfolio.apply(fill))
        # Who was stopped out holds nothing; the rule must want the position afresh.
        closed = {*self._protection.hear(fills), *(fill.symbol for fill in fills if fill.order_id.startswith(FORCED))}
        self._exposures |= dict.fromkeys(sorted(closed), 0.0)
        rests = self._carried.rests(fills, closed)
        self._look_besides(event.closed_at, leisure=False)
        self._parts.audit(self._portfolio, [order.order_id for order in self._protection.resting.values()])
        self._observe(event)
        told, equity = self._hear(event.closed_at, sending=False), self._portfolio.equity(self._last_close)
        marks = self._marks = marked(self._marks, equity, event.closed_at, self._parts.risk, told)
        before = dict(self._exposures)
        targets = self._decide(event)
        left = {target.symbol: rests.get(target.symbol, 0) for target in targets if unchanged(target, before[target.symbol])}
        book = Book(self._portfolio.lots, self._last_close, equity, marks, told)
        approved, refused = self._risk.judge(self._size(targets, equity, left), book)
        self._carried.sent(approved)
        stops, kept, cancels, unprotected = self._protect(event.closed_at, approved, book)
        approved, refused = approved + stops, refused + unprotected
        forecaster = self._parts.forecaster
        bars_digest = hashlib.sha256(b"".join(map(_bar_bytes, event.bars))).hexdigest()
        step = Step(
            closed_at=event.closed_at,
            bars_digest=bars_digest,
            fills=fills,
            targets=targets,
            approved=approved,
            refused=refused,
            decision_hash=_decision_hash(targets, f"{bars_digest}|{self._portfolio.cash}|{self._portfolio.positions}|{marks}", approved, refused),
            equity=equity,
            marks=marks,
            exposures=dict(self._exposures),
            closes=dict(self._last_close),
            model=forecaster.name_at(event.closed_at) if forecaster else "",
            stops=kept,
            cancels=cancels,
        )
        self._parts.journal.record_step(step)
        self._equity = equity
        self._carry_out(step)
        self._look_besides(event.closed_at, leisure=True)
        return step

    def _hear(self, at: datetime, *, sending: bool) -> Control:
        """How the session is to trade now; written down when it is news."""
        told = self._parts.watch(at, sending)
        if told != self._told:
            self._parts.journal.record_control(at, told, sending=sending)
            log.event("session.controlled", level="WARNING", state=told.state.value, reason=told.reason, stale=told.stale)
            self._told = told
        return told

    def _send(self, orders: Sequence[Approved], at: datetime) -> tuple[Answer, ...]:
        """Send what may still be sent: what was told meanwhile counts as much as the guards do."""
        if not orders:
            return ()
        told = self._hear(at, sending=True)
        late = [each for each in orders if self._barred(each.order, told)]
        self._manager.drop(late, at, f"{told.state.value}: {told.reason}")
        for stop in (each.order for each in late if each.order.kind is OrderKind.STOP):
            self._protection.resting.pop(stop.symbol, None)
        return self._manager.send([each for each in orders if each not in late], at)

    def _barred(self, order: Order, told: Control) -> bool:
        """Whether an approved order must not leave any more."""
        state = binding(self._marks, told)
        if state is not TradingState.REDUCING or order.reduce_only:
            return state is TradingState.HALTED
        held = self._portfolio.lots[order.symbol]
        return abs(held + order.side.sign * int(order.quantity / self._parts.instruments[order.symbol].lot)) >= abs(held)

    def _protect(
        self, closed_at: datetime, approved: tuple[Approved, ...], book: Book
    ) -> tuple[tuple[Approved, ...], tuple[Order, ...], tuple[Order, ...], tuple[Refused, ...]]:
        """Stops to place, stops that rest afterwards, stops to cancel, and positions that no stop can protect."""
        wanted = self._protection.wanted(closed_at, self._portfolio, self._last_close, approved)
        lots = dict(self._portfolio.lots)
        for order in (each.order for each in approved):
            lots[order.symbol] += order.side.sign * int(order.quantity / self._parts.instruments[order.symbol].lot)
        stops, refused = self._risk.judge(wanted.placed, replace(book, lots=lots))
        # A stop whose successor is refused stays: it protects better than none.
        denied = {each.order.symbol for each in refused}
        cancels = tuple(order for order in wanted.cancels if order.symbol not in denied)
        return stops, self._protection.settle(cancels, [each.order for each in stops]), cancels, refused + wanted.unprotected

    def _carry_out(self, step: Step) -> None:
        """Cancel and send what the journal holds. On spot a resting stop locks what a sale needs: it goes first."""
        now = self._clock.now()
        raced = self._protection.raced(self._manager.cancel(step.cancels, now))
        late = [each for each in step.approved if each.order.symbol in raced and each.order.kind is not OrderKind.STOP]
        self._manager.drop(late, now, "its stop was executed first")
        answers = self._send([each for each in step.approved if each not in late], now)
        self._flatten({answer.order_id: answer for answer in answers}, step.stops)

    def _flatten(self, answers: Mapping[str, Answer], stops: Sequence[Order]) -> None:
        """Close what a stop was to protect and does not: the exchange refused it, or nobody saw it rest. Dust stays, recorded."""
        for stop in stops:
            answer = answers.get(stop.order_id)
            if answer is None or answer.outcome is not Outcome.REJECTED:
                continue
            self._protection.resting.pop(stop.symbol, None)
            if answer.detail.startswith(TOO_SMALL):
                continue
            log.event("protection.lost", level="ERROR", symbol=stop.symbol, stop=str(stop.stop_price), why=answer.detail)
            self._exposures[stop.symbol] = 0.0
            order = Approved(flattening(self._parts.session_id, stop, self._clock.now()))
            if self._barred(order.order, self._hear(self._clock.now(), sending=True)):
                continue
            self._parts.journal.record_intents(self._clock.now(), (order,))
            self._send((order,), self._clock.now())

    def _observe(self, event: BarsClosed) -> None:
        self._fresh = {bar.symbol for bar in event.bars}
        for bar in event.bars:
            if bar.symbol not in self._closes:
                known = ", ".join(self._closes)
                raise ContractBroken(f"expected bars of {known}, found one of {bar.symbol} closed at {event.closed_at}: add its instrument or drop it")
            self._last_close[bar.symbol] = bar.close
            self._closes[bar.symbol].push(np.float64(bar.close))
            if bar.symbol in self._rows:
                self._rows[bar.symbol].push(self._parts.streams[bar.symbol].update(bar))
        if self._panel is not None:
            self._panel.push(np.array([self._last_close.get(symbol, math.nan) for symbol in self._order]))
        self._risk.observe(event)

    def _decide(self, event: BarsClosed) -> tuple[Target, ...]:
        """A target for every symbol with a bar and enough closes; the strategy sees them all before it names the first."""
        bars = [bar for bar in event.bars if self._closes[bar.symbol].full and bar.symbol in self._order]
        if not bars:
            return ()
        market = self._market(tuple(map(self._view, bars)))
        decision = decided(self._parts.policy, market)
        if decision.kept.keys() & self._parts.instruments or not all(map(math.isfinite, decision.kept.values())):
            raise ContractBroken(f"expected finite numbers to keep, none by a symbol's name, found {dict(decision.kept)}: correct the strategy")
        self._exposures |= decision.kept
        kept = canonical(decision.kept).encode() if decision.kept else b""
        return tuple(self._target(bar, view, wanted(decision, view), kept) for bar, view in zip(bars, market.views, strict=True))

    def _view(self, bar: Bar) -> View:
        features, forecast = self._opinion(bar)
        return View(bar.symbol, bar.closed_at, self._closes[bar.symbol].window(), features, forecast, self._exposures[bar.symbol])

    def _market(self, views: tuple[View, ...]) -> CrossSection:
        """What a strategy may know. The closes of all symbols are laid side by side for a portfolio only."""
        if self._panel is None:
            return CrossSection(views, _NO_CLOSES, self._share)
        seen = {view.symbol for view in views}
        elsewhere = sum(abs(self._exposures[symbol]) for symbol in self._order if symbol not in seen)
        kept = {name: value for name, value in self._exposures.items() if name not in self._parts.instruments}
        return CrossSection(views, self._panel.window()[:, [self._order[view.symbol] for view in views]], self._share, elsewhere, kept)

    def _target(self, bar: Bar, view: View, exposure: float, kept: bytes) -> Target:
        if abs(exposure) > 1:
            raise ContractBroken(f"expected an exposure in [-1, 1], found {exposure} for {bar.symbol} at {bar.closed_at}: correct the policy")
        if not math.isnan(exposure):
            self._exposures[bar.symbol] = exposure
        return Target(bar.symbol, bar.closed_at, exposure, _target_hash(bar, view, exposure, kept))

    def _opinion(self, bar: Bar) -> tuple[NDArray[np.float32], Forecast | None]:
        """Current feature row, and the forecast when the whole window behind it is finite."""
        rows = self._rows.get(bar.symbol)
        if rows is None:
            return _NO_FEATURES, None
        window = rows.window()
        forecaster = self._parts.forecaster
        if forecaster is None or not rows.full or not np.isfinite(window).all():
            return window[-1], None
        mean, sd = forecaster.forecast(bar.symbol, bar.closed_at, window)
        rounded = round(float(mean), _FORECAST_DIGITS), round(float(sd), _FORECAST_DIGITS)
        return window[-1], Forecast(bar.symbol, bar.closed_at, *rounded, forecaster.name_at(bar.closed_at))

    def _size(self, targets: tuple[Target, ...], equity: float, left: Mapping[str, int]) -> list[tuple[Order, int]]:
        """Orders that lead to the targets, or go on with what is `left` of the last ones, with their signed lots; sells first, each in symbol order."""
        parts, orders = self._parts, []
        for target in targets:
            symbol, close = target.symbol, self._last_close[target.symbol]
            lot, min_notional = self._grid[symbol]
            weight = target.exposure * self._share
            if math.isnan(target.exposure):
                lots = 0
            elif parts.trading.fixed_units:
                lots = fixed_lots(target.exposure * parts.trading.fixed_units, self._portfolio.lots[symbol], close, lot, min_notional)
            else:
                lots = order_lots(weight, self._portfolio.lots[symbol], equity, close, lot, min_notional, parts.trading.rebalance_band)
            if lots == 0 and abs(left.get(symbol, 0)) * lot * close >= min_notional:
                lots = left.get(symbol, 0)
            if lots:
                orders.append((order_of(parts.session_id, parts.instruments[symbol], target.closed_at, lots, close), lots))
        if self._hedge:
            orders += self._hedging(orders, equity)
        return sorted(orders, key=lambda item: item[1] > 0)

    def _hedging(self, orders: Sequence[tuple[Order, int]], equity: float) -> list[tuple[Order, int]]:
        """The order that hedges the book as `orders` will leave it, if one is worth its cost."""
        assert self._hedge is not None
        lots = dict(self._portfolio.lots)
        for order, delta in orders:
            lots[order.symbol] += delta
        instrument, symbol, now = self._hedge.instrument, self._hedge.instrument.symbol, self._clock.now()
        values = {name: held * self._grid[name][0] * self._last_close[name] for name, held in lots.items() if held}
        # Only on a bar of its own, as every order is.
        delta = self._hedge.lots(values, self._last_close[symbol], equity) if symbol in self._fresh else 0
        return [(order_of(self._parts.session_id, instrument, now, delta, self._last_close[symbol]), delta)] if delta else []


class _Trail:
    """The last `length` rows pushed, oldest first, as one contiguous array."""

    def __init__(self, length: int) -> None:
        self._length = max(length, 1)
        self._end = 0
        self._buffer: NDArray[Any] | None = None

    @property
    def full(self) -> bool:
        """Whether `length` rows were pushed."""
        return self._end >= self._length

    def push(self, row: NDArray[Any] | np.float64) -> None:
        """Add the newest row."""
        if self._buffer is None:
            self._buffer = np.empty((4 * self._length, *row.shape), dtype=row.dtype)
        if self._end == len(self._buffer):
            self._end = self._length - 1
            self._buffer[: self._end] = self._buffer[len(self._buffer) - self._end :]
        self._buffer[self._end] = row
        self._end += 1

    def window(self) -> NDArray[Any]:
        """The last `length` rows (fewer before that many were pushed), the caller's to keep."""
        assert self._buffer is not None
        return self._buffer[max(self._end - self._length, 0) : self._end].copy()


def _bar_bytes(bar: Bar) -> bytes:
    numbers = struct.pack(">d5d", (bar.open_time - _EPOCH).total_seconds(), bar.open, bar.high, bar.low, bar.close, bar.volume)
    return f"{bar.symbol}|{bar.timeframe.value}|".encode() + numbers


def _target_hash(bar: Bar, view: View, exposure: float, kept: bytes) -> str:
    """What the decision depended on and what it was, never the book: equal wherever the same bars are seen."""
    opinion = (view.forecast.mean, view.forecast.sd) if view.forecast else (math.nan, math.nan)
    return hashlib.sha256(_bar_bytes(bar) + view.features.tobytes() + struct.pack(">4d", *opinion, view.previous, exposure) + kept).hexdigest()


def _decision_hash(targets: tuple[Target, ...], state: str, approved: tuple[Approved, ...], refused: tuple[Refused, ...]) -> str:
    """The targets, the state they met (bars, book, risk marks), and the orders that came of it."""
    orders = [f"{item.order.order_id} {item.order.quantity}" for item in approved]
    refusals = [f"{item.order.order_id} {item.order.quantity} {item.guard}" for item in refused]
    return hashlib.sha256(canonical([[target.hash for target in targets], state, orders, refusals]).encode()).hexdigest()


def _result(steps: list[Step], instruments: Mapping[str, Instrument]) -> SessionResult:
    fees = [fee_in_quote(fill, instruments[fill.symbol]) for step in steps for fill in step.fills]
    return SessionResult(
        equity=tuple((step.closed_at, step.equity) for step in steps),
        fills=tuple(fill for step in steps for fill in step.fills),
        refusals=tuple(refusal for step in steps for refusal in step.refused),
        targets=tuple(target for step in steps for target in step.targets),
        decision_hashes=tuple(step.decision_hash for step in steps),
        bars=len(steps),
        fees=float(sum(fee for fee in fees if fee is not None)),
    )
