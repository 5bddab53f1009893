"""A library of seeded markets whose moments are known: what a strategy or a test does on them can be held against arithmetic.

Every world draws log returns per bar [time, path], paths independent of each other, and states their moments in closed form. Bars made of
them open where the bar before closed. `noise` holds each of them without anything to find: the price neither drifts nor tells where it goes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from configs.vocabulary import Timeframe
from desk.backtest.panel import Panel
from desk.errors import ContractBroken

Floats = NDArray[np.float64]
Random = np.random.Generator

STARTS = np.datetime64("2020-01-01", "us")
FIRST_PRICE = 100.0
# A bar's wicks, as a share of what the world usually moves in a bar, and its volume in quote.
WICK = 0.4
BAR_NOTIONAL = 1e9


@dataclass(frozen=True, slots=True)
class Moments:
    """Of one log return: mean, variance, skewness, raw kurtosis; correlation of neighbours, and of their squared deviations from the mean."""

    mean: float
    variance: float
    skewness: float
    kurtosis: float
    neighbours: float
    squares: float


class World(Protocol):
    """A law of log returns per bar."""

    @property
    def moments(self) -> Moments:
        """What its returns have in closed form."""

    def log_returns(self, n_bars: int, n_paths: int, random: Random) -> Floats:
        """Draw [time, path]."""


@dataclass(frozen=True, slots=True)
class Diffusion:
    """Geometric Brownian motion (Samuelson 1965): independent normal returns with `mean` and `sd` per bar."""

    mean: float
    sd: float

    @property
    def moments(self) -> Moments:
        """A normal's."""
        return Moments(self.mean, self.sd**2, 0.0, 3.0, 0.0, 0.0)

    def log_returns(self, n_bars: int, n_paths: int, random: Random) -> Floats:
        """Draw [time, path]."""
        drawn: Floats = self.mean + self.sd * random.standard_normal((n_bars, n_paths))
        return drawn


@dataclass(frozen=True, slots=True)
class Jumps:
    """Jump diffusion (Merton 1976): beside the diffusion, a Poisson number of jumps a bar (`rate`), each normal with `jump_mean` and `jump_sd`."""

    mean: float
    sd: float
    rate: float
    jump_mean: float
    jump_sd: float

    @property
    def moments(self) -> Moments:
        """From the cumulants: a compound Poisson sum's are rate times the raw moments of a jump."""
        m, d = self.jump_mean, self.jump_sd
        second = self.sd**2 + self.rate * (m**2 + d**2)
        third = self.rate * (m**3 + 3 * m * d**2)
        fourth = self.rate * (m**4 + 6 * m**2 * d**2 + 3 * d**4)
        return Moments(self.mean + self.rate * m, second, third / second**1.5, 3 + fourth / second**2, 0.0, 0.0)

    def log_returns(self, n_bars: int, n_paths: int, random: Random) -> Floats:
        """Draw [time, path]."""
        count = random.poisson(self.rate, (n_bars, n_paths))
        quiet, loud = random.standard_normal((2, n_bars, n_paths))
        drawn: Floats = self.mean + self.sd * quiet + count * self.jump_mean + np.sqrt(count) * self.jump_sd * loud
        return drawn


@dataclass(frozen=True, slots=True)
class Regimes:
    """Two states that follow each other by chance (Hamilton 1989): in state s normal returns with `means[s]` and `sds[s]`, which it keeps with `stays[s]`.

    The first bar's state is drawn from the stationary distribution.
    """

    means: tuple[float, float]
    sds: tuple[float, float]
    stays: tuple[float, float]

    @property
    def shares(self) -> tuple[float, float]:
        """How much of the time each state has."""
        left, right = 1 - self.stays[0], 1 - self.stays[1]
        return right / (left + right), left / (left + right)

    @property
    def moments(self) -> Moments:
        """Of the mixture; what neighbours share decays by stays[0] + stays[1] - 1 a bar."""
        shares, sd = np.array(self.shares), np.array(self.sds)
        mean = float(shares @ self.means)
        apart = np.array(self.means) - mean
        squares = apart**2 + sd**2
        variance = float(shares @ squares)
        third = float(shares @ (apart**3 + 3 * apart * sd**2))
        fourth = float(shares @ (apart**4 + 6 * apart**2 * sd**2 + 3 * sd**4))
        both = float(shares.prod()) * (sum(self.stays) - 1)
        of_neighbours = both * (apart[0] - apart[1]) ** 2 / variance
        of_squares = both * (squares[0] - squares[1]) ** 2 / (fourth - variance**2)
        return Moments(mean, variance, third / variance**1.5, fourth / variance**2, float(of_neighbours), float(of_squares))

    def log_returns(self, n_bars: int, n_paths: int, random: Random) -> Floats:
        """Draw [time, path]."""
        draws, shocks = random.random((n_bars, n_paths)), random.standard_normal((n_bars, n_paths))
        states = np.empty((n_bars, n_paths), dtype=np.int64)
        state, stays = (draws[0] >= self.shares[0]).astype(np.int64), np.array(self.stays)
        states[0] = state
        for bar in range(1, n_bars):
            state = np.where(draws[bar] < stays[state], state, 1 - state)
            states[bar] = state
        drawn: Floats = np.array(self.means)[states] + np.array(self.sds)[states] * shocks
        return drawn


@dataclass(frozen=True, slots=True)
class Clusters:
    """GARCH(1,1) with Student's t shocks (Bollerslev 1986, 1987): variance of the next bar = (1 - shock - memory) sd**2 + shock e**2 + memory variance.

    `sd` is the standard deviation in the long run; the first bar's variance is the long run's. Moments above the second need `degrees` > 4 and shocks
    small enough: nan where the fourth does not exist.
    """

    mean: float
    sd: float
    shock: float
    memory: float
    degrees: float

    @property
    def moments(self) -> Moments:
        """He and Terasvirta 1999 for the kurtosis, Bollerslev 1988 for the squares' correlation."""
        a, b = self.shock, self.memory
        of_shocks = 3 * (self.degrees - 2) / (self.degrees - 4) if self.degrees > 4 else math.inf
        room = 1 - b**2 - 2 * a * b - of_shocks * a**2
        finite = room > 0
        kurtosis = of_shocks * (1 - (a + b) ** 2) / room if finite else math.nan
        squares = a * (1 - a * b - b**2) / (1 - 2 * a * b - b**2) if finite else math.nan
        return Moments(self.mean, self.sd**2, 0.0, kurtosis, 0.0, squares)

    def log_returns(self, n_bars: int, n_paths: int, random: Random) -> Floats:
        """Draw [time, path]."""
        shocks = random.standard_t(self.degrees, (n_bars, n_paths)) * math.sqrt((self.degrees - 2) / self.degrees)
        ground, variance = (1 - self.shock - self.memory) * self.sd**2, np.full(n_paths, self.sd**2)
        moves = np.empty((n_bars, n_paths))
        for bar in range(n_bars):
            moves[bar] = np.sqrt(variance) * shocks[bar]
            variance = ground + self.shock * moves[bar] ** 2 + self.memory * variance
        drawn: Floats = self.mean + moves
        return drawn


@dataclass(frozen=True, slots=True)
class Bounce:
    """Bid-ask bounce (Roll 1984): a diffusion nobody trades at; every close is printed `half_spread` (log) above or below it, by chance.

    Closes look as if they came back: their returns are correlated. Whoever pays the half spread gains nothing by that.
    """

    mean: float
    sd: float
    half_spread: float

    @property
    def moments(self) -> Moments:
        """Two sides, each of variance half_spread**2 and fourth cumulant -2 half_spread**4, are added to the normal."""
        square = self.half_spread**2
        variance = self.sd**2 + 2 * square
        return Moments(self.mean, variance, 0.0, 3 - 4 * square**2 / variance**2, -square / variance, 0.0)

    def log_returns(self, n_bars: int, n_paths: int, random: Random) -> Floats:
        """Draw [time, path]."""
        sides = random.integers(0, 2, (n_bars + 1, n_paths)) * 2 - 1
        drawn: Floats = self.mean + self.sd * random.standard_normal((n_bars, n_paths)) + self.half_spread * np.diff(sides, axis=0)
        return drawn


def noise(volatility: float) -> Mapping[str, World]:
    """Every world with `volatility` (sd of a log return per bar) and nothing to find: in each state the price is expected to stay, to third order.

    The bounce adds to the volatility; its half spread is a quarter of it.
    """
    level = -(volatility**2) / 2
    jump = 4 * volatility
    # Three parts in four of the variance are quiet, the rest comes in a jump every 64 bars.
    quiet, rate = math.sqrt(3 / 4) * volatility, 1 / 64
    calm, stormy = volatility * math.sqrt(0.5), volatility * math.sqrt(2.0)
    return {
        "diffusion": Diffusion(level, volatility),
        "jumps": Jumps(-(quiet**2) / 2 - rate * math.expm1(jump**2 / 2), quiet, rate, 0.0, jump),
        "regimes": Regimes((-(calm**2) / 2, -(stormy**2) / 2), (calm, stormy), (0.99, 0.98)),
        "clusters": Clusters(level, volatility, 0.06, 0.9, 5.0),
        "bounce": Bounce(level, volatility, volatility / 4),
    }


def panels(world: World, n_bars: int, *, symbols: tuple[str, ...], n_panels: int, seed: int, timeframe: Timeframe = Timeframe.H1) -> list[Panel]:
    """`n_panels` independent markets of `n_bars` bars; the same seed draws the same ones. Every symbol starts at the same price."""
    if n_bars < 1 or n_panels < 1 or not symbols:
        raise ContractBroken(f"expected at least one bar, symbol and market, found {n_bars} bars of {len(symbols)} symbols in {n_panels} markets")
    random = np.random.default_rng(seed)
    drawn = world.log_returns(n_bars, n_panels * len(symbols), random)
    wicks = WICK * math.sqrt(world.moments.variance) * np.abs(random.standard_normal((2, *drawn.shape)))
    times = STARTS + np.arange(n_bars) * np.timedelta64(timeframe.milliseconds * 1000, "us")
    return [
        _panel(part, wick, (times, symbols, timeframe)) for part, wick in zip(np.split(drawn, n_panels, axis=1), np.split(wicks, n_panels, axis=2), strict=True)
    ]


def _panel(drawn: Floats, wicks: Floats, told: tuple[NDArray[np.datetime64], tuple[str, ...], Timeframe]) -> Panel:
    times, symbols, timeframe = told
    levels = FIRST_PRICE * np.exp(np.vstack([np.zeros((1, drawn.shape[1])), np.cumsum(drawn, axis=0)]))
    open_, close = levels[:-1], levels[1:]
    high, low = np.maximum(open_, close) * np.exp(wicks[0]), np.minimum(open_, close) * np.exp(-wicks[1])
    return Panel(times, symbols, open_, high, low, close, BAR_NOTIONAL / close, timeframe=timeframe)
