"""Where this installation keeps things."""

from __future__ import annotations

from configs.operations import OperationsSettings
from desk.market.lake import Lake


def lake_of(operations: OperationsSettings) -> Lake:
    """The lake of this installation."""
    return Lake(operations.lake_url or str(operations.var / "lake"))
