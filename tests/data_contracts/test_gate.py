"""The gate: it admits or it quarantines with cases; it never repairs."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from data_contracts.bars import CONTRACT
from data_contracts.gate import CASE_SCHEMA, ContractViolation, Quarantined, admit

MakeBars = Callable[..., pl.DataFrame]


def quarantined(frame: pl.DataFrame) -> Quarantined:
    """The quarantine that this frame must end in."""
    answer = admit(frame, CONTRACT)
    assert isinstance(answer, Quarantined)
    return answer


def test_a_broken_frame_is_left_as_it_was(make_bars: MakeBars) -> None:
    frame = make_bars().with_columns(pl.lit(-1.0).alias("close"))
    copy = frame.clone()

    answer = quarantined(frame)

    assert copy.equals(answer.frame)


def test_every_case_is_kept_and_only_three_are_told(make_bars: MakeBars) -> None:
    answer = quarantined(make_bars(50).with_columns(pl.lit(-1.0).alias("volume")))

    assert 100 == answer.cases.height
    assert CASE_SCHEMA == dict(answer.cases.schema)
    assert 3 == answer.summary().count("volume = -1.0")
    assert "found 100 cases" in answer.summary()


def test_several_faults_are_reported_together(make_bars: MakeBars) -> None:
    frame = make_bars().with_columns(pl.lit(-1.0).alias("volume"), pl.lit(float("nan")).alias("open"))

    assert {"present", "volume_not_negative"} == set(quarantined(frame).cases["check"])


def test_the_violation_says_where_what_and_what_next(make_bars: MakeBars) -> None:
    violation = quarantined(make_bars().drop("close")).violation("candles.csv")

    assert isinstance(violation, ContractViolation)
    assert isinstance(violation, ValueError)
    assert str(violation).startswith("candles.csv: breaks the contract of bars. Expected the columns symbol, timeframe,")
    assert str(violation).endswith("found 1 case: close. Deliver the column, or name it as the contract does.")


def test_the_switch_that_turns_validation_off_elsewhere_does_not_open_the_gate(make_bars: MakeBars) -> None:
    """Pandera can be disabled for a whole process; a boundary must hold all the same."""
    from pandera.config import config_context

    with config_context(validation_enabled=False):
        answer = admit(make_bars().with_columns(pl.lit(-1.0).alias("close")), CONTRACT)

    assert isinstance(answer, Quarantined)


@pytest.mark.parametrize("far", [2**62, -(2**62)])
def test_a_time_beyond_every_calendar_is_a_case_and_not_a_crash(make_bars: MakeBars, far: int) -> None:
    frame = make_bars(1, ("A/B",)).with_columns(pl.Series("open_time", [far]).cast(pl.Datetime("us", "UTC")))

    assert {"unit_of_time"} == set(quarantined(frame).cases["check"])
