"""Every bad input ends as one clear message and exit code 2, and leaves lake, journal and registry as they were. Asked of the real console."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from configs.market import MarketSettings
from configs.operations import OperationsSettings
from desk.errors import NetworkDown, NoSpace, PreflightFailed, Transient
from desk.market.lake import Lake
from tasks.candles import canonical_candles
from tasks.ingest import ingest_candles
from tasks.market import open_market
from tasks.refusals import named
from tasks.services.records import room
from tasks.values import Market
from tests.ports import free_port

HEADER = ("open_time", "open", "high", "low", "close", "volume")
HOUR_MS = 3_600_000
FIRST_MS = 1_704_067_200_000
NAME = "BTC_USDT-1h"
# Logs, run records, Prefect's own record of runs and the circuit breakers are written by a refusal too: they tell of it.
TELLS = ("log", "run", "prefect", "risk")

Row = list[float | str]


@pytest.fixture
def operations(operations: OperationsSettings) -> OperationsSettings:
    """An installation with something to lose."""
    for kept in ("lake/raw/bars/_delta_log/0.json", "journal/paper.sqlite", "mlflow/mlflow.db", "candles/earlier.parquet"):
        (operations.var / kept).parent.mkdir(parents=True)
        (operations.var / kept).write_text(kept, encoding="utf-8")
    return operations


def snapshot(operations: OperationsSettings) -> dict[str, str]:
    """sha256 of every file of state, by its path under var."""
    files = (path for path in operations.var.rglob("*") if path.is_file() and path.relative_to(operations.var).parts[0] not in TELLS)
    return {str(path.relative_to(operations.var)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def run(operations: OperationsSettings, *options: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`tradewind run` from a folder that is not the repository."""
    settings = {
        "DESK__OPERATIONS__VAR": str(operations.var),
        "DESK__OPERATIONS__PREFECT_PORT": str(operations.prefect_port),
        "DESK__OPERATIONS__MLFLOW_PORT": str(operations.mlflow_port),
        **environment,
    }
    # the isolated environment of the tests names a Prefect home of its own: a console brings its own
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    command = [sys.executable, "-m", "flows.cli", "run", *map(str, options)]
    return subprocess.run(command, cwd=operations.var.parent, env=inherited | settings, capture_output=True, text=True, check=False)


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one message of a refused run."""
    assert 2 == done.returncode, done.stdout + done.stderr
    assert "" == done.stdout
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    before, mark, message = done.stderr.partition("tradewind: ")
    assert mark, done.stderr
    assert "tradewind: " not in message
    # told once: neither the log above nor a second line repeats it
    assert message.strip() not in before
    return message.strip()


def rows() -> list[Row]:
    return [[FIRST_MS + i * HOUR_MS, 100.0 + i, 101.0 + i, 99.0 + i, 100.5 + i, 10.0] for i in range(30)]


def csv(lines: list[Row], header: tuple[str, ...] = HEADER) -> bytes:
    return "\n".join([",".join(header), *(",".join(map(str, line)) for line in lines)]).encode() + b"\n"


def changed(row: int, column: int, value: float | str) -> list[Row]:
    lines = rows()
    lines[row][column] = value
    return lines


def damaged_parquet() -> bytes:
    """A page's bytes overwritten between whole marks and a whole footer, where polars' own reader panics on the terminal."""
    frame = pl.DataFrame(rows(), schema=list(HEADER), orient="row")
    path = Path(os.environ["HOME"]) / "whole.parquet"
    frame.write_parquet(path)
    whole = bytearray(path.read_bytes())
    whole[8:600] = bytes(range(256))[:148] * 4
    return bytes(whole)


SEVENTH = "2024-01-01T07:00:00Z"
BAD_FILES: dict[str, tuple[str, Callable[[], bytes], tuple[str, ...]]] = {
    "a missing column": (
        f"{NAME}.csv",
        lambda: csv([row[:4] + row[5:] for row in rows()], HEADER[:4] + HEADER[5:]),
        ("columns", "close", "Deliver the column"),
    ),
    "NaN prices": (f"{NAME}.csv", lambda: csv(changed(7, 4, "NaN")), ("no NaN", "close = NaN", SEVENTH, "never filled")),
    "high below low": (f"{NAME}.csv", lambda: csv(changed(7, 2, 50.0)), ("high >= low", "50.0, 106.0", SEVENTH, "Check")),
    "duplicate bars": (f"{NAME}.csv", lambda: csv([*rows()[:8], *rows()[7:]]), ("one row per", "2 cases", SEVENTH, "deliver only that one")),
    "unsorted bars": (f"{NAME}.csv", lambda: csv([*rows()[:7], rows()[8], rows()[7], *rows()[9:]]), ("sorted", SEVENTH, "Sort the frame")),
    "the wrong unit of time": (
        f"{NAME}.csv",
        lambda: csv([[float(row[0]) // 1000, *row[1:]] for row in rows()]).replace(b".0,", b","),
        ("milliseconds", "seconds", "1704067200", "Convert the column"),
    ),
    "an empty file": (f"{NAME}.csv", lambda: b"", ("Expected candles", "an empty file", "Fetch it again")),
    "a header alone": (f"{NAME}.csv", lambda: csv([]), ("Expected candles", "no rows", "Fetch it again")),
    "a corrupt file": (f"{NAME}.csv", lambda: b"\x89\xff\x00\xfe" * 500, ("readable .csv", "damaged", "Fetch it again")),
    "a corrupt archive": (f"{NAME}.csv.gz", lambda: b"\x1f\x8b not gzip", ("readable .csv", "damaged", "Fetch it again")),
    "a corrupt parquet": (f"{NAME}.parquet", damaged_parquet, ("readable .parquet", "damaged", "Fetch it again")),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_candles_are_refused_before_any_server_starts(case: str, operations: OperationsSettings, tmp_path: Path) -> None:
    name, content, words = BAD_FILES[case]
    (tmp_path / name).write_bytes(content())
    before = snapshot(operations)

    message = refusal(run(operations, "--candles", tmp_path / name))

    assert name in message
    assert [] == [word for word in words if word not in message], message
    assert 1 == len(message.splitlines())
    assert before == snapshot(operations)
    assert not (operations.var / "run").exists()
    assert not (operations.var / "prefect").exists()


def test_candles_that_are_not_there_are_named(operations: OperationsSettings, tmp_path: Path) -> None:
    before = snapshot(operations)

    message = refusal(run(operations, "--candles", tmp_path / "no-such.csv"))

    assert "expected a readable candle file" in message
    assert str(tmp_path / "no-such.csv") in message
    assert before == snapshot(operations)


def test_an_unknown_key_is_refused_with_its_file_and_the_nearest_known_one(operations: OperationsSettings, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("risk:\n  max_drawdwn: 0.1\n", encoding="utf-8")
    before = snapshot(operations)

    message = refusal(run(operations, "--settings", mine))

    assert f"{mine}: risk.max_drawdwn: unknown key; nearest known: risk.max_drawdown" in message
    assert "mend these and start again" in message
    assert before == snapshot(operations)
    assert not (operations.var / "run").exists()


def test_a_wrong_command_line_is_one_line_too(operations: OperationsSettings) -> None:
    message = refusal(run(operations, "--candels", "x.csv"))

    assert "--candels" in message
    assert "tradewind --help" in message


def test_a_taken_port_is_named_with_the_setting_that_moves_us_away(operations: OperationsSettings) -> None:
    before = snapshot(operations)

    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", operations.prefect_port))
        stranger.listen()
        message = refusal(run(operations))

    assert f"expected port {operations.prefect_port} to be free for prefect, found it taken" in message
    assert "DESK__OPERATIONS__PREFECT_PORT" in message
    assert before == snapshot(operations)


@pytest.fixture
def full_disk(operations: OperationsSettings) -> Iterator[OperationsSettings]:
    """The installation on a file system of 2 MiB without a free byte."""
    small = operations.var.parent / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2M", "none", str(small)], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a full disk needs a mount, and that needs root: {mounted.stderr.strip()}")
    (small / "lake").mkdir()
    with (small / "lake" / "filling").open("wb") as filling:
        while chunk := os.statvfs(small).f_bavail * os.statvfs(small).f_frsize:
            filling.write(bytes(min(chunk, 4096)))
            filling.flush()
    yield operations.model_copy(update={"var": small})
    subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize("with_candles", [True, False], ids=["own candles", "synthetic market"])
def test_a_full_disk_is_named_before_anything_is_written(with_candles: bool, full_disk: OperationsSettings, tmp_path: Path) -> None:
    own = tmp_path / f"{NAME}.csv"
    own.write_bytes(csv(rows()))
    before = snapshot(full_disk)

    message = refusal(run(full_disk, *(["--candles", own] if with_candles else [])))

    assert "MiB free" in message or "room to write" in message
    assert str(full_disk.var) in message
    assert "free space, or set DESK__OPERATIONS__VAR" in message
    assert before == snapshot(full_disk)


def test_a_disk_that_fills_while_writing_is_named_whatever_library_was_writing(full_disk: OperationsSettings) -> None:
    """Python, Rust and SQLite say it in words of their own; the lake keeps its old version."""
    frame = pl.DataFrame({"symbol": ["BTC/USDT"], "timeframe": ["1h"], "open_time": [datetime(2024, 1, 1, tzinfo=UTC)], **{name: [1.0] for name in HEADER[1:]}})
    lake = Lake(str(full_disk.var / "lake"))

    with pytest.raises(NoSpace):
        lake.upsert("raw", "bars", frame.with_columns(pl.col("open_time").cast(pl.Datetime("us", "UTC"))))
    with pytest.raises(Exception, match=r"(?i)no space") as rust:
        frame.write_parquet(full_disk.var / "frame.parquet")
    with pytest.raises(OSError, match="No space") as python, (full_disk.var / "text").open("wb", buffering=0) as text:
        text.write(b"x" * 8192)

    assert not lake.history("raw/bars")
    assert isinstance(named(rust.value), NoSpace)
    assert isinstance(named(python.value), NoSpace)


def test_whole_candles_are_kept_once_and_leave_no_part_behind(operations: OperationsSettings, tmp_path: Path) -> None:
    own = tmp_path / f"{NAME}.csv"
    own.write_bytes(csv(rows()))

    first, again = canonical_candles([str(own)], operations), canonical_candles([str(tmp_path / "*.csv")], operations)

    assert first == again
    assert {first[0].name, "earlier.parquet"} == {path.name for path in (operations.var / "candles").iterdir()}


@pytest.mark.slow
@pytest.mark.services
@pytest.mark.timeout(120)
def test_a_refusal_inside_a_flow_is_one_line_without_prefects_traceback(operations: OperationsSettings, tmp_path: Path) -> None:
    """A venue that this release cannot run on, refused by a task of the running flow; the log file keeps the traceback."""
    mine = tmp_path / "mine.yaml"
    mine.write_text("market:\n  venue: binance\n", encoding="utf-8")
    before = snapshot(operations)

    message = refusal(run(operations, "--settings", mine))

    assert "expected market.venue practice, found binance" in message
    assert "DESK__MARKET__VENUE=practice" in message
    assert 1 == len(message.splitlines())
    assert before == snapshot(operations)
    lines = [json.loads(line) for line in (operations.var / "log" / "pipeline.jsonl").read_text(encoding="utf-8").splitlines()]
    assert any("PreflightFailed" in line["fields"].get("traceback", "") for line in lines)
    assert ["ERROR"] == [line["level"] for line in lines if line["event"] == "flow.failed"]


@pytest.fixture
def unreachable(operations: OperationsSettings) -> Market:
    """A market whose exchange said hello and whose REST address then refuses every connection."""
    market = MarketSettings.model_validate({"practice": {"symbols": ("BTC/USDT",), "history_bars": 200, "stream_bars": 1}})
    opened: Market = open_market.fn(market, operations, ())
    said = room(operations, "run") / "exchange.greeting"
    greeting = json.loads(said.read_text(encoding="utf-8"))
    said.write_text(json.dumps({**greeting, "rest": f"http://127.0.0.1:{free_port()}"}) + "\n", encoding="utf-8")
    return opened


@pytest.mark.services
@pytest.mark.timeout(60)
def test_an_exchange_that_cannot_be_reached_is_tried_again_and_writes_nothing(unreachable: Market, operations: OperationsSettings) -> None:
    """NetworkDown is Transient, so the task is retried; after that the console says the same words."""
    before = snapshot(operations)

    with pytest.raises(NetworkDown) as raised:
        ingest_candles.fn(unreachable, operations)

    assert isinstance(raised.value, Transient)
    assert "expected an answer to" in str(raised.value)
    assert "check the connection, then ask again" in str(raised.value)
    assert raised.value is named(raised.value)
    assert before == snapshot(operations)


@pytest.mark.services
@pytest.mark.timeout(60)
def test_a_symbol_that_nobody_lists_is_refused_by_name(operations: OperationsSettings) -> None:
    market = MarketSettings.model_validate({"symbols": ("BAD/USDT",), "practice": {"symbols": ("BTC/USDT",), "history_bars": 200, "stream_bars": 1}})

    with pytest.raises(PreflightFailed, match=r"found BAD/USDT \(market.symbols\); it lists BTC/USDT"):
        open_market.fn(market, operations, ())
