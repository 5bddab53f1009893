"""One function in training and in trading: the last lookback_bars rows decide a forecast, and nothing else does."""

from __future__ import annotations

import pytest
import torch

from configs.learning import NetworkSettings
from desk.errors import Misconfigured
from models.network import Network

LOOKBACK = 32
SETTINGS = [NetworkSettings(), NetworkSettings(attention=False), NetworkSettings(channels=8, layers=1, kernel_size=2), NetworkSettings(layers=4)]


def awake(settings: NetworkSettings) -> Network:
    """A network in evaluation mode whose heads are not zero, so that everything inside shows."""
    network = Network(settings, 5, LOOKBACK, seed=1).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    return network


def features(n_rows: int) -> torch.Tensor:
    """Two sequences of five features."""
    return torch.randn(2, n_rows, 5, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_window_answers_as_its_row_in_a_block_does(settings: NetworkSettings) -> None:
    network, rows = awake(settings), features(LOOKBACK + 40)

    block = network(rows)
    windows = torch.cat([network(rows[:, start : start + LOOKBACK]) for start in range(41)], dim=1)

    assert (2, 41, 2) == block.shape
    assert torch.allclose(windows, block, atol=1e-5)
    assert block.std() > 0.1


def test_the_future_never_changes_the_past() -> None:
    network, rows = awake(NetworkSettings()), features(LOOKBACK + 40)
    changed = rows.clone()
    changed[:, LOOKBACK + 20 :] = 100.0

    before, after = network(rows), network(changed)

    assert torch.equal(before[:, :21], after[:, :21])
    assert not torch.allclose(before[:, 21:], after[:, 21:])


def test_rows_older_than_the_lookback_do_not_count_and_the_oldest_row_inside_does() -> None:
    network, rows = awake(NetworkSettings()), features(LOOKBACK + 1)
    forgotten, oldest = rows.clone(), rows.clone()
    forgotten[:, 0] += 10.0
    oldest[:, 1] += 10.0

    last = network(rows)[:, -1]

    assert torch.equal(last, network(forgotten)[:, -1])
    assert not torch.equal(last, network(oldest)[:, -1])


def test_a_fresh_network_has_no_opinion() -> None:
    network = Network(NetworkSettings(), 5, LOOKBACK, seed=1).eval()

    assert torch.equal(torch.zeros(2, 1, 2), network(features(LOOKBACK)))


def test_initialisation_depends_on_the_seed_and_not_on_torchs_global_state() -> None:
    torch.manual_seed(1)
    first = Network(NetworkSettings(), 5, LOOKBACK, seed=7).state_dict()
    torch.manual_seed(2)
    again, other = Network(NetworkSettings(), 5, LOOKBACK, seed=7).state_dict(), Network(NetworkSettings(), 5, LOOKBACK, seed=8).state_dict()

    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["inlet.weight"], other["inlet.weight"])


def test_convolutions_that_see_more_than_the_lookback_are_refused() -> None:
    settings = NetworkSettings(layers=5, kernel_size=2)

    with pytest.raises(Misconfigured, match="see 32"):
        Network(settings, 5, 31, seed=1)
