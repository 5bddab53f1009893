"""The forecasting network: dilated causal convolutions, one banded attention layer, two heads.

Nothing is padded. Every output is a function of exactly the last `lookback_bars` rows, so a block of T rows yields T - lookback_bars + 1 forecasts
and a live window of lookback_bars rows yields one: the very same function in training, scoring and trading.
Randomness (initialisation, dropout) comes from one explicit generator, never from torch's global state: folds may train in threads.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from configs.learning import NetworkSettings
from data_contracts.checks import checks_shape
from desk.errors import Misconfigured

# log-sd is kept within exp(+-4) label sds: a runaway head cannot overflow
LOG_SD_LIMIT = 4.0


class Dropout(nn.Module):
    """Dropout that draws from its own generator, so that a step can be repeated exactly."""

    def __init__(self, rate: float, generator: torch.Generator) -> None:
        super().__init__()
        self.rate = rate
        self.generator = generator

    def forward(self, x: Tensor) -> Tensor:
        """Zero a random share `rate` of x and scale up the rest; identity when not training."""
        if not self.training or self.rate == 0:
            return x
        kept = torch.rand(x.shape, generator=self.generator) >= self.rate
        return x * kept / (1 - self.rate)


class Convolution(nn.Module):
    """One residual dilated causal convolution without padding: [batch, channel, time] -> [batch, channel, time - dilation * (taps - 1)]."""

    def __init__(self, channels: int, taps: int, dilation: int, dropout: Dropout) -> None:
        super().__init__()
        self.shrinkage = dilation * (taps - 1)
        self.convolution = nn.Conv1d(channels, channels, taps, dilation=dilation)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """Add what the convolution saw to the rows it ends on."""
        return x[:, :, self.shrinkage :] + self.dropout(functional.gelu(self.convolution(x)))


class BandedAttention(nn.Module):
    """One head of causal self-attention over the last `width` rows, with a learned bias per lag: [batch, time, channel] -> [batch, time - width + 1, channel].

    Own code on scaled_dot_product_attention: torch's encoder layer switches implementation in evaluation and cannot be exported.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.output = nn.Linear(channels, channels)
        self.lag_bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Let each row look at itself and the width - 1 rows before it."""
        normed = self.norm(x)
        asking = normed[:, self.width - 1 :]
        queries = self.query(asking).unsqueeze(1)  # [batch, head, time, channel]: the exporter knows no other layout
        keys, values = self.key_value(normed).unsqueeze(1).chunk(2, dim=-1)
        attended = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=self.band(asking.shape[1]))
        return x[:, self.width - 1 :] + self.output(attended.squeeze(1))

    def band(self, n_queries: int) -> Tensor:
        """Additive mask [query, key]: the lag's bias inside the band, -inf outside. Query i sits on key i + width - 1."""
        if n_queries == 1:
            return self.lag_bias.flip(0).unsqueeze(0)
        lag = torch.arange(n_queries).unsqueeze(1) + self.width - 1 - torch.arange(n_queries + self.width - 1).unsqueeze(0)
        inside = (lag >= 0) & (lag < self.width)
        return torch.where(inside, self.lag_bias[lag.clamp(0, self.width - 1)], -math.inf)


class Network(nn.Module):
    """Features [batch, time, feature], scaled and finite -> [batch, time - lookback_bars + 1, 2]: mean and log-sd of the label in training-label sds.

    A linear path from the current row runs beside the deep one: most of what is predictable is linear and should be learned first.
    """

    def __init__(self, settings: NetworkSettings, n_features: int, lookback_bars: int, *, seed: int) -> None:
        super().__init__()
        field = receptive_bars(settings)
        if field > lookback_bars:
            raise Misconfigured(
                f"the convolutions must see at most lookback_bars = {lookback_bars} rows; {settings.layers} layers of {settings.kernel_size} taps see {field} "
                "(learning.network); use fewer layers or taps, or a longer learning.lookback_bars"
            )
        self.lookback_bars = lookback_bars
        self.generator = torch.Generator()
        dropout = Dropout(settings.dropout, self.generator)
        self.inlet = nn.Conv1d(n_features, settings.channels, 1)
        self.convolutions = nn.ModuleList(Convolution(settings.channels, settings.kernel_size, 2**layer, dropout) for layer in range(settings.layers))
        self.attention = BandedAttention(settings.channels, lookback_bars - field + 1) if settings.attention else None
        self.norm = nn.LayerNorm(settings.channels)
        self.heads = nn.Linear(settings.channels, 2)
        self.linear = nn.Linear(n_features, 2, bias=False)
        self.initialise(seed)

    def initialise(self, seed: int) -> None:
        """Draw the weights from `seed`; biases and both heads start at zero: mean 0, sd 1, no opinion."""
        self.generator.manual_seed(seed)
        for name, parameter in sorted(self.named_parameters()):
            if parameter.dim() < 2 or name.startswith(("heads", "linear")):
                nn.init.ones_(parameter) if "norm.weight" in name else nn.init.zeros_(parameter)
            else:
                nn.init.kaiming_normal_(parameter, nonlinearity="linear", generator=self.generator)

    @checks_shape(features="batch time feature")
    def forward(self, features: Tensor) -> Tensor:
        """One forecast for each row that has lookback_bars - 1 rows before it."""
        n_targets = features.shape[1] - self.lookback_bars + 1
        hidden = self.inlet(features.transpose(1, 2))
        for convolution in self.convolutions:
            hidden = convolution(hidden)
        hidden = hidden.transpose(1, 2)
        hidden = hidden[:, -n_targets:] if self.attention is None else self.attention(hidden)
        mean, log_sd = (self.heads(self.norm(hidden)) + self.linear(features[:, -n_targets:])).unbind(-1)
        return torch.stack((mean, LOG_SD_LIMIT * torch.tanh(log_sd / LOG_SD_LIMIT)), dim=-1)


def receptive_bars(settings: NetworkSettings) -> int:
    """Rows that one output of the convolutions depends on."""
    return 1 + (settings.kernel_size - 1) * (2**settings.layers - 1)
