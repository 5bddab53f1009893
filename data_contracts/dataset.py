"""The only thing handed from task to task: a reference to data, never the data."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict


class DatasetRef(BaseModel):
    """Names one immutable content of one lake table.

    `content_hash` identifies the rows whatever the Delta version is: caches key on it. `span` is (first open_time, last open_time), UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: Literal["raw", "clean", "features"]
    table: str
    version: int
    content_hash: str
    rows: int
    span: tuple[datetime, datetime]
    symbols: tuple[str, ...]
    timeframe: str
