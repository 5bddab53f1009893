"""Contract orders on hand-made bars: triggers, reduce-only, trailing, gaps, the order of things inside a bar."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from configs.trading import CostSettings
from configs.vocabulary import Side
from desk.practice_exchange.perpetual_orders import ContractLife, ContractStatus, WatchKind, WatchStatus
from desk.practice_exchange.perpetual_refusals import AlreadyReducing, NothingToChange, NothingToReduce, WouldTrigger
from desk.practice_exchange.refusals import MarketClosed, UnknownOrder, WouldTake
from tests.practice_exchange.perpetual_stage import SYMBOL, Bar, Stage, tape_of

FLAT = (100.0, 100.0, 100.0, 100.0)
FALL: Bar = (100.0, 101.0, 95.0, 96.0)
RISE: Bar = (100.0, 105.0, 99.0, 104.0)


def stage_of(*bars: Bar, **more: object) -> Stage:
    return Stage(tape_of({SYMBOL: [FLAT, *bars]}, **({"volume": more.pop("volume")} if "volume" in more else {})), **more)  # type: ignore[arg-type]


def price_of(stage: Stage) -> Decimal:
    return stage.book.fills[-1].price


def test_a_stop_sells_at_its_price_when_the_path_comes_through_it() -> None:
    stage = stage_of(FALL, FLAT)
    stage.order(Side.BUY, "1")
    watch = stage.watch(WatchKind.STOP_MARKET, Side.SELL, "1", "97")

    stage.close()

    assert WatchStatus.FINISHED is watch.status
    assert Decimal(97) == price_of(stage)
    assert Decimal(0) == stage.quantity
    assert watch.client_id == stage.book.orders[watch.order_id].client_id


def test_a_stop_that_the_next_open_jumps_over_sells_at_that_open() -> None:
    stage = stage_of(FLAT, (90.0, 90.0, 90.0, 90.0), FLAT)
    stage.order(Side.BUY, "1")
    stage.watch(WatchKind.STOP_MARKET, Side.SELL, "1", "97")

    stage.close()

    assert Decimal(90) == price_of(stage)


def test_a_take_profit_market_sells_on_the_way_up() -> None:
    stage = stage_of(RISE, FLAT)
    stage.order(Side.BUY, "1")
    stage.watch(WatchKind.TAKE_PROFIT_MARKET, Side.SELL, "1", "103")

    stage.close()

    assert Decimal(103) == price_of(stage)


def test_in_a_falling_bar_the_high_comes_first() -> None:
    """The profit at 101 is taken before the stop at 97 could sell; the stop then finds nothing to reduce."""
    stage = stage_of(FALL, FLAT)
    stage.order(Side.BUY, "1")
    stop = stage.watch(WatchKind.STOP_MARKET, Side.SELL, "1", "97")
    stage.watch(WatchKind.TAKE_PROFIT_MARKET, Side.SELL, "1", "101")

    stage.close()

    assert [Decimal(100), Decimal(101)] == [fill.price for fill in stage.book.fills]
    assert WatchStatus.REJECTED is stop.status


def test_a_stop_limit_that_gapped_past_its_limit_rests_unfilled() -> None:
    stage = stage_of(FLAT, (90.0, 90.0, 90.0, 90.0), FLAT)
    stage.order(Side.BUY, "1")
    watch = stage.watch(WatchKind.STOP, Side.SELL, "1", "97", price="96")

    stage.close()

    assert ContractStatus.NEW is stage.book.orders[watch.order_id].status
    assert Decimal(1) == stage.quantity


def test_a_trailing_stop_follows_the_high_and_sells_the_callback_below_it() -> None:
    """High 105, callback 2 %: 102.90, in the bar that falls after the one that rose."""
    stage = stage_of(RISE, (104.0, 105.0, 100.0, 101.0), FLAT)
    stage.order(Side.BUY, "1")
    watch = stage.watch(WatchKind.TRAILING, Side.SELL, "1", "0", callback="2")

    stage.close()
    waiting = watch.status
    stage.close()

    assert WatchStatus.NEW is waiting
    assert Decimal("102.90") == price_of(stage)


def test_a_trailing_stop_waits_for_its_activation() -> None:
    stage = stage_of((100.0, 100.0, 97.0, 97.5), FLAT)
    stage.order(Side.BUY, "1")
    watch = stage.watch(WatchKind.TRAILING, Side.SELL, "1", "110", callback="1")

    stage.close()

    assert WatchStatus.NEW is watch.status
    assert Decimal(0) == watch.extreme


def test_a_stop_by_mark_price_looks_at_closes_only() -> None:
    stage = stage_of((100.0, 100.0, 90.0, 99.0), (99.0, 99.0, 96.0, 96.5), (96.0, 96.0, 96.0, 96.0), FLAT)
    stage.order(Side.BUY, "1")
    watch = stage.watch(WatchKind.STOP_MARKET, Side.SELL, "1", "97", by_mark=True)

    stage.close()
    after_the_wick = watch.status
    stage.close()

    assert WatchStatus.NEW is after_the_wick
    assert WatchStatus.FINISHED is watch.status
    assert Decimal(96) == price_of(stage)


def test_a_conditional_order_whose_price_is_reached_already_is_refused() -> None:
    stage = stage_of(FLAT)

    with pytest.raises(WouldTrigger):
        stage.watch(WatchKind.STOP_MARKET, Side.SELL, "1", "101")


def test_close_position_closes_whatever_there_is_when_it_is_reached() -> None:
    stage = stage_of(FLAT, FALL, FLAT)
    stage.order(Side.BUY, "1")
    stage.watch(WatchKind.STOP_MARKET, Side.SELL, "0", "97", closes=True)
    stage.order(Side.BUY, "2")

    stage.close(2)

    assert Decimal(0) == stage.quantity
    assert Decimal(3) == stage.book.fills[-1].quantity


def test_a_resting_reduce_only_order_is_clamped_at_its_fill_and_never_turns_the_position() -> None:
    stage = stage_of(RISE, FLAT)
    stage.order(Side.BUY, "3")
    resting = stage.order(Side.SELL, "3", "103", reduces=True)
    stage.order(Side.SELL, "2")

    stage.close()

    assert Decimal(0) == stage.quantity
    assert Decimal(1) == resting.filled
    assert ContractStatus.EXPIRED is resting.status


def test_resting_reducers_expire_once_the_position_is_flat() -> None:
    stage = stage_of(FLAT)
    stage.order(Side.BUY, "1")
    resting = stage.order(Side.SELL, "1", "110", reduces=True)

    stage.order(Side.SELL, "1")

    assert ContractStatus.EXPIRED is resting.status


def test_a_market_order_that_may_only_reduce_takes_no_more_than_the_position() -> None:
    stage = stage_of(FLAT)
    stage.order(Side.SELL, "1")

    order = stage.order(Side.BUY, "5", reduces=True)

    assert Decimal(0) == stage.quantity
    assert (Decimal(1), ContractStatus.EXPIRED) == (order.filled, order.status)


def test_reduce_only_without_a_position_is_refused() -> None:
    with pytest.raises(NothingToReduce):
        stage_of(FLAT).order(Side.SELL, "1", reduces=True)


def test_a_resting_profit_blocks_another_reduce_only_order() -> None:
    stage = stage_of(FLAT)
    stage.order(Side.BUY, "1")
    stage.order(Side.SELL, "1", "110", reduces=True)

    with pytest.raises(AlreadyReducing):
        stage.order(Side.SELL, "1", reduces=True)


def test_without_reduce_only_a_larger_sale_turns_the_position() -> None:
    stage = stage_of(FLAT)
    stage.order(Side.BUY, "1")

    stage.order(Side.SELL, "3")

    assert Decimal(-2) == stage.quantity
    assert Decimal(-200) == stage.book.ledger.held(SYMBOL).cost


def test_post_only_that_would_take_is_refused_and_ioc_and_fok_leave_nothing_resting() -> None:
    stage = stage_of(FLAT, volume=2.0)

    with pytest.raises(WouldTake):
        stage.order(Side.BUY, "1", "101", life=ContractLife.POST_ONLY)
    now = stage.order(Side.BUY, "3", "101", life=ContractLife.NOW_OR_NEVER)
    whole = stage.order(Side.BUY, "3", "101", life=ContractLife.ALL_OR_NOTHING)

    assert (Decimal(2), ContractStatus.EXPIRED) == (now.filled, now.status)
    assert (Decimal(0), ContractStatus.EXPIRED) == (whole.filled, whole.status)


def test_an_amended_order_keeps_its_id_and_loses_its_place() -> None:
    stage = stage_of((100.0, 100.0, 94.0, 100.0), FLAT, volume=1.5)
    first, second = stage.order(Side.BUY, "1", "95"), stage.order(Side.BUY, "1", "95")

    stage.market.amend(first, Decimal("1.2"), Decimal(95))
    stage.close()

    assert (Decimal("0.5"), Decimal(1)) == (first.filled, second.filled)
    assert [1, 2] == [first.id, second.id]


def test_an_amendment_to_what_is_filled_already_ends_the_order_and_one_to_the_same_is_refused() -> None:
    stage = stage_of((100.0, 100.0, 94.0, 100.0), FLAT, volume=1.0)
    order = stage.order(Side.BUY, "2", "95")
    with pytest.raises(NothingToChange):
        stage.market.amend(order, Decimal(2), Decimal(95))
    stage.close()

    stage.market.amend(order, Decimal(1), Decimal(95))

    assert ContractStatus.CANCELED is order.status
    with pytest.raises(UnknownOrder):
        stage.market.amend(order, Decimal(3), Decimal(95))


def test_after_the_last_bar_nothing_can_be_placed() -> None:
    stage = stage_of(FLAT)
    stage.close(1)

    with pytest.raises(MarketClosed):
        stage.order(Side.BUY, "1")


def test_a_taker_pays_spread_and_impact() -> None:
    costs = CostSettings(fee_rate=0.0, half_spread_bps=10.0, impact_bps=100.0, participation_cap=1.0)
    stage = Stage(tape_of({SYMBOL: [FLAT, FLAT]}, volume=100.0), costs=costs)

    stage.order(Side.BUY, "1")

    assert Decimal("100.20") == price_of(stage)


def test_a_restart_in_the_middle_of_everything_remembers_all_of_it(tmp_path: Path) -> None:
    tape = tape_of({SYMBOL: [FLAT, RISE, FALL, FLAT, FLAT]})
    before = Stage(tape, folder=tmp_path, rate="0.0001")
    before.order(Side.BUY, "2")
    before.watch(WatchKind.TRAILING, Side.SELL, "1", "0", callback="5")
    before.order(Side.SELL, "1", "150", reduces=True)
    before.close()

    after = Stage(tape, folder=tmp_path, rate="0.0001")

    for kept in ("orders", "watches", "fills", "incomes", "taken"):
        assert getattr(before.book, kept) == getattr(after.book, kept)
    assert (before.book.ledger.purses, before.book.ledger.positions) == (after.book.ledger.purses, after.book.ledger.positions)
    assert after.book.open_orders()
    assert after.book.waiting()


def test_boundaries_that_a_killed_process_did_not_write_are_done_again_to_the_same_end(tmp_path: Path) -> None:
    """The spot side had settled three bars more when the process died: the contract side comes to what an undisturbed one has."""
    tape = tape_of({SYMBOL: [FLAT, RISE, FALL, FALL, FLAT, FLAT]})
    ends = []
    for folder in (None, tmp_path):
        stage = Stage(tape, folder=folder, rate="0.0001")
        stage.order(Side.BUY, "2")
        stage.watch(WatchKind.STOP_MARKET, Side.SELL, "1", "97")
        if folder is None:
            stage.close(3)
        else:
            stage.clock.settle(stage.clock.settled_ms + 3 * stage.clock.step_ms)
            torn = (folder / "perpetual.jsonl").read_bytes()
            (folder / "perpetual.jsonl").write_bytes(torn + b'{"now": 17')
            stage = Stage(tape, folder=folder, rate="0.0001")
            stage.close(3)
        ends.append(stage.book.everything(stage.market.settled_ms))

    assert ends[0] == ends[1]
