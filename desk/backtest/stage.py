"""A market, an account and its rules, laid out for the loop: settings and Decimals become arrays and plain numbers here, and only here."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.risk import RiskSettings
from configs.trading import CostSettings, TradingSettings
from desk.backtest.loop import BOOK, FILL, REFUSAL, TURNS_AHEAD, Account, Line, Market, Rows, Rules, Run
from desk.backtest.outlook import Outlook, outlook_of
from desk.backtest.panel import Floats, Panel
from desk.backtest.venue_loop import PAYMENT, STATE, Besides, Terms
from desk.costs import charged_rates
from desk.errors import ContractBroken
from desk.execution.levels import levels_of
from desk.instruments import Instrument
from desk.risk.guards import limits_of

# Without a venue's grid: steps so fine that they do not matter, where prices are around 1 and above; and the digits before the point that whole steps of
# this size leave room for in a float.
_FINE = Decimal("1e-8")
_DIGITS = 7
# As many lots as an integer holds, and room to add some.
_MOST_LOTS = 4e18


class Room(threading.local):
    """Memory for records, of each thread its own: written over by the next run that asks for it. New memory costs more than a run spends on its fills."""

    def __init__(self) -> None:
        self._kept: dict[str, Rows] = {}

    def of(self, name: str, most: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """As many records as there may be, with anything in them."""
        if name not in self._kept or len(self._kept[name]) < most:
            self._kept[name] = np.empty(most, dtype=dtype)
        return self._kept[name][:most]


@dataclass(frozen=True, slots=True)
class Stage:
    """What every run on these bars starts from. Assets stand in symbol order: `order` tells which column of the panel each one is."""

    bars: Panel
    order: NDArray[np.int64]
    book: Rows
    cash: Floats
    rules: Rules
    terms: Terms | None = None
    state: Rows | None = None
    limits: RiskSettings | None = None

    @classmethod
    def of(
        cls,
        bars: Panel,
        costs: CostSettings,
        limits: RiskSettings,
        *,
        instruments: Mapping[str, Instrument] | None,
        trading: TradingSettings,
        funding: Floats | None = None,
    ) -> Stage:
        """Lay out an empty book with the initial cash. `funding` are rates [time, asset] due at each bar's end; without them the settings' one."""
        if limits.beyond_kernel:
            raise ContractBroken(f"expected limits that the kernel knows, found {', '.join(limits.beyond_kernel)}: use the session alone, or unset them")
        # Sequence matters when cash is short, and the sequence is the symbols', whatever the panel's is.
        order = np.argsort(np.array(bars.symbols))
        cash = np.array([float(trading.initial_cash), _rest(trading.initial_cash)])
        symbols = [bars.symbols[column] for column in order]
        instruments = _fine_grids(bars) if instruments is None else instruments
        book = _book(symbols, instruments)
        _insist_on_room(bars, order, book, float(trading.initial_cash))
        book["last_close"] = _last_known(bars.before)[order] if bars.before is not None else 0.0
        plain = cls(bars, order, book, cash, _rules(trading, costs, limits, len(order)))
        state = _state(symbols, instruments)
        asked = limits.price_collar or limits.max_expected_shortfall or trading.carry_partials
        if not (any(levels_of(trading)) or asked or state["contract"].any()):
            return plain
        due = plain._funding(trading.perpetual.funding_rate, funding) if state["contract"].any() else plain._funding(0.0, None)
        return replace(plain, terms=plain._terms(trading, costs, limits, due), state=state, limits=limits)

    def _funding(self, rate: float, known: Floats | None) -> tuple[NDArray[np.int64], Floats]:
        """The rows at whose end funding is due, and the rates there [due, asset], assets in symbol order."""
        shape = self.bars.close.shape
        if known is not None and known.shape != shape:
            raise ContractBroken(f"expected funding rates of shape {shape}, found {known.shape}: one row per time, one column per symbol")
        if known is not None:
            rows = np.flatnonzero((known != 0).any(axis=1))
            return rows, _arranged(known[rows], self.order)
        if rate == 0:
            return np.empty(0, np.int64), np.empty((0, shape[1]))
        rows, settlements = self.bars.settlements
        return rows, np.repeat(rate * settlements[:, None], shape[1], axis=1)

    def _terms(self, trading: TradingSettings, costs: CostSettings, limits: RiskSettings, due: tuple[NDArray[np.int64], Floats]) -> Terms:
        margin, high, low = trading.perpetual, _arranged(self.bars.high, self.order), _arranged(self.bars.low, self.order)
        alone = high.shape[1] == 1
        return Terms(
            high=high,
            low=low,
            line_high=(high if alone else high[:0]).reshape(-1),
            line_low=(low if alone else low[:0]).reshape(-1),
            funding=due[1],
            due=np.append(due[0], np.iinfo(np.int64).max),
            levels=levels_of(trading),
            collar=limits.price_collar,
            carries=trading.carry_partials,
            leverage=margin.leverage,
            maintenance=margin.maintenance,
            resting=_charging(self.rules, charged_rates(costs).maker),
            forced=_charging(self.rules, self.rules.fee_rate + margin.liquidation_fee),
        )

    def besides(self, room: Room | None = None) -> Besides:
        """Fresh records of what the plain loop knows nothing of: room for a market order, a stop and a forced close in every cell."""
        assert self.state is not None
        cells, room = self.bars.close.size, room or Room()
        return Besides(
            self.state.copy(), room.of("kinds", 3 * cells, np.dtype(np.int8)), room.of("payments", cells, PAYMENT), np.zeros(2, np.int64), np.zeros(1)
        )

    def outlook(self) -> Outlook | None:
        """Nothing seen yet of how returns move together; None without a limit on what they may do together."""
        if self.limits is None or not self.limits.max_expected_shortfall:
            return None
        before = self.bars.before
        return outlook_of(self.limits, np.empty((0, len(self.order))) if before is None else _arranged(before, self.order))

    def run(self, targets: Floats, room: Room | None = None) -> Run:
        """A fresh run of exposures [time, asset], columns as in the panel. Its records lie in `room`, or in one of its own."""
        bars, shape, most, room = self.bars, self.bars.close.shape, self.bars.close.size, room or Room()
        if targets.shape != shape:
            raise ContractBroken(f"expected exposures of shape {shape}, found {targets.shape}: one row per time, one column per symbol")
        open_, close, volume, exposures = (_arranged(column, self.order) for column in (bars.open, bars.close, bars.volume, targets))
        # Room for the most that can happen, one each per asset and row. Untouched room takes no memory.
        each = 1 if self.terms is None else 3
        fills, refusals = room.of("fills", each * most, FILL), room.of("refusals", each * most, REFUSAL)
        alone = shape[1] == 1 and bars.dense
        opens, closes, volumes, wishes = ((column if alone else column[:0]).reshape(-1) for column in (open_, close, volume, exposures))
        turns = room.of("turns", (most if alone else 0) + TURNS_AHEAD, np.dtype(np.int64))
        line = Line(opens, closes, volumes, wishes, wishes.view(np.int64), turns, np.zeros(1, np.int64))
        return Run(
            market=Market(open_, close, volume, exposures, bars.new_days, bars.dense, line),
            account=Account(self.book.copy(), np.zeros(shape[1]), self.cash.copy(), fills, refusals, np.zeros(4, np.int64), np.empty(shape[1], np.int64)),
            rules=self.rules,
            equity=np.empty(shape[0]),
            sums=np.zeros(10),
        )


def _arranged(array: Floats, order: NDArray[np.int64]) -> Floats:
    """Columns rearranged, as contiguous float64; the array itself where nothing has to move."""
    arranged = array if (order == np.arange(len(order))).all() else array[:, order]
    return np.ascontiguousarray(arranged, dtype=np.float64)


def _last_known(closes: Floats) -> Floats:
    """The last close in each column, 0 where there is none."""
    last: Floats = np.zeros(closes.shape[1])
    for row in closes:
        last = np.where(np.isnan(row), last, row)
    return last


def _fine_grids(bars: Panel) -> dict[str, Instrument]:
    """A grid for each symbol that does not matter: for a coin of a millionth ticks are finer and lots coarser, or a tick would be a hundredth of the price
    and a bar's volume more lots than an integer holds.
    """
    grids = {}
    for symbol, low, high in zip(bars.symbols, *bars.extremes, strict=True):
        power = max(min(math.floor(math.log10(low)), 0), math.ceil(math.log10(high)) - _DIGITS) if low > 0 else 0
        grids[symbol] = Instrument(symbol, "", "", _FINE.scaleb(power), _FINE.scaleb(-power), Decimal(0))
    return grids


def _book(symbols: Sequence[str], instruments: Mapping[str, Instrument]) -> Rows:
    """An empty book on the instruments' grids, one place per symbol."""
    missing = sorted(set(symbols) - set(instruments))
    if missing:
        raise ContractBroken(f"expected an instrument for every symbol of the bars, found none for {', '.join(missing)}: add them or drop the bars")
    book = np.zeros(len(symbols), dtype=BOOK)
    grids = [_grid(instruments[symbol].lot, instruments[symbol].tick, instruments[symbol].min_notional) for symbol in symbols]
    for name, column in zip(("lot", "tick", "min_notional", "value", "value_rest"), zip(*grids, strict=True), strict=True):
        book[name] = column
    return book


def _insist_on_room(bars: Panel, order: NDArray[np.int64], book: Rows, cash: float) -> None:
    """Lots are whole numbers of 63 bits: what a bar trades and what the cash buys must fit, or it would wrap around in silence."""
    amounts = np.fmax(bars.busiest[order], cash / bars.extremes[0][order])
    for asset in np.flatnonzero(amounts > _MOST_LOTS * book["lot"]):
        symbol, lot = bars.symbols[order[asset]], book["lot"][asset]
        raise ContractBroken(
            f"expected amounts of {symbol} of at most {_MOST_LOTS:.0e} lots, found {amounts[asset]:g} in lots of {lot:g}: check the lot, or use larger units"
        )


@lru_cache(1024)
def _grid(lot: Decimal, tick: Decimal, min_notional: Decimal) -> tuple[float, ...]:
    """Lot, tick and smallest order, and the value of one tick on one lot in two floats."""
    return float(lot), float(tick), float(min_notional), float(lot * tick), _rest(lot * tick)


def _state(symbols: Sequence[str], instruments: Mapping[str, Instrument]) -> Rows:
    """Which assets are contracts, and no position."""
    state = np.zeros(len(symbols), dtype=STATE)
    grids = [instruments[symbol] for symbol in symbols]
    state["tick_rest"], state["contract"] = [_rest(grid.tick) for grid in grids], [grid.perpetual for grid in grids]
    return state


def _charging(rules: Rules, fee_rate: float) -> Rules:
    """The same rules with another fee."""
    return rules._replace(fee_rate=fee_rate, fee_rate_rest=_rest(Decimal(repr(fee_rate))))


def _rules(trading: TradingSettings, costs: CostSettings, limits: RiskSettings, n_assets: int) -> Rules:
    fee_rate = charged_rates(costs).taker
    return Rules(
        share=trading.gross_weight / n_assets,
        band=trading.rebalance_band,
        fixed_units=trading.fixed_units,
        half_spread_bps=costs.half_spread_bps,
        impact_bps=costs.impact_bps,
        participation_cap=costs.participation_cap,
        fee_rate=fee_rate,
        fee_rate_rest=_rest(Decimal(repr(fee_rate))),
        limits=limits_of(limits),
        max_drawdown=limits.max_drawdown,
        max_daily_loss=limits.max_daily_loss,
    )


def _rest(exact: Decimal) -> float:
    """What the nearest float loses of a Decimal."""
    return float(exact - Decimal(float(exact)))
