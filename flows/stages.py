"""The stages of the chain, each bringing what lies upstream up to date first: finished steps come from the cache."""

from __future__ import annotations

from dataclasses import dataclass

from configs.settings import Settings
from flows.run import Progress
from tasks.backtest import backtest_stitched
from tasks.features import build_features
from tasks.funding import ingest_funding
from tasks.ingest import ingest_candles
from tasks.live import trade_live
from tasks.market import open_market
from tasks.promote import promote_model, registry_state
from tasks.trade import trade_paper
from tasks.train import train_fold
from tasks.validate import validate_bars
from tasks.values import Backtested, Market, Promoted, Research, Rules, Window


@dataclass(frozen=True)
class Chain:
    """One run's settings, progress and candle files; every method is one stage."""

    settings: Settings
    progress: Progress
    candles: tuple[str, ...] = ()

    @property
    def rules(self) -> Rules:
        """The sections that decide how forecasts become orders."""
        settings = self.settings
        return Rules(trading=settings.trading, risk=settings.risk, learning=settings.learning, settings_hash=settings.short_hash)

    def market(self) -> Market:
        """Open the market: practice exchange or venue."""
        return self.progress.step("open the market", open_market, self.settings.market, self.settings.operations, self.candles)

    def research(self, market: Market) -> Research:
        """Ingest, validate, build features, then tune and train every fold."""
        learning, operations, step = self.settings.learning, self.settings.operations, self.progress.step
        raw = step("ingest candles", ingest_candles, market, operations)
        funding = ingest_funding(market, operations)
        validated = step("validate bars", validate_bars, raw, market, operations)
        features = step("build features", build_features, validated, learning.recipe, operations)
        titles = [f"fold {fold + 1} of {learning.folds.n_folds}" for fold in range(learning.folds.n_folds)] + ["the model to trade"]
        folds = tuple(step(f"tune and train {title}", train_fold, fold, validated, features, learning, operations) for fold, title in enumerate(titles))
        return Research(validated=validated, features=features, folds=folds, funding=funding)

    def backtest(self, market: Market, research: Research) -> Backtested:
        """Backtest the stitched out-of-sample forecasts beside the baselines."""
        return self.progress.step("backtest out of sample", backtest_stitched, market, research, self.rules, self.settings.operations)

    def promote(self, tested: Backtested, research: Research) -> Promoted:
        """Decide promotion and register the model."""
        operations = self.settings.operations
        return self.progress.step("decide promotion", promote_model, tested, research, registry_state(operations), self.settings.learning, operations)

    def trade(self, market: Market, research: Research) -> Window:
        """Trade one bounded paper window."""
        return self.progress.step("trade a paper window", trade_paper, market, research, self.rules, self.settings.operations)

    def trade_live(self, market: Market, research: Research, armed_minutes: float) -> Window:
        """Trade one bounded window with orders on the practice exchange."""
        return self.progress.step("trade a live window", trade_live, market, research, self.rules, self.settings.operations, armed_minutes)


def chain(settings: Settings, name: str, steps: int, candles: tuple[str, ...] = ()) -> Chain:
    """A chain whose progress counts `steps` besides the folds."""
    return Chain(settings, Progress(steps=steps, name=name), candles)
