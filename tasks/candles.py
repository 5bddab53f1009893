"""The user's candle files: admitted before anything is started, and kept once in our own columns.

Nothing here imports Prefect: the console asks before it starts a server, and a refusal must not leave Prefect's folders behind.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs.operations import OperationsSettings
from data_contracts.gate import ContractViolation
from desk.errors import BadFile, DeskError
from desk.market.archive_source import read_candles
from tasks.services.records import room


def canonical_candles(candles: Sequence[str], operations: OperationsSettings) -> tuple[Path, ...]:
    """The user's files, admitted by the bars contract and written once as our own Parquet, named by the content they came from.

    Raises BadFile, ContractBroken or NoSpace before anything is written.
    """
    paths = [Path(found) for pattern in candles for found in (sorted(glob.glob(pattern)) or [pattern])]
    if not paths:
        return ()
    target = operations.var / "candles" / f"{_digest(paths)}.parquet"
    if not target.exists():
        frame = read_candles(paths)
        partial = room(operations, "candles") / f"{target.stem}.{os.getpid()}.tmp"
        try:
            frame.write_parquet(partial)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    return (target,)


def check_candles(path: str) -> dict[str, Any]:
    """What the bars contract says of one file, as a plain row; changes nothing."""
    try:
        frame = read_candles([Path(path)])
    except (DeskError, ContractViolation) as refusal:
        return {"file": path, "ok": False, "rows": 0, "message": str(refusal)}
    symbols = frame["symbol"].n_unique()
    return {"file": path, "ok": True, "rows": frame.height, "message": f"{frame.height} bars of {symbols} symbols"}


def _digest(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode())
        try:
            with path.open("rb") as stream:
                # one hash over all files: it is continued, not begun again
                hashlib.file_digest(stream, lambda: digest)
        except OSError as error:
            raise BadFile(f"expected a readable candle file at {path}, found: {error.strerror}; check the path given as CANDLES= or --candles") from error
    return digest.hexdigest()[:24]
