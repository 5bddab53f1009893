"""The risk desk: remembers what the guards need to know, and judges the orders of one step one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce

from configs.risk import RiskSettings
from configs.vocabulary import TradingState
from desk.books.journal import RiskMarks
from desk.events import ACTIVE, Approved, BarsClosed, Control, Order, Refused
from desk.instruments import Instrument
from desk.risk.covariance import Covariance
from desk.risk.guards import GUARDS, Stake, Standing, check, daily_floor, drawdown_floor, limits_of
from desk.risk.shortfall import admit, begin, shortfall_after
from desk.risk.state import CUES, Cue, transition


def marked(before: RiskMarks | None, equity: float, at: datetime, limits: RiskSettings, told: Control = ACTIVE) -> RiskMarks:
    """The marks after `equity` (quote currency) was seen at `at` under the orders `told`. The daily latch opens at the next UTC day.

    The drawdown latch opens when a person resumes, and then the peak is counted from there.
    """
    day = at.date().isoformat()
    same_day = before is not None and before.day == day
    resumed = before is not None and told.resumed > before.resumed
    peak = equity if before is None or resumed else max(before.peak, equity)
    day_first = before.day_first if before is not None and same_day else equity
    reducing = before is not None and before.reducing and not resumed
    day_reducing = before is not None and same_day and before.day_reducing
    fallen = equity <= drawdown_floor(peak, limits.max_drawdown)
    cues = (*((Cue.RESUME,) if resumed else ()), *((Cue.BREACH,) if fallen else ()), *CUES[told.state])
    return RiskMarks(
        peak=peak,
        day=day,
        day_first=day_first,
        reducing=reducing or fallen,
        day_reducing=day_reducing or equity <= daily_floor(day_first, limits.max_daily_loss),
        latched=reduce(transition, cues, before.latched if before else TradingState.ACTIVE),
        resumed=told.resumed,
    )


def binding(marks: RiskMarks | None, told: Control) -> TradingState:
    """The state that counts between two marks: the stricter one of what is latched and what was told since. A resume since then opens the latch."""
    if marks is None or told.resumed > marks.resumed:
        return told.state
    return max(marks.latched, told.state, key=list(TradingState).index)


@dataclass(frozen=True, slots=True)
class Book:
    """What orders are judged on: signed lots and last closes by symbol, equity (quote), the marks, and what the desk was told from outside."""

    lots: Mapping[str, int]
    closes: Mapping[str, float]
    equity: float
    marks: RiskMarks
    told: Control = ACTIVE


class RiskDesk:
    """Judges orders against the limits. Between steps it knows the closes before the last ones, and how returns move together."""

    def __init__(self, instruments: Mapping[str, Instrument], settings: RiskSettings) -> None:
        self._lot = {symbol: float(instrument.lot) for symbol, instrument in sorted(instruments.items())}
        self._settings = settings
        self._limits = limits_of(settings)
        self._before: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._place = {symbol: place for place, symbol in enumerate(self._lot)}
        self.covariance = Covariance(tuple(self._lot), settings.covariance_bars) if settings.max_expected_shortfall or settings.hedge_symbol else None
        most, level = settings.max_expected_shortfall, settings.shortfall_level
        self._prospect = self.covariance.prospect(most, level) if self.covariance and most else None

    @property
    def memory_bars(self) -> int:
        """Bars after which what was seen before them counts for less than a float can show: weights fall to e^-40."""
        return 40 * self._settings.covariance_bars if self.covariance else 0

    def observe(self, event: BarsClosed) -> None:
        """Take note of the closes of one event."""
        for bar in event.bars:
            self._before[bar.symbol] = self._last.get(bar.symbol, bar.close)
            self._last[bar.symbol] = bar.close
        if self.covariance:
            self.covariance.update(self._last)

    def judge(self, orders: Sequence[tuple[Order, int]], book: Book) -> tuple[tuple[Approved, ...], tuple[Refused, ...]]:
        """Judge (order, signed lots) in the order given, each on the book as the approved ones before it would leave it."""
        lots, approved, refused = dict(book.lots), list[Approved](), list[Refused]()
        values = {symbol: held * self._lot[symbol] * book.closes[symbol] for symbol, held in lots.items() if held}
        gross, net = sum(map(abs, values.values())), sum(values.values())
        if orders:
            self._look(values)
        for order, delta in orders:
            symbol = order.symbol
            stake = Stake(delta, lots[symbol], book.closes[symbol], self._lot[symbol])
            account = Standing(book.equity, gross, net, len(approved), book.marks.reducing, book.marks.day_reducing)
            guard, why = self._verdict(order, stake, account, book)
            if not guard:
                guard, why = self._shortfall(symbol, stake, book.equity)
            if guard:
                refused.append(Refused(order, guard, why))
                continue
            # In these words, because the kernel adds it up in them.
            gross += (abs(stake.position_lots + delta) - abs(stake.position_lots)) * stake.lot * stake.close
            net += delta * stake.lot * stake.close
            lots[symbol] = stake.position_lots + delta
            approved.append(Approved(order))
        return tuple(approved), tuple(refused)

    def _verdict(self, order: Order, stake: Stake, account: Standing, book: Book) -> tuple[str, str]:
        """Guard and reason; empty: approved."""
        if book.marks.latched is TradingState.HALTED:
            return "halted", book.told.reason or "halted before, and nobody resumed"
        code = check(stake, account, self._limits)
        if code:
            return GUARDS[code], _figures(stake, account, book.marks)
        if not self._grows(stake):
            return "", ""
        if book.marks.latched is TradingState.REDUCING:
            return "reduce_only", book.told.reason
        if book.told.stale:
            return "stale", f"the last close is older than {self._settings.max_data_age_s:g} s"
        return self._collar(order, stake)

    def _collar(self, order: Order, stake: Stake) -> tuple[str, str]:
        """Whether the order's price, or the last close itself, has left the one before too far behind."""
        collar, before = self._settings.price_collar, self._before.get(order.symbol, stake.close)
        price = float(order.price or order.stop_price or order.reference_price)
        far = max(abs(price / stake.close - 1), abs(stake.close / before - 1))
        if not collar or far <= collar:
            return "", ""
        return "collar", f"price {price:g} after closes of {before:g} and {stake.close:g}: {far:.4f} apart, at most {collar:g} allowed"

    def _look(self, values: Mapping[str, float]) -> None:
        """Start from a book with positions of these values (quote)."""
        if self._prospect:
            for symbol, place in self._place.items():
                self._prospect.values[place] = values.get(symbol, 0.0)
            begin(self._prospect)

    def _shortfall(self, symbol: str, stake: Stake, equity: float) -> tuple[str, str]:
        """Whether the book, with this order, could lose too much in one bar. What is not known yet is too much."""
        prospect, place = self._prospect, self._place[symbol]
        if not prospect or admit(prospect, place, stake, equity):
            return "", ""
        loss = shortfall_after(prospect, place, stake.delta_lots * stake.lot * stake.close)
        return "shortfall", f"an expected shortfall of {loss:.2f} in one bar, of at most {prospect.most * equity:.2f}"

    @staticmethod
    def _grows(stake: Stake) -> bool:
        return abs(stake.position_lots + stake.delta_lots) >= abs(stake.position_lots)


def _figures(stake: Stake, account: Standing, marks: RiskMarks) -> str:
    after = abs(stake.position_lots + stake.delta_lots) * stake.lot * stake.close
    return f"equity {account.equity:.2f}, peak {marks.peak:.2f}, day's first {marks.day_first:.2f}, position would be {after:.2f} of gross {account.gross:.2f}"
