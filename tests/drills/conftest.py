"""A state folder of its own, with a practice exchange on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.operations import OperationsSettings
from tasks.market import open_market
from tasks.services.processes import stop
from tasks.values import Market
from tests.drills.traders import MARKET, Start, traders


@pytest.fixture
def operations(tmp_path: Path) -> Iterator[OperationsSettings]:
    operations = OperationsSettings(var=tmp_path / "var")
    yield operations
    stop(operations, "exchange")


@pytest.fixture
def market(operations: OperationsSettings) -> Market:
    return open_market.fn(MARKET, operations, ())


@pytest.fixture
def start(operations: OperationsSettings, market: Market) -> Iterator[Start]:
    with traders(operations, market) as starting:
        yield starting
