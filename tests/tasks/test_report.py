"""What the report says of fees: what was charged, and what more trading would bring."""

from __future__ import annotations

import pytest

from configs.trading import CostSettings
from tasks.report import fee_words

TIERED = CostSettings(fee_tiers=[{"volume": 1e6, "taker": 0.0009, "maker": 0.0007}, {"volume": 5e6, "taker": 0.0003}], maker_share=0.5)


@pytest.mark.parametrize(
    ("volume", "words"),
    [
        (0.0, "0.1000% of what crossed, 0.0500% of what rested, at 0 USDT in 30 days; from 1,000,000 USDT on 0.0900% and 0.0700%"),
        (1e6, "0.0900% of what crossed, 0.0700% of what rested, at 1,000,000 USDT in 30 days; from 5,000,000 USDT on 0.0300% and 0.0150%"),
        (7e6, "0.0300% of what crossed, 0.0150% of what rested, at 7,000,000 USDT in 30 days; no tier above it"),
    ],
)
def test_the_report_says_the_tier_charged_and_the_next_one(volume: float, words: str) -> None:
    told = fee_words(TIERED.model_copy(update={"volume_30d": volume}), "USDT")

    assert words == told.replace("\N{NO-BREAK SPACE}", "")


def test_a_schedule_without_tiers_has_none_above() -> None:
    assert fee_words(CostSettings(), "USDT").endswith("; no tier above it")
