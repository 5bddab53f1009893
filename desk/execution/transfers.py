"""Money that moves without an order: what came to an account from outside or left it, as the exchange's own history tells it, and what fees are worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from desk.books.portfolio import fee_in_quote
from desk.errors import NotFinite, Refused, Transient
from desk.events import Fill, Flow
from desk.execution.wire_orders import number
from desk.instruments import Instrument
from desk.log import event
from desk.market.wire_errors import asking

# An exchange answers for at most 90 days at once. Who was away for longer settles by hand what reconciliation names.
REACH = timedelta(days=89)
PAGE = 1000
DEPOSIT, WITHDRAWAL = "deposit", "withdrawal"
# A deposit counts once it can be used; a withdrawal is gone as soon as it was asked for.
_UNDONE = ("failed", "canceled")


def transfers(exchange: Any, until: datetime) -> tuple[Flow, ...]:
    """Every deposit and withdrawal of the 89 days before `until` and since, oldest first. `exchange` is a ccxt object."""
    since = int((until - REACH).timestamp() * 1000)
    with asking("our deposits"):
        came = exchange.fetch_deposits(None, since, PAGE)
    with asking("our withdrawals"):
        went = exchange.fetch_withdrawals(None, since, PAGE)
    flows = [_flow(DEPOSIT, row) for row in came if row["status"] == "ok"] + [_flow(WITHDRAWAL, row) for row in went if row["status"] not in _UNDONE]
    return tuple(sorted(flows, key=lambda flow: (flow.at, flow.flow_id)))


class FeePrices:
    """What fees in a discount token are worth: its last price in the quote currency of what was traded, asked for when there is such a fee."""

    def __init__(self, exchange: Any, instruments: Mapping[str, Instrument]) -> None:
        self._exchange = exchange
        self._instruments = dict(instruments)

    def valued(self, fill: Fill) -> Fill:
        """The fill, with the worth of its fee where that is neither in base nor in quote. A price that is not to be had leaves it unknown."""
        instrument = self._instruments[fill.symbol]
        if fee_in_quote(fill, instrument) is not None:
            return fill
        pair = f"{fill.fee_asset}/{instrument.quote}"
        try:
            with asking(f"the price of {pair}"):
                price = number(self._exchange.fetch_ticker(pair)["last"], f"the price of {pair}")
        except (Transient, Refused, NotFinite) as error:
            event("fee.unvalued", level="WARNING", asset=fill.fee_asset, fee=str(fill.fee), why=str(error))
            return fill
        return replace(fill, fee_worth=fill.fee * price)


def _flow(cause: str, row: Mapping[str, Any]) -> Flow:
    at = datetime.fromtimestamp(row["timestamp"] / 1000, UTC)
    amount = number(row["amount"], f"the amount of a {cause}")
    if cause == WITHDRAWAL:
        fee = row.get("fee") or {}
        amount = -amount - (number(fee.get("cost") or 0, "a fee") if fee.get("currency") in (None, row["currency"]) else Decimal(0))
    return Flow(f"{cause}-{row['id']}", cause, str(row["currency"]), amount, at)
