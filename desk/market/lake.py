"""The lake: immutable versions of raw bars, clean bars and features, as Delta tables under one folder or URL.

Only this module opens them. An upsert merges just the rows that are new or changed, so identical data makes no new version and a revised candle
is kept beside its older self in the table's history. Tables are partitioned by symbol; the merge names its symbols literally, and a commit that lost
the race against another writer is planned again from the newest version, never forced.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event
from typing import Literal

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from configs.vocabulary import Timeframe
from data_contracts.dataset import DatasetRef
from desk.errors import BadFile, ContractBroken, Corrupt, NetworkDown, NoSpace, VenueBusy
from desk.market.content import content_hash

Stage = Literal["raw", "clean", "features"]
KEY = ("symbol", "timeframe", "open_time")
SORT = ("symbol", "open_time")
TIME = pl.Datetime("us", "UTC")
# Delta knows these without loss; the writer panics on, widens or drops others.
STORABLE = (pl.String, pl.Float64, pl.Float32, pl.Int64, pl.Int32, pl.Boolean, TIME)
# One of several writers wins every round, so this many rounds serve as many writers at once with room to spare.
COMMIT_ATTEMPTS = 30
FIRST_WAIT_S = 0.01
LONGEST_WAIT_S = 0.5
DISK_FULL = ("No space left on device", "os error 28", "StorageFull")


@dataclass(frozen=True, slots=True)
class Revision:
    """One commit of a table: what was done, when, and how many rows it added and replaced."""

    version: int
    committed_at: datetime
    operation: str
    rows_added: int
    rows_changed: int


class Lake:
    """Delta tables under `url` (a folder, or an object store's URL with its credentials in the environment). Opens nothing until asked."""

    def __init__(self, url: str | os.PathLike[str]) -> None:
        self._url = str(url).rstrip("/")

    def upsert(self, stage: Stage, table: str, frame: pl.DataFrame) -> DatasetRef:
        """Insert the new rows of `frame` and replace the changed ones, in one commit; none if nothing differs. Answers for the whole table.

        Expects unique keys (symbol, timeframe, open_time), no nulls, one timeframe, the table's exact columns. An empty frame changes nothing.
        """
        name = f"{stage}/{table}"
        if frame.is_empty():
            return self.ref(stage, table)
        _refuse_unstorable(name, frame)
        waits = random.Random(f"{name}|{os.getpid()}")
        for attempt in range(COMMIT_ATTEMPTS):
            try:
                with _named_failures(self._path(name)):
                    opened, stored = self._merge(name, frame)
                return _ref(stage, table, opened.version(), stored)
            except CommitFailedError:
                # Waiting is only politeness: the next attempt plans afresh, whatever happened meanwhile.
                Event().wait(min(FIRST_WAIT_S * 2**attempt, LONGEST_WAIT_S) * waits.uniform(0.5, 1.0))
        raise VenueBusy(f"Expected to commit to {name} within {COMMIT_ATTEMPTS} attempts, found other writers every time. Run it again when they are done.")

    def ref(self, stage: Stage, table: str, version: int | None = None) -> DatasetRef:
        """The reference to a table as it stands, or as it stood at a version."""
        name = f"{stage}/{table}"
        opened = self._open(name, version)
        return _ref(stage, table, opened.version(), _rows(opened, self._path(name)))

    def scan(self, table: str, version: int | None = None) -> pl.LazyFrame:
        """Lazy rows of a table ("raw/bars"), unsorted: sort before use, a merge does not keep order."""
        return pl.scan_delta(self._open(table, version))

    def read(self, ref: DatasetRef) -> pl.DataFrame:
        """The rows a reference names, sorted by (symbol, open_time), proven to be the ones it was made of."""
        name = f"{ref.stage}/{ref.table}"
        rows = _rows(self._open(name, ref.version), self._path(name))
        found = content_hash(rows)
        if found != ref.content_hash:
            raise Corrupt(f"Expected {name} version {ref.version} to have content {ref.content_hash[:12]}, found {found[:12]}. Restore it from a backup.")
        return rows

    def history(self, table: str) -> tuple[Revision, ...]:
        """Every commit of a table, oldest first: the revisions of its candles. Empty when there is no such table yet."""
        try:
            with _named_failures(self._path(table)):
                commits = DeltaTable(self._path(table)).history()
        except TableNotFoundError:
            return ()
        return tuple(sorted((_revision(commit) for commit in commits), key=lambda revision: revision.version))

    def _path(self, name: str) -> str:
        return f"{self._url}/{name}"

    def _open(self, name: str, version: int | None) -> DeltaTable:
        try:
            with _named_failures(self._path(name)):
                return DeltaTable(self._path(name), version=version)
        except TableNotFoundError as missing:
            raise BadFile(f"Expected a lake table {name} under {self._url}, found none. Ingest first, or point at the right lake.") from missing

    def _open_or_create(self, name: str, frame: pl.DataFrame) -> DeltaTable:
        try:
            return DeltaTable(self._path(name))
        except TableNotFoundError:
            # Two first writers: "ignore" lets the loser open what the winner made.
            DeltaTable.create(self._path(name), schema=frame.clear().to_arrow().schema, partition_by=["symbol"], mode="ignore")
            return DeltaTable(self._path(name))

    def _merge(self, name: str, frame: pl.DataFrame) -> tuple[DeltaTable, pl.DataFrame]:
        """The table and its sorted rows after at most one commit that makes it hold `frame`."""
        opened = self._open_or_create(name, frame)
        stored = _rows(opened, self._path(name))
        _refuse_other_shape(name, frame, stored)
        missing = frame.join(stored, on=frame.columns, how="anti", nulls_equal=True)
        if missing.is_empty():
            return opened, stored
        _commit(opened, missing)
        return opened, _rows(opened, self._path(name))


def _commit(opened: DeltaTable, rows: pl.DataFrame) -> None:
    symbols = ", ".join("'" + symbol.replace("'", "''") + "'" for symbol in rows.get_column("symbol").unique().sort())
    same_bar = " AND ".join(f"t.{name} = s.{name}" for name in KEY)
    differs = " OR ".join(f'(t."{name}" IS DISTINCT FROM s."{name}")' for name in rows.columns if name not in KEY)
    merger = opened.merge(rows, f"t.symbol IN ({symbols}) AND {same_bar}", source_alias="s", target_alias="t")
    merger.when_matched_update_all(predicate=differs).when_not_matched_insert_all().execute()


def _rows(opened: DeltaTable, place: str) -> pl.DataFrame:
    """All rows, sorted, in the table's own column order. Two rows of one key would be a merge that failed to see another's."""
    with _named_failures(place):
        rows = pl.scan_delta(opened).collect(engine="in-memory").sort(SORT)
    if rows.select(pl.struct(KEY).is_duplicated().any()).item():
        raise Corrupt(f"Expected one row per {KEY} in {place} version {opened.version()}, found several. Restore the version before it.")
    return rows


def _ref(stage: Stage, table: str, version: int, rows: pl.DataFrame) -> DatasetRef:
    if rows.is_empty():
        raise BadFile(f"Expected rows in {stage}/{table} version {version}, found none. Ingest first.")
    first, last = rows.select(pl.col("open_time").min().alias("first"), pl.col("open_time").max().alias("last")).row(0)
    symbols = tuple(rows.get_column("symbol").unique().sort())
    return DatasetRef(
        stage=stage,
        table=table,
        version=version,
        content_hash=content_hash(rows),
        rows=rows.height,
        span=(first, last),
        symbols=symbols,
        timeframe=rows.item(0, "timeframe"),
    )


def _revision(commit: dict[str, object]) -> Revision:
    metrics = commit.get("operationMetrics")
    counts: dict[str, int] = metrics if isinstance(metrics, dict) else {}
    at = datetime.fromtimestamp(int(str(commit["timestamp"])) / 1000, UTC)
    added, changed = counts.get("num_target_rows_inserted", 0), counts.get("num_target_rows_updated", 0)
    return Revision(int(str(commit["version"])), at, str(commit["operation"]), int(added), int(changed))


def _refuse_unstorable(name: str, frame: pl.DataFrame) -> None:
    """What a merge would take without a word: lost keys, duplicates, holes, lossy types, a second timeframe."""
    absent = [column for column in KEY if column not in frame.columns]
    if absent:
        raise ContractBroken(f"Expected the key columns {KEY} for {name}, found no {', '.join(absent)}. Add them.")
    lossy = {column: str(dtype) for column, dtype in frame.schema.items() if dtype not in STORABLE}
    if lossy or frame.schema["open_time"] != TIME:
        raise ContractBroken(f"Expected times in {TIME} and storable dtypes for {name}, found {lossy}. Cast them before the upsert.")
    holes = [column for column, nulls in frame.null_count().row(0, named=True).items() if nulls]
    if holes:
        raise ContractBroken(f"Expected no null in {name}, found some in {', '.join(holes)}. Write an unknown number as NaN.")
    doubled = frame.filter(pl.struct(KEY).is_duplicated()).sort(KEY)
    if doubled.height:
        raise ContractBroken(f"Expected one row per {KEY} for {name}, found {doubled.height} that share one, first {doubled.row(0)[:3]}. Keep the revision.")
    timeframes = frame.get_column("timeframe").unique().sort().to_list()
    if len(timeframes) > 1 or timeframes[0] not in set(Timeframe):
        raise ContractBroken(f"Expected one timeframe of {', '.join(Timeframe)} for {name}, found {', '.join(timeframes)}. Keep one table per timeframe.")


def _refuse_other_shape(name: str, frame: pl.DataFrame, stored: pl.DataFrame) -> None:
    if frame.schema != stored.schema:
        expected, found = dict(stored.schema), dict(frame.schema)
        raise ContractBroken(f"Expected the columns of {name}, {expected}, found {found}. Use another table for another shape.")
    ours, theirs = frame.item(0, "timeframe"), None if stored.is_empty() else stored.item(0, "timeframe")
    if theirs not in (None, ours):
        raise ContractBroken(f"Expected {theirs} rows for {name}, found {ours}. Keep one table per timeframe, for example {name}_{ours}.")


@contextmanager
def _named_failures(place: str) -> Iterator[None]:
    """Say in the desk's words that the disk is full, files are damaged or a store is away; lost races and missing tables pass through."""
    try:
        yield
    except (CommitFailedError, TableNotFoundError):
        raise
    except (DeltaError, pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as failure:
        if any(sign in str(failure) for sign in DISK_FULL):
            raise NoSpace(f"Expected room on the disk for {place}, found none: it stays at its old version. Free space, then run it again.") from failure
        if isinstance(failure, OSError) and "://" in place:
            raise NetworkDown(f"Expected an answer from the store of {place}, found: {failure}. Check its address and access, then try again.") from failure
        raise Corrupt(f"Expected a readable lake table at {place}, found: {failure}. Restore it from a backup.") from failure
