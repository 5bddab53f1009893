"""An armed lease is held by one desk, and it ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from desk.errors import GateClosed
from desk.security.arming import ArmedLease

NOW = datetime(2024, 1, 1, tzinfo=UTC)


def test_a_lease_ends_when_it_says(tmp_path: Path) -> None:
    with ArmedLease(tmp_path / "lease", NOW + timedelta(hours=1)) as lease:
        lease.check(NOW)

        with pytest.raises(GateClosed, match="over since"):
            lease.check(NOW + timedelta(hours=1))


def test_a_released_lease_permits_nothing(tmp_path: Path) -> None:
    lease = ArmedLease(tmp_path / "lease", NOW + timedelta(hours=1))
    lease.release()

    with pytest.raises(GateClosed, match="released"):
        lease.check(NOW)


def test_only_one_desk_is_armed(tmp_path: Path) -> None:
    with ArmedLease(tmp_path / "lease", NOW), pytest.raises(GateClosed, match="only armed desk"):
        ArmedLease(tmp_path / "lease", NOW)

    ArmedLease(tmp_path / "lease", NOW).release()


def test_whoever_is_silent_for_long_is_followed_and_permitted_no_more(tmp_path: Path) -> None:
    """Silence of no time at all: the first holder keeps its lock, and its token is old."""
    first = ArmedLease(tmp_path / "lease", NOW + timedelta(hours=1))

    with ArmedLease(tmp_path / "lease", NOW + timedelta(hours=1), silence_s=0.0) as second:
        second.check(NOW)
        with pytest.raises(GateClosed, match="another process took over"):
            first.check(NOW)
        assert (first.token + 1, True) == (second.token, second.took_over)

    first.release()
