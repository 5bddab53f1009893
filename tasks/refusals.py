"""Which exceptions are answers for a person: the desk's own errors, data contracts, settings; and the system's plain words for two more."""

from __future__ import annotations

import errno

from data_contracts.gate import ContractViolation
from desk.errors import DeskError, NoSpace


def named(error: BaseException | None) -> Exception | None:
    """The first error of ours in a chain of causes; a full disk is named too. None: not one of ours, let it crash with its traceback."""
    seen = error
    while seen is not None:
        if isinstance(seen, (DeskError, ContractViolation)):
            return seen
        if isinstance(seen, OSError) and seen.errno == errno.ENOSPC:
            return NoSpace(
                f"expected room to write, found a full disk at {seen.filename or 'the state folder'}; free space or set DESK__OPERATIONS__VAR to another disk"
            )
        seen = seen.__cause__ or seen.__context__
    return None
