"""A run's content for the report tests: every section filled, with text that must be escaped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from desk.review import content as c

START = datetime(2022, 1, 1, tzinfo=UTC)


def _curves(n_bars: int) -> c.Curves:
    random = np.random.default_rng(3)
    moves = random.normal([0.00006, 0.00002, 0.0, 0.0], [0.002, 0.003, 0.007, 0.0], (n_bars, 4))
    equity = 10_000.0 * np.exp(np.cumsum(moves, axis=0))
    names = ("network", "linear", "buy-and-hold", "flat")
    exposure = np.clip(0.5 + np.cumsum(random.normal(0.0, 0.02, n_bars)) * 0.2, 0.0, 1.0)
    return c.Curves([START + timedelta(hours=i) for i in range(n_bars)], {name: equity[:, i] for i, name in enumerate(names)}, exposure)


def _comparison() -> tuple[c.Strategy, ...]:
    names = ("total_return", "sharpe", "sortino", "calmar", "max_drawdown", "volatility", "expected_shortfall", "turnover", "fills")
    rows = {
        "network": (0.12345, 0.87, 1.31, 0.66, -0.1872, 0.183, -0.0102, 0.0412, 1423),
        "linear": (-0.0321, -0.12, -0.2, -0.08, -0.2501, 0.21, -0.0131, 0.0871, 2991),
        "buy-and-hold": (0.4021, 0.61, 0.88, 0.52, -0.7611, 0.72, -0.0402, 0.0, 3),
        "flat": (0.0, float("nan"), float("nan"), float("nan"), 0.0, 0.0, 0.0, 0.0, 0),
    }
    return tuple(c.Strategy(name, dict(zip(names, values, strict=True))) for name, values in rows.items())


def _data() -> c.DataSection:
    end = START + timedelta(days=900)
    gaps = [c.Gap("ETH/USDT", START + timedelta(days=20 * i), START + timedelta(days=20 * i, hours=1 + i), 1 + i, "outage") for i in range(12)]
    expectations = (
        c.Expectation("rows are unique by symbol and open time", True, "21,600 of 21,600"),
        c.Expectation("share of missing bars below 1 %", True, "0.36 %"),
        c.Expectation("mean log volume within 3 sd of the last admitted batch", False, "3.4 sd for SOL/USDT"),
    )
    cases = (c.QuarantinedCase("SOL/USDT", START + timedelta(days=3), "high >= low", "high 1.2, low <b>9.9</b>"),)
    return c.DataSection([c.SymbolRows(s, 21_522, START, end, 78) for s in ("BTC/USDT", "ETH/USDT", "SOL/USDT")], gaps, cases, expectations)


def _robustness(curves: c.Curves) -> c.Robustness:
    plateau = [
        c.PlateauRow(s, float(late), 10_000.0 * (1 + s / 10), 0.9 - 0.15 * late - 0.3 * (1 - s), 900) for s in (0.25, 0.5, 0.75, 1.0) for late in range(5)
    ]
    rows = [
        c.PercentileRow("total_return", -0.08, 0.02, 0.11, 0.21, 0.37, 0.1235),
        c.PercentileRow("max_drawdown", 0.09, 0.12, 0.15, 0.19, 0.27, 0.1872),
        c.PercentileRow("sharpe", -0.41, 0.31, 0.86, 1.4, 2.2, 0.87),
    ]
    growth = {
        name: list(values[::40]) for name, values in zip(("as it happened", "median", "5 % are above", "5 % are below"), curves.equity.values(), strict=True)
    }
    return c.Robustness(
        plateaus=(c.Plateau("Sized otherwise, or late", ("size", "bars late"), (1.0, 0.0), plateau, 2 / 3, 0.2),),
        resamples=(c.Resamples("bars", 1000, 7.3, rows, curves.times[::40], growth), c.Resamples("trades", 1000, 1.0, rows)),
        stresses=(c.StressRow("as tested", 0.1235, 0.87, 0.1872, 1423, 21), c.StressRow("every cost doubled", 0.0512, 0.41, 0.2011, 1401, 19)),
        scenarios=(
            c.ScenarioRow("flash crash", "everything falls by 50% & comes back", 0.97, 0.4739, 0.2414, {"drawdown": 42, "daily_loss": 3}, 1.03),
            c.ScenarioRow("2020-03-12", "the recorded bars", 0.0, 0.0, 0.0, {}, float("nan")),
        ),
        placebo=(c.PlaceboRow("diffusion", 40, -0.0767, 0.2177, 0.2225, 0.025), c.PlaceboRow("clusters", 40, -0.05, 0.28, 0.24, 0.0)),
    )


def _folds() -> tuple[c.Fold, ...]:
    chosen = {"learning_rate": 0.00312, "weight_decay": 1.2e-4, "channels": 24, "dropout": 0.1}
    test = [START + timedelta(days=400 + 90 * i) for i in range(5)]
    return tuple(
        c.Fold(i + 1, (START, test[i] - timedelta(days=2)), (test[i], test[i + 1]), 6, chosen, 0.031 + 0.002 * i, 0.0213 - 0.004 * i) for i in range(4)
    )


@pytest.fixture
def full_content() -> c.ReportContent:
    """A run in which everything happened, on a synthetic market."""
    run = c.RunFacts(
        run_id="run-20240601-<script>",
        started_at=datetime(2024, 6, 1, 12, 0, tzinfo=UTC),
        finished_at=datetime(2024, 6, 1, 12, 3, 42, tzinfo=UTC),
        settings_hash="5e77c0ffee" * 6,
        dataset_hash="da7a5e7" * 9,
        commit="0123456789abcdef",
        market="Practice exchange, 3 symbols & a seeded tape",
        timeframe="1h",
        quote="USDT",
        synthetic=True,
        seed=7,
        more={"Model": "core-network version 4", "MLflow run": "a1b2c3d4"},
    )
    checks = (
        c.PromotionCheck("holdout block t-test, p", "0.034", "< 0.010", False),
        c.PromotionCheck("deflated Sharpe probability", "0.71", ">= 0.50", True),
        c.PromotionCheck("largest drawdown", "18.7 %", "<= 50 %", True),
    )
    return c.ReportContent(
        run=run,
        data=_data(),
        learning=c.LearningSection(_folds(), "core", "9baa6a0403399037f6ed", 16, 16),
        comparison=_comparison(),
        curves=_curves(9_000),
        costs=c.Costs(412.5, 187.25, 98.1, 512_345.0, 10_000.0),
        regimes=(c.RegimeRow("calm", 0.74, 0.000021, 1.42, 0.531), c.RegimeRow("wild", 0.26, -0.000012, -0.21, 0.489)),
        refusals=(c.RefusalRow("position", "position after the order above 35 % of equity", 17), c.RefusalRow("daily_loss", "only reducing until midnight", 4)),
        promotion=c.Promotion(False, "core-network version 4", "core-network version 3", ("the holdout test is not significant at 0.01",), checks),
        paper=c.PaperSession(
            48, 21, 19, 2, 10_000.0, 10_037.42, (START, START + timedelta(hours=48)), "bar 2024-05-31 22:00 of the last session", "core-network version 3"
        ),
        tasks=(c.TaskRow("ingest", False, 12.41), c.TaskRow("build_features", True, 0.02), c.TaskRow("train", True, 0.03), c.TaskRow("backtest", False, 2.2)),
        viewers=(
            c.Viewer("Prefect", "prefect server start", "http://127.0.0.1:4200"),
            c.Viewer("MLflow", "mlflow ui --backend-store-uri sqlite:///var/mlflow.db", "http://127.0.0.1:5000"),
        ),
        robustness=_robustness(_curves(9_000)),
        assumptions={"fills": "from the open of the next bar, at most 10 % of its volume", "impact": "square root of participation"},
    )
