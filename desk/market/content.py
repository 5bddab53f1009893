"""A name for the content of a frame that outlives processes, machines and library versions."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl


def content_hash(frame: pl.DataFrame) -> str:
    """SHA-256 over column names, dtypes and values in the frame's row order: raw little-endian numbers, UTF-8 text. No nulls; every NaN is one NaN.

    Sort first: the same rows in another order have another hash. Ours.
    """
    digest = hashlib.sha256()
    for series in frame.iter_columns():
        digest.update(f"{series.name}|{series.dtype}|{len(series)}\n".encode())
        digest.update(_value_bytes(series))
    return digest.hexdigest()


def _value_bytes(series: pl.Series) -> bytes | memoryview:
    if series.null_count():
        raise ValueError(f"Expected no null in column {series.name}, found {series.null_count()}. Write an unknown number as NaN.")
    if series.dtype == pl.String:
        return _text_bytes(series)
    if series.dtype.is_temporal():
        series = series.to_physical()
    values = series.to_numpy()
    if series.dtype.is_float():
        values = np.where(np.isnan(values), values.dtype.type("nan"), values)
    return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False)).data.cast("B")


def _text_bytes(series: pl.Series) -> bytes:
    """Runs of equal text as (text, length): sorted keys are few, and spelling each row out would cost more than all numbers."""
    runs = series.rle().struct.unnest()
    texts, lengths = runs.get_column("value").to_list(), runs.get_column("len").to_list()
    return "".join(f"{len(text)}:{text}x{length}," for text, length in zip(texts, lengths, strict=True)).encode()
