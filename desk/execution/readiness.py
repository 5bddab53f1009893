"""What must be true of an exchange account before it may trade for us. Each proof is made by asking the exchange, and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from configs.trading import CostSettings
from desk import log
from desk.costs import FeeRates, charged_rates
from desk.errors import GateClosed, PreflightFailed, Transient
from desk.instruments import Instrument
from desk.market.wire_errors import asking

# A key that can move money out is not a trading key.
FORBIDDEN_PERMISSIONS = ("enableWithdrawals", "enableInternalTransfer", "permitsUniversalTransfer")


@dataclass(frozen=True, slots=True)
class PreflightPassed:
    """The exchange lists these symbols on the grid we expect, accepts our signature and clock, and lets the account trade."""

    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TradingScope:
    """The key may read and trade, and can move nothing out."""

    permissions: tuple[str, ...]


def preflight(exchange: Any, instruments: Mapping[str, Instrument]) -> PreflightPassed:
    """Check markets, grid, clock and account; `PreflightFailed` says what does not hold. Loads the exchange's markets."""
    with asking("its markets"):
        exchange.load_markets()
    unknown = [symbol for symbol in instruments if symbol not in exchange.markets]
    if unknown:
        raise PreflightFailed(f"expected the exchange to list {', '.join(unknown)}, found it does not: correct market.symbols")
    for symbol, instrument in instruments.items():
        lot = exchange.markets[symbol]["precision"]["amount"]
        if float(lot) != float(instrument.lot):
            raise PreflightFailed(f"expected lots of {instrument.lot} for {symbol}, found {lot}: fetch the instruments again")
    # A signed question is answered only when our clock agrees with the exchange's to within the receive window.
    with asking("our account"):
        account = exchange.fetch_balance()["info"]
    if account.get("canTrade") is not True:
        raise PreflightFailed(f"expected an account that can trade, found canTrade {account.get('canTrade')}: ask the exchange why")
    return PreflightPassed(tuple(sorted(instruments)))


def trading_scope(exchange: Any) -> TradingScope:
    """Ask what the key may do; `GateClosed` when it may not trade, or may do more than that."""
    with asking("the key's permissions"):
        answer = exchange.sapi_get_account_apirestrictions()
    granted = tuple(sorted(name for name, value in answer.items() if value in (True, "true")))
    excessive = [name for name in FORBIDDEN_PERMISSIONS if name in granted]
    if excessive or "enableSpotAndMarginTrading" not in granted:
        found = f"found too much ({', '.join(excessive)})" if excessive else f"found {', '.join(granted) or 'nothing'}"
        raise GateClosed(f"expected a key that can read and trade and no more, {found}: make a new key")
    return TradingScope(granted)


def compare_fees(exchange: Any, symbols: Iterable[str], costs: CostSettings) -> None:
    """Ask what the venue charges this account, and warn where that is not what every backtest charges. Fees hold nobody up, nor does not knowing them."""
    charged = charged_rates(costs)
    try:
        with asking("our fees"):
            answer = exchange.fetch_trading_fees()
    except Transient as error:
        log.event("fees.unknown", level="WARNING", why=str(error))
        return
    told: dict[FeeRates, list[str]] = {}
    for symbol in sorted(symbols):
        found = answer.get(symbol, {})
        told.setdefault(FeeRates(found.get("taker"), found.get("maker")), []).append(symbol)
    for rates, named in told.items():
        if None in rates:
            log.event("fees.unknown", level="WARNING", why=f"the exchange told none for {', '.join(named)}")
        elif not all(math.isclose(theirs, ours, rel_tol=1e-9, abs_tol=1e-12) for theirs, ours in zip(rates, charged, strict=True)):
            log.event("fees.differ", level="WARNING", symbols=", ".join(named), venue=rates._asdict(), settings=charged._asdict())
