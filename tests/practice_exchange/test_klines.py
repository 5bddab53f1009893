"""Klines against a plain reading of the rules, for any range, any length and any market time - and against a tape whose future was changed."""

from __future__ import annotations

import json
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from configs.trading import CostSettings
from configs.vocabulary import Timeframe
from desk.practice_exchange.dialects.binance.market import INTERVALS_MS, Market, Range
from desk.practice_exchange.exchange import Exchange
from desk.practice_exchange.journal import Journal
from desk.practice_exchange.synthetic import SyntheticMarket
from desk.practice_exchange.tape import Candles, Tape

SYMBOL = "BTC/USDT"
HOUR_MS = Timeframe.H1.milliseconds
TAPE = SyntheticMarket(2, (SYMBOL,), Timeframe.H1, 1_672_531_200_000, 220, 12).tape()

instants = st.none() | st.integers(TAPE.starts_at_ms - 5 * HOUR_MS, TAPE.ends_at_ms + 5 * HOUR_MS)


def market(tape: Tape, steps: int) -> Market:
    exchange = Exchange(tape, CostSettings(), Journal(None), speed=0.0, deposits={})
    for _ in range(steps):
        exchange.step()
    return Market(exchange)


def expected(now_ms: int, step_ms: int, asked: Range) -> list[tuple[int, float, float, float, float, float]]:
    """The rules, read plainly: group what is visible, keep what is in the range, take the oldest after a start, else the newest."""
    groups: dict[int, list[tuple[float, ...]]] = {}
    candles = TAPE.candles[SYMBOL]
    for opened, first, high, low, close, volume in zip(*(column.tolist() for column in candles.columns()), strict=True):
        if opened < now_ms:
            groups.setdefault(opened - opened % step_ms, []).append((first, high, low, close, volume))
        elif opened == now_ms:
            groups.setdefault(opened - opened % step_ms, []).append((first, first, first, first, 0.0))
    rows = [(key, bars[0][0], max(b[1] for b in bars), min(b[2] for b in bars), bars[-1][3], sum(b[4] for b in bars)) for key, bars in sorted(groups.items())]
    found = [row for row in rows if (asked.since_ms is None or row[0] >= asked.since_ms) and (asked.until_ms is None or row[0] <= asked.until_ms)]
    return found[: asked.limit] if asked.since_ms is not None else found[-asked.limit :]


@settings(max_examples=150)
@given(st.integers(0, 14), st.sampled_from(["1h", "2h", "4h", "1d"]), instants, instants, st.integers(1, 1000))
def test_klines_are_what_the_rules_say(steps: int, interval: str, since_ms: int | None, until_ms: int | None, limit: int) -> None:
    asked = Range(since_ms, until_ms, limit)
    now_ms = min(TAPE.history_until_ms + steps * HOUR_MS, TAPE.ends_at_ms)

    rows = json.loads(market(TAPE, steps).klines(SYMBOL, interval, asked))

    wanted = expected(now_ms, INTERVALS_MS[interval], asked)
    assert [row[0] for row in wanted] == [row[0] for row in rows]
    for plain, row in zip(wanted, rows, strict=True):
        assert list(plain[1:5]) == [float(text) for text in row[1:5]]
        assert plain[5] == pytest.approx(float(row[5]), abs=1e-6)
        assert row[0] + INTERVALS_MS[interval] - 1 == row[6]


def changed_after(candles: Candles, now_ms: int) -> Candles:
    """The same candles with another future: of the forming bar the open and the volume stay, which set today's price and liquidity."""
    ahead, forming = candles.times >= now_ms, candles.times == now_ms
    opens = np.where(ahead & ~forming, candles.open * 2, candles.open)
    others = (np.where(ahead, column * 2, column) for column in (candles.high, candles.low, candles.close))
    return Candles(candles.times, opens, *others, np.where(ahead & ~forming, candles.volume * 3, candles.volume))


@pytest.mark.parametrize("steps", [0, 1, 7, 11])
def test_no_answer_depends_on_the_future(steps: int) -> None:
    now_ms = TAPE.history_until_ms + steps * HOUR_MS
    other = replace(TAPE, candles={SYMBOL: changed_after(TAPE.candles[SYMBOL], now_ms)})

    ours, theirs = market(TAPE, steps), market(other, steps)

    for interval in ("1h", "4h", "1d"):
        assert ours.klines(SYMBOL, interval, Range(None, None, 1000)) == theirs.klines(SYMBOL, interval, Range(None, None, 1000))
    assert ours.trades(SYMBOL, Range(None, None, 1000), None) == theirs.trades(SYMBOL, Range(None, None, 1000), None)
    assert (ours.day(SYMBOL), ours.levels(SYMBOL), ours.last_price(SYMBOL)) == (theirs.day(SYMBOL), theirs.levels(SYMBOL), theirs.last_price(SYMBOL))


@given(st.integers(0, 12), instants, instants, st.integers(1, 1000), st.none() | st.integers(0, 1000))
def test_trades_are_in_order_within_the_range_and_never_of_an_open_bar(
    steps: int, since_ms: int | None, until_ms: int | None, limit: int, first: int | None
) -> None:
    found = market(TAPE, steps).trades(SYMBOL, Range(since_ms, until_ms, limit), first)

    ids = [each.id for each in found]
    assert sorted(set(ids)) == ids
    assert len(found) <= limit
    assert all(each.at_ms < TAPE.history_until_ms + steps * HOUR_MS for each in found)
    if first is None:
        assert all(Range(since_ms, until_ms, limit).holds(each.at_ms) for each in found)
