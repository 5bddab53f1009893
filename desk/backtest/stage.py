"""A market, an account and its rules, laid out for the loop: settings and Decimals become arrays and plain numbers here, and only here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk.backtest.loop import BOOK, FILL, REFUSAL, Account, Line, Market, Rows, Rules, Run
from desk.backtest.panel import Floats, Panel
from desk.errors import ContractBroken
from desk.instruments import Instrument
from desk.risk.exposure import limits_of

# Without a venue's grid: steps so fine that they do not matter.
_FINE = Decimal("1e-8")


@dataclass(frozen=True, slots=True)
class Stage:
    """What every run on these bars starts from. Assets stand in symbol order: `order` tells which column of the panel each one is."""

    bars: Panel
    order: NDArray[np.int64]
    book: Rows
    cash: Floats
    rules: Rules

    @classmethod
    def of(cls, bars: Panel, costs: CostSettings, limits: RiskSettings, *, instruments: Mapping[str, Instrument] | None, trading: TradingSettings) -> Stage:
        """Lay out an empty book with the initial cash."""
        if trading.protective_stop:
            found = f"found {trading.protective_stop}: the kernel executes no stops; backtest without, or by the session alone (desk.modes.backtest)"
            raise ContractBroken(f"expected trading.protective_stop 0 in the kernel, {found}")
        if limits.beyond_kernel:
            raise ContractBroken(f"expected limits that the kernel knows, found {', '.join(limits.beyond_kernel)}: use the session alone, or unset them")
        # Sequence matters when cash is short, and the sequence is the symbols', whatever the panel's is.
        order = np.argsort(np.array(bars.symbols))
        cash = np.array([float(trading.initial_cash), _rest(trading.initial_cash)])
        return cls(bars, order, _book([bars.symbols[column] for column in order], instruments), cash, _rules(trading, costs, limits, len(order)))

    def run(self, targets: Floats) -> Run:
        """A fresh run of exposures [time, asset], columns as in the panel."""
        bars, shape, most = self.bars, self.bars.close.shape, self.bars.close.size
        if targets.shape != shape:
            raise ContractBroken(f"expected exposures of shape {shape}, found {targets.shape}: one row per time, one column per symbol")
        open_, close, volume, exposures = (_arranged(column, self.order) for column in (bars.open, bars.close, bars.volume, targets))
        # Room for the most that can happen, one each per asset and row. Untouched room takes no memory.
        fills, refusals = np.empty(most, dtype=FILL), np.empty(most, dtype=REFUSAL)
        nothing = np.empty(0)
        line = Line(close.reshape(-1), exposures.reshape(-1)) if shape[1] == 1 and bars.dense else Line(nothing, nothing)
        return Run(
            market=Market(open_, close, volume, exposures, bars.new_days, bars.dense, line),
            account=Account(self.book.copy(), np.zeros(shape[1]), self.cash.copy(), fills, refusals, np.zeros(3, np.int64)),
            rules=self.rules,
            equity=np.empty(shape[0]),
            sums=np.zeros(10),
        )


def _arranged(array: Floats, order: NDArray[np.int64]) -> Floats:
    """Columns rearranged, as contiguous float64; the array itself where nothing has to move."""
    arranged = array if (order == np.arange(len(order))).all() else array[:, order]
    return np.ascontiguousarray(arranged, dtype=np.float64)


def _book(symbols: Sequence[str], instruments: Mapping[str, Instrument] | None) -> Rows:
    """An empty book on the instruments' grids, one place per symbol."""
    if instruments is None:
        instruments = {symbol: Instrument(symbol, "", "", _FINE, _FINE, Decimal(0)) for symbol in symbols}
    missing = sorted(set(symbols) - set(instruments))
    if missing:
        raise ContractBroken(f"expected an instrument for every symbol of the bars, found none for {', '.join(missing)}: add them or drop the bars")
    book = np.zeros(len(symbols), dtype=BOOK)
    for holding, symbol in zip(book, symbols, strict=True):
        grid = instruments[symbol]
        value = grid.lot * grid.tick
        holding["lot"], holding["tick"], holding["min_notional"] = float(grid.lot), float(grid.tick), float(grid.min_notional)
        holding["value"], holding["value_rest"] = float(value), _rest(value)
    return book


def _rules(trading: TradingSettings, costs: CostSettings, limits: RiskSettings, n_assets: int) -> Rules:
    return Rules(
        share=trading.gross_weight / n_assets,
        band=trading.rebalance_band,
        fixed_units=trading.fixed_units,
        half_spread_bps=costs.half_spread_bps,
        impact_bps=costs.impact_bps,
        participation_cap=costs.participation_cap,
        fee_rate=costs.fee_rate,
        fee_rate_rest=_rest(Decimal(repr(costs.fee_rate))),
        limits=limits_of(limits),
        max_drawdown=limits.max_drawdown,
        max_daily_loss=limits.max_daily_loss,
    )


def _rest(exact: Decimal) -> float:
    """What the nearest float loses of a Decimal."""
    return float(exact - Decimal(float(exact)))
