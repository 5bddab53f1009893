"""How models are trained, tuned, validated and promoted."""

from __future__ import annotations

from pydantic import Field

from configs.section import Section


class FoldSettings(Section):
    """Purged, embargoed walk-forward (Lopez de Prado 2018, ch. 7) with a holdout behind it."""

    n_folds: int = Field(4, ge=1, description="walk-forward folds, expanding training span")
    min_train_share: float = Field(0.4, gt=0, lt=1, description="share of the bars before the holdout that the first fold trains on")
    embargo_bars: int = Field(24, ge=0, description="bars left out between training labels and the test span, beyond the label's own length")
    holdout_share: float = Field(0.15, gt=0, lt=0.5, description="share of the newest bars kept for the once-only holdout test")


class NetworkSettings(Section):
    """The causal convolutional network with attention."""

    channels: int = Field(24, ge=4, le=512, description="width of each layer")
    layers: int = Field(3, ge=1, le=10, description="dilated causal convolutions; receptive field grows as 2**layers")
    kernel_size: int = Field(3, ge=2, le=9, description="taps per convolution")
    attention: bool = Field(True, description="one causal attention layer after the convolutions")
    dropout: float = Field(0.1, ge=0, lt=0.9, description="dropout rate while training")


class TrainingSettings(Section):
    """The one training loop."""

    steps: int = Field(80, ge=1, description="optimiser steps of a final fit")
    batch_blocks: int = Field(24, ge=1, description="contiguous blocks per step")
    block_bars: int = Field(128, ge=8, description="targets per block")
    learning_rate: float = Field(3e-3, gt=0, description="peak AdamW learning rate")
    weight_decay: float = Field(1e-3, ge=0, description="AdamW weight decay")
    checkpoint_every_steps: int = Field(25, ge=1, description="steps between checkpoints")
    threads: int = Field(1, ge=1, description="torch threads of this process")
    seed: int = Field(11, ge=0, description="seed of initialisation, sampling and dropout")


class TuningSettings(Section):
    """The Optuna study run in every fold."""

    trials: int = Field(6, ge=1, description="trials per fold")
    steps: int = Field(40, ge=1, description="optimiser steps of one trial")
    validation_share: float = Field(0.2, gt=0, lt=0.5, description="newest share of the training span that scores a trial")
    learning_rate: tuple[float, float] = Field((1e-3, 1e-2), description="search bounds of the learning rate, log scale")
    weight_decay: tuple[float, float] = Field((1e-5, 1e-2), description="search bounds of the weight decay, log scale")
    channels: tuple[int, ...] = Field((16, 24, 32), description="choices of network width")
    dropout: tuple[float, float] = Field((0.0, 0.3), description="search bounds of dropout")


class PromotionSettings(Section):
    """The gate between a trained model and capital."""

    alpha: float = Field(0.01, gt=0, lt=0.5, description="size of the once-only holdout block t-test")
    block_bars: int = Field(48, ge=1, description="block length of that test, bars")
    min_deflated_sharpe: float = Field(0.5, ge=0, le=1, description="deflated Sharpe probability needed beside the holdout test")
    max_drawdown: float = Field(0.5, gt=0, le=1, description="largest drawdown the evidence may show, fraction of equity")


class LearningSettings(Section):
    """Features, labels, folds, network, training, tuning, promotion."""

    recipe: str = Field("core", description="name of the feature recipe in desk/features/recipe.py")
    horizon_bars: int = Field(4, ge=1, description="bars ahead that the forecast speaks of")
    lookback_bars: int = Field(64, ge=2, description="feature rows the network sees for one forecast")
    folds: FoldSettings = FoldSettings()
    network: NetworkSettings = NetworkSettings()
    training: TrainingSettings = TrainingSettings()
    tuning: TuningSettings = TuningSettings()
    promotion: PromotionSettings = PromotionSettings()
