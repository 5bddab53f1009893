"""Traders on the installation and the market that every test may ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from configs.operations import OperationsSettings
from tasks.values import Market
from tests.drills.traders import Start, traders


@pytest.fixture
def start(operations: OperationsSettings, market: Market) -> Iterator[Start]:
    with traders(operations, market) as starting:
        yield starting
