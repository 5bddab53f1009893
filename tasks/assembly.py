"""Where floors meet: trained models become the desk's forecasters, settings and instruments become a session's setup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from configs.vocabulary import Timeframe
from desk.features import recipe
from desk.modes import Setup
from desk.strategy.house import house_strategy
from tasks.values import FoldFit, Market, Research, Rules

if TYPE_CHECKING:
    from desk.strategy.forecast import Forecaster

# Later than any bar: the end of a span that is still open.
FOREVER = datetime(9999, 1, 1, tzinfo=UTC)


def stitched(folds: Sequence[FoldFit], kind: str, timeframe: Timeframe) -> Forecaster:
    """One forecaster over all folds: `kind` is "network" or "linear"; each fold answers from the close of its first bar to that of the next fold's."""
    from models.forecasters import LinearForecaster, OnnxForecaster, Stitched

    ordered = sorted(folds, key=lambda fold: fold.starts)
    begins = [fold.starts + timeframe.delta for fold in ordered]
    load = OnnxForecaster if kind == "network" else LinearForecaster.load
    return Stitched([(begin, end, load(fold.folder / kind)) for fold, begin, end in zip(ordered, begins, [*begins[1:], FOREVER], strict=True)])


def setup_of(
    market: Market, research: Research, rules: Rules, *, session_id: str, forecaster: Forecaster, funding: Mapping[tuple[str, datetime], float] | None = None
) -> Setup:
    """A session's setup with the strategy that the settings name. `funding`: known rates of contracts, by symbol and end of bar."""
    return Setup(
        session_id=session_id,
        settings_hash=rules.settings_hash,
        instruments=market.grid(),
        policy=house_strategy(rules.trading),
        trading=rules.trading,
        risk=rules.risk,
        recipe=recipe.load(research.features.recipe),
        forecaster=forecaster,
        funding=funding or {},
    )
