"""Planted markets: returns whose predictable part is known, and features that show it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from configs.learning import LearningSettings, NetworkSettings, TrainingSettings, TuningSettings
from models.fitted import Fitted
from models.training import fit
from models.windows import Table

Planted = Callable[..., Table]


def planted_table(n_bars: int = 1500, n_assets: int = 3, *, ic: float = 0.1, n_features: int = 4, seed: int = 0, phi: float = 0.97) -> Table:
    """One-bar returns of sd .01 with a hidden OU signal of information coefficient `ic`, shown by the sum of the first two features; the rest is noise."""
    rng = np.random.default_rng(seed)

    def ou(shape: tuple[int, ...]) -> np.ndarray:
        shocks = rng.standard_normal(shape)
        for t in range(1, shape[0]):
            shocks[t] = phi * shocks[t - 1] + np.sqrt(1 - phi**2) * shocks[t]
        return shocks

    signal, hidden = ou((n_bars, n_assets)), ou((n_bars, n_assets))
    features = ou((n_bars, n_assets, n_features))
    features[..., 0], features[..., 1] = (signal + hidden) / np.sqrt(2), (signal - hidden) / np.sqrt(2)
    returns = 0.01 * (ic * signal + np.sqrt(1 - ic**2) * rng.standard_normal((n_bars, n_assets)))
    logs = np.log(100) + np.concatenate((np.zeros((1, n_assets)), np.cumsum(returns, axis=0)[:-1]))
    labels = np.full((n_bars, n_assets), np.nan, dtype=np.float32)
    labels[:-1] = np.diff(logs, axis=0)
    times = np.datetime64("2024-01-01", "us") + np.arange(n_bars) * np.timedelta64(3600, "s")
    symbols, names = tuple(f"S{asset}" for asset in range(n_assets)), tuple(f"f{feature}" for feature in range(n_features))
    return Table(features.astype(np.float32), labels, np.exp(logs), times, symbols, names, 1)


@pytest.fixture(scope="session")
def planted() -> Planted:
    """Makes planted tables."""
    return planted_table


@pytest.fixture(scope="session")
def small_network() -> NetworkSettings:
    """A network that trains in milliseconds."""
    return NetworkSettings(channels=8, layers=2)


@pytest.fixture(scope="session")
def short_training() -> TrainingSettings:
    """A few small steps."""
    return TrainingSettings(steps=6, batch_blocks=4, block_bars=16, checkpoint_every_steps=2)


@pytest.fixture(scope="session")
def small_learning(small_network: NetworkSettings, short_training: TrainingSettings) -> LearningSettings:
    """All of it, small."""
    return LearningSettings(
        horizon_bars=1, lookback_bars=16, network=small_network, training=short_training, tuning=TuningSettings(trials=4, steps=4, channels=(8, 12))
    )


@pytest.fixture(scope="session")
def fitted(planted: Planted, small_network: NetworkSettings, short_training: TrainingSettings) -> Fitted:
    """A network trained for a few steps on the default planted table."""
    return fit(planted(), np.arange(1000), small_network, short_training, lookback_bars=16, seed=5)


@pytest.fixture(scope="session")
def model_folder(fitted: Fitted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That network, exported. Tests that change files copy it first."""
    from models.fitted import save

    folder = tmp_path_factory.mktemp("model") / "network"
    save(fitted, folder)
    return folder
