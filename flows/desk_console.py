"""What `tradewind status`, `positions` and `flatten` print: the same facts as their `--json`, for a person."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from configs.settings import Settings

if TYPE_CHECKING:
    from tasks.standing import Position, Standing


def status_lines(settings: Settings, *, as_json: bool) -> list[str]:
    """Where the installation stands."""
    from tasks.standing import standing

    found = standing(settings.operations, str(settings.mode))
    return [found.model_dump_json()] if as_json else _told(found)


def position_lines(settings: Settings, *, as_json: bool) -> list[str]:
    """What the books hold, and what the venue says."""
    from tasks.standing import positions

    found = positions(settings.operations)
    if as_json:
        return [json.dumps([each.model_dump(mode="json") for each in found])]
    return [_row(each) for each in found] or ["no journal has a book yet"]


def flatten_lines(settings: Settings, reason: str, *, as_json: bool) -> tuple[bool, list[str]]:
    """Close everything; whether the account is flat, and what was done."""
    from tasks.panic import close_everything

    done = close_everything(settings.market, settings.risk, settings.operations, settings.short_hash, reason)
    if as_json:
        return done.flat, [done.model_dump_json()]
    lines = [f"closed    {line}" for line in done.closed] or ["closed    nothing was held"]
    lines += [f"left      {lots} lots of {symbol}" for symbol, lots in done.left.items()]
    lines += [f"differs   {done.differences}"] if done.differences else []
    lines += [f"UNWRITTEN {line}" for line in done.unwritten]
    state = "halted: tradewind resume --reason ... to trade again" if done.halted else "NOT halted: tradewind halt, as soon as something can be written"
    return done.flat, [*lines, f"{done.session_id} is {'flat' if done.flat else 'NOT flat'} and {state}"]


def _told(found: Standing) -> list[str]:
    holder = (
        f" by process {found.lease.holder.pid} ({found.lease.holder.session_id}) since {found.lease.holder.since.isoformat()}" if found.lease.holder else ""
    )
    heard = f", heard {found.lease.silent_s:g} s ago" if found.lease.silent_s is not None else ""
    lines = [
        f"mode      {found.mode}",
        f"lease     {found.lease.state}{holder}{heard}",
        f"switch    {found.state}{f': {found.reason}' if found.reason else ''}",
    ]
    lines += [f"errors    {name}: {count} in a row" for name, count in found.errors.items() if count]
    lines += [f"breaker   {name}: {words}" for name, words in found.breakers.items()]
    lines += [f"FOREIGN   {words}" for words in found.foreign.values()]
    for each in found.journals:
        step = f"last step {each.last_step.isoformat()}, equity {each.equity:.2f}" if each.last_step else "no step yet"
        latched = f", latched {each.latched}" if each.latched else ""
        lines.append(f"journal   {each.session_id}: " + (f"BROKEN, {each.broken}" if each.broken else f"{each.entries} entries, {step}{latched}"))
    if found.open_orders is None:
        return [*lines, "orders    no exchange was reached"]
    return lines + ([f"order     {number}: {words}" for number, words in found.open_orders.items()] or ["orders    none open"])


def _row(each: Position) -> str:
    priced = f" entered at {each.entry}" if each.entry is not None else ""
    valued = f" worth {each.value:.2f}" if each.value is not None else ""
    venue = f", the venue has {each.venue}" if each.venue is not None else ""
    return f"{each.session_id}  {each.asset:<10} {each.quantity}{priced}{valued}{venue}"
