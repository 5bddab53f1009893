"""`python -m desk.practice_exchange.record`: ask an exchange for every kind of answer and keep their shapes, to compare our wire with the real one.

For maintainers. It asks Binance's spot testnet, or a practice exchange; it never asks an exchange where money is at stake. Keys come from the
environment, RECORD_API_KEY and RECORD_SECRET; without them only what is public is asked.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from desk.practice_exchange.clock import WireClock
from desk.practice_exchange.shapes import differences, shape_of

PRACTICE_HOSTS = ("127.0.0.1", "localhost", "testnet.binance.vision", "demo-api.binance.com")
PATIENCE_S = 10
UNKNOWN_ORDER = "999999999999"
FAR_BELOW = Decimal("0.9")  # of the best bid: where our order rests in peace

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks one exchange. `keys`: API key and secret, or None."""

    rest: str
    keys: tuple[str, str] | None

    def ask(self, method: str, path: str, parameters: Mapping[str, object], *, signed: bool = False) -> tuple[int, Any]:
        """Status and body of one answer."""
        query = urlencode(parameters)
        headers = {}
        if signed and self.keys is not None:
            query = "&".join(filter(None, (query, f"timestamp={WireClock().milliseconds()}")))
            query += "&signature=" + hmac.new(self.keys[1].encode(), query.encode(), hashlib.sha256).hexdigest()
            headers["X-MBX-APIKEY"] = self.keys[0]
        request = urllib.request.Request(f"{self.rest}/api/v3/{path}?{query}", method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, json.load(refusal)


def main() -> int:
    """Record, and compare when asked to. 1: there are differences; 2: it cannot be done as asked."""
    given = _arguments()
    rest = given.rest.rstrip("/")
    if urlsplit(rest).hostname not in PRACTICE_HOSTS:
        print(f"expected an exchange without real money ({', '.join(PRACTICE_HOSTS)}), found {rest}: give another --rest", file=sys.stderr)
        return 2
    names = ("RECORD_API_KEY", "RECORD_SECRET")
    keys = (os.environ[names[0]], os.environ[names[1]]) if all(name in os.environ for name in names) else None
    found = list(_session(Asker(rest, keys), given.symbol))
    if given.out:
        given.out.write_text("".join(json.dumps(line) + "\n" for line in found))
    lines = _compared(map(json.loads, given.against.read_text().splitlines()), found) if given.against else []
    for line in lines:
        print(line)
    print(f"{len(found)} answers, {len(lines)} differences", file=sys.stderr)
    return int(bool(lines))


def _session(asker: Asker, symbol: str) -> Iterator[Answer]:
    """One line per question: what was asked, the status and the shape of the answer."""
    one = {"symbol": symbol}
    for path, parameters in _public(one).items():
        yield _line("GET", path, asker.ask("GET", path.split("#")[0], parameters))
    if asker.keys is None:
        return
    order = _resting(asker, one)
    yield _line("POST", "order/test", asker.ask("POST", "order/test", order, signed=True))
    status, _ = answer = asker.ask("POST", "order", order, signed=True)
    yield _line("POST", "order#resting", answer)
    by_name = {**one, "origClientOrderId": order["newClientOrderId"]}
    for path, parameters in {"order": by_name, "openOrders": one, **_private(one)}.items():
        yield _line("GET", path, asker.ask("GET", path.split("#")[0], parameters, signed=True))
    if status == 200:
        yield _line("DELETE", "order", asker.ask("DELETE", "order", by_name, signed=True))
    yield _line("DELETE", "order#unknown", asker.ask("DELETE", "order", by_name, signed=True))
    market = {**one, "side": "BUY", "type": "MARKET", "quoteOrderQty": "20"}
    yield _line("POST", "order", asker.ask("POST", "order", market, signed=True))
    yield _line("GET", "myTrades", asker.ask("GET", "myTrades", one, signed=True))


def _public(one: dict[str, str]) -> dict[str, dict[str, str]]:
    """Paths with what is asked of them; what follows "#" only tells questions apart."""
    plain = dict.fromkeys(("exchangeInfo", "aggTrades", "trades", "historicalTrades", "depth", "avgPrice"), one)
    tickers = {f"ticker/{name}": one for name in ("24hr", "price", "bookTicker")}
    candles = {**one, "interval": "1h", "limit": "5"}
    refused = {"klines#interval": {**one, "interval": "7h"}, "klines#symbol": {"symbol": "NOSUCH", "interval": "1h"}, "depth#missing": {}}
    return {"ping": {}, "time": {}, **plain, **tickers, "klines": candles, "uiKlines": candles, **refused}


def _private(one: dict[str, str]) -> dict[str, dict[str, str]]:
    symbols = dict.fromkeys(("allOrders", "account/commission"), one)
    nothing: dict[str, dict[str, str]] = {path: {} for path in ("account", "rateLimit/order", "openOrderList")}
    return {**symbols, **nothing, "order#unknown": {**one, "orderId": UNKNOWN_ORDER}}


def _resting(asker: Asker, one: dict[str, str]) -> dict[str, str]:
    """The smallest order that is accepted and stays far from the market."""
    _, best = asker.ask("GET", "ticker/bookTicker", one)
    _, information = asker.ask("GET", "exchangeInfo", one)
    filters = {each["filterType"]: each for each in information["symbols"][0]["filters"]}
    tick, lot = Decimal(filters["PRICE_FILTER"]["tickSize"]), Decimal(filters["LOT_SIZE"]["stepSize"])
    price = (Decimal(best["bidPrice"]) * FAR_BELOW / tick).to_integral_value(ROUND_FLOOR) * tick
    least = max(Decimal(filters[name]["minNotional"]) for name in filters if name in ("NOTIONAL", "MIN_NOTIONAL"))
    quantity = max((least / price / lot).to_integral_value(ROUND_CEILING) * lot, Decimal(filters["LOT_SIZE"]["minQty"]))
    order = {**one, "side": "BUY", "type": "LIMIT_MAKER", "quantity": f"{quantity:f}", "price": f"{price:f}"}
    return {**order, "newClientOrderId": f"record-{WireClock().milliseconds()}"}


def _line(method: str, path: str, answer: tuple[int, Any]) -> Answer:
    status, body = answer
    return {"request": f"{method} /api/v3/{path}", "status": status, "shape": shape_of(body)}


def _compared(recorded: Iterable[Answer], found: list[Answer]) -> list[str]:
    """What the answers found now lack of those recorded earlier."""
    now = {line["request"]: line for line in found}
    lines = []
    for before in recorded:
        after = now.get(before["request"])
        if after is None:
            lines.append(f"{before['request']}: not asked now")
        elif after["status"] != before["status"]:
            lines.append(f"{before['request']}: status {before['status']} expected, {after['status']} found")
        else:
            lines += [f"{before['request']} {line}" for line in differences(before["shape"], after["shape"])]
    return lines


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m desk.practice_exchange.record", description="Record the shapes of an exchange's answers, and compare.")
    parser.add_argument("--rest", required=True, metavar="URL", help="https://testnet.binance.vision, or the `rest` of a practice exchange")
    parser.add_argument("--symbol", default="BTCUSDT", help="what to ask about, and to trade the least of")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write one JSON line per question here")
    parser.add_argument("--against", type=Path, metavar="FILE", help="an earlier recording: print what these answers lack of it")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
