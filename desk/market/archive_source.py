"""Candle files of many origins as one admitted frame of bars.

What a file does not say in its columns it says in its name (`BTCUSDT-1h-2024-01.csv`, `BTC_USDT-1h.feather`) or the caller says it; nothing is
guessed. Whatever is wrong is one error that names the file, and no file is ever changed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from data_contracts.bars import BAR_COLUMNS, CONTRACT, TIME
from data_contracts.gate import Quarantined, admit
from desk.errors import BadFile, ContractBroken
from desk.market.archive_formats import BINANCE_COLUMNS, read_file

TIME_NAMES = ("open_time", "timestamp", "date", "datetime", "time")
NUMBERS = ("open", "high", "low", "close", "volume")
# Quote assets a Binance pair may end in, longest first: "BTCFDUSD" is BTC/FDUSD, not BTCFD/USD.
QUOTES = ("FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USDP", "DAI", "BTC", "ETH", "BNB", "EUR", "TRY", "BRL", "JPY", "GBP", "AUD", "USD")
BINANCE_NAME = re.compile(r"^(?P<pair>[A-Z0-9]+)-(?P<timeframe>\d+[smhdwM]o?)-\d{4}-\d{2}(-\d{2})?$")
FREQTRADE_NAME = re.compile(r"^(?P<base>[A-Za-z0-9]+)_(?P<quote>[A-Za-z0-9]+)-(?P<timeframe>\d+[mhdwM])$")
# How the columns are filled, for who is told to add one.
EXAMPLES = {"symbol": "BTC/USDT", "timeframe": "1h"}
TEXT_TIMES = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
# Epochs between 2009 and 2100 lie in these ranges, whatever their unit: the ranges do not touch.
EPOCH_RANGES = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
FIRST_SECOND, LAST_SECOND = 1_230_000_000, 4_102_444_800
POLARS_UNITS = {"milliseconds": 1000, "microseconds": 1}

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True, slots=True)
class _Said:
    """What the file's name, or else the caller, says about its rows."""

    symbol: str | None
    timeframe: str | None
    is_binance_dump: bool


def read_candles(paths: Paths, *, timeframe: str | None = None, symbol: str | None = None) -> pl.DataFrame:
    """Read candle files into one admitted bars frame, sorted by (symbol, open_time).

    Known: parquet with bars' column names (epoch milliseconds or times), Binance public-data CSV (milliseconds or microseconds), freqtrade feather and
    JSON, CSV with a header of a time and OHLCV. Times without a zone are UTC. `timeframe` and `symbol` complete files that do not say them and must
    agree with files that do. Unreadable files raise BadFile, broken content ContractBroken.
    """
    files = [Path(paths)] if isinstance(paths, str | os.PathLike) else [Path(path) for path in paths]
    if not files:
        raise BadFile("Expected at least one candle file, found none. Name the files to read.")
    frames = [_read_one(file, timeframe, symbol) for file in files]
    lengths = {frame.item(0, "timeframe"): file.name for file, frame in zip(files, frames, strict=True)}
    if len(lengths) > 1:
        raise ContractBroken(f"Expected one timeframe in one call, found {', '.join(f'{tf} in {name}' for tf, name in lengths.items())}. Read them apart.")
    if len(frames) == 1:
        return frames[0]
    return _admitted(pl.concat(frames).sort("symbol", "open_time"), ", ".join(file.name for file in files))


def _read_one(file: Path, timeframe: str | None, symbol: str | None) -> pl.DataFrame:
    raw = read_file(file)
    said = _said_by_name(file, raw)
    frame = _with_times(raw, file, said)
    frame = frame.with_columns(_number(frame, name, file) for name in NUMBERS if name in frame.columns)
    frame = _with_label(frame, "symbol", said.symbol, symbol, file)
    frame = _with_label(frame, "timeframe", said.timeframe, timeframe, file)
    bars = _admitted(frame.select(name for name in BAR_COLUMNS if name in frame.columns), file.name)
    lengths = bars.get_column("timeframe").unique().sort().to_list()
    if len(lengths) > 1:
        raise ContractBroken(f"Expected one timeframe in {file.name}, found {', '.join(lengths)}. Split the file by timeframe.")
    return bars


def _said_by_name(file: Path, raw: pl.DataFrame) -> _Said:
    stem = file.name.split(".")[0]
    if dump := BINANCE_NAME.match(stem):
        return _Said(_split_pair(dump["pair"], file), dump["timeframe"], raw.width == len(BINANCE_COLUMNS))
    if pair := FREQTRADE_NAME.match(stem):
        return _Said(f"{pair['base']}/{pair['quote']}", pair["timeframe"], False)
    return _Said(None, None, False)


def _split_pair(pair: str, file: Path) -> str:
    quote = next((quote for quote in QUOTES if pair.endswith(quote) and len(pair) > len(quote)), None)
    if quote is None:
        raise BadFile(f"Expected a pair that ends in one of {', '.join(QUOTES)} in the name {file.name}, found {pair}. Rename it as BASE_QUOTE-timeframe.")
    return f"{pair.removesuffix(quote)}/{quote}"


def _with_label(frame: pl.DataFrame, name: str, in_name: str | None, given: str | None, file: Path) -> pl.DataFrame:
    """The frame with its symbol or timeframe; two sources that disagree are an error, none at all too."""
    if name not in frame.columns:
        label = in_name or given
        if label is None:
            raise BadFile(
                f"Expected {file.name} to say its {name} in a column '{name}' ({EXAMPLES[name]}) or in its name (BTC_USDT-1h{file.suffix}), found neither. "
                "Rename the file so, or add that column."
            )
        frame = frame.with_columns(pl.lit(label).alias(name))
    found = frame.get_column(name).cast(pl.String).unique().sort().to_list()
    wanted = given or (in_name if in_name in found else None)
    if wanted is not None and found != [wanted]:
        raise ContractBroken(f"Expected {name} {wanted} in {file.name}, found {', '.join(map(str, found[:5]))}. Read the file that holds {wanted}.")
    return frame


def _with_times(raw: pl.DataFrame, file: Path, said: _Said) -> pl.DataFrame:
    """The frame with `open_time` as UTC microseconds; without any time column the contract will say what is missing."""
    name = next((name for name in TIME_NAMES if name in raw.columns), None)
    if name is None:
        return raw
    times = raw.get_column(name).alias("open_time")
    if times.dtype == pl.String:
        times = _times_of_text(times, file, said)
    elif times.dtype.is_numeric():
        times = _times_of_epochs(times.cast(pl.Int64, strict=False), file, said)
    elif isinstance(times.dtype, pl.Datetime):
        _refuse_far_off(times, file)
        times = (times.dt.replace_time_zone("UTC") if times.dtype.time_zone is None else times.dt.convert_time_zone("UTC")).cast(TIME)
    elif times.dtype == pl.Date:
        times = times.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return raw.with_columns(times)


def _times_of_text(times: pl.Series, file: Path, said: _Said) -> pl.Series:
    epochs = times.str.strip_chars().cast(pl.Int64, strict=False)
    if epochs.null_count() == times.null_count():
        return _times_of_epochs(epochs, file, said)
    plain = pl.col("open_time").str.strip_chars().str.replace("T", " ").str.replace(r"(Z|\+00:?00| UTC)$", "")
    parsed = times.to_frame().select(pl.coalesce(plain.str.to_datetime(form, time_unit="us", strict=False) for form in TEXT_TIMES)).to_series()
    _refuse_unread(times, parsed, "a UTC time or epoch milliseconds", file)
    return parsed.dt.replace_time_zone("UTC").alias("open_time")


def _times_of_epochs(epochs: pl.Series, file: Path, said: _Said) -> pl.Series:
    allowed = ("milliseconds", "microseconds") if said.is_binance_dump else ("milliseconds",)
    units = {_unit_of(value) for value in (epochs.min(), epochs.max()) if isinstance(value, int)}
    unit = next(iter(units), allowed[0])
    if len(units) > 1 or unit not in allowed:
        found = " and ".join(sorted(f"what looks like {unit}" for unit in units))
        raise ContractBroken(
            f"Expected times in epoch {' or '.join(allowed)} in {file.name}, found {found} (from {epochs.min()!r} to {epochs.max()!r}). "
            "Convert the column to milliseconds."
        )
    return (epochs * POLARS_UNITS[unit]).cast(TIME)


def _refuse_far_off(times: pl.Series, file: Path) -> None:
    """Times in a unit that is not theirs; some of them no calendar could show in a later message."""
    seconds = times.dt.epoch("s")
    if not seconds.drop_nulls().is_between(FIRST_SECOND, LAST_SECOND).all():
        found = f"{seconds.min()!r} to {seconds.max()!r} seconds since 1970"
        raise ContractBroken(f"Expected times between 2009 and 2100 in column {times.name} of {file.name}, found {found}. Check the column's unit.")


def _unit_of(epoch: int) -> str:
    fitting = (unit for unit, per_second in EPOCH_RANGES.items() if FIRST_SECOND * per_second <= epoch <= LAST_SECOND * per_second)
    return next(fitting, "times outside 2009 to 2100 in any unit")


def _number(frame: pl.DataFrame, name: str, file: Path) -> pl.Series:
    column = frame.get_column(name)
    numbers = (column.str.strip_chars() if column.dtype == pl.String else column).cast(pl.Float64, strict=False)
    _refuse_unread(column, numbers, "a number", file)
    return numbers


def _refuse_unread(text: pl.Series, read: pl.Series, expected: str, file: Path) -> None:
    unread = (read.is_null() & text.is_not_null()).arg_true()
    if len(unread):
        row = unread[0]
        raise ContractBroken(f"Expected {expected} in column {text.name} of {file.name}, found {text[row]!r} in row {row}. Correct it at its source.")


def _admitted(frame: pl.DataFrame, where: str) -> pl.DataFrame:
    match admit(frame, CONTRACT):
        case Quarantined() as quarantined:
            raise ContractBroken(str(quarantined.violation(where)))
        case admitted:
            return admitted.frame
