"""The training loop against a bare one in torch: as many optimiser steps of as many convolutions on batches of the same shape, nothing kept or checked.

Prints one JSON line; both in turn, same process, one thread. A change of the architecture shows here: the ratio is compared with
what was stored on this processor, and a tenth more fails. `--store` stores it anew; `--more .2` trains a fifth more steps, to see it fail.
"""

from __future__ import annotations

import json
import os
import statistics
import sys

import numpy as np
import torch
from _baseline import in_turn, slower, store, stored, words
from torch import nn
from torch.nn import functional

from configs.learning import NetworkSettings, TrainingSettings
from models.training import fit
from models.windows import Table

NAME = "training.fit"
BARS, ASSETS, FEATURES, LOOKBACK = 3_000, 4, 8, 32
STEPS, ROUNDS = 40, 3
NETWORK, TRAINING = NetworkSettings(), TrainingSettings(batch_blocks=8, block_bars=64)


def table() -> Table:
    """Seeded noise: how long a step takes does not depend on what it learns."""
    random = np.random.default_rng(1)
    times = np.datetime64("2024-01-01", "us") + np.arange(BARS) * np.timedelta64(3600, "s")
    features, labels = random.standard_normal((BARS, ASSETS, FEATURES)), 0.01 * random.standard_normal((BARS, ASSETS))
    symbols, names = tuple(f"S{asset}" for asset in range(ASSETS)), tuple(f"f{feature}" for feature in range(FEATURES))
    return Table(features.astype(np.float32), labels.astype(np.float32), np.exp(np.cumsum(labels, axis=0)), times, symbols, names, 1)


def bare() -> None:
    """The least that takes as many steps: convolutions, a loss, AdamW."""
    torch.manual_seed(1)
    layers: list[nn.Module] = [nn.Conv1d(FEATURES, NETWORK.channels, 1)]
    layers += [nn.Conv1d(NETWORK.channels, NETWORK.channels, NETWORK.kernel_size, dilation=2**layer) for layer in range(NETWORK.layers)]
    layers.append(nn.Conv1d(NETWORK.channels, 2, 1))
    network = nn.Sequential(*layers)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    batch = torch.randn(TRAINING.batch_blocks, FEATURES, TRAINING.block_bars + LOOKBACK - 1)
    for _ in range(STEPS):
        outputs = batch
        for layer in network:
            outputs = functional.gelu(layer(outputs))
        optimiser.zero_grad(set_to_none=True)
        outputs.square().mean().backward()
        optimiser.step()


def main() -> int:
    """Measure and print; 1 when more is taken than what was stored allows."""
    asked = words("the training loop against a bare one", "share of steps that ours takes besides, to see it fail")
    before, rows = {} if asked.store else stored(asked.baseline), table()

    def play() -> None:
        fit(rows, np.arange(BARS), NETWORK, TRAINING, lookback_bars=LOOKBACK, seed=1, steps=round(STEPS * (1 + asked.more)))

    (ours, peer), ratio = in_turn(lambda: (play, bare), ROUNDS, NAME, before)
    lost = slower(NAME, ratio, before)
    line = {
        "name": NAME,
        "value": round(statistics.median(ours) / STEPS * 1e3, 2),
        "unit": "ms/step",
        "peer": "bare torch loop",
        "peer_value": round(statistics.median(peer) / STEPS * 1e3, 2),
        "ratio": round(ratio, 3),
        "stored": before.get(NAME),
        "lost": lost,
        "met": not lost,
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(line), flush=True)
    if asked.store:
        store({NAME: round(ratio, 3)}, asked.baseline)
    return int(lost)


if __name__ == "__main__":
    sys.exit(main())
