"""Which exceptions are answers for a person: the desk's own errors, data contracts, settings; and the system's plain words for two more."""

from __future__ import annotations

import errno

from data_contracts.gate import ContractViolation
from desk.errors import DeskError, NoSpace

# What Rust's writers and SQLite say where Python's own would set an errno.
FULL_DISK_WORDS = ("no space left on device", "database or disk is full")


def named(error: BaseException | None) -> Exception | None:
    """The first error of ours in a chain of causes; a full disk is named too. None: not one of ours, let it crash with its traceback."""
    seen = error
    while seen is not None:
        if isinstance(seen, (DeskError, ContractViolation)):
            return seen
        if _is_full_disk(seen):
            where = getattr(seen, "filename", None) or "the state folder"
            return NoSpace(f"expected room to write, found a full disk at {where}; free space or set DESK__OPERATIONS__VAR to another disk")
        seen = seen.__cause__ or seen.__context__
    return None


def _is_full_disk(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return any(words in str(error).lower() for words in FULL_DISK_WORDS)
