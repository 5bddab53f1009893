"""The practice exchange as a service: reused while it plays the wanted tape, its account and clock kept in a folder of that tape."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from configs.market import MarketSettings
from configs.operations import OperationsSettings
from desk.errors import PreflightFailed, SourceStale
from desk.log import event, register_secret
from tasks.services.processes import ROOT, healthy, last_words, named, ready, start, stop
from tasks.services.records import record, recorded, turn
from tasks.values import Value

EXCHANGE = "exchange"


class Greeting(Value):
    """What the practice exchange says when it opens. The secret is its own, made for this installation; it opens no other door."""

    rest: str
    ws: str
    admin: str
    api_key: str = Field(repr=False)
    secret: str = Field(repr=False)
    market: dict[str, Any]
    # Addresses of other exchanges' faces on the same market, by name, in the order in which they are asked.
    facades: dict[str, str] = Field(default_factory=dict)


def ensure_exchange(market: MarketSettings, operations: OperationsSettings, candles: Sequence[Path]) -> Greeting:
    """The practice exchange on the wanted tape. One that plays another tape is stopped first, unless somebody else still uses it."""
    options = tape_options(market, candles)
    state = (operations.var / "exchange" / hashlib.sha256("\0".join(options).encode()).hexdigest()[:16]).resolve()
    faces = ("--facades", ",".join(market.fallbacks)) if market.fallbacks else ()
    command = (sys.executable, "-m", "desk.practice_exchange", *options, *faces, "--port", str(market.practice.port), "--state", str(state))
    with turn(operations, EXCHANGE):
        running = recorded(operations, EXCHANGE)
        if running is not None and running.command != command and (others := running.others()):
            raise PreflightFailed(
                f"expected the practice exchange to be free for another market, found it used by {named(others)}; wait for that to end, "
                "or set DESK__OPERATIONS__VAR to another folder"
            )
        return _opened(operations, command)


def recorded_exchange(operations: OperationsSettings) -> Greeting:
    """The practice exchange that runs for this installation; one that was killed is started again. SourceStale when none was ever opened."""
    with turn(operations, EXCHANGE):
        running = recorded(operations, EXCHANGE)
        asked = _asked_path(operations)
        if running is None and not asked.exists():
            raise SourceStale(f"expected a practice exchange recorded under {asked.parent}, found none; run the flow again, it opens the market")
        return _opened(operations, running.command if running else tuple(json.loads(asked.read_text(encoding="utf-8"))))


def listening_exchange(operations: OperationsSettings) -> Greeting | None:
    """The practice exchange of this installation, if one answers now; starts none."""
    greeting = _greeting(operations.var / "run" / "exchange.greeting")
    if greeting is not None:
        register_secret(greeting.secret)
    return greeting


def tape_options(market: MarketSettings, candles: Sequence[Path]) -> tuple[str, ...]:
    """The practice exchange's options that say which market it plays."""
    practice = market.practice
    if candles:
        wanted = {
            "--symbols": ",".join(market.symbols) if market.symbols else None,
            "--timeframe": market.timeframe.value if market.timeframe else None,
            "--stream-share": practice.stream_share,
        }
    else:
        wanted = {
            "--seed": practice.seed,
            "--symbols": ",".join(practice.symbols),
            "--timeframe": practice.timeframe.value,
            "--start": practice.start.isoformat(),
            "--history-bars": practice.history_bars,
            "--stream-bars": practice.stream_bars,
            "--scenario": practice.scenario,
        }
    files = [part for path in candles for part in ("--candles", str(path.resolve()))]
    return (*files, *(str(part) for pair in wanted.items() if pair[1] is not None for part in pair))


def serve_exchange(candles: Sequence[Path], arguments: Sequence[str]) -> int:
    """Serve in the foreground; the greeting gets the ccxt constructor config that reaches this exchange."""
    from desk.execution.ccxt_settings import Dialect, constructor_config, printable

    options = [part for path in candles for part in ("--candles", str(path.resolve()))]
    with subprocess.Popen([sys.executable, "-m", "desk.practice_exchange", *options, *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        # whoever stops the console means the exchange: it would serve on, and nobody would know of it
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        if line := process.stdout.readline():
            greeting = json.loads(line)
            reach = (greeting["rest"], greeting["ws"], greeting["api_key"], greeting["secret"])
            spot, linear = (printable(constructor_config(*reach, dialect)) for dialect in Dialect)
            sys.stdout.write(json.dumps({**greeting, "ccxt": spot, "ccxt_linear": linear}) + "\n")
            sys.stdout.flush()
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()
            return process.wait()


def _opened(operations: OperationsSettings, command: tuple[str, ...]) -> Greeting:
    """The exchange that this command starts: the running one when it answers, a new one otherwise."""
    said = operations.var / "run" / "exchange.greeting"
    running = recorded(operations, EXCHANGE)
    if running is None or running.command != command or _greeting(said) is None:
        stop(operations, EXCHANGE)
        _asked_path(operations).write_text(json.dumps(command), encoding="utf-8")
        running = ready(operations, start(operations, EXCHANGE, "", command, said=said), lambda: _greeting(said) is not None)
        event("exchange.started", pid=running.pid)
    greeting = _greeting(said)
    if greeting is None:
        raise SourceStale(f"expected the practice exchange to keep answering, found {last_words(operations, EXCHANGE)}; run the flow again")
    register_secret(greeting.secret)
    record(operations, running.model_copy(update={"url": greeting.rest}).used_here())
    return greeting


def _greeting(said: Path) -> Greeting | None:
    """The one line that the exchange printed, once it is whole and somebody answers where it says."""
    line = said.read_text(encoding="utf-8") if said.exists() else ""
    if not line.endswith("\n"):
        return None
    plain = json.loads(line)
    return Greeting.model_validate({name: plain[name] for name in Greeting.model_fields if name in plain}) if healthy(f"{plain['admin']}/healthz") else None


def _asked_path(operations: OperationsSettings) -> Path:
    return operations.var / "run" / "exchange.command"
