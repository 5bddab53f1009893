"""Clocks over a stream: how long to wait for the next close before asking, how long a stream may say nothing, how long to go on without progress."""

from __future__ import annotations

from datetime import datetime

from configs.vocabulary import Timeframe
from desk.clock import WallClock
from desk.errors import SourceStale

QUIET_S = 2.0  # first look at a market whose pace is not known; doubles up to the longest
LONGEST_QUIET_S = 30.0
SLACK_S = (0.25, 2.0)  # after a close is due: half a bar, but not less and not more than this

SILENCE_S = 5.0  # a stream that spoke every second or so and says nothing for this long is frozen
GAPS = 10  # a slower one: after so many of its usual gaps
BEATS = 5  # frames before a gap counts as usual


class Pulse:
    """How often one symbol's frames come: its own measure of silence."""

    def __init__(self) -> None:
        self._beats, self._last_s, self._gap_s = 0, 0.0, 0.0

    def beat(self, at_s: float) -> None:
        """A frame came at this second."""
        if self._beats:
            self._gap_s += (at_s - self._last_s - self._gap_s) / min(self._beats, GAPS)
        self._beats, self._last_s = self._beats + 1, at_s

    def silent(self, now_s: float) -> bool:
        """Whether it has been quiet for much longer than it usually is."""
        return self._beats >= BEATS and now_s - self._last_s > max(SILENCE_S, GAPS * self._gap_s)


class Pace:
    """When the next close is due on the wall, from the market's own time when that is now, else from the closes heard so far."""

    def __init__(self, clock: WallClock, timeframe: Timeframe, longest_s: float) -> None:
        self._clock = clock
        self._delta = timeframe.delta
        self._quiet_s = min(QUIET_S, longest_s)
        self._due_s: float | None = None
        self._last: tuple[datetime, float] | None = None
        self._bar_s: float | None = None
        self._fruitless = 0

    def heard(self, closed_at: datetime) -> None:
        """The stream told of a close: two of them give the market's pace."""
        at_s = self._clock.seconds()
        if self._last is not None and closed_at > self._last[0]:
            self._bar_s = (at_s - self._last[1]) / ((closed_at - self._last[0]) / self._delta)
        self._last, self._fruitless = (closed_at, at_s), 0
        self._expect(closed_at, at_s)

    def looked(self, market_now: datetime, *, found: bool) -> None:
        """REST was asked and `found` closes that nobody told of, or none; `market_now` is the newest close by the market's own clock."""
        self._fruitless = 0 if found else self._fruitless + 1
        self._expect(market_now, self._clock.seconds() if found or self._last is None else self._last[1])

    def patience_s(self) -> float:
        """Seconds until it is time to look, unless something is heard before."""
        left_s = 0.0 if self._due_s is None else self._due_s - self._clock.seconds()
        return left_s if left_s > 0 else min(self._quiet_s * 2 ** min(self._fruitless, 10), max(LONGEST_QUIET_S, self._quiet_s))

    def _expect(self, closed_at: datetime, at_s: float) -> None:
        """A market whose clock agrees with ours closes its next bar when our clock says; any other when its pace says."""
        left = closed_at + self._delta - self._clock.now()
        least_s, most_s = SLACK_S
        if left.total_seconds() > 0 and left <= self._delta:
            self._due_s = self._clock.seconds() + left.total_seconds() + most_s
        elif self._bar_s is not None:
            self._due_s = at_s + self._bar_s + min(max(self._bar_s / 2, least_s), most_s)


class Watchdog:
    """Counts wall seconds without progress: an event, or market time that moves without leaving bars out."""

    def __init__(self, clock: WallClock, limit_s: float, bar_s: float) -> None:
        self._clock = clock
        self._limit_s = limit_s
        self._bar_s = bar_s
        self._since = clock.seconds()
        self._seen: datetime | None = None
        self._silent = False
        self._patience_s = limit_s
        self.excuse = "no bar"

    def restart(self) -> None:
        """Something happened."""
        self._since = self._clock.seconds()

    def saw(self, now: datetime, *, silent: bool, driven: bool) -> None:
        """The market's newest close; `silent`: it has closed bars and printed none. A market that is not driven may take a bar's length to move."""
        if now != self._seen and not (silent and self._silent):
            self.restart()
        self._seen, self._silent = now, silent
        self._patience_s = self._limit_s if silent or driven else self._limit_s + self._bar_s

    def check(self, cursor: datetime) -> None:
        """Raise `SourceStale` when patience is over."""
        quiet_s = self._clock.seconds() - self._since
        if quiet_s > self._patience_s:
            expected = f"a bar closed after {cursor.isoformat()} within {self._patience_s:.0f} s"
            raise SourceStale(f"expected {expected}, found {self.excuse}: check the source, then start again")
