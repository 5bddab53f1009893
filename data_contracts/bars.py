"""What a frame of bars must look like, raw and clean alike.

Only what every venue promises is demanded: an absurd but possible print (a real crash, a bad tick inside its own high and low) passes here and is
a matter for the batch suite in `expectations.py`. A missing bar is absence, not a fault: see `desk.market.gaps`.
"""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from configs.vocabulary import Timeframe
from data_contracts.gate import Contract, Rule

BAR_KEY = ("symbol", "timeframe", "open_time")
PRICES = ("open", "high", "low", "close")
TIME = pl.Datetime("us", "UTC")
BAR_COLUMNS: dict[str, pl.DataType] = {
    "symbol": pl.String(),
    "timeframe": pl.String(),
    "open_time": TIME,
    **{name: pl.Float64() for name in (*PRICES, "volume")},
}
# No market of ours is older than Bitcoin's first block, none is quoted after this century: outside lies a wrong unit of time.
ERA = (datetime(2009, 1, 3, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


def _timeframe_us() -> pl.Expr:
    """Length of each row's bar in microseconds, null for a timeframe nobody knows."""
    lengths = {timeframe.value: timeframe.milliseconds * 1000 for timeframe in Timeframe}
    return pl.col("timeframe").replace_strict(list(lengths), list(lengths.values()), default=None, return_dtype=pl.Int64)


def _finite(name: str) -> pl.Expr:
    """Not infinite; NaN is left to the check for holes, so that one fault is reported once."""
    return ~pl.col(name).is_infinite()


def in_order() -> pl.Expr:
    """Whether a row follows the one above it in (symbol, open_time) order."""
    symbol, time = pl.col("symbol"), pl.col("open_time")
    return (symbol > symbol.shift(1)) | ((symbol == symbol.shift(1)) & (time >= time.shift(1)))


def key_rules() -> tuple[Rule, ...]:
    """Demands on (symbol, timeframe, open_time) shared by every table that has one row per bar."""
    known = ", ".join(Timeframe)
    return (
        Rule("symbol_named", ("symbol",), pl.col("symbol").str.len_bytes() > 0, "a symbol in every row", "Name the symbol, as BASE/QUOTE."),
        Rule("timeframe_known", ("timeframe",), pl.col("timeframe").is_in(list(Timeframe)), f"a timeframe of {known}", "Resample at the source."),
        Rule(
            "unit_of_time",
            ("open_time",),
            pl.col("open_time").is_between(*ERA),
            "open_time between 2009 and 2100 (wrong unit of time?)",
            "Before 2009 it looks like seconds read as milliseconds, or milliseconds as microseconds; after 2100 like the reverse. State the unit.",
        ),
        Rule(
            "on_grid",
            ("open_time",),
            ~pl.col("open_time").is_between(*ERA) | (pl.col("open_time").dt.epoch("us") % _timeframe_us() == 0),
            "open_time on the grid of its timeframe (UTC)",
            "Check the time zone, and that open_time is the bar's start and not its close.",
        ),
        Rule(
            "unique_bar",
            ("open_time",),
            ~pl.col("open_time").is_duplicated().over("symbol", "timeframe"),
            "one row per (symbol, timeframe, open_time)",
            "Find out which of the duplicates is the revision, and deliver only that one.",
        ),
        Rule("sorted", ("open_time",), in_order(), "rows sorted by symbol, then open_time", "Sort the frame by (symbol, open_time)."),
    )


def _price_rules() -> tuple[Rule, ...]:
    again, shuffled = "Ask the source for the bar again.", "Check that the columns are not shuffled."
    positive = tuple(Rule(f"{name}_positive", (name,), _finite(name) & (pl.col(name) > 0), f"a finite {name} above 0", again) for name in PRICES)
    high, low, bodies = pl.col("high"), pl.col("low"), (pl.col("open"), pl.col("close"))
    crossed = high < low
    return (
        *positive,
        Rule("volume_not_negative", ("volume",), _finite("volume") & (pl.col("volume") >= 0), "a finite volume of at least 0", again),
        Rule("high_above_low", ("high", "low"), ~crossed, "high >= low", shuffled),
        Rule("low_is_lowest", ("low", "open", "close"), crossed | (low <= pl.min_horizontal(*bodies)), "low <= open and close", shuffled),
        Rule("high_is_highest", ("high", "open", "close"), crossed | (high >= pl.max_horizontal(*bodies)), "high >= open and close", shuffled),
    )


CONTRACT = Contract("bars", BAR_COLUMNS, (*key_rules(), *_price_rules()))
