"""What a journal tells, entry after entry, without folding it: who plays it again wants what came from outside, not where it led."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from desk.books.fold import ANSWERS, CONTROL, FLOWS, INTENTS, OPENED, REJECTED, SETTLED, STEP, Fold
from desk.books.records import Between, Recovered, Step, Story, control_of, fill_of, flow_of, order_of, step_of
from desk.chain import Link
from desk.events import Approved, Control, Fill
from desk.instruments import Instrument


class Telling:
    """The story of the entries heard so far."""

    def __init__(self, instruments: Mapping[str, Instrument]) -> None:
        self._instruments = instruments
        self._opening: Recovered | None = None
        self._steps: list[Step] = []
        self._settled: dict[int, tuple[Fill, ...]] = {}
        self._answers: dict[str, tuple[str, str]] = {}
        self._controls: dict[tuple[int, bool], Control] = {}
        self._between: dict[int, Between] = {}
        self._first_heard: dict[str, int] = {}

    def hear(self, link: Link) -> None:
        """The next entry, in this release's words."""
        hear = _HEARS.get(link.kind)
        if hear is not None:
            hear(self, link)

    def story(self) -> Story | None:
        """All of it; None: nothing was ever opened."""
        if self._opening is None:
            return None
        return Story(self._opening, tuple(self._steps), self._settled, self._answers, self._controls, self._between)

    def _open(self, link: Link) -> None:
        self._opening = Fold.opened(link, self._instruments).standing

    def _step(self, link: Link) -> None:
        self._steps.append(step_of(link.at, link.payload))

    def _settle(self, link: Link) -> None:
        count = len(self._steps)
        self._settled[count] = self._settled.get(count, ()) + tuple(fill_of(each) for each in link.payload["fills"])

    def _answer(self, link: Link) -> None:
        """The last word of the step in which an order was first heard of; rejections that came later gave it up between two steps."""
        count, gone = len(self._steps), []
        for order_id, outcome, detail in link.payload["answers"]:
            first = self._first_heard.setdefault(order_id, count)
            if first == count:
                self._answers[order_id] = outcome, detail
            elif outcome == REJECTED:
                gone.append(order_id)
        self._happened(Between(gone=tuple(gone)))

    def _control(self, link: Link) -> None:
        self._controls[len(self._steps), link.payload["sending"]] = control_of(link.payload)

    def _flow(self, link: Link) -> None:
        self._happened(Between(flows=tuple(flow_of(each) for each in link.payload["flows"])))

    def _close(self, link: Link) -> None:
        self._happened(Between(closing=tuple(Approved(order_of(each)) for each in link.payload["approved"])))

    def _happened(self, more: Between) -> None:
        """After what happened since the last step."""
        before = self._between.get(len(self._steps), Between())
        self._between[len(self._steps)] = Between(before.flows + more.flows, before.closing + more.closing, before.gone + more.gone)


# Entries of other kinds tell nothing.
_HEARS: dict[str, Callable[[Telling, Link], None]] = {
    OPENED: Telling._open,
    STEP: Telling._step,
    SETTLED: Telling._settle,
    ANSWERS: Telling._answer,
    CONTROL: Telling._control,
    FLOWS: Telling._flow,
    INTENTS: Telling._close,
}
