"""A seeded market: two regimes shared by all symbols, volatility that clusters, a common factor, outages - and something to find.

What is planted: the expected return of the next bar is `x`, an AR(1) process driven by the symbol's own surprises,

    r[t+1] = drift + x[t] + e[t+1],    x[t] = PERSISTENCE * x[t-1] + GAIN * e[t]

so x is an exponential average of past returns and anyone may compute it: x[t] = (PERSISTENCE - GAIN) * x[t-1] + GAIN * (r[t] - drift).
Its correlation with the log return over the next 4 bars is about 0.10, and after a one-sigma x the price drifts by about 1.5 % while x
decays (half-life 23 bars), against 0.11 % of costs per side. Every draw comes from its own keyed stream, in time order: a longer market
begins with the shorter one, and a symbol's bars do not depend on which other symbols are listed. USDC/USDT is a coin with a peg (`peg.py`), and
in its scenario whatever is priced in USDC moves against it; a scenario's time depends on how long the market is.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from configs.vocabulary import Timeframe
from desk.practice_exchange import peg
from desk.practice_exchange.listing import Listing, list_symbol
from desk.practice_exchange.tape import Candles, Floats, Tape

PERSISTENCE = 0.97
GAIN = 0.0145
HOUR_MS = Timeframe.H1.milliseconds

BAR_VOLATILITY = 0.008  # of one hourly bar; other lengths by the square root of time
FACTOR_SHARE = 0.5  # of a symbol's variance that all symbols share
# Per hourly bar: chance to leave the regime, volatility multiple, drift.
LEAVE = (0.004, 0.012)
REGIME_VOLATILITY = (0.8, 1.55)
REGIME_DRIFT = (0.00005, -0.0001)
GARCH_SHOCK, GARCH_MEMORY = 0.06, 0.90
# Log price is pulled home with a half-life of about a year of hourly bars, so that a long market stays in a plausible range.
HOMING = math.log(2) / 8760
WICK = 0.45  # size of a wick, in bar volatilities
OPENING_NOISE = 0.00005
BAR_NOTIONAL = 9e6  # quote currency per bar on a quiet day
MAX_OUTAGES = 3
BARS_PER_OUTAGE = 200  # at least this much history for each
OUTAGE_HOURS = (2, 7)

# Starting price in USDT and volatility relative to BAR_VOLATILITY.
KNOWN = {
    "BTC": (42000.0, 0.85),
    "ETH": (2400.0, 1.0),
    "SOL": (95.0, 1.2),
    "XRP": (0.55, 1.05),
    "BNB": (310.0, 0.95),
    "ADA": (0.5, 1.1),
    "DOGE": (0.08, 1.2),
    "AVAX": (36.0, 1.2),
    "LINK": (14.5, 1.15),
    "LTC": (72.0, 1.0),
    "DOT": (7.2, 1.1),
    "USDC": (1.0, 0.02),
}


@dataclass(frozen=True, slots=True)
class SyntheticMarket:
    """What determines every bar. `start_ms` lies on the timeframe's grid."""

    seed: int
    symbols: tuple[str, ...]
    timeframe: Timeframe
    start_ms: int
    history_bars: int
    stream_bars: int
    scenario: str | None = None

    def tape(self) -> Tape:
        """Print the whole market, history and stream."""
        bars, step = self.history_bars + self.stream_bars, self.timeframe.milliseconds
        times = self.start_ms + step * np.arange(bars, dtype=np.int64)
        regimes = self._regimes(bars)
        factor = self._rng("factor").standard_normal(bars)
        printed = self._printed(bars)
        symbols = {*self.symbols, peg.PAIR} if self.scenario == peg.DEPEG else self.symbols
        listings = {symbol: list_symbol(symbol, _start_price(symbol)) for symbol in sorted(symbols)}
        candles = {symbol: self._candles(listing, times, regimes, factor) for symbol, listing in listings.items()}
        visible = {symbol: Candles(*(column[printed] for column in rows.columns())) for symbol, rows in candles.items()}
        return Tape(self.timeframe, visible, listings, int(times[0]) + step * self.history_bars, int(times[-1]) + step, self.seed)

    def _rng(self, *purpose: str) -> np.random.Generator:
        """An independent stream for a purpose, the same in every process."""
        key = hashlib.sha256("|".join(purpose).encode()).digest()
        words = [int.from_bytes(key[i : i + 4], "big") for i in range(0, 16, 4)]
        return np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, *words])))

    def _regimes(self, bars: int) -> NDArray[np.int64]:
        """The shared Markov chain: 0 calm, 1 stormy [bar]."""
        draws = self._rng("regime").random(bars).tolist()
        hours = self.timeframe.milliseconds / HOUR_MS
        leave = [1 - (1 - chance) ** hours for chance in LEAVE]
        regime, path = 0, []
        for draw in draws:
            regime = 1 - regime if draw < leave[regime] else regime
            path.append(regime)
        return np.array(path, dtype=np.int64)

    def _printed(self, bars: int) -> NDArray[np.bool_]:
        """False where the exchange was down: all symbols, some hours, a few times in history."""
        printed = np.ones(bars, dtype=np.bool_)
        outages = min(MAX_OUTAGES, self.history_bars // BARS_PER_OUTAGE)
        rng = self._rng("outages")
        for number in range(outages):
            begin = int(self.history_bars * (number + 0.3 + 0.4 * rng.random()) / outages)
            hours = int(rng.integers(*OUTAGE_HOURS))
            printed[begin : begin + max(1, hours * HOUR_MS // self.timeframe.milliseconds)] = False
        return printed

    def _candles(self, listing: Listing, times: NDArray[np.int64], regimes: NDArray[np.int64], factor: Floats) -> Candles:
        bars, symbol = len(times), listing.symbol
        hours = self.timeframe.milliseconds / HOUR_MS
        own = self._rng("own", symbol).standard_normal(bars)
        scale = BAR_VOLATILITY * _relative_volatility(symbol) * math.sqrt(hours)
        shocks = math.sqrt(FACTOR_SHARE) * factor + math.sqrt(1 - FACTOR_SHARE) * own
        volatility = scale * np.array(REGIME_VOLATILITY)[regimes] * _clustering(shocks)
        home = math.log(_start_price(symbol))
        path = _log_prices(volatility * shocks, np.array(REGIME_DRIFT)[regimes] * hours, home, HOMING * hours)
        stress = self._stress(bars)
        if symbol == peg.PAIR:
            path, volatility = peg.pegged(own, stress), peg.NOISE * (1 + peg.STORM * stress)
        elif listing.quote == peg.COIN:
            path = path - stress * math.log(peg.TROUGH)
        tick = float(listing.tick)
        close = _on_grid(np.exp(path), tick)
        noise = 1 + OPENING_NOISE * self._rng("open", symbol).standard_normal(bars)
        opened = _on_grid(np.concatenate(([math.exp(home)], close[:-1])) * noise, tick)
        wicks = np.abs(self._rng("wicks", symbol).standard_normal((bars, 2))) * WICK * volatility[:, None]
        high = np.maximum(_on_grid(np.maximum(opened, close) * np.exp(wicks[:, 0]), tick), np.maximum(opened, close))
        low = np.minimum(_on_grid(np.minimum(opened, close) * np.exp(-wicks[:, 1]), tick), np.minimum(opened, close))
        notional = self._notional(symbol, times, volatility, np.abs(np.log(close / opened)))
        rush = 1 + peg.RUSH * stress if symbol == peg.PAIR else 1.0
        return Candles(times, opened, high, low, close, _on_grid(notional * rush / close, float(listing.lot)))

    def _stress(self, bars: int) -> Floats:
        """How far the coin is from its peg [bar]: nowhere without the scenario."""
        if self.scenario != peg.DEPEG:
            return np.zeros(bars)
        draw = float(self._rng("depeg").random())
        return peg.stress_of(draw, self.history_bars, self.stream_bars, self.timeframe.milliseconds / HOUR_MS).path(bars)

    def _notional(self, symbol: str, times: NDArray[np.int64], volatility: Floats, move: Floats) -> Floats:
        """Quote volume: more in the afternoon, in storms, and in bars that moved."""
        day = 1 + 0.25 * np.sin(2 * np.pi * (times % (24 * HOUR_MS)) / (24 * HOUR_MS) - 2)
        luck = np.exp(0.25 * self._rng("volume", symbol).standard_normal(len(times)))
        calm = BAR_VOLATILITY * _relative_volatility(symbol) * math.sqrt(self.timeframe.milliseconds / HOUR_MS)
        activity = day * luck * np.sqrt(volatility / calm) * (0.85 + 0.2 * np.minimum(move / volatility, 3.0))
        return BAR_NOTIONAL * activity


def _clustering(shocks: Floats) -> Floats:
    """GARCH(1,1) volatility multiple of mean square 1 [bar]; bar t depends on shocks before t only."""
    level, path = 1.0, []
    for shock in shocks.tolist():
        path.append(level)
        level = (1 - GARCH_SHOCK - GARCH_MEMORY) + level * (GARCH_SHOCK * shock * shock + GARCH_MEMORY)
    multiples: Floats = np.sqrt(np.array(path))
    return multiples


def _log_prices(surprises: Floats, drift: Floats, home: float, homing: float) -> Floats:
    """Log closes [bar]: drift, the planted expectation x, the surprise, and a weak pull home."""
    price, expected, path = home, 0.0, []
    for surprise, trend in zip(surprises.tolist(), drift.tolist(), strict=True):
        price += trend + expected + surprise - homing * (price - home)
        expected = PERSISTENCE * expected + GAIN * surprise
        path.append(price)
    return np.array(path)


def _on_grid(values: Floats, step: float) -> Floats:
    """Nearest multiple of a step that is a power of ten, at least one; the division by a whole number gives the float nearest to the decimal."""
    per_unit = round(1 / step)
    return np.maximum(np.rint(values * per_unit), 1.0) / per_unit


def _start_price(symbol: str) -> float:
    base = symbol.split("/")[0]
    if base in KNOWN:
        return KNOWN[base][0]
    return float(10 ** (_fraction(base, "price") * 3 - 1))


def _relative_volatility(symbol: str) -> float:
    base = symbol.split("/")[0]
    return KNOWN[base][1] if base in KNOWN else 0.9 + 0.4 * _fraction(base, "volatility")


def _fraction(base: str, purpose: str) -> float:
    """A number in [0, 1) that belongs to a name."""
    return int.from_bytes(hashlib.sha256(f"{purpose}|{base}".encode()).digest()[:4], "big") / 2**32
