"""The loop for accounts that ask more of a venue: stops, gains, contracts on margin, orders that go on, a collar.

The same accounting as `desk.backtest.loop`, whose functions do most of it; compiled apart, so that who needs none of this pays for none of it. Inside a
bar things happen in this order: market orders at the open (coins, then contracts), stops and gains, funding, forced closes; then the close is marked
and decided upon. Every formula is the desk's own.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from desk.backtest.line_loop import Stretch, find_turns, glide, quiet_until
from desk.backtest.loop import (
    ASKED,
    AT_HAND,
    EXCESSES,
    FILLS,
    REFUSALS,
    Account,
    Floats,
    Holding,
    Ints,
    Market,
    Quotes,
    Rows,
    Rules,
    Run,
    conclude,
    exact_product,
    exact_sum,
    execute,
    fetch,
    has_bar,
    judge,
    note_closes,
    remember,
    settle,
    tally,
    unmarked,
    wish,
)
from desk.backtest.outlook import Outlook, look
from desk.costs import fee
from desk.execution.fills import fill_lots, fill_ticks, impact_share
from desk.execution.levels import Levels, gain_level, stop_level
from desk.execution.perpetual import doomed, funding_units, margined_lots
from desk.risk.guards import Standing

# Of each asset: the tick's rest, average entry price in two floats, close before the last, the last exposure asked for; the resting stop: its ticks, its
# gain's (0: none) and the signed lots it protects; whether something closed the position in this bar, whether it lacks a stop, lots filled in this bar,
# what is left of the waiting order, whether it is a contract.
STATE = np.dtype(
    [(name, np.float64) for name in ("tick_rest", "entry", "entry_rest", "before", "wish")]
    + [(name, np.int64) for name in ("stop", "gain", "guarded", "hit", "bare", "taken", "asked", "contract")]
)
# Funding: where and when, units of 1e-8 quote paid.
PAYMENT = np.dtype([("row", np.int32), ("asset", np.int32), ("units", np.int64)])
# How a fill came about.
MARKET, STOP, GAIN, FORCED = range(4)
# Codes of refusals beyond the guards of desk.risk.guards.
COLLAR, PROTECTION = 8, 9
_NEAR = 1e-9
# Bars looked at together.
_BLOCK = 32
_UNIT, _UNIT_REST = 1e-8, -2.092256083012847e-25  # 1e-8 in two floats


class Terms(NamedTuple):
    """What this venue does besides. `line_high` and `line_low` are those of a single asset [time]; `due` are the rows at whose end funding
    is, then one that never comes, `funding` the rates there [due, asset]; `resting` and `forced` are the rules with those orders' fee.
    """

    high: Floats
    low: Floats
    line_high: Floats
    line_low: Floats
    funding: Floats
    due: Ints
    levels: Levels
    collar: float
    carries: bool
    leverage: float
    maintenance: float
    resting: Rules
    forced: Rules


class Besides(NamedTuple):
    """What is remembered and recorded besides: the state, how each fill came about, funding paid, how often and which of `Terms.due` is next, and all fees
    (quote).
    """

    state: Rows
    kinds: NDArray[np.int8]
    payments: Rows
    paid: Ints
    fees: Floats


def play_all(run: Run, terms: Terms, besides: Besides) -> None:
    """Play the exposures (NaN: no order) through the market into the records."""
    walk(run, terms, besides, None)


def play_careful(run: Run, terms: Terms, besides: Besides, outlook: Outlook) -> None:
    """The same under a limit on expected shortfall; compiled apart, so that who has none does not pay for it."""
    walk(run, terms, besides, outlook)


def walk(run: Run, terms: Terms, besides: Besides, outlook: Outlook | None) -> None:
    """One bar after the other."""
    market, account, rules, curve = run.market, run.account, run.rules, run.equity
    close, targets, new_days, book, state = market.close, market.targets, market.new_days, account.book, besides.state
    marks, line = unmarked(new_days), market.line
    counts, row, alone, told, contracts = account.counts, -1, len(line.close) > 0, 0, contracts_of(state)
    if alone and rules.fixed_units > 0:
        find_turns(line)
    while row + 1 < len(close):
        row += 1
        if alone and counts[ASKED] == 0:
            stretch = Stretch(line, curve, row, account.cash[0], account.position[0])
            first, last = row, quiet_until(stretch, min(len(close), marks.next_day), rules)
            # What orders and stops fill at is far away in memory: it comes while the bars before are marked.
            fetch(terms.line_high, last + 1)
            fetch(terms.line_low, last + 1)
            last = calm_until(run, terms, besides, row, last)
            fetch(line.open, last)
            fetch(line.volume, last)
            row, marks = glide(stretch, last, marks, new_days, rules)
            if row > first:
                book[0]["last_close"] = line.close[row - 1]
            told = tally(curve, run.sums, told, row) if row - told >= AT_HAND else told
            if row >= len(close):
                break
        traded = market.dense or has_bar(close, row)
        if traded:
            begin(market, account, state, row)
            if counts[ASKED] > 0:
                trade(market, run, terms, besides, row)
            close_resting(market, run, terms, besides, row)
            note_closes(close, row, book)
            if contracts > 0:
                carry_margin(run, terms, besides, row)
        equity = account.cash[0]
        for asset in range(len(book)):
            equity += account.position[asset] * book[asset]["last_close"]
        curve[row] = equity
        if not traded:
            continue
        marks = remember(marks, equity, row, new_days, rules)
        for asset in range(len(book)):
            ask(targets[row, asset], close[row, asset], book[asset], state[asset], (rules, terms, equity))
            if book[asset]["order"] != 0:
                account.asked[counts[ASKED]] = asset
                counts[ASKED] += 1
            if targets[row, asset] > 1 or targets[row, asset] < -1:
                counts[EXCESSES] += 1
        if outlook is not None:
            look(outlook, close, row, book)
        judge(account, rules, row, Standing(equity, 0.0, 0.0, 0, marks.reducing, marks.day_reducing), outlook)
        for asset in range(len(book)):
            state[asset]["asked"] = book[asset]["order"]
            protect(account, terms, state[asset], row, asset)
    tally(curve, run.sums, told, len(curve))
    conclude(run, marks)
    charge(run, terms, besides)


def contracts_of(state: Rows) -> int:
    """How many assets are contracts."""
    found = 0
    for asset in range(len(state)):
        found += state[asset]["contract"] != 0
    return found


def charge(run: Run, terms: Terms, besides: Besides) -> None:
    """Sum the fees: a gain pays the maker's, a forced close the liquidator's besides."""
    book, fills, total = run.account.book, run.account.fills, 0.0
    for number in range(run.account.counts[FILLS]):
        holding, fill, kind = book[fills[number]["asset"]], fills[number], besides.kinds[number]
        rate = terms.resting.fee_rate if kind == GAIN else terms.forced.fee_rate if kind == FORCED else run.rules.fee_rate
        total += fee(abs(fill["lots"]) * holding["lot"] * (fill["ticks"] * holding["tick"]), rate)
    besides.fees[0] = total


def calm_until(run: Run, terms: Terms, besides: Besides, row: int, end: int) -> int:
    """The first bar from `row` on, before `end`, that reaches a stop or a gain, moves one, pays funding or comes close to a forced close; of one asset."""
    own, holding, held = besides.state[0], run.account.book[0], run.account.position[0]
    if held == 0:
        return end
    if terms.levels.trail > 0:
        return row
    if own["guarded"] != 0:
        stop, gain = price_of(own["stop"], holding, own), price_of(own["gain"], holding, own)
        gain = gain if own["gain"] > 0 else (math.inf if held > 0 else 0.0)
        low, high = terms.line_low[row:end], terms.line_high[row:end]
        end = row + (out_of_reach(low, high, stop, gain, 1.0) if held > 0 else out_of_reach(high, low, stop, gain, -1.0))
    return solvent_until(run, terms, besides, row, end) if own["contract"] != 0 else end


def out_of_reach(near: Floats, far: Floats, stop: float, gain: float, sign: float) -> int:
    """How many bars pass before the first that reaches the stop of a long position (`sign` 1; `near` are lows, `far` highs) or passes its gain; of a
    short one (-1) the other way round.
    """
    for first in range(0, len(near), _BLOCK):
        # Counted without a branch, in parts of arrays: only so does the compiler know that no bar is counted from the end, and take many at once.
        some_near, some_far, reached = near[first : first + _BLOCK], far[first : first + _BLOCK], 0
        for bar in range(len(some_near)):
            reached += (sign * some_near[bar] <= sign * stop) | (sign * some_far[bar] > sign * gain)
        if reached > 0:
            return first + first_reached(some_near, some_far, stop, gain, sign)
    return len(near)


def first_reached(near: Floats, far: Floats, stop: float, gain: float, sign: float) -> int:
    """The first bar of those that `out_of_reach` asks for, of which there is one."""
    bar = 0
    while sign * near[bar] > sign * stop and sign * far[bar] <= sign * gain:
        bar += 1
    return bar


def solvent_until(run: Run, terms: Terms, besides: Besides, row: int, end: int) -> int:
    """The first bar from `row` on, before `end`, at which the one contract pays funding, or comes close to be closed by force."""
    held, cash, close = run.account.position[0], run.account.cash[0], run.market.line.close
    end = min(end, next_due(terms, besides, row))
    # Twice the maintenance margin is far enough not to ask exactly: equity above that share of the position, solved for the close.
    worth = held - 2 * terms.maintenance * abs(held)
    if worth > 0 and cash >= 0:
        return end
    bound, last = -cash / worth if worth != 0 else math.inf, row
    if worth > 0:
        while last < end and close[last] > bound * (1 + _NEAR):
            last += 1
    elif worth < 0:
        while last < end and close[last] < bound * (1 - _NEAR):
            last += 1
    return last


def begin(market: Market, account: Account, state: Rows, row: int) -> None:
    """A new bar: nothing of it is taken, and what closed last is what closed before."""
    for asset in range(len(state)):
        state[asset]["hit"], state[asset]["taken"] = 0, 0
        close, last = market.close[row, asset], account.book[asset]["last_close"]
        if not math.isnan(close):
            state[asset]["before"] = last if last > 0 else close


def trade(market: Market, run: Run, terms: Terms, besides: Besides, row: int) -> None:
    """Execute what waits at this row's opens: coins as cash allows, then contracts as margin allows."""
    account, rules, state = run.account, run.rules, besides.state
    first, contracts = account.counts[FILLS], 0
    for asset in range(len(state)):
        if state[asset]["contract"] != 0:
            contracts += 1
            account.book[asset]["order"] = 0
    if contracts < len(state):
        settle(Quotes(market.open, market.close, market.volume), account, rules, row)
        for number in range(first, account.counts[FILLS]):
            fill = account.fills[number]
            note_fill(account, besides, number, MARKET)
            state[fill["asset"]]["asked"] -= fill["lots"]
    account.counts[ASKED] = 0
    if contracts == 0:
        return
    for sign in (-1, 1):
        for asset in range(len(state)):
            if state[asset]["contract"] != 0 and state[asset]["asked"] * sign > 0 and not math.isnan(market.close[row, asset]):
                trade_contract(market, run, terms, besides, (row, asset))


def trade_contract(market: Market, run: Run, terms: Terms, besides: Besides, place: tuple[int, int]) -> None:
    """Execute the order for one contract at its open: what closes, and what margin carries of the rest."""
    (row, asset), account, rules = place, run.account, run.rules
    holding, own, open_, volume = account.book[asset], besides.state[asset], market.open[row, asset], market.volume[row, asset]
    sign, lot = (1 if own["asked"] > 0 else -1), holding["lot"]
    lots = fill_lots(abs(own["asked"]), volume, lot, rules.participation_cap)
    if lots == 0:
        return
    ticks = fill_ticks(open_, holding["tick"], sign, rules.half_spread_bps, rules.impact_bps, lots * lot / volume)
    equity, gross = account.cash[0], 0.0
    for other in range(len(account.book)):
        price = market.open[row, other]
        value = account.position[other] * (account.book[other]["last_close"] if math.isnan(price) else price)
        equity += value
        if besides.state[other]["contract"] != 0:
            gross += abs(value)
    lots = margined_lots(lots, holding["lots"], sign, terms.leverage * equity - gross, lot * open_)
    if lots > 0:
        execute(account, rules, row, asset, (sign * lots, ticks))
        note_fill(account, besides, account.counts[FILLS] - 1, MARKET)
        own["asked"] -= sign * lots


def close_resting(market: Market, run: Run, terms: Terms, besides: Besides, row: int) -> None:
    """Execute the stops and gains that this row's bars reach; of a bar that reaches both, the stop."""
    for asset in range(len(besides.state)):
        own, holding = besides.state[asset], run.account.book[asset]
        if own["guarded"] == 0 or math.isnan(market.close[row, asset]):
            continue
        sign = -1 if own["guarded"] > 0 else 1
        high, low, open_ = terms.high[row, asset], terms.low[row, asset], market.open[row, asset]
        stop, gain = price_of(own["stop"], holding, own), price_of(own["gain"], holding, own)
        if sign * ((high if sign > 0 else low) - stop) >= 0:
            price, kind = (open_ if sign * (open_ - stop) >= 0 else stop), STOP
        elif own["gain"] > 0 and sign * (gain - (low if sign > 0 else high)) > 0:
            price, kind = gain, GAIN
        else:
            continue
        close_position(run, terms, besides, (row, asset), (market.volume[row, asset], price, kind))


def close_position(run: Run, terms: Terms, besides: Besides, place: tuple[int, int], reached: tuple[float, float, int]) -> None:
    """Execute a stop or a gain: what is held of what it protects, as far as the bar's volume goes."""
    (row, asset), (volume, price, kind), account = place, reached, run.account
    own, holding, rules = besides.state[asset], account.book[asset], run.rules
    sign, lot = (-1 if own["guarded"] > 0 else 1), holding["lot"]
    wanted = min(abs(own["guarded"]), max(-sign * holding["lots"], 0))
    lots = fill_lots(wanted, volume, lot, rules.participation_cap, own["taken"])
    if lots == 0:
        return
    if kind == GAIN:
        execute(account, terms.resting, row, asset, (sign * lots, own["gain"]))
    else:
        share = impact_share(lots, volume, lot, own["taken"])
        ticks = fill_ticks(price, holding["tick"], sign, rules.half_spread_bps, rules.impact_bps, share)
        execute(account, rules, row, asset, (sign * lots, ticks))
    note_fill(account, besides, account.counts[FILLS] - 1, kind)
    own["hit"] = 1


def carry_margin(run: Run, terms: Terms, besides: Besides, row: int) -> None:
    """Pay funding on the contracts that traded, then close all of them when equity no longer keeps the maintenance margin."""
    if next_due(terms, besides, row) == row:
        pay_funding(run, terms, besides, row)
    account, state, equity, gross = run.account, besides.state, run.account.cash[0], 0.0
    for asset in range(len(state)):
        value = account.position[asset] * account.book[asset]["last_close"]
        equity += value
        if state[asset]["contract"] != 0:
            gross += abs(value)
    if not doomed(equity, gross, terms.maintenance):
        return
    for asset in range(len(state)):
        holding, held = account.book[asset], account.book[asset]["lots"]
        if state[asset]["contract"] != 0 and held != 0:
            sign = -1 if held > 0 else 1
            ticks = fill_ticks(holding["last_close"], holding["tick"], sign, run.rules.half_spread_bps, run.rules.impact_bps, 1.0)
            execute(account, terms.forced, row, asset, (-held, ticks))
            note_fill(account, besides, account.counts[FILLS] - 1, FORCED)
            state[asset]["hit"] = 1


def next_due(terms: Terms, besides: Besides, row: int) -> int:
    """The row, `row` or later, at whose end funding is due next."""
    while terms.due[besides.paid[1]] < row:
        besides.paid[1] += 1
    due: int = terms.due[besides.paid[1]]
    return due


def pay_funding(run: Run, terms: Terms, besides: Besides, row: int) -> None:
    """Pay what is due next, which is due at this row, on the contracts that traded."""
    account, cash = run.account, run.account.cash
    for asset in range(len(besides.state)):
        if besides.state[asset]["contract"] == 0 or math.isnan(run.market.close[row, asset]):
            continue
        units = funding_units(account.position[asset], run.market.close[row, asset], terms.funding[besides.paid[1], asset])
        if units != 0:
            paid, rest = exact_product(float(units), _UNIT)
            cash[0], cash[1] = exact_sum((cash[0], cash[1]), -paid, -rest - units * _UNIT_REST)
            payment = besides.payments[besides.paid[0]]
            payment["row"], payment["asset"], payment["units"] = row, asset, units
            besides.paid[0] += 1


def note_fill(account: Account, besides: Besides, number: int, kind: int) -> None:
    """Remember how the fill of this number came about, and what it makes of the average entry price: an average while a position grows, the fill's own
    price once it turns.
    """
    fill = account.fills[number]
    holding, own, signed = account.book[fill["asset"]], besides.state[fill["asset"]], fill["lots"]
    besides.kinds[number] = kind
    own["taken"] += abs(signed)
    after, held = float(holding["lots"]), float(holding["lots"] - signed)
    price, price_rest = exact_product(float(fill["ticks"]), holding["tick"])
    price_rest += fill["ticks"] * own["tick_rest"]
    if held == 0 or held * after < 0:
        own["entry"], own["entry_rest"] = price, price_rest
    elif held * signed > 0:
        cost, cost_rest = exact_product(own["entry"], held)
        more, more_rest = exact_product(price, float(signed))
        total = cost + more
        part = total - cost
        lost = (cost - (total - part)) + (more - part) + cost_rest + own["entry_rest"] * held + more_rest + price_rest * signed
        mean = total / after
        back, back_rest = exact_product(mean, after)
        correction = ((total - back) - back_rest + lost) / after
        own["entry"] = mean + correction
        own["entry_rest"] = correction - (own["entry"] - mean)


def price_of(ticks: int, holding: Holding, own: Holding) -> float:
    """The float nearest to a price of whole ticks, in quote."""
    price, rest = exact_product(float(ticks), holding["tick"])
    nearest: float = price + (rest + ticks * own["tick_rest"])
    return nearest


def ask(exposure: float, close: float, holding: Holding, own: Holding, how: tuple[Rules, Terms, float]) -> None:
    """Leave in the book the order that leads to an exposure, or goes on with what is left of the last one; and whether the collar forbids it to grow."""
    rules, terms, equity = how
    order, left = wish(exposure, close, holding, rules, equity), own["asked"]
    same = math.isnan(exposure) or exposure == own["wish"]
    if order == 0 and terms.carries and same and own["hit"] == 0 and abs(left) * holding["lot"] * close >= holding["min_notional"]:
        order = left
    if not math.isnan(exposure) and not math.isnan(close):
        own["wish"] = exposure
    holding["order"] = order
    far = terms.collar > 0 and abs(close / own["before"] - 1) > terms.collar
    holding["veto"] = COLLAR if far else 0


def protect(account: Account, terms: Terms, own: Holding, row: int, asset: int) -> None:
    """Let the stop rest that belongs to the position as the waiting order will leave it. One too small for the venue is refused, once."""
    levels, holding = terms.levels, account.book[asset]
    if levels.stop == 0 and levels.trail == 0:
        return
    lots, entry = planned(holding, own)
    sign, level, gain = (1 if lots > 0 else -1), 0, 0
    if lots != 0 and entry > 0:
        before = own["stop"] if own["guarded"] * sign > 0 else 0
        level = stop_level(levels, sign, (entry, holding["last_close"]), holding["tick"], before)
        gain = gain_level(levels, sign, entry, holding["tick"])
    alike = level > 0 and own["guarded"] == lots and own["hit"] == 0
    if alike and own["stop"] == level and own["gain"] == gain:
        return
    steps, steps_rest = exact_product(float(abs(lots)), float(level))
    notional, notional_rest = exact_product(steps, holding["value"])
    small = level > 0 and notional + (notional_rest + steps_rest * holding["value"] + steps * holding["value_rest"]) < holding["min_notional"]
    if not (small and alike):
        own["guarded"], own["stop"], own["gain"] = 0, 0, 0
    if level > 0 and not small:
        own["guarded"], own["stop"], own["gain"] = lots, level, gain
    elif small and own["bare"] == 0:
        refusal = account.refusals[account.counts[REFUSALS]]
        refusal["row"], refusal["asset"], refusal["guard"] = row, asset, PROTECTION
        account.counts[REFUSALS] += 1
    own["bare"] = 1 if small else 0


def planned(holding: Holding, own: Holding) -> tuple[int, float]:
    """Signed lots, and their average entry price (quote), as the position will be if the waiting order fills at the last close."""
    held, order, last = holding["lots"], holding["order"], holding["last_close"]
    entry = own["entry"] if held != 0 else last
    if order != 0:
        if float(held) * float(held + order) <= 0:
            entry = last
        elif float(held) * float(order) > 0:
            entry = (entry * held + last * order) / (held + order)
    return held + order, entry
