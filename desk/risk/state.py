"""Which orders may leave: a machine of three states, in which caution needs no permission and relaxing does.

ACTIVE sends what the guards approve, REDUCING only what brings positions closer to flat, HALTED nothing but cancellations.
"""

from __future__ import annotations

from enum import StrEnum

from configs.vocabulary import TradingState
from desk.errors import GateClosed

_ACTIVE, _REDUCING, _HALTED = TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED


class Cue(StrEnum):
    """What moves the machine: a limit breached for good, and what an operator (or safe mode, which can only halt) says."""

    BREACH = "breach"
    REDUCE = "reduce"
    HALT = "halt"
    RESUME = "resume"


# What is not here is illegal: HALTED does not become REDUCING unless somebody resumes first.
_TABLE = {
    (_ACTIVE, Cue.BREACH): _REDUCING,
    (_ACTIVE, Cue.REDUCE): _REDUCING,
    (_ACTIVE, Cue.HALT): _HALTED,
    (_ACTIVE, Cue.RESUME): _ACTIVE,
    (_REDUCING, Cue.BREACH): _REDUCING,
    (_REDUCING, Cue.REDUCE): _REDUCING,
    (_REDUCING, Cue.HALT): _HALTED,
    (_REDUCING, Cue.RESUME): _ACTIVE,
    (_HALTED, Cue.BREACH): _HALTED,
    (_HALTED, Cue.HALT): _HALTED,
    (_HALTED, Cue.RESUME): _ACTIVE,
}
# How a wanted state is asked for. Nobody asks for ACTIVE by being silent: that takes a RESUME.
CUES: dict[TradingState, tuple[Cue, ...]] = {_ACTIVE: (), _REDUCING: (Cue.REDUCE,), _HALTED: (Cue.HALT,)}


def transition(state: TradingState, cue: Cue) -> TradingState:
    """The state after a cue; `GateClosed` for one that the state does not allow."""
    after = _TABLE.get((state, cue))
    if after is None:
        raise GateClosed(f"expected a cue that {state.value} allows, found {cue.value}: resume first (tradewind resume --reason ...)")
    return after
