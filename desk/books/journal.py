"""What the session writes down before it acts, and how it finds itself again after a crash.

A typed face of `desk.chain`: one entry for the opening, one per step, one per batch of venue answers. Encoding is spelled out here:
Decimal as text, times as ISO 8601, NaN as null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from configs.vocabulary import OrderKind, OrderLife, Side, TradingState
from desk.books.portfolio import Portfolio
from desk.chain import Chain, Entry
from desk.errors import BookMismatch, JournalBroken
from desk.events import ACTIVE, Approved, Control, Fill, Order, Refused, Target
from desk.instruments import Instrument

OPENED, STEP, ANSWERS, SETTLED, INTENTS, CONTROL = "opened", "step", "answers", "settled", "intents", "control"
REJECTED = "rejected"
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

    `told` is what it was last told from outside.
    """

    at: datetime
    portfolio: Portfolio
    last: Step | None
    pending: tuple[Approved, ...]
    steps: int
    told: Control = ACTIVE


@dataclass(frozen=True, slots=True)
class Story:
    """All a journal tells about what came from outside: how the session opened, its steps, what was settled before each of them, the venue's last word.

    `settled` has the fills found after as many steps as its key says; `answers` (outcome, detail) by order id; `controls` what was told, by the number of
    steps before it and whether orders were about to be sent.
    """

    opening: Recovered
    steps: tuple[Step, ...]
    settled: dict[int, tuple[Fill, ...]]
    answers: dict[str, tuple[str, str]]
    controls: dict[tuple[int, bool], Control] = field(default_factory=dict)


class Journal:
    """The session's book of record. Every entry carries the settings hash and the model's name."""

    def __init__(self, chain: Chain, settings_hash: str) -> None:
        self._chain = chain
        self._settings = settings_hash

    def record_opening(self, at: datetime, portfolio: Portfolio) -> Recovered:
        """The account the session starts from; written once, before the first step."""
        positions = {symbol: str(position) for symbol, position in portfolio.positions.items()}
        self._append(at, OPENED, "", {"cash": str(portfolio.cash), "positions": positions})
        return Recovered(at, portfolio, None, (), 0)

    def record_step(self, step: Step) -> None:
        """One whole step in one transaction; when this returns, the step may be acted upon."""
        self._append(step.closed_at, STEP, step.model, _encode_step(step))

    def record_answers(self, at: datetime, answers: Sequence[tuple[str, str, str]]) -> None:
        """What the venue said: (order id, outcome, detail)."""
        if answers:
            self._append(at, ANSWERS, "", {"answers": [list(answer) for answer in answers]})

    def record_settled(self, at: datetime, fills: Sequence[Fill]) -> None:
        """Fills that were found while starting, between two steps."""
        if fills:
            self._append(at, SETTLED, "", {"fills": [_encode_fill(fill) for fill in fills]})

    def record_intents(self, at: datetime, orders: Sequence[Approved]) -> None:
        """Orders that belong to no step and close positions, written down before they are sent."""
        self._append(at, INTENTS, "", {"approved": [_encode_order(approved.order) for approved in orders]})

    def record_control(self, at: datetime, control: Control, *, sending: bool) -> None:
        """What the session was told from outside, when it is not what it was told before; `sending`: as it was about to send what the last step approved."""
        told = {"state": control.state.value, "reason": control.reason, "resumed": control.resumed, "stale": control.stale}
        self._append(at, CONTROL, "", {**told, "sending": sending})

    def steps(self) -> tuple[Step, ...]:
        """Every step recorded, oldest first."""
        return tuple(_decode_step(link.at, link.payload) for link in self._chain.entries(kind=STEP))

    def story(self, instruments: Mapping[str, Instrument]) -> Story | None:
        """Read the whole journal without folding it, to tell it again. None: nothing was ever opened."""
        opening: Recovered | None = None
        steps: list[Step] = []
        settled: dict[int, tuple[Fill, ...]] = {}
        answers: dict[str, tuple[str, str]] = {}
        controls: dict[tuple[int, bool], Control] = {}
        for link in self._chain.entries():
            if link.kind == OPENED:
                opening = Recovered(link.at, _opening(link.payload, instruments), None, (), 0)
            elif link.kind == STEP:
                steps.append(_decode_step(link.at, link.payload))
            elif link.kind == SETTLED:
                fills = tuple(_decode_fill(row) for row in link.payload["fills"])
                settled[len(steps)] = settled.get(len(steps), ()) + fills
            elif link.kind == ANSWERS:
                answers |= {order_id: (outcome, detail) for order_id, outcome, detail in link.payload["answers"]}
            elif link.kind == CONTROL:
                controls[len(steps), link.payload["sending"]] = _decode_control(link.payload)
        return None if opening is None else Story(opening, tuple(steps), settled, answers, controls)

    def recover(self, instruments: Mapping[str, Instrument]) -> Recovered | None:
        """Fold the whole journal, verified first. None: nothing was ever opened."""
        self._chain.verify()
        recovered: Recovered | None = None
        rejected: set[str] = set()
        for link in self._chain.entries():
            if link.kind == OPENED:
                recovered = Recovered(link.at, _opening(link.payload, instruments), None, (), 0)
            elif recovered is None:
                raise JournalBroken(f"expected the first entry of {self._chain.path} to be '{OPENED}', found '{link.kind}': restore a backup")
            elif link.kind == STEP:
                step = _decode_step(link.at, link.payload)
                _book(recovered.portfolio, step.fills)
                recovered = Recovered(link.at, recovered.portfolio, step, step.approved, recovered.steps + 1, recovered.told)
            elif link.kind == CONTROL:
                recovered = replace(recovered, told=_decode_control(link.payload))
            elif link.kind == ANSWERS:
                rejected.update(order_id for order_id, outcome, _ in link.payload["answers"] if outcome == REJECTED)
            elif link.kind == INTENTS:
                intents = tuple(Approved(_decode_order(row)) for row in link.payload["approved"])
                recovered = replace(recovered, last=flattened(recovered.last, intents), pending=recovered.pending + intents)
            elif link.kind == SETTLED:
                settled = [_decode_fill(row) for row in link.payload["fills"]]
                _book(recovered.portfolio, settled)
                recovered = replace(recovered, last=stopped_out(recovered.last, settled))
        if recovered is None:
            return None
        last = recovered.last
        if last is not None:
            last = replace(last, stops=tuple(order for order in last.stops if order.order_id not in rejected))
        return replace(recovered, last=last, pending=tuple(item for item in recovered.pending if item.order.order_id not in rejected))

    def _append(self, at: datetime, kind: str, model: str, payload: dict[str, Any]) -> None:
        self._chain.append([Entry(at, kind, {"settings": self._settings, "model": model, **payload})])


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
    closed = {each.order.symbol: 0.0 for each in intents if each.order.reduce_only}
    return replace(last, exposures=last.exposures | closed)


def _opening(payload: Mapping[str, Any], instruments: Mapping[str, Instrument]) -> Portfolio:
    positions = {symbol: Decimal(text) for symbol, text in payload["positions"].items()}
    if set(positions) != set(instruments):
        known, wanted = ", ".join(sorted(positions)), ", ".join(sorted(instruments))
        raise BookMismatch(f"expected the symbols this journal was opened on ({known}), found {wanted}: trade the same ones, or open another journal")
    return Portfolio(instruments, Decimal(payload["cash"]), positions)


def _book(portfolio: Portfolio, fills: Sequence[Fill]) -> None:
    for fill in fills:
        portfolio.apply(fill)


def _encode_step(step: Step) -> dict[str, Any]:
    marks = step.marks
    return {
        "bars": step.bars_digest,
        "fills": [_encode_fill(fill) for fill in step.fills],
        "targets": [[target.symbol, None if math.isnan(target.exposure) else target.exposure, target.hash] for target in step.targets],
        "approved": [_encode_order(approved.order) for approved in step.approved],
        "refused": [[_encode_order(refused.order), refused.guard, refused.reason] for refused in step.refused],
        "decision": step.decision_hash,
        "equity": step.equity,
        "marks": [marks.peak, marks.day, marks.day_first, marks.reducing, marks.day_reducing, marks.latched.value, marks.resumed],
        "exposures": step.exposures,
        "closes": step.closes,
        "stops": [_encode_order(order) for order in step.stops],
        "cancels": [_encode_order(order) for order in step.cancels],
    }


def _decode_step(at: datetime, row: Mapping[str, Any]) -> Step:
    return Step(
        closed_at=at,
        bars_digest=row["bars"],
        fills=tuple(_decode_fill(fill) for fill in row["fills"]),
        targets=tuple(Target(symbol, at, math.nan if exposure is None else exposure, digest) for symbol, exposure, digest in row["targets"]),
        approved=tuple(Approved(_decode_order(order)) for order in row["approved"]),
        refused=tuple(Refused(_decode_order(order), guard, reason) for order, guard, reason in row["refused"]),
        decision_hash=row["decision"],
        equity=row["equity"],
        marks=_decode_marks(row["marks"]),
        exposures=row["exposures"],
        closes=row["closes"],
        model=row["model"],
        stops=tuple(_decode_order(order) for order in row.get("stops", ())),
        cancels=tuple(_decode_order(order) for order in row.get("cancels", ())),
    )


def _decode_control(row: Mapping[str, Any]) -> Control:
    return Control(TradingState(row["state"]), row["reason"], row["resumed"], row["stale"])


def _decode_marks(row: Sequence[Any]) -> RiskMarks:
    # Journals of earlier releases say nothing of operators.
    peak, day, day_first, reducing, day_reducing, latched, resumed = (*row, TradingState.ACTIVE, 0)[:7]
    return RiskMarks(peak, day, day_first, reducing, day_reducing, TradingState(latched), resumed)


def _encode_order(order: Order) -> list[str]:
    market = [order.order_id, order.symbol, order.side, str(order.quantity), order.decided_at.isoformat(), str(order.reference_price)]
    prices = ["" if price is None else str(price) for price in (order.price, order.stop_price)]
    more = [order.kind.value, order.life.value, *prices, str(int(order.reduce_only))]
    return market if more == _PLAIN else market + more


def _decode_order(row: Sequence[str]) -> Order:
    kind, life, price, stop_price, reduce_only = row[6:] or _PLAIN
    market = (row[0], row[1], Side(row[2]), Decimal(row[3]), datetime.fromisoformat(row[4]), Decimal(row[5]))
    limit, stop = (Decimal(text) if text else None for text in (price, stop_price))
    return Order(*market, OrderKind(kind), OrderLife(life), limit, stop, reduce_only == "1")


def _encode_fill(fill: Fill) -> list[str]:
    amounts = [str(fill.quantity), str(fill.price), str(fill.fee)]
    return [fill.order_id, fill.trade_id, fill.symbol, fill.side, *amounts, fill.fee_asset, fill.at.isoformat()]


def _decode_fill(row: Sequence[str]) -> Fill:
    quantity, price, fee = (Decimal(text) for text in row[4:7])
    return Fill(row[0], row[1], row[2], Side(row[3]), quantity, price, fee, row[7], datetime.fromisoformat(row[8]))
