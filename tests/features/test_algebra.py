"""The operations features are written in."""

from __future__ import annotations

import pytest

from desk.features.algebra import column, lag, listing, log, ordered, remembering, scaled, window_mean, window_sum


def test_the_same_formula_written_twice_is_one_node():
    close = column("close")

    assert window_mean(log(close), 8) is window_mean(log(column("close")), 8)


def test_a_longer_window_reuses_the_shorter_one():
    short, long = window_sum(column("volume"), 16), window_sum(column("volume"), 64)

    assert short in ordered([long])


def test_warmup_follows_from_the_formula():
    """Each window of n bars looks n-1 bars back, each lag its own length; what is stacked adds up."""
    value = window_sum(lag(column("close"), 5) - column("open"), 32)

    assert 5 + 31 == value.warmup_bars


def test_a_window_that_is_no_power_of_two_is_refused():
    with pytest.raises(ValueError, match="power of two bars long, found 24"):
        window_sum(column("close"), 24)


def test_a_column_that_bars_do_not_have_is_refused():
    with pytest.raises(ValueError, match="found 'vwap'"):
        column("vwap")


def test_a_lag_answers_what_it_was_told_so_many_calls_ago():
    step = remembering(2)

    answers = [step(value) for value in (1.0, 2.0, 3.0, 4.0)]

    assert [1.0, 2.0] == answers[2:]


def test_the_listing_tells_parameters_and_order_apart():
    close, volume = column("close"), column("volume")
    formulas = [close - volume, volume - close, scaled(close, 2.0), scaled(close, 3.0), lag(close, 2), lag(close, 3)]

    assert len(formulas) == len({listing([formula]) for formula in formulas})


def test_the_listing_of_a_long_window_stays_short():
    """A window is a graph with shared parts, not a tree of all its additions."""
    text = listing([window_sum(column("close"), 1024)])

    assert 22 == len(text.splitlines())
