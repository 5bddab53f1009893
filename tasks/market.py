"""Open the market a run works on: recorded candles or the seeded synthetic one, served by the practice exchange, or a real venue."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from prefect import task

from configs.market import MarketSettings
from configs.operations import OperationsSettings
from data_contracts.gate import ContractViolation
from desk.errors import BadFile, DeskError, PreflightFailed
from desk.execution.ccxt_settings import constructor_config
from desk.instruments import Instrument
from desk.market.archive_source import read_candles
from desk.market.exchange_source import ExchangeSource, open_exchange
from tasks.policies import network_retries
from tasks.services import Greeting, ensure_exchange, recorded_exchange
from tasks.values import InstrumentRow, Market


@task(name="open_market", **network_retries())
def open_market(market: MarketSettings, operations: OperationsSettings, candles: Sequence[str]) -> Market:
    """Start or reuse the practice exchange on the wanted tape and describe it."""
    facts = ensure_exchange(market, operations, canonical_candles(candles, operations.var)).market
    offered = source_of(operations).instruments()
    symbols = tuple(sorted(market.symbols or facts["symbols"]))
    return Market(
        name=f"{'synthetic' if facts['synthetic'] else 'recorded'}_{facts['hash'][:10]}",
        hash=facts["hash"],
        symbols=symbols,
        timeframe=market.timeframe or facts["timeframe"],
        history_until=datetime.fromisoformat(facts["history_until"]),
        ends_at=datetime.fromisoformat(facts["ends_at"]),
        synthetic=facts["synthetic"],
        description=f"seeded SYNTHETIC market, seed {facts['seed']}" if facts["synthetic"] else f"recorded candles: {', '.join(Path(c).name for c in candles)}",
        instruments=tuple(InstrumentRow.of(_offered(symbol, offered)) for symbol in symbols),
    )


def _offered(symbol: str, offered: dict[str, Instrument]) -> Instrument:
    if symbol not in offered:
        raise PreflightFailed(f"expected a symbol that the venue lists, found {symbol} (market.symbols); it lists {', '.join(sorted(offered))}")
    return offered[symbol]


def canonical_candles(candles: Sequence[str], var: Path) -> tuple[Path, ...]:
    """The user's files, admitted by the bars contract and written once as our own Parquet, named by the content they came from.

    Raises BadFile or ContractBroken before anything is written.
    """
    paths = [Path(found) for pattern in candles for found in (sorted(glob.glob(pattern)) or [pattern])]
    if not paths:
        return ()
    target = var / "candles" / f"{_digest(paths)}.parquet"
    if not target.exists():
        frame = read_candles(paths)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(f".{os.getpid()}.tmp")
        frame.write_parquet(partial)
        partial.replace(target)
    return (target,)


def _digest(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        if not path.is_file():
            raise BadFile(f"expected a candle file, found nothing at {path}; check the path given as CANDLES=")
        digest.update(path.name.encode())
        with path.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()[:24]


def connection(greeting: Greeting) -> dict[str, Any]:
    """The ccxt constructor config that reaches this practice exchange."""
    return constructor_config(greeting.rest, greeting.ws, greeting.api_key, greeting.secret)


def source_of(operations: OperationsSettings) -> ExchangeSource:
    """The exchange's market data through unmodified ccxt."""
    greeting = running_exchange(operations)
    return ExchangeSource(open_exchange(connection(greeting)))


def running_exchange(operations: OperationsSettings) -> Greeting:
    """The practice exchange that `open_market` started; SourceStale when it is gone, so that the task is retried after a restart."""
    return recorded_exchange(operations)


def check_candles(path: str) -> dict[str, Any]:
    """What the bars contract says of one file, as a plain row; changes nothing."""
    try:
        frame = read_candles([Path(path)])
    except (DeskError, ContractViolation) as refusal:
        return {"file": path, "ok": False, "rows": 0, "message": str(refusal)}
    symbols = frame["symbol"].n_unique()
    return {"file": path, "ok": True, "rows": frame.height, "message": f"{frame.height} bars of {symbols} symbols"}
