"""Faults that change a state: what they change, and how it is mended."""

from __future__ import annotations

from collections.abc import Callable

from desk.practice_exchange.clock import WireClock
from desk.practice_exchange.dialects.binance.routes import Parameters, Route
from desk.practice_exchange.dialects.binance.signing import Gatekeeper
from desk.practice_exchange.dialects.binance.weights import WeightCounter
from desk.practice_exchange.exchange import Exchange
from desk.practice_exchange.faults import BadFault, Fault, FaultKind
from desk.practice_exchange.lag import Lag
from desk.practice_exchange.line import Line

SECOND_MS = 1000


class Disturbances:
    """Everything about one exchange and its wire that a fault can put out of order."""

    def __init__(self, exchange: Exchange, line: Line, gate: Gatekeeper, counter: WeightCounter, clock: WireClock) -> None:
        self._exchange = exchange
        self._line = line
        self._gate = gate
        self._counter = counter
        self._clock = clock
        self.end_user_streams: Callable[[], None] = lambda: None
        self.lag: Lag | None = None

    def check(self, fault: Fault) -> None:
        """Raise BadFault for a fault about something that is not here."""
        if fault.kind in (FaultKind.HALT_SYMBOL, FaultKind.DELIST):
            self._symbol(fault)

    def remember(self, account: Route) -> None:
        """Keep what reads that lag answer: what is known now."""
        given: Parameters = {}
        self.lag = Lag(max((order.id for order in self._exchange.book.orders()), default=0), account.handler(given))

    def begin(self, fault: Fault) -> None:
        """Let it take effect."""
        match fault.kind:
            case FaultKind.SKEW_CLOCK:
                self._clock.skew_ms = fault.skew_ms
            case FaultKind.WEIGHT:
                self._counter.burden(fault.weight, self._exchange.now_ms())
            case FaultKind.BAN:
                self._counter.ban(int(fault.lasts_s * SECOND_MS))
            case FaultKind.EXPIRE_KEY:
                self._gate.revoked = True
            case FaultKind.EXPIRE_LISTEN_KEY:
                self.end_user_streams()
            case FaultKind.HALT_SYMBOL | FaultKind.DELIST:
                self._exchange.halt(self._symbol(fault), for_good=fault.kind is FaultKind.DELIST)
            case FaultKind.FREEZE_WS:
                self._line.freeze(fault.stream)
            case FaultKind.CLOSE_WS:
                self._line.close(fault.stream, fault.close_code)

    def mend(self) -> None:
        """Put everything right that can be; orders that ended stay so."""
        self._clock.skew_ms = 0
        self._counter.pardon()
        self._gate.revoked = False
        self._exchange.reopen()
        self._line.thaw()
        self.lag = None

    def _symbol(self, fault: Fault) -> str:
        symbols = {listing.id: symbol for symbol, listing in self._exchange.tape.listings.items()}
        if fault.symbol not in symbols:
            raise BadFault(f"expected a symbol out of {', '.join(sorted(symbols))}, found {fault.symbol}")
        return symbols[fault.symbol]
