"""Whether the backtest would have held, computed beside it and kept with it: one file that the report reads back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import TypeAdapter

from desk import measures
from desk.backtest.panel import Panel
from desk.backtest.robustness import NEAR, Case, Resampled, placebo, plateau, resampled, resampled_trades, round_trips, share_near_best, stresses
from desk.backtest.scenarios import Scenario, scenarios, toll
from desk.backtest.thresholds import Forecasts, thresholds
from desk.review import content

NAME = "robustness.json"
# What the curves of resampled bars are called, the one that happened first.
CURVES = {"happened": "as it happened", "p50": "median", "p95": "5 % are above", "p5": "5 % are below"}
YEAR = np.timedelta64(365, "D")


@dataclass(frozen=True)
class Beyond:
    """What exposures alone do not say: all admitted bars of a real market (None: a made-up one), what was forecast, and how the model decides on other bars."""

    recorded: Panel | None
    forecasts: Forecasts
    answer: Callable[[Scenario], NDArray[np.float64]]


def write_robustness(case: Case, beyond: Beyond, folder: Path) -> None:
    """Put a tested case to every test there is."""
    told = content.Robustness(
        plateaus=plateaus(case, beyond.forecasts),
        resamples=resamples(case),
        stresses=[content.StressRow(**row) for row in stresses(case).iter_rows(named=True)],
        scenarios=[content.ScenarioRow(**asdict(toll(each))) for each in played(case, beyond)],
        placebo=[content.PlaceboRow(**row) for row in placebo(case).iter_rows(named=True)],
    )
    (folder / NAME).write_text(json.dumps(asdict(told), default=datetime.isoformat), encoding="utf-8")


def read_robustness(folder: Path) -> content.Robustness:
    """What `write_robustness` left in the backtest's folder."""
    return TypeAdapter(content.Robustness).validate_python(json.loads((folder / NAME).read_text(encoding="utf-8")))


def plateaus(case: Case, forecasts: Forecasts) -> Sequence[content.Plateau]:
    """Around the tested size and delay, and around the tested thresholds where the strategy has them."""
    policy = case.trading.policy
    sized = plateau_of("Sized otherwise, or late", plateau(case), (1.0, 0.0))
    judged = thresholds(case, forecasts)
    return [sized] if judged is None else [sized, plateau_of("Other thresholds", judged, (policy.exit, policy.entry))]


def plateau_of(title: str, found: pl.DataFrame, tested: tuple[float, float]) -> content.Plateau:
    """As the report tells it; the first two columns are its axes."""
    down, across = found.columns[:2]
    rows = [content.PlateauRow(*row) for row in found.iter_rows()]
    return content.Plateau(title, (down.replace("_", " "), across.replace("_", " ")), tested, rows, share_near_best(found), NEAR)


def played(case: Case, beyond: Beyond) -> Iterator[Scenario]:
    """Every scenario; a made-up one again, with what the model wants on its bars."""
    for scenario in scenarios(case, beyond.recorded):
        yield scenario
        if scenario.made_up:
            yield scenario.answered(beyond.answer(scenario))


def resamples(case: Case) -> Sequence[content.Resamples]:
    """The case's bars in other orders, and its trades where there are enough of them."""
    result, bars = case.result, case.bars
    by_bar = resampled(measures.returns_of(result.equity), bars.bars_per_year)
    moments = [moment.replace(tzinfo=UTC) for moment in result.times[by_bar.at].astype(datetime)]
    trips = round_trips(result, last_prices(bars), float(case.trading.initial_cash))
    by_trade = resampled_trades(trips, float((bars.closed_at[-1] - bars.times[0]) / YEAR))
    return [
        resamples_of("bars", by_bar, moments),
        *([resamples_of("trades", by_trade)] if by_trade else []),
    ]


def resamples_of(pieces: str, found: Resampled, moments: Sequence[datetime] = ()) -> content.Resamples:
    """As the report tells them; curves only over `moments`."""
    rows = [content.PercentileRow(**row) for row in found.percentiles.iter_rows(named=True)]
    curves = {name: found.curves[column].to_list() for column, name in CURVES.items()} if moments else {}
    return content.Resamples(pieces, found.n, found.mean_block, rows, moments, curves)


def last_prices(bars: Panel) -> dict[str, float]:
    """Each symbol's last close."""
    return {symbol: float(closes[np.isfinite(closes)][-1]) for symbol, closes in zip(bars.symbols, bars.close.T, strict=True)}
