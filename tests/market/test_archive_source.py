"""Candle files: every known format gives the same bars, every bad file one clear error and nothing else."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from desk.errors import BadFile, ContractBroken
from desk.market.archive_source import read_candles

MakeHours = Callable[..., pl.DataFrame]
NUMBERS = ("open", "high", "low", "close", "volume")


@pytest.fixture
def bars(make_hours: MakeHours) -> pl.DataFrame:
    """Ten hours of BTC/USDT."""
    return make_hours(0, 10)


def in_epochs(bars: pl.DataFrame, unit: str = "ms") -> pl.DataFrame:
    """The bars as our own files hold them: epochs instead of times."""
    scale = {"s": 1_000_000, "ms": 1_000, "us": 1}[unit]
    return bars.with_columns(pl.col("open_time").dt.epoch("us") // scale)


def binance_csv(bars: pl.DataFrame, unit: str = "ms", header: bool = False) -> str:
    """The bars as Binance publishes them: 12 columns."""
    rest = [pl.lit(0).alias(name) for name in ("close_time", "quote_volume", "count", "taker_buy_volume", "taker_buy_quote_volume", "ignore")]
    return in_epochs(bars, unit).select("open_time", *NUMBERS, *rest).write_csv(include_header=header)


def plain_csv(bars: pl.DataFrame, time_name: str = "timestamp") -> pl.DataFrame:
    """The bars under a header of a time and OHLCV, without symbol and timeframe."""
    return in_epochs(bars).select(pl.col("open_time").alias(time_name), *NUMBERS)


class TestFormats:
    """What is understood."""

    def test_our_parquet_of_epoch_milliseconds_drops_what_bars_do_not_have(self, bars: pl.DataFrame, tmp_path: Path) -> None:
        in_epochs(bars).with_columns(quote_volume=pl.lit(1.0), trades=pl.lit(5)).write_parquet(tmp_path / "ours.parquet")

        assert bars.equals(read_candles(tmp_path / "ours.parquet"))

    @pytest.mark.parametrize(
        "dtype", [pl.Datetime("us", "UTC"), pl.Datetime("ms", "UTC"), pl.Datetime("ns", "UTC"), pl.Datetime("ms"), pl.Datetime("us", "Asia/Tokyo")]
    )
    def test_our_parquet_of_times_in_any_unit_and_zone(self, bars: pl.DataFrame, tmp_path: Path, dtype: pl.Datetime) -> None:
        times = pl.col("open_time").dt.convert_time_zone(dtype.time_zone) if dtype.time_zone else pl.col("open_time").dt.replace_time_zone(None)
        bars.with_columns(times.cast(dtype)).write_parquet(tmp_path / "ours.parquet")

        assert bars.equals(read_candles(tmp_path / "ours.parquet"))

    @pytest.mark.parametrize("unit", ["ms", "us"])
    @pytest.mark.parametrize("header", [True, False])
    def test_binance_dumps_in_both_units_with_and_without_a_header(self, bars: pl.DataFrame, tmp_path: Path, unit: str, header: bool) -> None:
        file = tmp_path / "BTCUSDT-1h-2024-01.csv"
        file.write_text(binance_csv(bars, unit, header))

        assert bars.equals(read_candles(file))

    def test_a_zipped_and_a_gzipped_dump(self, bars: pl.DataFrame, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "BTCUSDT-1h-2024-01-01.zip", "w") as archive:
            archive.writestr("BTCUSDT-1h-2024-01-01.csv", binance_csv(bars))
        (tmp_path / "BTCUSDT-1h-2024-01.csv.gz").write_bytes(gzip.compress(binance_csv(bars).encode()))

        assert bars.equals(read_candles(tmp_path / "BTCUSDT-1h-2024-01-01.zip"))
        assert bars.equals(read_candles(tmp_path / "BTCUSDT-1h-2024-01.csv.gz"))

    def test_freqtrade_feather(self, bars: pl.DataFrame, tmp_path: Path) -> None:
        frame = bars.select(pl.col("open_time").cast(pl.Datetime("ms", "UTC")).alias("date"), *NUMBERS)
        frame.write_ipc(tmp_path / "BTC_USDT-1h.feather", compression="lz4")

        assert bars.equals(read_candles(tmp_path / "BTC_USDT-1h.feather"))

    def test_freqtrade_json(self, bars: pl.DataFrame, tmp_path: Path) -> None:
        rows = [list(row) for row in in_epochs(bars).select("open_time", *NUMBERS).rows()]
        (tmp_path / "BTC_USDT-1h.json").write_text(json.dumps(rows))

        assert bars.equals(read_candles(tmp_path / "BTC_USDT-1h.json"))

    @pytest.mark.parametrize("time_name", ["timestamp", "Date", "open_time", "datetime", "time"])
    def test_a_plain_csv_under_any_usual_name_for_time(self, bars: pl.DataFrame, tmp_path: Path, time_name: str) -> None:
        plain_csv(bars, time_name).write_csv(tmp_path / "BTC_USDT-1h.csv")

        assert bars.equals(read_candles(tmp_path / "BTC_USDT-1h.csv"))

    @pytest.mark.parametrize("form", ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.000000+00:00", "%Y-%m-%d %H:%M"])
    def test_a_plain_csv_with_times_as_text(self, bars: pl.DataFrame, tmp_path: Path, form: str) -> None:
        bars.select(pl.col("open_time").dt.strftime(form).alias("date"), *NUMBERS).write_csv(tmp_path / "mine.csv")

        assert bars.equals(read_candles(tmp_path / "mine.csv", symbol="BTC/USDT", timeframe="1h"))

    def test_several_files_become_one_sorted_frame(self, make_hours: MakeHours, tmp_path: Path) -> None:
        whole = make_hours(0, 20, ("BTC/USDT", "ETH/USDT"))
        for name, part in {"late": whole.filter(pl.col("open_time") >= datetime.fromisoformat("2024-01-01T10:00:00Z")), "early": None}.items():
            frame = part if part is not None else whole.filter(pl.col("open_time") < datetime.fromisoformat("2024-01-01T10:00:00Z"))
            frame.write_parquet(tmp_path / f"{name}.parquet")

        assert whole.equals(read_candles([tmp_path / "late.parquet", tmp_path / "early.parquet"]))


class TestBadFiles:
    """What is refused, one reason each."""

    def refused(self, file: Path | list[Path], error: type[Exception], message: str) -> bool:
        """Whether the file is refused with this message and its folder stays as it was."""
        folder = (file[0] if isinstance(file, list) else file).parent
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}

        with pytest.raises(error, match=message):
            read_candles(file)

        return before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}

    def test_a_missing_file(self, tmp_path: Path) -> None:
        assert self.refused(tmp_path / "none.parquet", BadFile, r"Expected a candle file at .*none.parquet, found nothing")

    def test_a_folder(self, tmp_path: Path) -> None:
        assert self.refused(tmp_path, BadFile, "found a folder")

    def test_no_file_at_all(self) -> None:
        with pytest.raises(BadFile, match="at least one candle file"):
            read_candles([])

    def test_an_unknown_ending(self, tmp_path: Path) -> None:
        (tmp_path / "candles.xlsx").write_bytes(b"x")

        assert self.refused(tmp_path / "candles.xlsx", BadFile, r"Expected a file ending in .parquet, .feather, .json, .csv .*, found candles.xlsx")

    @pytest.mark.parametrize("name", ["BTC_USDT-1h.csv", "BTC_USDT-1h.json", "BTC_USDT-1h.parquet", "BTC_USDT-1h.feather"])
    def test_an_empty_file(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b"")

        assert self.refused(tmp_path / name, BadFile, "found an empty file")

    def test_a_header_without_rows(self, bars: pl.DataFrame, tmp_path: Path) -> None:
        plain_csv(bars).clear().write_csv(tmp_path / "BTC_USDT-1h.csv")

        assert self.refused(tmp_path / "BTC_USDT-1h.csv", BadFile, "found no rows")

    @pytest.mark.parametrize(("writer", "ending"), [(pl.DataFrame.write_parquet, "parquet"), (pl.DataFrame.write_ipc, "feather")])
    @pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: data[:-60] + b"\xff" * 52 + data[-8:]], ids=["cut", "overwritten"])
    def test_a_damaged_binary_file(
        self, bars: pl.DataFrame, tmp_path: Path, writer: Callable[[pl.DataFrame, Path], None], ending: str, damage: Callable[[bytes], bytes]
    ) -> None:
        file = tmp_path / f"candles.{ending}"
        writer(bars, file)
        file.write_bytes(damage(file.read_bytes()))

        assert self.refused(file, BadFile, f"Expected candles.{ending} to be a readable .{ending} file, found a damaged one")

    def test_json_of_another_shape_and_json_cut_short(self, tmp_path: Path) -> None:
        (tmp_path / "BTC_USDT-1h.json").write_text('{"a": 1}')
        (tmp_path / "ETH_USDT-1h.json").write_text("[[1704067200000, 1.0, 2.0")

        assert self.refused(tmp_path / "BTC_USDT-1h.json", BadFile, "expected a list of lists")
        assert self.refused(tmp_path / "ETH_USDT-1h.json", BadFile, "a damaged one")

    @pytest.mark.data
    def test_the_real_gzip_whose_stream_decodes_to_garbage(self, real_data: Path) -> None:
        assert self.refused(real_data / "defects" / "corrupt_gzip_crc_error_tardis_trades.csv.gz", BadFile, "found a damaged one: Error -3 while decompressing")

    def test_a_headerless_csv_that_is_not_binances(self, tmp_path: Path) -> None:
        (tmp_path / "BTC_USDT-1h.csv").write_text("1704067200000,1,2,0.5,1.5,10\n")

        assert self.refused(tmp_path / "BTC_USDT-1h.csv", BadFile, "no header and 6 columns")

    @pytest.mark.parametrize("column", ["timestamp", "close", "volume"])
    def test_a_missing_column(self, bars: pl.DataFrame, tmp_path: Path, column: str) -> None:
        plain_csv(bars).drop(column).write_csv(tmp_path / "BTC_USDT-1h.csv")

        missing = "open_time" if column == "timestamp" else column
        assert self.refused(
            tmp_path / "BTC_USDT-1h.csv", ContractBroken, f"BTC_USDT-1h.csv: breaks the contract of bars. Expected the columns .* found 1 case: {missing}"
        )

    @pytest.mark.parametrize(("text", "message"), [("nan", "close = NaN"), ("", "close = null"), ("inf", "close = inf"), ("abc", "found 'abc' in row 3")])
    def test_prices_that_are_no_numbers(self, bars: pl.DataFrame, tmp_path: Path, text: str, message: str) -> None:
        close = pl.when(pl.int_range(pl.len()) == 3).then(pl.lit(text)).otherwise(pl.col("close").cast(pl.String)).alias("close")
        plain_csv(bars).with_columns(close).write_csv(tmp_path / "BTC_USDT-1h.csv", quote_style="never")

        assert self.refused(tmp_path / "BTC_USDT-1h.csv", ContractBroken, message)

    def test_a_high_below_the_low(self, bars: pl.DataFrame, tmp_path: Path) -> None:
        bars.with_columns(high="low", low="high").write_parquet(tmp_path / "candles.parquet")

        assert self.refused(
            tmp_path / "candles.parquet",
            ContractBroken,
            r"Expected high >= low, found 10 cases: high, low = 99.0, 102.0 \(BTC/USDT, 2024-01-01T00:00:00Z, row 0\)",
        )

    def test_duplicate_bars_within_a_file_and_across_files(self, bars: pl.DataFrame, tmp_path: Path) -> None:
        pl.concat([bars, bars.head(1)]).sort("open_time").write_parquet(tmp_path / "twice.parquet")
        bars.head(6).write_parquet(tmp_path / "a.parquet")
        bars.tail(6).write_parquet(tmp_path / "b.parquet")

        assert self.refused(tmp_path / "twice.parquet", ContractBroken, "Expected one row per .* found 2 cases: open_time = 2024-01-01T00:00:00Z")
        assert self.refused([tmp_path / "a.parquet", tmp_path / "b.parquet"], ContractBroken, "a.parquet, b.parquet: .* Expected one row per .* found 4 cases")

    def test_unsorted_bars(self, bars: pl.DataFrame, tmp_path: Path) -> None:
        bars.reverse().write_parquet(tmp_path / "candles.parquet")

        assert self.refused(tmp_path / "candles.parquet", ContractBroken, "Expected rows sorted by symbol, then open_time, found 9 cases")

    @pytest.mark.parametrize(("unit", "looks_like"), [("s", "seconds"), ("us", "microseconds")])
    def test_a_wrong_unit_of_time(self, bars: pl.DataFrame, tmp_path: Path, unit: str, looks_like: str) -> None:
        in_epochs(bars, unit).write_parquet(tmp_path / "candles.parquet")
        (tmp_path / "ETHUSDT-1h-2024-01.csv").write_text(binance_csv(bars, "s"))

        assert self.refused(
            tmp_path / "candles.parquet", ContractBroken, f"Expected times in epoch milliseconds in candles.parquet, found what looks like {looks_like}"
        )
        assert self.refused(tmp_path / "ETHUSDT-1h-2024-01.csv", ContractBroken, "milliseconds or microseconds in .* found what looks like seconds")

    def test_a_column_that_changes_its_unit_midway(self, bars: pl.DataFrame, tmp_path: Path) -> None:
        (tmp_path / "BTCUSDT-1h-2024-01.csv").write_text(binance_csv(bars.head(5), "ms") + binance_csv(bars.tail(5), "us"))

        assert self.refused(tmp_path / "BTCUSDT-1h-2024-01.csv", ContractBroken, "found what looks like microseconds and what looks like milliseconds")

    def test_times_that_are_no_times(self, bars: pl.DataFrame, tmp_path: Path) -> None:
        bars.select(pl.lit("first of May").alias("date"), *NUMBERS).write_csv(tmp_path / "BTC_USDT-1h.csv")

        assert self.refused(
            tmp_path / "BTC_USDT-1h.csv", ContractBroken, "Expected a UTC time or epoch milliseconds in column open_time .* found 'first of May' in row 0"
        )

    def test_times_of_the_close_and_not_of_the_open(self, bars: pl.DataFrame, tmp_path: Path) -> None:
        bars.with_columns(pl.col("open_time") + pl.duration(minutes=59)).write_parquet(tmp_path / "candles.parquet")

        assert self.refused(tmp_path / "candles.parquet", ContractBroken, "on the grid of its timeframe .* the bar's start and not its close")

    def test_mixed_timeframes_within_a_file_and_across_files(self, bars: pl.DataFrame, tmp_path: Path) -> None:
        four_hours = bars.filter(pl.col("open_time").dt.hour() % 4 == 0).with_columns(timeframe=pl.lit("4h"), symbol=pl.lit("ETH/USDT"))
        bars.write_parquet(tmp_path / "hours.parquet")
        four_hours.write_parquet(tmp_path / "fours.parquet")
        pl.concat([bars, four_hours]).write_parquet(tmp_path / "both.parquet")

        assert self.refused([tmp_path / "hours.parquet", tmp_path / "fours.parquet"], ContractBroken, "found 1h in hours.parquet, 4h in fours.parquet")
        assert self.refused(tmp_path / "both.parquet", ContractBroken, "Expected one timeframe in both.parquet, found 1h, 4h")

    def test_an_unknown_timeframe(self, bars: pl.DataFrame, tmp_path: Path) -> None:
        plain_csv(bars).write_csv(tmp_path / "BTC_USDT-3m.csv")

        assert self.refused(
            tmp_path / "BTC_USDT-3m.csv", ContractBroken, "Expected a timeframe of 1m, 5m, 15m, 30m, 1h, 4h, 1d, found 10 cases: timeframe = 3m"
        )

    def test_a_file_that_says_neither_symbol_nor_timeframe(self, bars: pl.DataFrame, tmp_path: Path) -> None:
        plain_csv(bars).write_csv(tmp_path / "mine.csv")

        assert self.refused(
            tmp_path / "mine.csv",
            BadFile,
            r"to say its symbol in a column 'symbol' \(BTC/USDT\) or in its name \(BTC_USDT-1h.csv\), found neither. Rename the file so, or add that column.",
        )
        bars.drop("timeframe").write_parquet(tmp_path / "mine.parquet")
        assert self.refused(tmp_path / "mine.parquet", BadFile, r"its timeframe in a column 'timeframe' \(1h\) or in its name \(BTC_USDT-1h.parquet\)")

    def test_a_pair_of_an_unknown_quote(self, bars: pl.DataFrame, tmp_path: Path) -> None:
        (tmp_path / "BTCXYZ-1h-2024-01.csv").write_text(binance_csv(bars))

        assert self.refused(tmp_path / "BTCXYZ-1h-2024-01.csv", BadFile, "Expected a pair that ends in one of .* found BTCXYZ")

    def test_a_file_that_contradicts_the_caller(self, bars: pl.DataFrame, tmp_path: Path) -> None:
        bars.write_parquet(tmp_path / "candles.parquet")

        with pytest.raises(ContractBroken, match=r"Expected symbol ETH/USDT in candles.parquet, found BTC/USDT"):
            read_candles(tmp_path / "candles.parquet", symbol="ETH/USDT")


@pytest.mark.data
def test_every_real_candle_file_is_admitted(real_data: Path) -> None:
    """Nothing is lost on the way: as many bars as the file has rows."""
    for file in sorted((real_data / "candles").glob("*.parquet")):
        assert pl.scan_parquet(file).select(pl.len()).collect().item() == read_candles(file).height
