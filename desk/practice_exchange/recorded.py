"""A tape from recorded candles: Parquet files in the canonical columns. A file that does not fit is refused with one clear sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from configs.vocabulary import Timeframe
from desk.practice_exchange.listing import list_symbol
from desk.practice_exchange.refusals import Misuse
from desk.practice_exchange.tape import COLUMNS, Candles, Tape

REQUIRED = ("symbol", "timeframe", "open_time", *COLUMNS)
DECIMALS = 8  # what the wire can carry


@dataclass(frozen=True, slots=True)
class Selection:
    """Which part of the files to serve, and how much of it to keep back. `stream_bars` wins over `stream_share`; None leaves all."""

    symbols: tuple[str, ...] | None
    timeframe: Timeframe | None
    start_ms: int | None
    history_bars: int | None
    stream_bars: int | None
    stream_share: float


def recorded_tape(paths: Sequence[Path], selection: Selection) -> Tape:
    """Read, check and split the files. Raises Misuse."""
    frame = _select(pl.concat([_read(path) for path in paths]), selection)
    timeframe = _timeframe(frame)
    _check(frame, timeframe)
    instants = frame["open_time"].unique().sort().to_numpy()
    kept_back = selection.stream_bars if selection.stream_bars is not None else round(len(instants) * selection.stream_share)
    if not 0 < kept_back < len(instants):
        raise Misuse(f"expected more than {kept_back} bars (those to be streamed) in the candles, found {len(instants)}: give a longer file or stream less")
    until = int(instants[-kept_back])
    if selection.history_bars is not None:
        first = int(instants[max(len(instants) - kept_back - selection.history_bars, 0)])
        frame = frame.filter(pl.col("open_time") >= first)
    candles = {str(key[0]): _candles(part) for key, part in frame.partition_by("symbol", as_dict=True, maintain_order=True).items()}
    listings = {symbol: list_symbol(symbol, float(np.median(rows.close))) for symbol, rows in candles.items()}
    return Tape(timeframe, candles, listings, until, int(instants[-1]) + timeframe.milliseconds, None)


def _read(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise Misuse(f"expected a Parquet file of candles, found nothing at {path}: check the path given to --candles")
    try:
        frame = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise Misuse(f"expected a Parquet file of candles, found something else at {path} ({str(error).splitlines()[0]}): convert it first") from error
    missing = [name for name in REQUIRED if name not in frame.columns]
    if missing:
        raise Misuse(f"expected the columns {', '.join(REQUIRED)} in {path}, found {', '.join(frame.columns)}: rename or add {', '.join(missing)}")
    time = frame.schema["open_time"]
    if not (isinstance(time, pl.Datetime) or time.is_integer()):
        raise Misuse(f"expected open_time as a time or as milliseconds in {path}, found {time}: convert it first")
    # A time is cast to milliseconds, so both spellings end as the same integers.
    instants = pl.col("open_time").dt.epoch("ms") if isinstance(time, pl.Datetime) else pl.col("open_time").cast(pl.Int64)
    try:
        return frame.select(
            pl.col("symbol").cast(pl.String), pl.col("timeframe").cast(pl.String), instants, *(pl.col(name).cast(pl.Float64) for name in COLUMNS)
        )
    except pl.exceptions.PolarsError as error:
        raise Misuse(f"expected numbers in {', '.join(COLUMNS)} of {path}, found text: convert them first") from error


def _select(frame: pl.DataFrame, selection: Selection) -> pl.DataFrame:
    wanted = selection.symbols or ()
    unknown = sorted(set(wanted) - set(frame["symbol"].unique()))
    if unknown:
        raise Misuse(f"expected symbols that the candles hold, found {', '.join(unknown)}: they hold {', '.join(sorted(frame['symbol'].unique()))}")
    if wanted:
        frame = frame.filter(pl.col("symbol").is_in(wanted))
    if selection.timeframe:
        frame = frame.filter(pl.col("timeframe") == selection.timeframe.value)
    if selection.start_ms is not None:
        frame = frame.filter(pl.col("open_time") >= selection.start_ms)
    if frame.is_empty():
        raise Misuse("expected candles, found none after --symbols, --timeframe and --start were applied: widen the selection")
    return frame.sort("symbol", "open_time")


def _timeframe(frame: pl.DataFrame) -> Timeframe:
    found = sorted(frame["timeframe"].unique())
    known = [word.value for word in Timeframe]
    if len(found) != 1 or found[0] not in known:
        raise Misuse(f"expected one timeframe out of {', '.join(known)}, found {', '.join(map(str, found))}: choose with --timeframe")
    return Timeframe(found[0])


def _check(frame: pl.DataFrame, timeframe: Timeframe) -> None:
    odd = [symbol for symbol in frame["symbol"].unique().sort() if symbol.count("/") != 1 or not symbol.replace("/", "").isalnum()]
    if odd:
        raise Misuse(f"expected spot symbols written BASE/QUOTE, found {', '.join(odd[:5])}: rename them")
    prices = [pl.col(name) for name in COLUMNS[:-1]]
    sound = pl.all_horizontal(
        *(price.is_finite() & (price > 0) for price in prices),
        pl.col("volume").is_finite() & (pl.col("volume") >= 0),
        pl.col("low") <= pl.min_horizontal("open", "close"),
        pl.col("high") >= pl.max_horizontal("open", "close"),
        pl.col("open_time") % timeframe.milliseconds == 0,
    ).fill_null(False)
    wrong = frame.filter(~sound)
    if wrong.height:
        raise Misuse(f"expected sound candles on the {timeframe} grid, found {wrong.height} that are not, the first {wrong.row(0)}: validate the file first")
    twice = frame.height - frame.select("symbol", "open_time").n_unique()
    if twice:
        raise Misuse(f"expected one candle per symbol and time, found {twice} twice: validate the file first")


def _candles(part: pl.DataFrame) -> Candles:
    # Rounded once, here, so that what is matched is exactly what is printed.
    return Candles(part["open_time"].to_numpy(), *(np.round(part[name].to_numpy(), DECIMALS) for name in COLUMNS))
