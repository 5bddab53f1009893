"""The console that proves: it lists what can be proven, keeps what was, and says no when a claim is not met."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.cli import main
from flows.prove import Series, claims, proofs, prove, unknown


def test_every_generator_says_what_it_claims() -> None:
    assert proofs().keys() == claims().keys()
    assert all(claims().values())
    assert {"crash", "parity", "ledger", "kernel-agreement", "features-agreement", "causal", "power-loss"} <= proofs().keys()


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_proof_is_kept_with_its_commit_and_size(tmp_path: Path) -> None:
    (verdict,) = prove(Series(("features-agreement",), seed=7, runs=2), tmp_path, "c0ffee")

    (row,) = [json.loads(line) for line in (tmp_path / "proofs.jsonl").read_text().splitlines()]
    assert verdict["met"]
    assert (row["name"], row["seed"], row["runs"], row["full"]) == ("features-agreement", 7, 2, False)
    assert row["commit"] == "c0ffee"


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_generator_that_dies_has_proven_nothing(tmp_path: Path) -> None:
    """A constant it does not have ends it before it says anything."""
    (verdict,) = prove(Series(("features-agreement",), parameters=("nonsense=1",)), tmp_path, "c0ffee")

    assert not verdict["met"]


def test_a_full_series_goes_on_where_it_was(tmp_path: Path) -> None:
    """What was met in full on this commit is not run again: with all of it met, nothing runs at all."""
    rows = [{"name": name, "seed": 1, "commit": "c0ffee", "full": True, "met": True} for name in proofs()]
    (tmp_path / "proofs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    assert list(prove(Series(full=True), tmp_path, "c0ffee")) == []


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("change", [{"commit": "0ther"}, {"commit": "c0ffee-dirty"}, {"full": False}, {"met": False}, {"seed": 2}])
def test_what_was_not_proven_here_is_run(tmp_path: Path, change: dict[str, object]) -> None:
    """Another commit, a changed working tree, a smaller size, an unmet claim, another seed: none is believed."""
    row = {"name": "features-agreement", "seed": 1, "commit": "c0ffee", "full": True, "met": True, **change}
    (tmp_path / "proofs.jsonl").write_text(json.dumps(row) + "\n")

    ran = list(prove(Series(("features-agreement",), runs=1, full=True), tmp_path, str(row["commit"]).replace("0ther", "c0ffee")))

    assert len(ran) == 1


def test_a_proof_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "found nonsense" in unknown(Series(("nonsense",)))
    assert main(["prove", "--only", "nonsense"]) == 2
    assert "expected proofs among" in capsys.readouterr().err
