"""Binance USD-M's signed REST: orders, conditional orders, positions, balances. Handlers take parameters as text, as those of spot do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from desk.practice_exchange.dialects.binance import linear_orders as shapes
from desk.practice_exchange.dialects.binance.errors import WireError, malformed, missing
from desk.practice_exchange.dialects.binance.filters import fixed
from desk.practice_exchange.dialects.binance.linear_filters import (
    MOST_ORDERS,
    MOST_WATCHES,
    check_notional,
    check_price,
    check_quantity,
    linear_refusal,
    linear_ticket,
    linear_watch,
    read_amount,
)
from desk.practice_exchange.dialects.binance.routes import Parameters, integer, page, range_of
from desk.practice_exchange.listing import Listing
from desk.practice_exchange.margin import BRACKETS, MOST_LEVERAGE, largest_notional
from desk.practice_exchange.perpetual import Perpetuals
from desk.practice_exchange.perpetual_account import Holding
from desk.practice_exchange.perpetual_orders import ContractOrder, Watch
from desk.practice_exchange.refusals import Refusal

Found = TypeVar("Found")
Answer = TypeVar("Answer")


class LinearTrading:
    """The account's side of every contract."""

    def __init__(self, perpetuals: Perpetuals, symbol_of: Callable[[Parameters], str]) -> None:
        self._perpetuals = perpetuals
        self._book = perpetuals.book
        self._account = perpetuals.account
        self._symbol = symbol_of

    def place(self, given: Parameters) -> Any:
        """A new plain order."""
        listing = self._listing_of(given)
        quote = self._perpetuals.quote(listing.symbol)
        ticket = linear_ticket(given, listing, quote.open if quote else None)
        if len(self._book.open_orders(listing.symbol)) >= MOST_ORDERS:
            raise WireError(-2025, "Reach max open order limit.")
        order = _asked(lambda: self._perpetuals.place(ticket))
        return shapes.answer_payload(order, listing)

    def try_place(self, given: Parameters) -> Any:
        """Whether an order is well formed; nothing is placed."""
        listing = self._listing_of(given)
        quote = self._perpetuals.quote(listing.symbol)
        linear_ticket(given, listing, quote.open if quote else None)
        return {}

    def amend(self, given: Parameters) -> Any:
        """Another quantity and price for an open limit order."""
        order, listing = self._found(given), self._listing_of(given)
        quantity, price = read_amount(given, "quantity"), read_amount(given, "price")
        check_price(price, listing)
        check_quantity(quantity, listing)
        if order is not None and not order.reduces:
            check_notional(quantity * price, listing)
        return shapes.answer_payload(_asked(lambda: self._perpetuals.amend(order, quantity, price)), listing)

    def order(self, given: Parameters) -> Any:
        """One order, by either id."""
        order = self._found(given)
        if order is None:
            raise WireError(-2013, "Order does not exist.")
        return shapes.order_payload(order, self._listing(order.symbol))

    def cancel(self, given: Parameters) -> Any:
        """End an open order."""
        order = self._found(given)
        ended = _asked(lambda: self._perpetuals.cancel(order))
        return shapes.answer_payload(ended, self._listing(ended.symbol))

    def cancel_all(self, given: Parameters) -> Any:
        """End every open order of a symbol, conditional ones not."""
        for order in self._book.open_orders(self._symbol(given)):
            self._perpetuals.cancel(order)
        return {"code": 200, "msg": "The operation of cancel all open order is done."}

    def open_order(self, given: Parameters) -> Any:
        """One order, if it can still fill."""
        order = self._found(given)
        if order is None or not order.open:
            raise WireError(-2013, "Order does not exist.")
        return shapes.order_payload(order, self._listing(order.symbol))

    def open_orders(self, given: Parameters) -> Any:
        """Orders that can still fill, of one symbol or of all."""
        return self._order_payloads(self._book.open_orders(self._only(given)))

    def all_orders(self, given: Parameters) -> Any:
        """Orders of a symbol, whatever became of them."""
        symbol, first = self._symbol(given), integer(given, "orderId")
        ours = [order for order in self._book.orders.values() if order.symbol == symbol and order.id >= (first or 0)]
        return self._order_payloads(_page(given, ours, lambda order: order.accepted_ms, forwards=first is not None))

    def fills(self, given: Parameters) -> Any:
        """Our fills of a symbol."""
        symbol, first = self._symbol(given), integer(given, "fromId")
        ours = [fill for fill in self._book.fills_of(symbol, integer(given, "orderId")) if fill.id >= (first or 0)]
        chosen = _page(given, ours, lambda fill: fill.at_ms, forwards=first is not None)
        return [shapes.fill_payload(fill, self._listing(symbol)) for fill in chosen]

    def income(self, given: Parameters) -> Any:
        """What moved the wallet."""
        symbol, kind = self._only(given), given.get("incomeType")
        ours = [each for each in self._book.incomes if symbol in (None, each.symbol) and kind in (None, each.kind)]
        return [shapes.income_payload(each, self._listing(each.symbol)) for each in _page(given, ours, lambda each: each.at_ms)]

    def watch(self, given: Parameters) -> Any:
        """A new conditional order."""
        listing = self._listing_of(given)
        ticket = linear_watch(given, listing)
        if len(self._book.waiting(listing.symbol)) >= MOST_WATCHES:
            raise WireError(-4045, "Reach max stop order limit.")
        return self._watch_payload(_asked(lambda: self._perpetuals.watch(ticket)))

    def watched(self, given: Parameters) -> Any:
        """One conditional order, by either id."""
        watch = self._found_watch(given)
        if watch is None:
            raise WireError(-2013, "Order does not exist.")
        return self._watch_payload(watch)

    def cancel_watch(self, given: Parameters) -> Any:
        """End a waiting conditional order."""
        watch = self._found_watch(given)
        ended = _asked(lambda: self._perpetuals.cancel_watch(watch))
        return {"algoId": ended.id, "clientAlgoId": ended.client_id, "code": "200", "msg": "success"}

    def cancel_watches(self, given: Parameters) -> Any:
        """End every waiting conditional order of a symbol."""
        for watch in self._book.waiting(self._symbol(given)):
            self._perpetuals.cancel_watch(watch)
        return {"code": 200, "msg": "The operation of cancel all open order is done."}

    def waiting(self, given: Parameters) -> Any:
        """Conditional orders that can still be reached."""
        return [self._watch_payload(watch) for watch in self._book.waiting(self._only(given))]

    def all_watches(self, given: Parameters) -> Any:
        """Conditional orders of a symbol, whatever became of them."""
        symbol = self._symbol(given)
        ours = [watch for watch in self._book.watches.values() if watch.symbol == symbol]
        return [self._watch_payload(watch) for watch in _page(given, ours, lambda watch: watch.accepted_ms)]

    def set_leverage(self, given: Parameters) -> Any:
        """Choose the leverage of a symbol."""
        symbol, leverage = self._symbol(given), integer(given, "leverage")
        if leverage is None:
            raise missing("leverage")
        if not 1 <= leverage <= MOST_LEVERAGE:
            raise WireError(-4028, f"Leverage {leverage} is not valid")
        _asked(lambda: self._perpetuals.set_leverage(symbol, leverage))
        return {"symbol": self._listing(symbol).id, "leverage": leverage, "maxNotionalValue": fixed(largest_notional(leverage))}

    def set_margin_type(self, given: Parameters) -> Any:
        """Cross margin is all there is, so that there is never a need to change."""
        self._symbol(given)
        wanted = given.get("marginType", "")
        if wanted not in ("CROSSED", "ISOLATED"):
            raise malformed("marginType", "^(CROSSED|ISOLATED)$")
        if wanted == "ISOLATED":
            raise WireError(-1020, "This operation is not supported.")
        raise WireError(-4046, "No need to change margin type.")

    def set_position_mode(self, given: Parameters) -> Any:
        """One-way mode is all there is."""
        if given.get("dualSidePosition") == "true":
            raise WireError(-1020, "This operation is not supported.")
        raise WireError(-4059, "No need to change position side.")

    def brackets(self, given: Parameters) -> Any:
        """The leverage brackets, the same for every contract."""
        rows = [
            {
                "bracket": bracket.number,
                "initialLeverage": bracket.leverage,
                "notionalCap": int(bracket.cap),
                "notionalFloor": int(bracket.floor),
                "maintMarginRatio": float(bracket.rate),
                "cum": float(bracket.deduction),
            }
            for bracket in BRACKETS
        ]
        return [{"symbol": self._listing(symbol).id, "notionalCoef": 1.0, "brackets": rows} for symbol in self._chosen(given)]

    def positions(self, given: Parameters) -> Any:
        """Positions with their margins (v3): of one symbol, or every one that is held or ordered."""
        return [self._holding_payload(holding) for holding in self._holdings(given)]

    def positions_with_leverage(self, given: Parameters) -> Any:
        """The same as v2 has it: every symbol, held or not, with its leverage."""
        holdings = [self._account.holding(symbol, self._now) for symbol in self._chosen(given)]
        return [{**self._holding_payload(each), **self._position_leverage(each.symbol)} for each in holdings]

    def symbol_config(self, given: Parameters) -> Any:
        """Margin mode and leverage of every symbol."""
        return [self._config_payload(symbol) for symbol in self._chosen(given)]

    def balance(self, given: Parameters) -> Any:
        """Margin assets."""
        return [shapes.balance_payload(self._account.standing(asset, self._now), self._now) for asset in self._account.assets]

    def account(self, given: Parameters) -> Any:
        """Margin assets, positions and their sums."""
        standings = [self._account.standing(asset, self._now) for asset in self._account.assets]
        rows = [shapes.account_position(each, self._listing(each.symbol), self._account.leverage(each.symbol)) for each in self._holdings({})]
        rights = {"feeTier": 0, "canTrade": True, "canDeposit": False, "canWithdraw": False, "updateTime": 0, "multiAssetsMargin": False, "tradeGroupId": -1}
        assets = [shapes.asset_payload(standing, self._now) for standing in standings]
        return {**rights, **shapes.account_totals(standings), "assets": assets, "positions": rows}

    @property
    def _now(self) -> int:
        return self._perpetuals.settled_ms

    def _listing(self, symbol: str) -> Listing:
        return self._account.listing(symbol)

    def _listing_of(self, given: Parameters) -> Listing:
        return self._listing(self._symbol(given))

    def _only(self, given: Parameters) -> str | None:
        return self._symbol(given) if "symbol" in given else None

    def _chosen(self, given: Parameters) -> list[str]:
        return [self._symbol(given)] if "symbol" in given else sorted(self._account.listings)

    def _holdings(self, given: Parameters) -> list[Holding]:
        found = [self._account.holding(symbol, self._now) for symbol in self._chosen(given)]
        return [holding for holding in found if "symbol" in given or holding.quantity or holding.orders_margin]

    def _holding_payload(self, holding: Holding) -> Any:
        return shapes.holding_payload(holding, self._listing(holding.symbol), self._account.liquidation_price(holding.symbol, self._now))

    def _position_leverage(self, symbol: str) -> dict[str, Any]:
        leverage = self._account.leverage(symbol)
        return {"leverage": str(leverage), "maxNotionalValue": fixed(largest_notional(leverage)), "marginType": "cross", "isAutoAddMargin": "false"}

    def _config_payload(self, symbol: str) -> dict[str, Any]:
        leverage = self._account.leverage(symbol)
        bounds = {"leverage": leverage, "maxNotionalValue": fixed(largest_notional(leverage))}
        return {"symbol": self._listing(symbol).id, "marginType": "CROSSED", "isAutoAddMargin": False, **bounds}

    def _order_payloads(self, orders: Iterable[ContractOrder]) -> list[Any]:
        return [shapes.order_payload(order, self._listing(order.symbol)) for order in orders]

    def _watch_payload(self, watch: Watch) -> Any:
        return shapes.watch_payload(watch, self._listing(watch.symbol), self._book.orders.get(watch.order_id))

    def _found(self, given: Parameters) -> ContractOrder | None:
        symbol, order_id, client = self._symbol(given), integer(given, "orderId"), given.get("origClientOrderId")
        if order_id is None and not client:
            raise WireError(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
        return self._book.find(symbol, order_id, client)

    def _found_watch(self, given: Parameters) -> Watch | None:
        watch_id, client = integer(given, "algoId"), given.get("clientAlgoId")
        if watch_id is None and not client:
            raise WireError(-1102, "Param 'clientAlgoId' or 'algoId' must be sent, but both were empty/null!")
        return self._book.find_watch(watch_id, client)


def _asked(action: Callable[[], Answer]) -> Answer:
    """Do it, or say in Binance's words why not."""
    try:
        return action()
    except Refusal as refusal:
        raise linear_refusal(refusal) from refusal


def _page(given: Parameters, rows: list[Found], at_ms: Callable[[Found], int], *, forwards: bool = False) -> list[Found]:
    """Rows in the range of time that was asked for: the oldest when a beginning was named, else the newest."""
    asked = range_of(given)
    found = [row for row in rows if asked.holds(at_ms(row))]
    return page(found, asked.limit, forward=forwards or asked.since_ms is not None)
