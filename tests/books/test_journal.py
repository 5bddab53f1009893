"""What the journal wrote is what it reads, and enough to stand where it ended."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from configs.vocabulary import Side
from desk.books.journal import Journal, RiskMarks, Step
from desk.books.portfolio import Portfolio
from desk.chain import MEMORY, Chain, Entry
from desk.errors import BookMismatch, JournalBroken
from desk.events import Approved, Fill, Order, Refused, Target
from desk.instruments import Instrument

BTC = Instrument("BTC/USDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.001"), Decimal(5))
GRID = {"BTC/USDT": BTC}
T0 = datetime(2024, 1, 1, tzinfo=UTC)


def order(name: str, at: datetime, side: Side = Side.BUY) -> Order:
    return Order(name, "BTC/USDT", side, Decimal("0.010"), at, Decimal("60000.0"))


def step(hours: int, approved: tuple[Approved, ...] = (), fills: tuple[Fill, ...] = ()) -> Step:
    at = T0 + timedelta(hours=hours)
    return Step(
        closed_at=at,
        bars_digest="d" * 64,
        fills=fills,
        targets=(Target("BTC/USDT", at, math.nan, "a" * 64),),
        approved=approved,
        refused=(Refused(order("tw-no", at, Side.SELL), "gross", "too much"),),
        decision_hash="b" * 64,
        equity=1000.1 + hours / 3,
        marks=RiskMarks(1000.1, "2024-01-01", 999.9, False, True),
        exposures={"BTC/USDT": 0.1 + 0.2},
        closes={"BTC/USDT": 60000.1},
        model="weights-1",
    )


@pytest.fixture
def chain() -> Chain:
    return Chain(MEMORY, sync=False)


def opened(chain: Chain) -> Journal:
    journal = Journal(chain, "settings-1")
    journal.record_opening(T0, Portfolio(GRID, Decimal("1000.10"), {"BTC/USDT": Decimal("0.5")}))
    return journal


def test_nothing_opened_is_nothing_recovered(chain: Chain) -> None:
    assert Journal(chain, "settings-1").recover(GRID) is None


def test_a_fresh_opening_recovers_the_account(chain: Chain) -> None:
    recovered = opened(chain).recover(GRID)

    assert recovered is not None
    assert (recovered.at, recovered.last, recovered.pending, recovered.steps) == (T0, None, (), 0)
    assert recovered.portfolio.balances() == {"USDT": Decimal("1000.10"), "BTC": Decimal("0.5")}


def test_a_step_comes_back_bit_for_bit(chain: Chain) -> None:
    """Floats, Decimals and times survive the text; NaN is compared by its text."""
    journal = opened(chain)
    fill = Fill("tw-1", "77", "BTC/USDT", Side.BUY, Decimal("0.010"), Decimal("60000.10"), Decimal("0.00001"), "BTC", T0)
    written = step(1, (Approved(order("tw-2", T0)),), (fill,))

    journal.record_step(written)

    assert repr((written,)) == repr(journal.steps())


def test_fills_are_folded_once(chain: Chain) -> None:
    """A fill found while starting may be reported again by the next step."""
    journal = opened(chain)
    fill = Fill("tw-1", "77", "BTC/USDT", Side.BUY, Decimal("0.010"), Decimal(50000), Decimal(1), "USDT", T0)

    journal.record_settled(T0, [fill])
    journal.record_step(step(1, fills=(fill,)))
    recovered = journal.recover(GRID)

    assert recovered is not None
    assert recovered.portfolio.cash == Decimal("499.10")
    assert recovered.steps == 1


def test_orders_of_the_last_step_are_pending_until_proven_dead(chain: Chain) -> None:
    journal = opened(chain)
    journal.record_step(step(1, (Approved(order("tw-old", T0)),)))
    journal.record_step(step(2, tuple(Approved(order(name, T0)) for name in ("tw-silent", "tw-confirmed", "tw-doubt", "tw-dead"))))
    journal.record_answers(T0, [("tw-confirmed", "confirmed", ""), ("tw-doubt", "unresolved", "timeout"), ("tw-dead", "rejected", "no cash")])

    recovered = journal.recover(GRID)

    assert recovered is not None
    assert [item.order.order_id for item in recovered.pending] == ["tw-silent", "tw-confirmed", "tw-doubt"]


def test_every_entry_names_settings_and_model(chain: Chain) -> None:
    journal = opened(chain)
    journal.record_step(step(1))

    stamped = [(link.kind, link.payload["settings"], link.payload["model"]) for link in chain.entries()]

    assert stamped == [("opened", "settings-1", ""), ("step", "settings-1", "weights-1")]


def test_a_journal_without_an_opening_is_broken(chain: Chain) -> None:
    chain.append([Entry(T0, "step", {})])

    with pytest.raises(JournalBroken, match="first entry"):
        Journal(chain, "settings-1").recover(GRID)


def test_a_closed_file_opens_on_the_same_state(tmp_path: Path) -> None:
    with Chain(tmp_path / "journal.sqlite", sync=True) as chain:
        opened(chain).record_step(step(1))

    with Chain(tmp_path / "journal.sqlite", sync=True) as chain:
        recovered = Journal(chain, "settings-1").recover(GRID)

    assert recovered is not None
    assert repr(recovered.last) == repr(step(1))


def test_a_journal_opened_on_other_symbols_is_refused(chain: Chain) -> None:
    journal = opened(chain)

    with pytest.raises(BookMismatch, match="BTC/USDT"):
        journal.recover({})
