"""The lake: idempotent, versioned, verified, safe under several writers and on a full disk."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.dataset import DatasetRef
from desk.errors import BadFile, ContractBroken, Corrupt, NoSpace
from desk.market.archive_source import read_candles
from desk.market.content import content_hash
from desk.market.lake import Lake

MakeHours = Callable[..., pl.DataFrame]
ROOT = Path(__file__).resolve().parents[2]
PAIR = ("BTC/USDT", "ETH/USDT")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(tmp_path / "lake")


def with_close(bars: pl.DataFrame, row: int, close: float) -> pl.DataFrame:
    """The bars with one revised close."""
    return bars.with_columns(pl.when(pl.int_range(pl.len()) == row).then(close).otherwise("close").alias("close"))


class TestUpsert:
    """What is written."""

    def test_what_was_written_is_read_sorted_and_described(self, lake: Lake, make_hours: MakeHours) -> None:
        bars = make_hours(0, 50, PAIR)

        ref = lake.upsert("raw", "bars", bars.reverse())

        assert bars.equals(lake.read(ref))
        assert ("raw", "bars", 100, PAIR, "1h") == (ref.stage, ref.table, ref.rows, ref.symbols, ref.timeframe)
        assert (bars["open_time"].min(), bars["open_time"].max()) == ref.span
        assert ref == DatasetRef.model_validate_json(ref.model_dump_json())

    def test_the_same_bars_again_make_no_version(self, lake: Lake, make_hours: MakeHours) -> None:
        first = lake.upsert("raw", "bars", make_hours(0, 50, PAIR))

        assert first == lake.upsert("raw", "bars", make_hours(0, 50, PAIR))
        assert first == lake.upsert("raw", "bars", make_hours(10, 20))
        assert first.version == lake.history("raw/bars")[-1].version

    def test_nan_is_equal_to_nan_when_nothing_changed(self, lake: Lake, make_hours: MakeHours) -> None:
        keys = make_hours(0, 5).select("symbol", "timeframe", "open_time")
        features = keys.with_columns(pl.Series("momentum", [float("nan"), float("nan"), 1, 2, 3], dtype=pl.Float32))

        first = lake.upsert("features", "swing", features)

        assert first == lake.upsert("features", "swing", features)
        assert features.equals(lake.read(first))

    def test_an_overlap_writes_only_what_is_new(self, lake: Lake, make_hours: MakeHours) -> None:
        lake.upsert("raw", "bars", make_hours(0, 30))

        ref = lake.upsert("raw", "bars", make_hours(20, 40))

        assert make_hours(0, 40).equals(lake.read(ref))
        assert (10, 0) == (lake.history("raw/bars")[-1].rows_added, lake.history("raw/bars")[-1].rows_changed)

    def test_a_revised_candle_replaces_the_old_one_and_the_old_one_is_kept(self, lake: Lake, make_hours: MakeHours) -> None:
        bars = make_hours(0, 30)
        old = lake.upsert("raw", "bars", bars)

        new = lake.upsert("raw", "bars", with_close(bars, 7, 101.5).slice(5, 5))

        assert with_close(bars, 7, 101.5).equals(lake.read(new))
        assert bars.equals(lake.read(old))
        assert bars.equals(lake.scan("raw/bars", old.version).sort("symbol", "open_time").collect())
        assert (0, 1) == (lake.history("raw/bars")[-1].rows_added, lake.history("raw/bars")[-1].rows_changed)

    def test_the_hash_names_the_content_however_it_came_about(self, tmp_path: Path, make_hours: MakeHours) -> None:
        whole, parts = Lake(tmp_path / "whole"), Lake(tmp_path / "parts")

        one = whole.upsert("raw", "bars", make_hours(0, 40, PAIR))
        parts.upsert("raw", "bars", make_hours(25, 40, PAIR[1:]))
        parts.upsert("raw", "bars", make_hours(0, 40, PAIR[:1]))
        many = parts.upsert("raw", "bars", make_hours(0, 30, PAIR[1:]))

        assert one.content_hash == many.content_hash
        assert one.version != many.version

    @given(ranges=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 15)), min_size=1, max_size=4))
    @settings(max_examples=25)
    @pytest.mark.timeout(120)
    def test_any_order_of_overlapping_ingests_ends_in_their_union(
        self, make_hours: MakeHours, tmp_path_factory: pytest.TempPathFactory, ranges: list[tuple[int, int]]
    ) -> None:
        lake = Lake(tmp_path_factory.mktemp("union"))
        frames = [make_hours(first, first + count) for first, count in ranges]

        refs = [lake.upsert("raw", "bars", frame) for frame in frames]

        assert pl.concat(frames).unique().sort("symbol", "open_time").equals(lake.read(refs[-1]))

    def test_no_rows_change_nothing_and_make_no_table(self, lake: Lake, make_hours: MakeHours) -> None:
        with pytest.raises(BadFile, match=r"Expected a lake table raw/bars .* found none"):
            lake.upsert("raw", "bars", make_hours(0, 0))

        ref = lake.upsert("raw", "bars", make_hours(0, 3))
        assert ref == lake.upsert("raw", "bars", make_hours(0, 0))

    def test_a_table_that_does_not_exist_has_no_history_and_no_rows(self, lake: Lake, tmp_path: Path) -> None:
        assert () == lake.history("raw/bars")
        with pytest.raises(BadFile, match="Ingest first"):
            lake.scan("raw/bars")
        assert not (tmp_path / "lake").exists()


class TestRefusals:
    """What a merge would swallow without a word."""

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda bars: pl.concat([bars, with_close(bars, 0, 5.0).head(1)]), "Expected one row per .* found 2 that share one"),
            (lambda bars: bars.drop("symbol"), "found no symbol"),
            (lambda bars: bars.drop("volume"), "Expected the columns of raw/bars"),
            (lambda bars: bars.with_columns(extra=pl.lit(1.0)), "Expected the columns of raw/bars"),
            (lambda bars: bars.with_columns(pl.col("volume").cast(pl.Float32)), "Expected the columns of raw/bars"),
            (lambda bars: bars.with_columns(pl.col("open_time").dt.replace_time_zone(None)), "Expected times in Datetime"),
            (lambda bars: bars.with_columns(pl.col("open_time").cast(pl.Datetime("ms", "UTC"))), "Expected times in Datetime"),
            (lambda bars: bars.with_columns(pl.col("symbol").cast(pl.Categorical)), "storable dtypes"),
            (lambda bars: bars.with_columns(pl.lit(None, pl.Float64).alias("close")), "Expected no null in raw/bars, found some in close"),
            (lambda bars: bars.with_columns(timeframe=pl.lit("5m")), "Expected 1h rows for raw/bars, found 5m"),
            (lambda bars: pl.concat([bars, bars.with_columns(timeframe=pl.lit("5m"))]), "Expected one timeframe"),
        ],
    )
    def test_a_frame_that_does_not_fit_is_refused_and_the_table_stays(
        self, lake: Lake, make_hours: MakeHours, damage: Callable[[pl.DataFrame], pl.DataFrame], message: str
    ) -> None:
        bars = make_hours(0, 10)
        ref = lake.upsert("raw", "bars", bars)

        with pytest.raises(ContractBroken, match=message):
            lake.upsert("raw", "bars", damage(with_close(bars, 1, 7.0)))

        assert ref == lake.ref("raw", "bars")

    def test_a_symbol_with_a_quote_in_its_name_is_only_a_name(self, lake: Lake, make_hours: MakeHours) -> None:
        bars = make_hours(0, 3, ("A' OR '1'='1", "B/C"))
        lake.upsert("raw", "bars", bars)

        ref = lake.upsert("raw", "bars", with_close(bars, 0, 9.0))

        assert with_close(bars, 0, 9.0).equals(lake.read(ref))


class TestDamage:
    """What was stored is proven, not believed."""

    def test_content_other_than_the_references_is_corrupt(self, lake: Lake, make_hours: MakeHours) -> None:
        ref = lake.upsert("raw", "bars", make_hours(0, 10))

        with pytest.raises(Corrupt, match="Expected raw/bars version 1 to have content 000000000000"):
            lake.read(ref.model_copy(update={"content_hash": "0" * 64}))

    @pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_bytes(b"PAR1" + b"\0" * 50 + b"PAR1")], ids=["lost", "overwritten"])
    def test_a_lost_or_overwritten_file_is_corrupt(self, lake: Lake, make_hours: MakeHours, tmp_path: Path, damage: Callable[[Path], object]) -> None:
        ref = lake.upsert("raw", "bars", make_hours(0, 10))
        for file in (tmp_path / "lake").rglob("*.parquet"):
            damage(file)

        with pytest.raises(Corrupt, match=r"Expected a readable lake table at .*/lake/raw/bars"):
            lake.read(ref)

    def test_the_hash_sees_every_cell_name_and_type(self, make_hours: MakeHours) -> None:
        bars = make_hours(0, 4, PAIR)
        others = [
            with_close(bars, 3, 101.00000000001),
            bars.reverse(),
            bars.rename({"high": "top"}),
            bars.with_columns(pl.col("volume").cast(pl.Float32)),
            bars.with_columns(pl.lit("BTC/USD").alias("symbol")),
            bars.head(7),
        ]

        assert len(others) + 1 == len({content_hash(frame) for frame in [bars, *others]})

    def test_the_hash_of_a_known_frame_never_changes(self) -> None:
        """Written out by hand: name|dtype|rows, then runs of text, then little-endian numbers."""
        import hashlib
        import struct

        frame = pl.DataFrame({"s": ["A", "A", "B"], "x": [1.0, -2.5, float("nan")]})
        content = b"s|String|3\n1:Ax2,1:Bx1,x|Float64|3\n" + struct.pack("<3d", 1.0, -2.5, float("nan"))

        assert hashlib.sha256(content).hexdigest() == content_hash(frame)


WRITER = """
import sys
import polars as pl
from desk.market.lake import Lake
url, source, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
bars = pl.read_parquet(source)
hour = pl.int_range(pl.len()).over("symbol")
for step in range(12):
    begin = 10 * step
    Lake(url).upsert("raw", "bars", bars.filter(hour.is_between(begin, begin + 20 + first)))
"""


@pytest.mark.timeout(120)
def test_concurrent_ingests_of_overlapping_ranges_lose_and_double_no_row(tmp_path: Path, make_hours: MakeHours) -> None:
    """Three processes, a shared empty lake, twelve overlapping upserts each: creation, inserts and retries all race."""
    make_hours(0, 150, PAIR).write_parquet(tmp_path / "bars.parquet")
    command = [sys.executable, "-c", WRITER, str(tmp_path / "lake"), str(tmp_path / "bars.parquet")]

    writers = [subprocess.Popen([*command, str(first)], cwd=ROOT) for first in (0, 0, 5)]

    lake = Lake(tmp_path / "lake")
    assert [0, 0, 0] == [writer.wait() for writer in writers]
    assert make_hours(0, 136, PAIR).equals(lake.read(lake.ref("raw", "bars")))
    assert 272 == sum(revision.rows_added for revision in lake.history("raw/bars"))
    assert 0 == sum(revision.rows_changed for revision in lake.history("raw/bars"))


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mounting a small file system needs root: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_table_at_its_old_version(tiny_disk: Path, make_hours: MakeHours) -> None:
    lake = Lake(tiny_disk / "lake")
    small = make_hours(0, 50)
    ref = lake.upsert("raw", "bars", small)
    noise = pl.Series("volume", range(150_000), dtype=pl.Float64).shuffle(seed=1).sqrt()

    with pytest.raises(NoSpace, match=r"Expected room on the disk for .*/raw/bars, found none: it stays at its old version"):
        lake.upsert("raw", "bars", make_hours(0, 150_000).with_columns(noise, close=noise + 0.5))

    assert ref == lake.ref("raw", "bars")
    assert small.equals(lake.read(ref))
    assert 60 == lake.upsert("raw", "bars", make_hours(0, 60)).rows


@pytest.mark.data
@pytest.mark.timeout(60)
def test_half_a_million_real_bars_go_in_fast_and_unchanged_ones_faster(lake: Lake, real_data: Path) -> None:
    bars = read_candles(real_data / "candles" / "binance_spot_1h_15coins_2017_2022-10.parquet")

    started = time.perf_counter()
    first = lake.upsert("raw", "bars", bars)
    inserted = time.perf_counter()
    again = lake.upsert("raw", "bars", bars)
    checked = time.perf_counter()

    assert (546_352, first) == (first.rows, again)
    assert inserted - started < 5
    assert checked - inserted < 1.5
