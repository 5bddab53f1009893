"""nautilus_trader on the exposures: one instrument, netted positions, one unit a trade, no log. Imported by serve.py in .venv-nautilus.

A market order fills where the bar closed, which is where the next one opens in these bars. No slippage, so its cost compares, not its money.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, RiskEngineConfig
from nautilus_trader.model.currencies import BTC, USDT
from nautilus_trader.model.data import BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide, OrderType
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.trading.strategy import Strategy

VENUE = Venue("VENUE")
DIGITS = 6
ONE = Quantity.from_int(1)


def instrument(fee: float) -> CurrencyPair:
    """One unit a lot, a millionth a tick, nothing asked as margin."""
    symbol, rate = Symbol("S00/USDT"), Decimal(str(fee))
    return CurrencyPair(
        instrument_id=InstrumentId(symbol, VENUE),
        raw_symbol=symbol,
        base_currency=BTC,
        quote_currency=USDT,
        price_precision=DIGITS,
        size_precision=0,
        price_increment=Price(10**-DIGITS, DIGITS),
        size_increment=ONE,
        ts_event=0,
        ts_init=0,
        margin_init=Decimal(0),
        margin_maint=Decimal(0),
        maker_fee=rate,
        taker_fee=rate,
    )


class Flips(Strategy):  # type: ignore[misc]
    """Buys one unit where the exposure rises and sells it where it falls."""

    def __init__(self, pair: CurrencyPair, bars: BarType, changes: list[int], stops: tuple[float, float] | None) -> None:
        super().__init__()
        self.pair, self.bars, self.changes, self.stops = pair, bars, changes, stops
        self.row = self.filled = 0
        self.open = False

    def on_start(self) -> None:
        self.subscribe_bars(self.bars)

    def on_reset(self) -> None:
        self.row = self.filled = 0
        self.open = False

    def on_bar(self, bar: Any) -> None:
        change = self.changes[self.row]
        self.row += 1
        if change > 0:
            self.enter(bar)
        elif change < 0 and self.open:
            if self.stops:
                self.cancel_all_orders(self.pair.id)
            self.submit_order(self.order_factory.market(self.pair.id, OrderSide.SELL, ONE))

    def enter(self, bar: Any) -> None:
        """At the market; with stops as a bracket, whose legs cancel each other."""
        if not self.stops:
            self.submit_order(self.order_factory.market(self.pair.id, OrderSide.BUY, ONE))
            return
        loss, gain = (Price(float(bar.close) * (1 + change), DIGITS) for change in self.stops)
        bracket = self.order_factory.bracket(
            self.pair.id, OrderSide.BUY, ONE, entry_order_type=OrderType.MARKET, sl_trigger_price=loss, tp_price=gain, tp_post_only=False
        )
        self.submit_order_list(bracket)

    def on_order_filled(self, event: Any) -> None:
        self.filled += 1
        self.open = event.order_side == OrderSide.BUY


def prepare(arrays: dict[str, Any], cash: float, fee: float, stops: tuple[float, float] | None = None) -> Callable[[], tuple[float, int]]:
    """The engine's own run, its statistics with it, over bars it already holds."""
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True), risk_engine=RiskEngineConfig(bypass=True)))
    engine.add_venue(VENUE, OmsType.NETTING, AccountType.MARGIN, base_currency=USDT, starting_balances=[Money(cash, USDT)])
    pair = instrument(fee)
    engine.add_instrument(pair)
    bars = BarType.from_str(f"{pair.id}-1-MINUTE-LAST-EXTERNAL")
    # A bar is known when it closed.
    index = pd.date_range("2022-01-01 00:01", periods=len(arrays["close"]), freq="1min", tz="UTC")
    frame = pd.DataFrame({name: arrays[name][:, 0] for name in ("open", "high", "low", "close", "volume")}, index=index)
    engine.add_data(BarDataWrangler(bars, pair).process(frame))
    strategy = Flips(pair, bars, np.diff(arrays["exposure"][:, 0], prepend=0.0).astype(int).tolist(), stops)
    engine.add_strategy(strategy)

    def play() -> tuple[float, int]:
        # What the run before left: milliseconds.
        engine.reset()
        engine.run()
        return engine.cache.account_for_venue(VENUE).balance_total(USDT).as_double(), strategy.filled

    return play
