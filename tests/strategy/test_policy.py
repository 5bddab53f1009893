"""What a strategy of the user's own says, and what is made of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from desk.errors import ContractBroken
from desk.strategy.policy import CrossSection, View, decided, wanted

VIEW = View("BTC/USDT", datetime(2024, 1, 1, tzinfo=UTC), np.ones(3), np.empty(0, dtype=np.float32), None, 0.0)
MARKET = CrossSection((VIEW,), np.ones((3, 1)), share=1.0)


class Says:
    """A policy that always says the same."""

    warmup_bars = 1

    def __init__(self, said: Any) -> None:
        self.said = said

    def target(self, view: View) -> Any:
        return self.said


@pytest.mark.parametrize("said", [0.5, np.float32(0.5), np.array(0.5)])
def test_any_number_is_an_exposure(said: Any) -> None:
    assert 0.5 == wanted(decided(Says(said), MARKET), VIEW)


@pytest.mark.parametrize("said", [None, "long", [1.0, 0.0]])
def test_what_is_no_number_is_refused_by_symbol_and_time(said: Any) -> None:
    """A rule that forgot to return says None."""
    with pytest.raises(ContractBroken, match="a number as the exposure of BTC/USDT at 2024-01-01 00:00:00"):
        decided(Says(said), MARKET)
