"""What can go wrong, under five parents that answer one question: what may the caller do?

    DeskError
      Transient        try again            NetworkDown, RateLimited, VenueBusy, SourceStale
      Refused          do not try again     OrderRejected, InsufficientFunds, RiskRefused, ContractBroken, GateClosed
      Unresolved       ask first            OrderUnresolved
      Corrupt          stop                 JournalBroken (JournalStalled), BookMismatch, ClockBackwards, NotFinite
      Misconfigured    fix, then start      UnknownKey, SecretMissing, PreflightFailed, PortInUse, NoSpace, BadFile

Messages say what was expected, what was found, where, and the next step.
"""

from __future__ import annotations


class DeskError(Exception):
    """Anything the desk can name."""


class Transient(DeskError):
    """Try again."""


class Refused(DeskError):
    """Do not try again: the answer is no."""


class Unresolved(DeskError):
    """The outcome is unknown: ask the venue first."""


class Corrupt(DeskError):
    """Stop: continuing would make it worse."""


class Misconfigured(DeskError):
    """Fix the cause, then start."""


class NetworkDown(Transient):
    """No answer from the other side."""


class RateLimited(Transient):
    """The venue asked us to slow down."""


class VenueBusy(Transient):
    """The venue answered that it cannot answer."""


class SourceStale(Transient):
    """Data stopped advancing."""


class OrderRejected(Refused):
    """The venue proved that it did not accept the order."""


class InsufficientFunds(Refused):
    """The account cannot pay for the order."""


class RiskRefused(Refused):
    """A risk guard said no, at an edge where a task must end."""


class ContractBroken(Refused, ValueError):
    """Data is not what its contract says."""


class GateClosed(Refused):
    """Promotion was asked to do what the evidence does not allow."""


class OrderUnresolved(Unresolved):
    """An order was sent and its outcome is not known."""


class JournalBroken(Corrupt):
    """The hash chain does not verify, or the journal cannot be written."""


class JournalStalled(JournalBroken):
    """The journal cannot be written, or not in time: the disk is full, broken or slow."""


class BookMismatch(Corrupt):
    """Our book and the venue's truth differ."""


class ForeignActivity(BookMismatch):
    """Somebody else traded on our account."""


class ClockBackwards(Corrupt):
    """Time ran backwards."""


class NotFinite(Corrupt, ValueError):
    """NaN, infinity or nothing where a number must be."""


class UnknownKey(Misconfigured, KeyError):
    """A settings key nobody reads."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class SecretMissing(Misconfigured):
    """A named secret has no value."""


class PreflightFailed(Misconfigured):
    """A precondition of starting does not hold."""


class PortInUse(Misconfigured):
    """Another program listens on a port we need."""


class NoSpace(Misconfigured):
    """The disk under the state folder is full."""


class BadFile(Misconfigured, ValueError):
    """A file that cannot be read as what it claims to be."""
