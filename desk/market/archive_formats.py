"""File formats of candle archives, read as they are: bytes to a frame of the file's own columns, nothing judged but readability.

Every way in which a file can be unreadable becomes one `BadFile`. Text stays text here: whether it is a number or a time is decided where the
message can name the column and the row.
"""

from __future__ import annotations

import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from desk.errors import BadFile

if TYPE_CHECKING:
    import pyarrow

# Columns of a Binance public-data dump, which has no header before 2025.
BINANCE_COLUMNS = (
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignore",
)
JSON_COLUMNS = ("open_time", "open", "high", "low", "close", "volume")
# Arrow takes a damaged length for a wish to allocate; polars panics where it does not answer.
UNREADABLE = (OSError, EOFError, ValueError, MemoryError, zlib.error, zipfile.BadZipFile, pl.exceptions.PolarsError, pl.exceptions.PanicException)


def read_file(path: Path) -> pl.DataFrame:
    """The rows of one candle file with lower-case column names. The name's ending says the format; gzip and a zip of one file are unpacked."""
    if not path.is_file():
        raise BadFile(f"Expected a candle file at {path}, found {'a folder' if path.is_dir() else 'nothing'}. Name the file itself.")
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    packing = suffixes.pop() if suffixes and suffixes[-1] in _UNPACK else ""
    ending = suffixes[-1] if suffixes else ".csv" if packing == ".zip" else ""
    if ending not in _READERS:
        raise BadFile(f"Expected a file ending in {', '.join(_READERS)} (CSV and JSON also .gz or .zip), found {path.name}. Convert it to one of these.")
    try:
        content = _UNPACK[packing](path.read_bytes())
        if not content.strip():
            raise BadFile(f"Expected candles in {path.name}, found an empty file. Fetch it again.")
        frame = _READERS[ending](content).rename(str.lower)
    except BadFile:
        raise
    except UNREADABLE as failure:
        raise BadFile(f"Expected {path.name} to be a readable {ending} file, found a damaged one: {_brief(failure)}. Fetch it again.") from failure
    if frame.is_empty():
        raise BadFile(f"Expected candles in {path.name}, found no rows. Fetch it again.")
    return frame


def _brief(failure: BaseException) -> str:
    """First line of a library's complaint: the rest is its own query plan."""
    said = (str(failure).strip().splitlines() or [type(failure).__name__])[0].rstrip(".")
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in said)


def _unzip(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        if len(names) != 1:
            raise ValueError(f"expected one file inside, found {len(names)}")
        return archive.read(names[0])


def _csv(content: bytes) -> pl.DataFrame:
    text = content.removeprefix(b"\xef\xbb\xbf")
    # Polars checks the rows, not the header.
    text.partition(b"\n")[0].decode()
    has_header = not text[:1].isdigit()
    frame = pl.read_csv(io.BytesIO(text), has_header=has_header, infer_schema=False)
    if has_header:
        return frame
    if frame.width != len(BINANCE_COLUMNS):
        raise ValueError(f"no header and {frame.width} columns; without a header only Binance's {len(BINANCE_COLUMNS)} columns are known")
    frame.columns = list(BINANCE_COLUMNS)
    return frame


def _json(content: bytes) -> pl.DataFrame:
    rows = json.loads(content)
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) >= len(JSON_COLUMNS) for row in rows):
        raise ValueError("expected a list of lists [milliseconds, open, high, low, close, volume]")
    columns = zip(*rows, strict=False)
    return pl.DataFrame({name: pl.Series(name, values, strict=True) for name, values in zip(JSON_COLUMNS, columns, strict=False)})


def _parquet(content: bytes) -> pl.DataFrame:
    # Checked first: the reader's complaint about a cut file names neither cause nor cure.
    if content[:4] != b"PAR1" or content[-4:] != b"PAR1":
        raise ValueError("the parquet marks at its start and end are missing")
    from pyarrow import parquet

    return _checked(parquet.read_table(io.BytesIO(content), use_threads=False, pre_buffer=False))


def _feather(content: bytes) -> pl.DataFrame:
    if content[:6] != b"ARROW1" or content[-6:] != b"ARROW1":
        raise ValueError("the feather marks at its start and end are missing")
    from pyarrow import ipc, py_buffer

    return _checked(ipc.open_file(py_buffer(content), options=ipc.IpcReadOptions(use_threads=False)).read_all())


def _checked(table: pyarrow.Table) -> pl.DataFrame:
    """A frame of a table whose every offset and text is sound: at damaged ones polars panics, in words of its own on the terminal."""
    table.validate(full=True)
    # Column by column: names are decoded here, where a fault is an answer, and metadata, which may be damaged too, stays behind.
    return pl.DataFrame([pl.Series(name, column) for name, column in zip(table.column_names, table.columns, strict=True)])


_UNPACK: dict[str, Callable[[bytes], bytes]] = {"": lambda content: content, ".gz": gzip.decompress, ".zip": _unzip}
_READERS: dict[str, Callable[[bytes], pl.DataFrame]] = {".parquet": _parquet, ".feather": _feather, ".json": _json, ".csv": _csv}
