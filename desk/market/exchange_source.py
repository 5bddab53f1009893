"""Candles and instruments from an exchange, through a ccxt object that somebody else made.

The pager is our own: ccxt's `paginate` drops the oldest data without a word, and the last candle of an answer is still forming. Each page's
cursor comes from the newest bar seen, bars are dropped by their close time, and row counts are never trusted. Retries belong to the caller.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import polars as pl

from configs.vocabulary import Timeframe
from data_contracts.bars import PRICES, TIME
from desk.errors import ContractBroken
from desk.instruments import Instrument
from desk.market.wire_errors import asking

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
MINUTE_MS = 60_000
NUMBERS = (*PRICES, "volume")
ROW_WIDTH = 1 + len(NUMBERS)
# Candles per answer, where that is less than ours: more are not sent, and a pager that hopes for more steps over them.
PAGE_LIMITS = {"kraken": 720, "coinbase": 300}


def open_exchange(config: Mapping[str, Any], name: str = "binance") -> Any:
    """The synchronous ccxt object for Binance spot, for a neighbour that speaks its wire, or for another exchange by ccxt's name, from a constructor config."""
    import ccxt  # heavy, and needed only by those who fetch

    return getattr(ccxt, name)(dict(config))


def open_streams(config: Mapping[str, Any], name: str = "binance") -> Any:
    """Its streaming twin; belongs to the event loop it is first used in."""
    import ccxt.pro

    return getattr(ccxt.pro, name)(dict(config))


class ExchangeSource:
    """Reads one exchange through `exchange`, a synchronous ccxt object in TICK_SIZE precision mode. `page_limit`: candles per request."""

    def __init__(self, exchange: Any, page_limit: int = 1000) -> None:
        self._exchange = exchange
        self._page_limit = page_limit
        self._closed: dict[Timeframe, datetime] = {}

    def instruments(self) -> dict[str, Instrument]:
        """Every symbol on offer with its tick, lot and least notional, exact."""
        with asking("the list of markets"):
            markets = self._exchange.load_markets()
        return {symbol: _instrument(market) for symbol, market in sorted(markets.items())}

    def closed_until(self, timeframe: Timeframe) -> datetime:
        """The close of the newest bar that is over by the exchange's clock: its time rounded down to the grid."""
        with asking("the exchange's time"):
            now_ms = int(self._exchange.fetch_time())
        self._closed[timeframe] = _instant(now_ms - now_ms % timeframe.milliseconds)
        return self._closed[timeframe]

    def bars(self, symbol: str, timeframe: Timeframe, since: datetime, until: datetime) -> Iterator[pl.DataFrame]:
        """Pages of raw bars opened at or after `since` and closed at or before `until` (never later than the exchange's own clock), in time order.

        A page without news before `until` may be an outage: the next page is asked one page length further on. Raises ContractBroken when an answer is
        out of order, otherwise what the venue's refusal means.
        """
        step = timeframe.milliseconds
        # What was closed stays closed: the clock is asked again only for what it had not reached.
        known = self._closed.get(timeframe, EPOCH)
        end = _milliseconds(until if until <= known else min(until, self.closed_until(timeframe)))
        cursor = -(-_milliseconds(since) // step) * step
        while cursor + step <= end:
            with asking(f"candles of {symbol}"):
                answer = self._exchange.fetch_ohlcv(symbol, timeframe.value, cursor, self._page_limit)
            rows = _news(answer, cursor, symbol)
            closed = [row for row in rows if row[0] + step <= end]
            if closed:
                yield _frame(closed, symbol, timeframe)
            cursor = rows[-1][0] + step if rows else cursor + self._page_limit * step

    def funding(self, symbol: str, since: datetime, until: datetime) -> Iterator[pl.DataFrame]:
        """Pages of a contract's funding rates settled at or after `since` and at or before `until`, in time order (a frame of `data_contracts.funding`).

        Venues tell the instant to the millisecond it was booked in; settled it was on the full minute next to that.
        """
        cursor, end = _milliseconds(since), _milliseconds(until) + MINUTE_MS // 2
        while cursor <= end:
            with asking(f"funding rates of {symbol}"):
                answer = self._exchange.fetch_funding_rate_history(symbol, cursor, self._page_limit, {"endTime": end})
            rows = [(int(row["timestamp"]), row["fundingRate"]) for row in answer if cursor <= int(row["timestamp"]) <= end]
            if not rows:
                return
            yield pl.DataFrame(rows, schema={"settled": pl.Int64, "rate": pl.Float64}, orient="row").select(
                pl.lit(symbol).alias("symbol"),
                pl.lit(Timeframe.H1.value).alias("timeframe"),
                ((pl.col("settled") + MINUTE_MS // 2) // MINUTE_MS * MINUTE_MS * 1000).cast(TIME).alias("open_time"),
                "rate",
            )
            cursor = rows[-1][0] + 1


def _news(answer: Sequence[Sequence[Any]], cursor: int, symbol: str) -> list[Sequence[Any]]:
    """The rows of an answer from the cursor on; they must step forward, each with a time, four prices and a volume."""
    malformed = next((row for row in answer if len(row) < ROW_WIDTH or not isinstance(row[0], int)), None)
    if malformed is not None:
        raise ContractBroken(f"Expected candles of {symbol} as [milliseconds, open, high, low, close, volume], found {malformed}. Check the venue's interface.")
    rows = [row for row in answer if row[0] >= cursor]
    backwards = next(((a[0], b[0]) for a, b in pairwise(rows) if b[0] <= a[0]), None)
    if backwards is not None:
        first, second = map(_instant, backwards)
        raise ContractBroken(f"Expected candles of {symbol} to step forward in time, found {second} after {first}. Ask the venue again.")
    return rows


def _frame(rows: Sequence[Sequence[Any]], symbol: str, timeframe: Timeframe) -> pl.DataFrame:
    """A raw bars frame; a number the venue left out becomes null, for the gate to see."""
    times, *numbers = zip(*(row[:ROW_WIDTH] for row in rows), strict=True)
    named = dict(zip(NUMBERS, numbers, strict=True))
    return pl.DataFrame({"open_time": times, **named}, schema={"open_time": pl.Int64, **dict.fromkeys(NUMBERS, pl.Float64)}, strict=False).select(
        pl.lit(symbol).alias("symbol"),
        pl.lit(timeframe.value).alias("timeframe"),
        (pl.col("open_time") * 1000).cast(TIME),
        *NUMBERS,
    )


def _instrument(market: dict[str, Any]) -> Instrument:
    least = Decimal(str(market["limits"].get("cost", {}).get("min") or 0))
    return Instrument(
        symbol=market["symbol"],
        base=market["base"],
        quote=market["quote"],
        tick=_exact(market["precision"]["price"], market["symbol"], "price step"),
        lot=_exact(market["precision"]["amount"], market["symbol"], "amount step"),
        # Unknown, by whatever word, is none: what is too little is then the exchange's to refuse.
        min_notional=least if least.is_finite() else Decimal(0),
    )


def _exact(step: float | str | None, symbol: str, what: str) -> Decimal:
    value = Decimal(0) if step is None else Decimal(str(step))
    if not value.is_finite() or value <= 0:
        raise ContractBroken(f"Expected a {what} above 0 for {symbol}, found {step}. Leave the symbol out, or check the venue's exchange information.")
    return value


def _milliseconds(instant: datetime) -> int:
    return (instant - EPOCH) // MILLISECOND


def _instant(milliseconds: int) -> datetime:
    return EPOCH + timedelta(milliseconds=milliseconds)
