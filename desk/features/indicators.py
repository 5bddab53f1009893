"""The vocabulary of features: each indicator is one formula, with its source. Formulas are causal, finite in memory and close to unit scale.

Edge policy, the same for all: a flat stretch has no volatility and gives 0, not a division by nothing; a bar without volume counts as a bar
(its volume is 0, it adds nothing to illiquidity); what would be the log of 0 stops at the floors below; NaN or a price <= 0 gives NaN for as long
as it is inside the window, and no longer. Windows count the bars that exist: a gap is never filled.
"""

from __future__ import annotations

import math

from desk.features.algebra import Node, at_least, column, cosine, is_from, lag, log, magnitude, ratio, root, scaled, sine, window_mean, window_sum

# A hundredth of a basis point per bar: no traded market is calmer, only a halted one is. Ours.
VOLATILITY_FLOOR = 1e-6
# Volatility is told as the log of percent per bar, which is near 0 for hourly bars of the large coins. Ours.
VOLATILITY_UNIT = 0.01
# exp(-4) is 2 % of the usual level: less activity than that says nothing more. Ours.
LOG_RATIO_FLOOR = math.exp(-4.0)
# A variance this small against the mean square is rounding, not variation. Ours.
VARIANCE_RESOLUTION = 1e-10
MINUTES_PER_DAY = 1440.0
SATURDAY = 6.0


def log_return(bars: int) -> Node:
    """Log return of the close over `bars` bars, fraction."""
    price = log(column("close"))
    return price - lag(price, bars)


def volatility(bars: int) -> Node:
    """Realised volatility per bar over `bars` one-bar returns, fraction: root mean square without centring (Andersen and Bollerslev 1998)."""
    move = log_return(1)
    return root(window_mean(move * move, bars))


def log_volatility(bars: int) -> Node:
    """Realised volatility as the log of percent per bar; never below log(VOLATILITY_FLOOR / VOLATILITY_UNIT)."""
    return log(scaled(at_least(volatility(bars), VOLATILITY_FLOOR), 1.0 / VOLATILITY_UNIT))


def scaled_return(bars: int, volatility_bars: int) -> Node:
    """Log return over `bars` bars in units of its own volatility (Moskowitz, Ooi and Pedersen 2012); |value| <= root(volatility_bars) when inside it."""
    unit = scaled(at_least(volatility(volatility_bars), VOLATILITY_FLOOR), math.sqrt(bars))
    return ratio(log_return(bars), unit)


def volatility_ratio(short_bars: int, long_bars: int) -> Node:
    """Log of short over long realised volatility: 0 when calm is as usual, positive when the market wakes up (Corsi 2009, horizons)."""
    return log_volatility(short_bars) - log_volatility(long_bars)


def range_volatility_ratio(bars: int) -> Node:
    """Log of Parkinson's (1980) high-low volatility over realised close-to-close volatility: high when bars swing inside and go nowhere."""
    span = log(column("high")) - log(column("low"))
    parkinson = root(scaled(window_mean(span * span, bars), 1.0 / (4.0 * math.log(2.0))))
    return log(scaled(at_least(parkinson, VOLATILITY_FLOOR), 1.0 / VOLATILITY_UNIT)) - log_volatility(bars)


def close_position() -> Node:
    """Where the bar closed inside its own range: -1 at the low, +1 at the high, 0 for a bar without range (Lane's %K, one bar, centred)."""
    high, low, close = column("high"), column("low"), column("close")
    return ratio((close - low) - (high - close), high - low)


def relative_strength(bars: int) -> Node:
    """Gains less losses over gains plus losses of one-bar log returns, in [-1, 1]: Wilder's (1978) RSI as 2*RSI/100-1 with simple means (Cutler)."""
    move = log_return(1)
    return ratio(window_sum(move, bars), window_sum(magnitude(move), bars))


def trend_distance(bars: int) -> Node:
    """Distance of the log close from its moving average, in volatilities of `bars` bars (Brock, Lakonishok and LeBaron 1992, scaled)."""
    price = log(column("close"))
    unit = scaled(at_least(volatility(bars), VOLATILITY_FLOOR), math.sqrt(bars))
    return ratio(price - window_mean(price, bars), unit)


def volume_surprise(bars: int) -> Node:
    """Z-score of the root of volume against its last `bars` bars, |value| < root(bars); 0 when volume does not vary.

    The root stabilises the variance of a count (Bartlett 1936) and, unlike the log, exists for a bar without trades. Free of units.
    """
    level = root(column("volume"))
    mean = window_mean(level, bars)
    mean_square = window_mean(column("volume"), bars)
    # Below this resolution the variance is rounding of either sign: it is taken off, and what is left below 0 does not vary.
    steady = scaled(mean_square, VARIANCE_RESOLUTION)
    variance = at_least(mean_square - mean * mean - steady, 0.0)
    return ratio(level - mean, root(variance))


def illiquidity(short_bars: int, long_bars: int) -> Node:
    """Log of Amihud's (2002) illiquidity, mean |return| per quote traded, over its own longer mean.

    Bars without volume add nothing to either mean; 0 when the long window saw no impact at all, log(LOG_RATIO_FLOOR) when only the short one did not.
    """
    impact = ratio(magnitude(log_return(1)), column("close") * column("volume"))
    relative = ratio(window_mean(impact, short_bars), window_mean(impact, long_bars), otherwise=1.0)
    return log(at_least(relative, LOG_RATIO_FLOOR))


def hour_sine() -> Node:
    """Sine of the time of day of the bar's open, UTC."""
    return sine(scaled(column("minute_of_day"), 2.0 * math.pi / MINUTES_PER_DAY))


def hour_cosine() -> Node:
    """Cosine of the time of day of the bar's open, UTC."""
    return cosine(scaled(column("minute_of_day"), 2.0 * math.pi / MINUTES_PER_DAY))


def weekend() -> Node:
    """1 on Saturday and Sunday UTC, else 0: crypto trades, but thinner."""
    return is_from(column("weekday"), SATURDAY)
