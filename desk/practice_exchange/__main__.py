"""`python -m desk.practice_exchange`: serve a practice exchange on loopback, print one JSON line that says where, stay until stopped."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

import uvloop
from aiohttp import web

from configs.market import PracticeSettings
from configs.trading import TradingSettings
from configs.vocabulary import Timeframe
from desk.practice_exchange.admin import Admin
from desk.practice_exchange.clock import WireClock
from desk.practice_exchange.dialects.binance.weights import DEFAULT_LIMIT
from desk.practice_exchange.exchange import Exchange
from desk.practice_exchange.facades import FACADES, application
from desk.practice_exchange.funding import LARGEST_RATE, Funding
from desk.practice_exchange.journal import Journal
from desk.practice_exchange.peg import DEPEG
from desk.practice_exchange.perpetual import Perpetuals
from desk.practice_exchange.perpetual_account import ContractAccount
from desk.practice_exchange.perpetual_book import ContractBook
from desk.practice_exchange.perpetual_dealing import ContractDealing
from desk.practice_exchange.refusals import Misuse
from desk.practice_exchange.server import HOST, Wire
from desk.practice_exchange.tape import Tape


def main() -> int:
    """Read the command line and serve. 2: it cannot be done as asked, and stderr says why in one line."""
    given = _arguments()
    journal = Journal(given.state)
    try:
        exchange = _exchange(given, journal)
        contracts = _contracts(given, exchange)
        sockets = [_listen(given.port), *(_listen(0) for _ in ("admin", *given.facades))]
        credentials = journal.credentials()
    except Misuse as refusal:
        print(f"practice exchange: {refusal}", file=sys.stderr)
        return 2
    wire = Wire(exchange, credentials, WireClock(), given.weight_limit)
    wire.add_contracts(contracts)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(exchange, wire, dict(zip(("api_key", "secret"), credentials, strict=True)), given.facades, sockets))
    journal.close()
    return 0


async def _serve(exchange: Exchange, wire: Wire, keys: dict[str, str], facades: Sequence[str], sockets: Sequence[socket.socket]) -> None:
    """Serve until SIGINT, SIGTERM or POST /shutdown."""
    admin = Admin(exchange, wire)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, admin.stopped.set)
    applications = [wire.application(), admin.application(), *(application(name, exchange) for name in facades)]
    runners = [web.AppRunner(each, access_log=None) for each in applications]
    for runner, listening in zip(runners, sockets, strict=True):
        await runner.setup()
        await web.SockSite(runner, listening, shutdown_timeout=1).start()
    port, admin_port, *others = (listening.getsockname()[1] for listening in sockets)
    faces = {name: f"http://{HOST}:{number}" for name, number in zip(facades, others, strict=True)}
    urls = {"rest": f"http://{HOST}:{port}", "ws": f"ws://{HOST}:{port}", "admin": f"http://{HOST}:{admin_port}"}
    print(json.dumps({**urls, **keys, **({"facades": faces} if faces else {}), "market": admin.market()}), flush=True)
    flowing = asyncio.create_task(admin.flow()) if exchange.clock.speed else None
    await admin.stopped.wait()
    if flowing is not None:
        flowing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await flowing
    for runner in runners:
        await runner.cleanup()


def _exchange(given: argparse.Namespace, journal: Journal) -> Exchange:
    tape = _tape(given)
    quotes = sorted({listing.quote for listing in tape.listings.values()})
    return Exchange(tape, TradingSettings().costs, journal, speed=given.speed, deposits=dict.fromkeys(quotes, given.deposit))


def _contracts(given: argparse.Namespace, exchange: Exchange) -> Perpetuals:
    tape = exchange.tape
    book = ContractBook(given.state, tape.hash)
    dealing = ContractDealing(tape, exchange.costs, book, ContractAccount(tape, book))
    return Perpetuals(dealing, exchange.clock, Funding(tape.hash, given.funding_rate), given.margin)


def _tape(given: argparse.Namespace) -> Tape:
    """Recorded candles when files are named, the synthetic market otherwise."""
    symbols = tuple(symbol.strip() for symbol in given.symbols.split(",")) if given.symbols else None
    start_ms = None if given.start is None else int(given.start.timestamp() * 1000)
    if given.candles:
        from desk.practice_exchange.recorded import Selection, recorded_tape

        files = [Path(name) for names in given.candles for name in names]
        return recorded_tape(files, Selection(symbols, given.timeframe, start_ms, given.history_bars, given.stream_bars, given.stream_share))
    from desk.practice_exchange.synthetic import SyntheticMarket

    usual = PracticeSettings()
    timeframe = given.timeframe or usual.timeframe
    start_ms = int(usual.start.timestamp() * 1000) if start_ms is None else start_ms
    start_ms -= start_ms % timeframe.milliseconds
    history, stream = given.history_bars or usual.history_bars, given.stream_bars or usual.stream_bars
    return SyntheticMarket(given.seed, symbols or usual.symbols, timeframe, start_ms, history, stream, given.scenario).tape()


def _listen(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen()
    except OSError as error:
        raise Misuse(f"expected port {port} to be free, found it in use ({error.strerror}): stop what uses it, or give another --port") from error
    return listening


def _arguments() -> argparse.Namespace:
    usual = PracticeSettings()
    parser = argparse.ArgumentParser("python -m desk.practice_exchange", description="An exchange on loopback that speaks Binance spot's wire.")
    parser.add_argument("--candles", nargs="+", action="append", metavar="FILE", help="Parquet files of recorded candles; none: the synthetic market")
    parser.add_argument("--seed", type=_counted(0), default=usual.seed, help="seed of the synthetic market")
    parser.add_argument("--scenario", choices=(DEPEG,), help="what befalls the synthetic market: USDC/USDT falls to 0.88 and returns, within the stream")
    parser.add_argument("--symbols", help="BASE/QUOTE,... : of the synthetic market, or which of the recorded ones")
    parser.add_argument("--timeframe", type=Timeframe, choices=list(Timeframe), help="bar length of the synthetic market, or which of the recorded ones")
    parser.add_argument("--start", type=_instant, help="first bar, ISO time")
    parser.add_argument("--history-bars", type=_counted(1), help="bars that are past when the exchange opens")
    parser.add_argument("--stream-bars", type=_counted(1), help="bars still to come")
    parser.add_argument("--stream-share", type=_share, default=usual.stream_share, help="share of recorded candles still to come")
    parser.add_argument("--speed", type=_speed, default=0.0, help="market seconds per real second; 0: the market moves by POST /advance only")
    parser.add_argument("--port", type=_counted(0), default=0, help="port of the exchange; 0: a free one")
    parser.add_argument("--state", type=Path, help="folder in which clock, orders and keys survive a restart")
    parser.add_argument("--deposit", type=_amount, default=TradingSettings().initial_cash, help="quote currency on the account when its state is fresh")
    parser.add_argument("--margin", type=_amount, default=TradingSettings().initial_cash, help="wallet of each margin asset of perpetuals, state fresh")
    parser.add_argument("--funding-rate", type=_signed, help="rate of every funding settlement, a fraction; none: drawn from the market")
    parser.add_argument("--facades", type=_facades, default=(), metavar="NAME,...", help=f"faces of other exchanges on this market: {', '.join(FACADES)}")
    parser.add_argument("--weight-limit", type=_counted(1), default=DEFAULT_LIMIT, help="request weight per minute")
    return parser.parse_args()


def _counted(least: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} on, found {text}")
        return number

    return whole


def _facades(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if not set(names) <= set(FACADES):
        raise argparse.ArgumentTypeError(f"expected names out of {', '.join(FACADES)}, found {text}")
    return names


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"expected a share between 0 and 1, found {text}")
    return share


def _speed(text: str) -> float:
    speed = float(text)
    if not 0 <= speed < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a speed from 0 on, found {text}")
    return speed


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation as error:
        raise argparse.ArgumentTypeError(f"expected an amount, found {text}") from error
    if not amount.is_finite() or amount < 0:
        raise argparse.ArgumentTypeError(f"expected an amount from 0 on, found {text}")
    return amount


def _signed(text: str) -> Decimal:
    try:
        rate = Decimal(text)
    except InvalidOperation as error:
        raise argparse.ArgumentTypeError(f"expected a rate, found {text}") from error
    if not rate.is_finite() or abs(rate) > LARGEST_RATE:
        raise argparse.ArgumentTypeError(f"expected a rate within {LARGEST_RATE} of 0, found {text}")
    return rate


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


if __name__ == "__main__":
    sys.exit(main())
