"""The training loop: what it learns from, and that no kill can change what it learns."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from configs.learning import NetworkSettings, TrainingSettings
from desk.errors import NotFinite
from models import checkpoint
from models.fitted import Fitted, predict
from models.scores import information_coefficient
from models.training import fit, rate_share
from models.windows import Table
from tests.listening import Heard

STEPS = 12
ROWS = np.arange(1000)

# a program of its own, so that it can really be killed; it says each step it has stored
PROGRAM = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
import numpy as np
from conftest import planted_table
from configs.learning import NetworkSettings, TrainingSettings
from models.training import fit

training = TrainingSettings(steps={STEPS}, batch_blocks=4, block_bars=16, checkpoint_every_steps=1)
fitted = fit(planted_table(), np.arange(1000), NetworkSettings(channels=8, layers=2), training, lookback_bars=16, seed=5,
             checkpoint_dir=Path(sys.argv[1]), on_eval=lambda step, _: print(step, flush=True))
print("weights", fitted.weights_hash, flush=True)
"""


def train(table: Table, network: NetworkSettings, **changes: object) -> Fitted:
    """A short fit on the first thousand rows."""
    training = TrainingSettings(steps=STEPS, batch_blocks=4, block_bars=16, checkpoint_every_steps=1)
    return fit(table, ROWS, network, training, lookback_bars=16, seed=5, **changes)  # type: ignore[arg-type]


def start(folder: Path) -> subprocess.Popen[str]:
    """Start the program."""
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder)], stdout=subprocess.PIPE, text=True, env=os.environ)


def stop_at(process: subprocess.Popen[str], step: int, number: signal.Signals) -> int:
    """Send a signal as soon as the program says it has passed a step; returns how it ended."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == str(step):
            break
    process.send_signal(number)
    process.stdout.close()
    return process.wait()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_run_killed_at_any_step_ends_with_the_same_weights(planted: Callable[..., Table], small_network: NetworkSettings, tmp_path: Path) -> None:
    uninterrupted = train(planted(), small_network)
    for step in sorted(random.Random(os.getpid()).sample(range(1, STEPS), 2)):
        assert -signal.SIGKILL == stop_at(start(tmp_path), step, signal.SIGKILL)

    finished, _ = start(tmp_path).communicate()

    assert f"weights {uninterrupted.weights_hash}" == finished.splitlines()[-1]
    assert "1" != finished.splitlines()[0]


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_sigterm_leaves_a_checkpoint_and_a_clean_exit(planted: Callable[..., Table], small_network: NetworkSettings, tmp_path: Path) -> None:
    status = stop_at(start(tmp_path), 3, signal.SIGTERM)

    resumed = train(planted(), small_network, checkpoint_dir=tmp_path)
    (folder,) = tmp_path.iterdir()

    assert 128 + signal.SIGTERM == status
    assert train(planted(), small_network).weights_hash == resumed.weights_hash
    assert STEPS == checkpoint.read(checkpoint.stored(folder)[0]).step


def test_a_corrupt_newest_checkpoint_gives_way_to_the_one_before(
    planted: Callable[..., Table], small_network: NetworkSettings, tmp_path: Path, heard: list[Heard]
) -> None:
    whole = train(planted(), small_network, checkpoint_dir=tmp_path)
    (folder,) = tmp_path.iterdir()
    newest, before = checkpoint.stored(folder)
    flipped = bytearray(newest.read_bytes())
    flipped[-1] ^= 1
    newest.write_bytes(flipped)
    steps: list[int] = []

    resumed = train(planted(), small_network, checkpoint_dir=tmp_path, on_eval=lambda step, _: steps.append(step))

    assert ["checkpoint.broken"] == [each.event for each in heard if each.level == "WARNING"]
    assert [STEPS] == steps
    assert before.name < newest.name
    assert whole.weights_hash == resumed.weights_hash


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 64], ids=["empty", "text", "huge header"])
def test_a_torn_checkpoint_is_passed_over(planted: Callable[..., Table], small_network: NetworkSettings, tmp_path: Path, content: bytes) -> None:
    whole = train(planted(), small_network, checkpoint_dir=tmp_path)
    (folder,) = tmp_path.iterdir()
    for path in checkpoint.stored(folder):
        path.write_bytes(content)

    assert whole.weights_hash == train(planted(), small_network, checkpoint_dir=tmp_path).weights_hash


def test_checkpoints_of_other_inputs_are_not_continued(planted: Callable[..., Table], small_network: NetworkSettings, tmp_path: Path) -> None:
    train(planted(), small_network, checkpoint_dir=tmp_path)

    other = train(planted(seed=1), small_network, checkpoint_dir=tmp_path)

    assert train(planted(seed=1), small_network).weights_hash == other.weights_hash


def test_a_deadline_stops_the_loop_and_the_next_call_goes_on(planted: Callable[..., Table], small_network: NetworkSettings, tmp_path: Path) -> None:
    answers = iter([False, False, True])

    early = train(planted(), small_network, checkpoint_dir=tmp_path, deadline=lambda: next(answers))
    finished = train(planted(), small_network, checkpoint_dir=tmp_path)

    assert 3 == early.steps
    assert STEPS == finished.steps
    assert train(planted(), small_network).weights_hash == finished.weights_hash


def test_what_lies_behind_the_training_rows_changes_nothing(planted: Callable[..., Table], small_network: NetworkSettings) -> None:
    table, changed = planted(), planted()
    changed.features[1000:], changed.labels[1000:], changed.closes[1000:] = 7.0, 7.0, 7.0

    first, second = train(table, small_network), train(changed, small_network)

    assert first.identity == second.identity


def test_a_network_that_sees_only_constants_is_called_collapsed(planted: Callable[..., Table], small_network: NetworkSettings) -> None:
    table = planted()
    table.features[:] = 1.0

    assert train(table, small_network).collapsed
    assert not train(planted(), small_network).collapsed


def test_a_loss_that_is_not_finite_stops_the_run(planted: Callable[..., Table], small_network: NetworkSettings) -> None:
    training = TrainingSettings(steps=STEPS, batch_blocks=4, block_bars=16, learning_rate=1e30)

    with pytest.raises(NotFinite, match="at step"):
        fit(planted(), ROWS, small_network, training, lookback_bars=16, seed=5)


def test_the_learning_rate_rises_then_falls_to_its_floor() -> None:
    shares = [rate_share(step, 100) for step in range(100)]

    assert 1.0 == max(shares) == shares[10]
    assert shares[:10] == sorted(shares[:10])
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert 0.02 == pytest.approx(shares[-1], abs=1e-3)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_planted_signal_is_found_and_noise_is_not(planted: Callable[..., Table]) -> None:
    """At least 60 % of the planted information coefficient on unseen rows; on pure noise less than four standard errors."""
    found, imagined = (out_of_sample_ic(planted(12_000, 4, ic=ic, n_features=16)) for ic in (0.1, 0.0))

    assert found > 0.06
    # one-bar labels are independent, forecasts are not correlated with them: the standard error of a correlation is 1 / sqrt(n)
    assert abs(imagined) < 4 / np.sqrt(3_600 * 4)


def out_of_sample_ic(table: Table) -> float:
    """Train with the shipped settings on 70 % of the rows and score the rest."""
    cut = int(0.7 * len(table.times))
    model = fit(table, np.arange(cut - 25), NetworkSettings(), TrainingSettings(), lookback_bars=64, seed=3)
    return information_coefficient(predict(model, table)[0], table.labels, np.arange(cut, len(table.times)))
