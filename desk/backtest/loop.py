"""The accounting loop of the kernel, in plain Python that numba compiles.

The same events in the same order as a session with a simulated venue: settle at the open, mark at the close, size, judge. Every formula
is the desk's own (sizing, guards, fills, costs). Cash is kept in two floats, so that a million fills leave it as exact as Decimal does
and a floor in sizing can never fall the other way. What is asked of every bar stands in `play`; what happens at a fill may take its time.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from desk.backtest.outlook import SHORTFALL, Outlook
from desk.costs import fee
from desk.execution.fills import fill_lots, fill_ticks, ration_into
from desk.risk.guards import Limits, Stake, Standing, check, daily_floor, drawdown_floor
from desk.risk.shortfall import admit
from desk.strategy.sizing import fixed_lots, order_lots

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = NDArray[np.void]  # structured: one record per asset, fill or refusal
Holding = Any  # one row of a book: a record to numba, np.void to Python

_SPLITTER = 134_217_729.0  # 2**27 + 1, halves a 53-bit significand (Dekker 1971)

# One row per asset: its grid (lot in base, tick and smallest order in quote, value of one tick on one lot in two floats), the position in
# signed lots, the last close, the waiting order in signed lots, scratch for a round of buys, and a code that forbids the position to grow (0: may).
BOOK = np.dtype(
    [(name, np.float64) for name in ("lot", "tick", "min_notional", "value", "value_rest", "last_close", "unit_cost")]
    + [(name, np.int64) for name in ("lots", "order", "wanted", "granted", "ticks", "veto")]
)
# A fill: where and when (row, asset), signed lots, price in ticks. A refusal: where and when, code of the guard.
FILL = np.dtype([("row", np.int32), ("asset", np.int32), ("lots", np.int64), ("ticks", np.int64)])
REFUSAL = np.dtype([("row", np.int32), ("asset", np.int32), ("guard", np.int64)])
# What `Account.counts` counts.
FILLS, REFUSALS, EXCESSES, ASKED = range(4)
# After so many bars the curve is summed up: what was just written is near, and would have to come from afar at the end.
AT_HAND = 2048
# Turns ahead of which memory is asked what they will fill at.
TURNS_AHEAD = 4
# Rows ahead for which memory is asked, and floats that come at once.
_AHEAD, _LINE = 8, 8


class Line(NamedTuple):
    """What a single asset without gaps trades at, and its exposures [time], and these as the integers of the same bits. Empty for any other market.

    Scratch: the rows at which exposures turn into others, then some that never come; which of them is next.
    """

    open: Floats
    close: Floats
    volume: Floats
    targets: Floats
    bits: Ints
    turns: Ints
    turn: Ints


class Market(NamedTuple):
    """Read only: prices and volumes [time, asset], NaN where there is no bar (`dense`: nowhere), exposures `targets` [time, asset].

    `new_days`: the rows at which a UTC day begins, then one that never comes.
    """

    open: Floats
    close: Floats
    volume: Floats
    targets: Floats
    new_days: Ints
    dense: bool
    line: Line


class Rules(NamedTuple):
    """Sizing, costs and limits. `fixed_units` in base units, 0 sizes by weight; `fee_rate_rest` is what the float loses of the Decimal it stands for."""

    share: float
    band: float
    fixed_units: float
    half_spread_bps: float
    impact_bps: float
    participation_cap: float
    fee_rate: float
    fee_rate_rest: float
    limits: Limits
    max_drawdown: float
    max_daily_loss: float


class Account(NamedTuple):
    """What a fill changes: the book, the positions in base units, cash in two floats (quote), and the records, of which `counts` says how many there are.

    `asked`: which assets have an order waiting, ascending.
    """

    book: Rows
    position: Floats
    cash: Floats
    fills: Rows
    refusals: Rows
    counts: Ints
    asked: Ints


class Run(NamedTuple):
    """Everything one run reads and writes. Written besides the account: `equity` [time] in quote, and the final tally in `sums`."""

    market: Market
    account: Account
    rules: Rules
    equity: Floats
    sums: Floats


class Marks(NamedTuple):
    """What the risk rules remember: the peak, the equity at which it counts as fallen, the least share of a peak that was kept; how many days
    began, when the next one does, the equity at which this one counts as lost; two latches."""

    peak: float
    floor: float
    kept: float
    days: int
    next_day: int
    day_floor: float
    reducing: bool
    day_reducing: bool


class Quotes(NamedTuple):
    """The part of a market that a settlement asks, [time, asset]."""

    open: Floats
    close: Floats
    volume: Floats


def play(run: Run) -> None:
    """Play the exposures (NaN: no order) through the market into the records."""
    # Taken out of their tuples once: every access in the loop would count references. For the same reason few arrays travel to where fills happen.
    market, account, rules, curve = run.market, run.account, run.rules, run.equity
    close, targets, dense, new_days = market.close, market.targets, market.dense, market.new_days
    book, position, cash, units = account.book, account.position, account.cash, rules.fixed_units
    marks, counts, asked = unmarked(new_days), account.counts, account.asked
    for row in range(len(close)):
        traded = dense or has_bar(close, row)
        if counts[ASKED] > 0 and traded:
            settle(Quotes(market.open, close, market.volume), account, rules, row)
        if not dense:
            note_closes(close, row, book)
        equity = equity_at(cash[0], position, close[row]) if dense else equity_at(cash[0], position, book["last_close"])
        curve[row] = equity
        if not traded:
            continue
        marks = remember(marks, equity, row, new_days, rules)
        fetch_ahead(market, row + _AHEAD)
        left = opinions(targets[row], position, units)
        for asset in range(len(position)):
            if left == 0:
                break
            exposure = targets[row, asset]
            if not has_opinion(exposure, position[asset], units):
                continue
            left -= 1
            order = wish(exposure, close[row, asset], book[asset], rules, equity)
            book[asset]["order"] = order
            if order != 0:
                asked[counts[ASKED]] = asset
                counts[ASKED] += 1
            if exposure > 1 or exposure < -1:
                counts[EXCESSES] += 1
        if counts[ASKED] > 0:
            note_closes(close, row, book)
            judge(account, rules, row, Standing(equity, 0.0, 0.0, 0, marks.reducing, marks.day_reducing))
    tally(curve, run.sums, 0, len(curve))
    conclude(run, marks)


def unmarked(new_days: Ints) -> Marks:
    """The marks before the first equity."""
    return Marks(-math.inf, -math.inf, 1.0, 0, new_days[0], 0.0, False, False)


def equity_at(cash: float, position: Floats, prices: Floats) -> float:
    """Cash and positions at these prices, summed in the order of the assets."""
    equity = cash
    for asset in range(len(position)):
        equity += position[asset] * prices[asset]
    return equity


def fetch_ahead(market: Market, row: int) -> None:
    """Ask memory for what orders of the row before may fill at: few rows need it, and those would wait."""
    assets = market.open.shape[1]
    for place in range(row * assets, (row + 1) * assets, _LINE):
        fetch(market.open, place)
        fetch(market.volume, place)


def opinions(targets: Floats, position: Floats, units: float) -> int:
    """How many assets may want something else than what is held. Most bars ask for what is held: counted without a branch, many assets at once."""
    found = 0
    for asset in range(len(position)):
        found += has_opinion(targets[asset], position[asset], units)
    return found


def has_opinion(exposure: float, held: float, units: float) -> bool:
    """Whether an exposure may be something else than what is held (base). NaN is not."""
    return abs(exposure * units - held) > 0 if units > 0 else abs(exposure) > 0 or abs(held) > 0


def has_bar(close: Floats, row: int) -> bool:
    """Whether anything traded: a row without a bar is no event, and orders wait on."""
    for asset in range(close.shape[1]):  # noqa: SIM110 - numba compiles no generators into any()
        if not math.isnan(close[row, asset]):
            return True
    return False


def note_closes(close: Floats, row: int, book: Rows) -> None:
    """Remember the closes of this row. Without a bar the last one before it stays (0 before the first)."""
    for asset in range(len(book)):
        if not math.isnan(close[row, asset]):
            book[asset]["last_close"] = close[row, asset]


def remember(before: Marks, equity: float, row: int, new_days: Ints, rules: Rules) -> Marks:
    """The marks after `equity` was seen. The drawdown latch never opens again, the daily one at the next UTC day."""
    days, day_floor, day_reducing = before.days, before.day_floor, before.day_reducing
    if row >= before.next_day:
        day_floor, day_reducing = daily_floor(equity, rules.max_daily_loss), False
        while row >= new_days[days]:
            days += 1
    peak, floor, reducing, kept = before.peak, before.floor, before.reducing, before.kept
    if equity > peak:
        peak, floor = equity, drawdown_floor(equity, rules.max_drawdown)
    elif equity < peak * kept:
        kept = equity / peak
    reducing = reducing or equity <= floor
    return Marks(peak, floor, kept, days, new_days[days], day_floor, reducing, day_reducing or equity <= day_floor)


def wish(exposure: float, close: float, holding: Holding, rules: Rules, equity: float) -> int:
    """The order, in signed lots, that leads to an exposure. None without a bar or an opinion."""
    if math.isnan(exposure) or math.isnan(close):
        return 0
    if rules.fixed_units > 0:
        return fixed_lots(exposure * rules.fixed_units, holding["lots"], close, holding["lot"], holding["min_notional"])
    return order_lots(exposure * rules.share, holding["lots"], equity, close, holding["lot"], holding["min_notional"], rules.band)


def judge(account: Account, rules: Rules, row: int, standing: Standing, outlook: Outlook | None = None) -> None:
    """Strike out what the guards refuse, sells first. The sums of `standing` are made here."""
    book, counts, gross, net, sent = account.book, account.counts, 0.0, 0.0, 0
    for asset in range(len(book)):
        worth = account.position[asset] * book[asset]["last_close"]
        gross += abs(worth)
        net += worth
    for sign in (-1, 1):
        for asset in account.asked[: counts[ASKED]]:
            delta, held = book[asset]["order"], book[asset]["lots"]
            if delta * sign <= 0:
                continue
            close, lot = book[asset]["last_close"], book[asset]["lot"]
            before = Standing(standing.equity, gross, net, sent, standing.reducing, standing.day_reducing)
            stake = Stake(delta, held, close, lot)
            code = check(stake, before, rules.limits)
            if code == 0 and book[asset]["veto"] != 0 and abs(held + delta) >= abs(held):
                code = book[asset]["veto"]
            if code == 0 and outlook is not None and not admit(outlook.prospect, asset, stake, before.equity):
                code = SHORTFALL
            if code == 0:
                gross += (abs(held + delta) - abs(held)) * lot * close
                net += delta * lot * close
                # A bar is never shorter than a minute: the orders of this minute are those of this bar.
                sent += 1
            else:
                book[asset]["order"] = 0
                refusal = account.refusals[counts[REFUSALS]]
                refusal["row"], refusal["asset"], refusal["guard"] = row, asset, code
                counts[REFUSALS] += 1
    keep_asked(account)


def keep_asked(account: Account) -> None:
    """Forget the assets whose order was struck out."""
    kept = 0
    for number in range(account.counts[ASKED]):
        asset = account.asked[number]
        if account.book[asset]["order"] != 0:
            account.asked[kept] = asset
            kept += 1
    account.counts[ASKED] = kept


def settle(quotes: Quotes, account: Account, rules: Rules, row: int) -> None:
    """Execute what waits at this row's opens: sells, then the buys that the cash carries. What does not fill dies."""
    book, total = account.book, 0.0
    for asset in account.asked[: account.counts[ASKED]]:
        order, lot = book[asset]["order"], book[asset]["lot"]
        book[asset]["order"], book[asset]["wanted"], book[asset]["unit_cost"] = 0, 0, 0.0
        if order == 0 or math.isnan(quotes.close[row, asset]):
            continue
        volume = quotes.volume[row, asset]
        lots = fill_lots(abs(order), volume, lot, rules.participation_cap)
        if lots == 0:
            continue
        sign, participation = (1 if order > 0 else -1), lots * lot / volume
        ticks = fill_ticks(quotes.open[row, asset], book[asset]["tick"], sign, rules.half_spread_bps, rules.impact_bps, participation)
        if sign < 0:
            execute(account, rules, row, asset, (-lots, ticks))
        else:
            unit_cost = ticks * book[asset]["tick"] * lot * (1.0 + rules.fee_rate)
            book[asset]["wanted"], book[asset]["ticks"], book[asset]["unit_cost"] = lots, ticks, unit_cost
            total += lots * unit_cost
    if total > 0:
        buy(account, rules, row, total)
    account.counts[ASKED] = 0


def buy(account: Account, rules: Rules, row: int, total: float) -> None:
    """Execute the buys of this row, which together would cost `total` (quote)."""
    book = account.book
    # Where the cash carries all, everyone gets all: no need to ask.
    enough = total <= account.cash[0]
    if not enough:
        ration_into(book["granted"], book["wanted"], book["unit_cost"], account.cash[0])
    for asset in account.asked[: account.counts[ASKED]]:
        lots = book[asset]["wanted"] if enough else book[asset]["granted"]
        book[asset]["wanted"], book[asset]["unit_cost"] = 0, 0.0
        if lots > 0:
            execute(account, rules, row, asset, (lots, book[asset]["ticks"]))


def execute(account: Account, rules: Rules, row: int, asset: int, deal: tuple[int, int]) -> None:
    """Book one fill, `deal` = (signed lots, price in ticks), and write it down."""
    lots, ticks = deal
    holding, fill, cash = account.book[asset], account.fills[account.counts[FILLS]], account.cash
    fill["row"], fill["asset"], fill["lots"], fill["ticks"] = row, asset, lots, ticks
    account.counts[FILLS] += 1
    holding["lots"] += lots
    account.position[asset] = holding["lots"] * holding["lot"]
    cash[0], cash[1] = paid((cash[0], cash[1]), deal, (holding["value"], holding["value_rest"]), rules)


def paid(cash: tuple[float, float], deal: tuple[int, int], value: tuple[float, float], rules: Rules) -> tuple[float, float]:
    """The cash after a fill; `value` of one tick on one lot. All in two floats."""
    lots, ticks = deal
    steps, steps_rest = exact_product(float(abs(lots)), float(ticks))
    notional, notional_rest = exact_product(steps, value[0])
    notional_rest += steps_rest * value[0] + steps * value[1]
    charge = fee(notional, rules.fee_rate)
    # What the float product above lost of the Decimal fee.
    charge_rest = exact_product(notional, rules.fee_rate)[1] + notional_rest * rules.fee_rate + notional * rules.fee_rate_rest
    sign = 1.0 if lots > 0 else -1.0
    return exact_sum(exact_sum(cash, -sign * notional, -sign * notional_rest), -charge, -charge_rest)


def fetch(array: Floats, place: int) -> None:
    """Ask memory for a value before it is wanted. Compiled, an instruction that changes nothing; in Python nothing at all."""


def tally(curve: Floats, sums: Floats, first: int, last: int) -> int:
    """Add the bars from `first` on, before `last`, to the sums of `conclude`; `last`. The return of a bar is that since the one before."""
    total = squares = losses_squared = losses = level = 0.0
    ups = downs = nothing = 0
    first = max(first, 1)
    # Parts of arrays, not rows of a whole: only so does the compiler know that no row is counted from the end, and take eight at a time.
    before, after = curve[first - 1 : last - 1], curve[first:last]
    for bar in range(len(after)):
        change = after[bar] / before[bar] - 1
        loss = min(change, 0.0)
        total += change
        squares += change * change
        losses_squared += loss * loss
        losses -= loss
        ups += change > 0
        downs += change < 0
        nothing += before[bar] == 0
        level += after[bar]
    sums[0] += total
    sums[1] += squares
    sums[2] += losses_squared
    sums[3] += nothing
    sums[4] += losses
    sums[5] += ups
    sums[6] += downs
    sums[8] += level
    return last


def conclude(run: Run, marks: Marks) -> None:
    """Write down the sums of the returns between marks in the order of `desk.backtest.summary`. A return from 0 is undefined, and so is every sum after it.

    The sums are of the returns, their squares, the losses' squares, gains, losses, then how many gains and losses; then the largest drawdown,
    the marks themselves, and what was traded (quote).
    """
    curve, sums, book, fills = run.equity, run.sums, run.account.book, run.account.fills
    if sums[3] > 0:
        sums[0], sums[1], sums[2], sums[4] = math.nan, math.nan, math.nan, math.nan
        sums[5], sums[6] = 0.0, 0.0
    sums[3], sums[7] = sums[0] + sums[4], 1 - marks.kept
    sums[8] += curve[0]
    for number in range(run.account.counts[FILLS]):
        holding, fill = book[fills[number]["asset"]], fills[number]
        sums[9] += abs(fill["lots"]) * holding["lot"] * (fill["ticks"] * holding["tick"])


def exact_product(left: float, right: float) -> tuple[float, float]:
    """The rounded product of two floats and what the rounding lost (Dekker 1971, two-product)."""
    product = left * right
    shifted = _SPLITTER * left
    left_high = shifted - (shifted - left)
    shifted = _SPLITTER * right
    right_high = shifted - (shifted - right)
    left_low, right_low = left - left_high, right - right_high
    lost = ((left_high * right_high - product) + left_high * right_low + left_low * right_high) + left_low * right_low
    return product, lost


def exact_sum(total: tuple[float, float], amount: float, rest: float) -> tuple[float, float]:
    """The sum of a total and an amount, each in two floats (Knuth 1969, two-sum). The first float is the nearest to it."""
    high = total[0] + amount
    part = high - total[0]
    low = (total[0] - (high - part)) + (amount - part) + total[1] + rest
    nearest = high + low
    return nearest, low - (nearest - high)
