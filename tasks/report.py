"""The page a person reads after a run."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from prefect import task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.context import FlowRunContext

from configs.operations import OperationsSettings
from configs.trading import CostSettings
from configs.vocabulary import Timeframe
from desk import measures
from desk.backtest.calibration import calibrate
from desk.backtest.charges import charges
from desk.backtest.panel import Panel
from desk.backtest.result import Result
from desk.books.journal import Journal
from desk.chain import Chain
from desk.clock import WallClock
from desk.costs import charged_rates, rates_at
from desk.features import regime
from desk.review import content
from desk.review.report import percent, render
from tasks.backtest import returns_of
from tasks.places import lake_of
from tasks.policies import cache_ledger
from tasks.robustness import read_robustness
from tasks.values import Market, Outcome, Research, Rules, Verdict

# Calm and stormy: two regimes are what a year of hourly bars can tell apart.
REGIMES = ("calm", "stormy")
# Reported beside the decision, not part of it.
BESIDE = {
    "minimum_track_record_bars": "minimum track record, bars",
    "minimum_backtest_years": "minimum backtest length, years",
    "probability_of_backtest_overfitting": "probability of backtest overfitting",
    "reality_check_p": "reality check, p",
    "superior_predictive_ability_p": "superior predictive ability, p",
    "superior_predictive_ability_lower_p": "superior predictive ability, lower p",
    "superior_predictive_ability_upper_p": "superior predictive ability, upper p",
    "discovery_p": "p that the network is luck, adjusted for the strategies compared",
    "sharpe_low": "annual Sharpe, 5 % of resamples are below",
    "sharpe_high": "annual Sharpe, 5 % of resamples are above",
    "effective_trials": "independent trials that all trials amount to",
    "deflated_sharpe_effective": "deflated Sharpe over those",
    "recent_sharpe": "annual Sharpe, weight on the newest month of hourly bars",
    "recent_sortino": "annual Sortino, likewise",
}


@task(name="write_report")
def write_report(market: Market, research: Research, verdict: Verdict, rules: Rules, operations: OperationsSettings) -> Outcome:
    """Lay the run out as one self-contained HTML page."""
    now = WallClock().now()
    target = operations.var / "reports" / f"{now:%Y%m%dT%H%M%SZ}-{rules.settings_hash[:8]}.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(render(page(market, research, verdict, rules, operations)), encoding="utf-8")
    announce(target, verdict)
    return Outcome(
        report=target.resolve(),
        promoted=verdict.promoted.promoted,
        reasons=verdict.promoted.reasons,
        model_version=verdict.promoted.model_version,
        paper_bars=verdict.window.bars,
        paper_fills=verdict.window.fills,
        resumed_from=verdict.window.resumed_from,
    )


def announce(target: Path, verdict: Verdict) -> None:
    """The decision and the way to the page, in Prefect's UI."""
    promoted = verdict.promoted
    reasons = "\n".join(f"- {reason}" for reason in promoted.reasons) or "- every condition held"
    create_markdown_artifact(
        key="decision", markdown=f"# {'Promoted' if promoted.promoted else 'Not promoted'}\n\n{reasons}\n", description="promotion decision"
    )
    create_link_artifact(key="report", link=target.resolve().as_uri(), link_text="the run's report", description="HTML report")


def page(market: Market, research: Research, verdict: Verdict, rules: Rules, operations: OperationsSettings) -> content.ReportContent:
    """Everything the page says, from what the run left behind."""
    bars = lake_of(operations).read(research.validated.clean)
    curves = pl.read_parquet(verdict.tested.folder / "curves.parquet")
    network = Result.load(verdict.tested.folder / "network")
    panel_bars = bars.filter(pl.col("open_time") >= research.folds[0].starts)
    return content.ReportContent(
        run=facts(market, research, verdict, rules, charged_words(network, panel_bars, rules)),
        data=data_section(research, bars),
        learning=learning_section(research, bars),
        comparison=[content.Strategy(name, found) for name, found in verdict.tested.measures.items()],
        curves=content.Curves(
            times=[moment.replace(tzinfo=UTC) for moment in curves["time"].to_list()],
            equity={name: curves[name].to_list() for name in curves.columns if name != "time"},
            exposure=gross_exposure(network, panel_bars).tolist(),
        ),
        costs=costs_of(network, panel_bars, rules),
        regimes=regime_rows(bars, curves, research, market),
        refusals=[content.RefusalRow(guard, reason, count) for (guard, reason), count in refusals_of(network)],
        promotion=promotion_of(verdict),
        paper=paper_of(verdict, rules),
        tasks=[content.TaskRow(step.name, step.cached, step.seconds) for step in cache_ledger()],
        viewers=[
            content.Viewer("Prefect", "make up", f"http://127.0.0.1:{operations.prefect_port}"),
            content.Viewer("MLflow", "make up", f"http://127.0.0.1:{operations.mlflow_port}"),
        ],
        robustness=read_robustness(verdict.tested.folder),
        assumptions=network.assumptions,
    )


def facts(market: Market, research: Research, verdict: Verdict, rules: Rules, charged: Mapping[str, str]) -> content.RunFacts:
    """Which run this is, and what stands beside its decision."""
    context = FlowRunContext.get()
    now = WallClock().now()
    run = context.flow_run if context else None
    return content.RunFacts(
        run_id=str(run.id) if run else "none",
        started_at=run.start_time if run and run.start_time else now,
        finished_at=now,
        settings_hash=rules.settings_hash,
        dataset_hash=research.validated.clean.content_hash,
        commit=commit(),
        market=market.description,
        timeframe=market.timeframe,
        quote=rules.trading.quote,
        synthetic=market.synthetic,
        more={
            "model version": verdict.promoted.model_version,
            "recipe": research.features.recipe_hash[:16],
            "kernel": verdict.tested.kernel_agrees,
            "linear model's IC on combinatorial paths": paths_words(verdict),
            **{words: f"{verdict.promoted.figures[name]:.3g}" for name, words in BESIDE.items() if name in verdict.promoted.figures},
            **charged,
        },
    )


def commit() -> str:
    """The commit this code stands at, or "unknown" outside a checkout."""
    try:
        asked = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return asked.stdout.strip()


def data_section(research: Research, bars: pl.DataFrame) -> content.DataSection:
    """Rows, real gaps, expectations."""
    missing = Counter[str]()
    for gap in research.validated.gaps:
        missing[gap.symbol] += gap.missing_bars
    spans = (
        bars.group_by("symbol").agg(pl.len().alias("rows"), pl.col("open_time").min().alias("first"), pl.col("open_time").max().alias("last")).sort("symbol")
    )
    failures = research.validated.expectation_failures
    return content.DataSection(
        symbols=[content.SymbolRows(row["symbol"], row["rows"], row["first"], row["last"], missing[row["symbol"]]) for row in spans.iter_rows(named=True)],
        gaps=[content.Gap(gap.symbol, gap.after, gap.before, gap.missing_bars, "outage") for gap in research.validated.gaps],
        expectations=[content.Expectation(name, False, "not met") for name in failures] or [content.Expectation("batch suite", True, "met")],
    )


def learning_section(research: Research, bars: pl.DataFrame) -> content.LearningSection:
    """The folds and what each found."""
    first, last = research.validated.clean.span
    rows = []
    for fold, after in zip(research.folds, [*research.folds[1:], None], strict=True):
        train_until = bars.filter(pl.col("open_time") < fold.starts)["open_time"].max()
        score = max((score for score in fold.trial_scores), default=float("nan"))
        test_until = after.starts if after else last
        rows.append(
            content.Fold(
                number=fold.fold + 1,
                train=(first, train_until if isinstance(train_until, datetime) else first),
                test=(fold.starts, test_until),
                trials=fold.trials,
                best_parameters=fold.best,
                score=score,
                ic=fold.ic if fold.ic is not None else float("nan"),
            )
        )
    features = research.features
    return content.LearningSection(rows, features.recipe, features.recipe_hash, len(features.names), len(features.certified))


def paths_words(verdict: Verdict) -> str:
    """The paths' coefficients, and how far resampled labels put their mean."""
    found, interval = verdict.tested.path_ics, verdict.tested.path_interval
    words = ", ".join(f"{coefficient:.3f}" for coefficient in found) or "undefined"
    return f"{words}; 90 % of resampled labels: {interval[0]:.3f} to {interval[1]:.3f}" if interval else words


def charged_words(network: Result, bars: pl.DataFrame, rules: Rules) -> dict[str, str]:
    """What the settings charge beside what the bars and the venue's schedule say."""
    costs, quote = rules.trading.costs, rules.trading.quote
    panel = Panel.from_frame(bars)
    told = calibrate(panel)
    owed = charges(network.fills, held_notional(network, bars), costs, panel.bars_per_year)
    return {
        "half spread charged, and at most by the bars (95 %)": f"{costs.half_spread_bps:.3g} and {told.half_spread_at_most_bps:.3g} basis points",
        "impact of a whole bar charged, and by the square-root law": f"{costs.impact_bps:.3g} and {told.impact_bps:.3g} basis points",
        "fee charged": fee_words(costs, quote),
        "fees by the tiers that these fills earn alone": f"{owed.tier_fees:.6g} {quote}; at most {owed.traded_30d:,.0f} {quote} traded in 30 days",
        "interest on what was borrowed": f"{owed.borrowed:.6g} {quote}",
        **({"funding that contracts paid": f"{network.costs['funding']:.6g} {quote}"} if network.costs.get("funding") else {}),
    }


def fee_words(costs: CostSettings, quote: str) -> str:
    """The rates that every fill was charged, whose tier they are, and from where on the next one holds."""
    taker, maker = charged_rates(costs)
    charged = f"{percent(taker, 4)} of what crossed, {percent(maker, 4)} of what rested, at {costs.volume_30d:,.0f} {quote} in 30 days"
    above = [tier.volume for tier in costs.fee_tiers if tier.volume > costs.volume_30d]
    if not above:
        return f"{charged}; no tier above it"
    following = rates_at(above[0], costs)
    return f"{charged}; from {above[0]:,.0f} {quote} on {percent(following.taker, 4)} and {percent(following.maker, 4)}"


def held_notional(network: Result, bars: pl.DataFrame) -> NDArray[np.float64]:
    """Signed position at each close, in quote [time, asset]; 0 before a symbol's first bar."""
    closes = bars.pivot(on="symbol", index="open_time", values="close", sort_columns=True).sort("open_time").fill_null(strategy="forward")
    return np.asarray(np.nan_to_num(closes.drop("open_time").to_numpy()) * network.positions)


def gross_exposure(network: Result, bars: pl.DataFrame) -> NDArray[np.float64]:
    """Gross position over equity at each close, fraction."""
    return np.asarray(np.abs(held_notional(network, bars)).sum(axis=1) / network.equity)


def costs_of(network: Result, bars: pl.DataFrame, rules: Rules) -> content.Costs:
    """Fees as charged; spread as modelled on the open; impact is the rest of what fills were worse than the open."""
    fills = network.fills.join(bars.select("symbol", pl.col("open_time").alias("time"), "open"), on=["symbol", "time"], how="left", maintain_order="left")
    sign = pl.when(pl.col("side") == "buy").then(1.0).otherwise(-1.0)
    quantity, price = pl.col("quantity").cast(pl.Float64), pl.col("price").cast(pl.Float64)
    total = fills.select(
        fees=pl.col("fee").cast(pl.Float64).sum(),
        spread=(quantity * pl.col("open")).sum() * rules.trading.costs.half_spread_bps * 1e-4,
        slipped=(sign * (price - pl.col("open")) * quantity).sum(),
        notional=(price * quantity).sum(),
    ).row(0, named=True)
    return content.Costs(total["fees"], total["spread"], max(total["slipped"] - total["spread"], 0.0), total["notional"], float(network.equity[0]))


def regime_rows(bars: pl.DataFrame, curves: pl.DataFrame, research: Research, market: Market) -> list[content.RegimeRow]:
    """The network's returns by filtered regime of the equally weighted market; regimes are fitted on bars before the first test row."""
    by_time = (
        bars.sort("symbol", "open_time")
        .with_columns(pl.col("close").log().diff().over("symbol").alias("moved"))
        .group_by("open_time")
        .agg(pl.col("moved").mean())
        .sort("open_time")
        .drop_nulls()
    )
    known = by_time.filter(pl.col("open_time") < research.folds[0].starts)["moved"].to_numpy()
    model = regime.fit(known, len(REGIMES))
    filtered = model.filtered(by_time["moved"].to_numpy())
    tested = by_time["open_time"].is_in(curves["time"].dt.replace_time_zone("UTC").to_list()).to_numpy()
    state, ours = np.argmax(filtered[tested], axis=1), returns_of(curves, "network")[-int(tested.sum()) :]
    rows = []
    for number, name in enumerate(REGIMES):
        inside = ours[state == number]
        moved = inside[inside != 0]
        rows.append(
            content.RegimeRow(
                name=name,
                share_of_time=float(np.mean(state == number)),
                mean_return=float(inside.mean()) if inside.size else float("nan"),
                sharpe=measures.sharpe(inside, Timeframe(market.timeframe).bars_per_year),
                hit_rate=float(np.mean(moved > 0)) if moved.size else float("nan"),
            )
        )
    return rows


def refusals_of(network: Result) -> list[tuple[tuple[str, str], int]]:
    """Refused orders counted by guard and reason."""
    counted = Counter((str(row["guard"]), str(row["reason"])) for row in network.refusals.iter_rows(named=True))
    return counted.most_common()


def promotion_of(verdict: Verdict) -> content.Promotion:
    """The gate's answer."""
    promoted = verdict.promoted
    return content.Promotion(
        promoted=promoted.promoted,
        challenger=f"version {promoted.model_version}",
        champion=promoted.champion,
        reasons=promoted.reasons or ("every condition held",),
        checks=[content.PromotionCheck(check.name, check.found, check.needed, check.passed) for check in promoted.checks],
    )


def paper_of(verdict: Verdict, rules: Rules) -> content.PaperSession:
    """The paper window, read back from its journal."""
    window = verdict.window
    with Chain.reading(window.journal) as chain:
        steps = Journal(chain, rules.settings_hash).steps()[-window.bars :] if window.bars else ()
    return content.PaperSession(
        bars=window.bars,
        orders=sum(len(step.approved) for step in steps),
        fills=window.fills,
        refused=window.refusals,
        first_equity=window.started_equity,
        last_equity=window.equity,
        span=(steps[0].closed_at, steps[-1].closed_at) if steps else None,
        resumed_from=window.resumed_from.isoformat() if window.resumed_from else None,
        model=f"version {verdict.promoted.model_version}{'' if verdict.promoted.promoted else ', not promoted: paper only'}",
    )
