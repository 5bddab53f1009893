"""What the journal keeps, as values, and how they are spelled in JSON: Decimal as text, times as ISO 8601, NaN as null."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from configs.vocabulary import OrderKind, OrderLife, Side, TradingState
from desk.books.portfolio import Portfolio
from desk.events import ACTIVE, Approved, Control, Fill, Flow, Order, Refused, Target

# What an order says beyond a market order that lives for one bar; such an order is written without it.
_PLAIN = ["market", "bar", "", "", "0"]


@dataclass(frozen=True, slots=True)
class RiskMarks:
    """What the risk rules remember: equity peak, the UTC day and its first equity, which latches are shut, and how often a person opened them."""

    peak: float
    day: str
    day_first: float
    reducing: bool
    day_reducing: bool
    latched: TradingState = TradingState.ACTIVE
    resumed: int = 0

    def funded(self, equity: float, value: float) -> RiskMarks:
        """The marks after money worth `value` (quote; negative went out) came to an account of `equity`: as far below them as before, in proportion.

        Moving them by the amount would let a large deposit hide a loss. An account that had nothing, or has nothing left, begins anew.
        """
        after = equity + value
        if equity <= 0 or after <= 0:
            return replace(self, peak=after, day_first=after)
        return replace(self, peak=self.peak * (after / equity), day_first=self.day_first * (after / equity))


@dataclass(frozen=True, slots=True)
class Step:
    """Everything decided at one close, complete before anything is sent. `exposures` and `closes` are the state after the step, by symbol.

    `stops` are the protective stops that rest once the step is carried out, `cancels` those that go before anything is sent.
    """

    closed_at: datetime
    bars_digest: str
    fills: tuple[Fill, ...]
    targets: tuple[Target, ...]
    approved: tuple[Approved, ...]
    refused: tuple[Refused, ...]
    decision_hash: str
    equity: float
    marks: RiskMarks
    exposures: dict[str, float]
    closes: dict[str, float]
    model: str
    stops: tuple[Order, ...] = ()
    cancels: tuple[Order, ...] = ()


@dataclass(frozen=True, slots=True)
class Recovered:
    """Where a session stands: at `at`, its opening (`last` is None) or its last recorded step, with the orders not proven dead.

    `told` is what it was last told from outside; `growth` what one unit of money became since the first step, whatever came and went meanwhile
    (time-weighted); `opened_at` None: at `at`.
    """

    at: datetime
    portfolio: Portfolio
    last: Step | None
    pending: tuple[Approved, ...]
    steps: int
    told: Control = ACTIVE
    growth: float = 1.0
    opened_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Between:
    """What happened to the account between two steps other than by orders of theirs: money came or went, somebody closed positions.

    `gone`: orders of earlier steps that somebody gave up then.
    """

    flows: tuple[Flow, ...] = ()
    closing: tuple[Approved, ...] = ()
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Story:
    """All a journal tells about what came from outside: how the session opened, its steps, what was settled before each of them, the venue's words.

    `settled` has the fills found after as many steps as its key says, `between` what else happened then; `answers` (outcome, detail) by order id, the last
    word of the step in which it was first heard of;
    `controls` what was told, by the number of steps before it and whether orders were about to be sent.
    """

    opening: Recovered
    steps: tuple[Step, ...]
    settled: dict[int, tuple[Fill, ...]]
    answers: dict[str, tuple[str, str]]
    controls: dict[tuple[int, bool], Control] = field(default_factory=dict)
    between: dict[int, Between] = field(default_factory=dict)


def stopped_out(last: Step | None, fills: Sequence[Fill]) -> Step | None:
    """The last step as the session must continue from it when stops of it were executed since: who was stopped out holds and wants nothing."""
    if last is None:
        return None
    stops = {order.order_id: order.symbol for order in (*last.stops, *last.cancels)}
    return replace(last, exposures=last.exposures | {stops[fill.order_id]: 0.0 for fill in fills if fill.order_id in stops})


def flattened(last: Step | None, intents: Sequence[Approved]) -> Step | None:
    """The last step as the session must continue from it when positions were closed outside of any step: who was closed wants nothing."""
    if last is None:
        return None
    return replace(last, exposures=last.exposures | closed_by(intents))


def closed_by(intents: Sequence[Approved]) -> dict[str, float]:
    """The exposures, all 0, that orders which only close leave behind."""
    return {each.order.symbol: 0.0 for each in intents if each.order.reduce_only}


def funded(last: Step | None, value: float) -> Step | None:
    """The last step as the session must continue from it when money worth `value` (quote) came or went since."""
    if last is None:
        return None
    return replace(last, equity=last.equity + value, marks=last.marks.funded(last.equity, value))


def row_of_step(step: Step) -> dict[str, Any]:
    """A step in JSON's values; its time and its model stand beside it."""
    marks = step.marks
    return {
        "bars": step.bars_digest,
        "fills": [row_of_fill(fill) for fill in step.fills],
        "targets": [[target.symbol, None if math.isnan(target.exposure) else target.exposure, target.hash] for target in step.targets],
        "approved": [row_of_order(approved.order) for approved in step.approved],
        "refused": [[row_of_order(refused.order), refused.guard, refused.reason] for refused in step.refused],
        "decision": step.decision_hash,
        "equity": step.equity,
        "marks": {
            "peak": marks.peak,
            "day": marks.day,
            "day_first": marks.day_first,
            "reducing": marks.reducing,
            "day_reducing": marks.day_reducing,
            "latched": marks.latched.value,
            "resumed": marks.resumed,
        },
        "exposures": step.exposures,
        "closes": step.closes,
        "stops": [row_of_order(order) for order in step.stops],
        "cancels": [row_of_order(order) for order in step.cancels],
    }


def step_of(at: datetime, row: Mapping[str, Any]) -> Step:
    """The inverse."""
    return Step(
        closed_at=at,
        bars_digest=row["bars"],
        fills=tuple(fill_of(fill) for fill in row["fills"]),
        targets=tuple(Target(symbol, at, math.nan if exposure is None else exposure, digest) for symbol, exposure, digest in row["targets"]),
        approved=tuple(Approved(order_of(order)) for order in row["approved"]),
        refused=tuple(Refused(order_of(order), guard, reason) for order, guard, reason in row["refused"]),
        decision_hash=row["decision"],
        equity=row["equity"],
        marks=RiskMarks(**{**row["marks"], "latched": TradingState(row["marks"]["latched"])}),
        exposures=row["exposures"],
        closes=row["closes"],
        model=row["model"],
        stops=tuple(order_of(order) for order in row["stops"]),
        cancels=tuple(order_of(order) for order in row["cancels"]),
    )


def row_of_control(control: Control) -> dict[str, Any]:
    """What a session was told."""
    return {"state": control.state.value, "reason": control.reason, "resumed": control.resumed, "stale": control.stale}


def control_of(row: Mapping[str, Any]) -> Control:
    """The inverse."""
    return Control(TradingState(row["state"]), row["reason"], row["resumed"], row["stale"])


def row_of_order(order: Order) -> list[str]:
    """An order; a market order that lives for one bar says no more than that."""
    market = [order.order_id, order.symbol, order.side, str(order.quantity), order.decided_at.isoformat(), str(order.reference_price)]
    prices = ["" if price is None else str(price) for price in (order.price, order.stop_price)]
    more = [order.kind.value, order.life.value, *prices, str(int(order.reduce_only))]
    return market if more == _PLAIN else market + more


def order_of(row: Sequence[str]) -> Order:
    """The inverse."""
    kind, life, price, stop_price, reduce_only = row[6:] or _PLAIN
    market = (row[0], row[1], Side(row[2]), Decimal(row[3]), datetime.fromisoformat(row[4]), Decimal(row[5]))
    limit, stop = (Decimal(text) if text else None for text in (price, stop_price))
    return Order(*market, OrderKind(kind), OrderLife(life), limit, stop, reduce_only == "1")


def row_of_fill(fill: Fill) -> list[str]:
    """A fill."""
    amounts = [str(fill.quantity), str(fill.price), str(fill.fee)]
    worth = [] if fill.fee_worth is None else [str(fill.fee_worth)]
    return [fill.order_id, fill.trade_id, fill.symbol, fill.side, *amounts, fill.fee_asset, fill.at.isoformat(), *worth]


def fill_of(row: Sequence[str]) -> Fill:
    """The inverse."""
    quantity, price, fee = (Decimal(text) for text in row[4:7])
    worth = Decimal(row[9]) if len(row) > 9 else None
    return Fill(row[0], row[1], row[2], Side(row[3]), quantity, price, fee, row[7], datetime.fromisoformat(row[8]), worth)


def row_of_flow(flow: Flow) -> list[str]:
    """Money that came or went."""
    return [flow.flow_id, flow.cause, flow.asset, str(flow.amount), flow.at.isoformat()]


def flow_of(row: Sequence[str]) -> Flow:
    """The inverse."""
    return Flow(row[0], row[1], row[2], Decimal(row[3]), datetime.fromisoformat(row[4]))
