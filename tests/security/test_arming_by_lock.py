"""A lease where nothing can be written: the lock alone is permission to close, and only where it proves that nobody else may send."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from desk.errors import GateClosed
from desk.security.arming import ArmedLease, lease_seen

NOW = datetime(2024, 1, 1, tzinfo=UTC)
END = NOW + timedelta(hours=1)


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process may hold one byte more than none."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def died(path: Path, *, locked: bool) -> None:
    """Leave the lease as a holder does that was killed a while ago: with its token, and without its lock."""
    ArmedLease(path, END).release()
    with sqlite3.connect(path.with_name("lease.sqlite")) as db:
        db.execute("UPDATE lease SET heard = 0, locked = ?", (locked,))
    db.close()


def test_the_lock_of_a_dead_holder_permits_under_its_token_and_only_where_that_was_asked_for(tmp_path: Path) -> None:
    died(tmp_path / "lease", locked=True)

    with full_disk():
        with pytest.raises(GateClosed, match=r"expected to write a token .* free space"):
            ArmedLease(tmp_path / "lease", END)
        with ArmedLease(tmp_path / "lease", END, lock_may_do=True) as lease:
            lease.check(NOW)
            found = lease.unwritten, lease.token
            with pytest.raises(GateClosed, match="over since"):
                lease.check(END)

    assert (True, 1) == found
    seen = lease_seen(tmp_path / "lease")
    assert seen is not None
    assert 1 == seen.token


def test_a_holder_that_lives_is_not_passed_by(tmp_path: Path) -> None:
    with ArmedLease(tmp_path / "lease", END) as holder, full_disk():
        with pytest.raises(GateClosed, match="only armed desk"):
            ArmedLease(tmp_path / "lease", END, lock_may_do=True)
        silent = pytest.raises(GateClosed, match="expected to write a token")
        # However silent it is: it has its lock, and could wake up under the newest token.
        with silent:
            ArmedLease(tmp_path / "lease", END, silence_s=0.0, lock_may_do=True)

    assert 1 == holder.token


def test_a_lock_proves_nothing_about_a_holder_that_had_none(tmp_path: Path) -> None:
    """Who took over from a silent process has no lock to lose: it may only sleep."""
    died(tmp_path / "lease", locked=False)

    with full_disk(), pytest.raises(GateClosed, match="expected to write a token"):
        ArmedLease(tmp_path / "lease", END, silence_s=0.0, lock_may_do=True)


def test_whoever_writes_a_token_ends_the_permission_of_the_lock(tmp_path: Path) -> None:
    died(tmp_path / "lease", locked=True)
    with full_disk():
        lease = ArmedLease(tmp_path / "lease", END, lock_may_do=True)

    with ArmedLease(tmp_path / "lease", END, silence_s=0.0) as newer:
        newer.check(NOW)
        with pytest.raises(GateClosed, match="another process took over"):
            lease.check(NOW)

    lease.release()
