"""Carries out a router's plan: slice after slice, each settled before the next, and stops at the first that the exchange refuses."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Protocol

from configs.trading import ExecutionSettings
from configs.vocabulary import OrderKind, OrderLife, Route
from desk.events import Order
from desk.execution.liquidity import Liquidity
from desk.execution.order import slice_id
from desk.execution.router import Plan, Slice, plan, whole_lots
from desk.execution.venue import Answer, Outcome
from desk.instruments import Instrument


class Sender(Protocol):
    """What sends the slices of a decision."""

    def send_slice(self, parent: Order, child: Order) -> Answer:
        """Send one slice, settled when this returns, or in doubt for good."""

    def replace_resting(self, parent: Order, resting: Order, successor: Order) -> Answer:
        """Cancel a resting slice, and send another for what it did not execute."""

    def pause(self, seconds: float) -> None:
        """Let wall time pass."""


class Slicer:
    """The routes of one instrument."""

    def __init__(self, liquidity: Liquidity, rules: ExecutionSettings, instrument: Instrument) -> None:
        self._liquidity = liquidity
        self._rules = rules
        self._instrument = instrument

    @property
    def idle(self) -> bool:
        """Whether every order goes out whole and uncut, and no book need be asked."""
        return self._rules.route is Route.MARKET and self._rules.depth_share == 0

    def plan(self, order: Order) -> Plan:
        """How `order` goes out, by the book as it is now."""
        asks_volumes = self._rules.route in (Route.VWAP, Route.AUTO)
        volumes = self._liquidity.minute_volumes(order.symbol, self._rules.slices) if asks_volumes else ()
        return plan(order, self._instrument, self._liquidity.view(order.symbol), self._rules, volumes)

    def run(self, order: Order, chosen: Plan, sender: Sender) -> Answer:
        """Send the slices. Confirmed when one was accepted: what did not go out is decided afresh at the next bar."""
        accepted, left, answer = 0, order.quantity, Answer(order.order_id, Outcome.REJECTED, "no slice was due")
        _, newest = self._liquidity.traded(order.symbol, None) if chosen.route is Route.POV else (0.0, None)
        for index, each in enumerate(chosen.slices):
            if each.wait_s:
                sender.pause(each.wait_s)
            quantity = min(each.quantity, left)
            if chosen.route is Route.POV and index:
                volume, newest = self._liquidity.traded(order.symbol, newest)
                quantity = min(left, whole_lots(Decimal(repr(self._rules.pov_share * volume)), self._instrument))
            if quantity * order.reference_price < self._instrument.min_notional:
                continue
            answer = self._send(order, replace(each, quantity=quantity), accepted, sender)
            if answer.outcome is not Outcome.CONFIRMED:
                break
            accepted, left = accepted + 1, left - quantity
        if answer.outcome is Outcome.UNRESOLVED:
            return Answer(order.order_id, Outcome.UNRESOLVED, f"slice {accepted}: {answer.detail}")
        if not accepted:
            return Answer(order.order_id, Outcome.REJECTED, answer.detail)
        return Answer(order.order_id, Outcome.CONFIRMED, f"{chosen.route} in {accepted} slices, {left} not sent")

    def _send(self, order: Order, part: Slice, index: int, sender: Sender) -> Answer:
        """One slice: across the spread, or at the touch for a while and then across for the rest."""
        crossing = replace(order, order_id=slice_id(order.order_id, index), quantity=part.quantity)
        touch = self._liquidity.view(order.symbol).touch(order.side) if part.passive else float("nan")
        if not touch > 0:
            return sender.send_slice(order, crossing)
        price = Decimal(repr(touch)) // self._instrument.tick * self._instrument.tick
        resting = replace(crossing, kind=OrderKind.LIMIT, life=OrderLife.BAR, price=price)
        answer = sender.send_slice(order, resting)
        if answer.outcome is not Outcome.CONFIRMED:
            return answer
        sender.pause(self._rules.slice_seconds)
        rest = sender.replace_resting(order, resting, replace(crossing, order_id=slice_id(order.order_id, index, attempt=2)))
        return rest if rest.outcome is Outcome.UNRESOLVED else answer
