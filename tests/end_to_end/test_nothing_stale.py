"""Nothing stale is ever handed out, and nothing fresh is computed twice: real steps of ours, a real Prefect server, a source tree that is edited.

That an edited fee formula reaches the compiled kernel is shown in tests/backtest/test_compiled.py; which modules count for a step, in
tests/tasks/test_policies.py; that writers of one lake table lose nothing when they race, in tests/market/test_lake.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from configs.vocabulary import Timeframe
from desk.market.lake import Lake
from tasks.services import ensure_prefect

pytestmark = [pytest.mark.slow, pytest.mark.services, pytest.mark.timeout(180)]

BARS = 700
START = datetime(2024, 1, 1, tzinfo=UTC)

# Runs the steps of research as often as it is told, and does harm to what they left in between.
RESEARCH = """
import json, os, sys
from pathlib import Path

from configs.operations import OperationsSettings
from tasks.services import service_environment

operations = OperationsSettings(var=Path(sys.argv[1]), prefect_port=int(sys.argv[2]))
os.environ.update(service_environment(operations))

from prefect import flow

from desk.log import configure
from data_contracts.dataset import DatasetRef
from tasks import features, validate
from tasks.values import Market

configure("ERROR")
market = Market.model_validate_json(os.environ["MARKET"])
raw = DatasetRef.model_validate_json(os.environ["RAW"])
left = operations.var / "artefacts" / "build_features"

@flow
def research():
    validated = validate.validate_bars(raw, market, operations, return_state=True)
    built = features.build_features(validated.result(), "core", operations, return_state=True)
    return {"validated": validated.name, "built": built.name, "content": built.result().ref.content_hash, "version": built.result().ref.version}

for word in sys.argv[3:]:
    if word == "run":
        print(json.dumps(research()), flush=True)
        continue
    certificates = next(left.glob("*/certificates.json"))
    if word == "delete":
        certificates.unlink()
    else:
        certificates.write_text(certificates.read_text().replace("true", "TRUE", 1))
"""

INGEST = """
import json, os, sys
from datetime import datetime

from configs.vocabulary import Timeframe
from desk.execution.ccxt_settings import constructor_config
from desk.market.exchange_source import ExchangeSource, open_exchange
from desk.market.ingest import Wanted, ingest
from desk.market.lake import Lake

greeting = json.loads(os.environ["GREETING"])
exchange = open_exchange(constructor_config(*(greeting[name] for name in ("rest", "ws", "api_key", "secret"))))
source = ExchangeSource(exchange, page_limit=200)
wanted = Wanted("bars", tuple(source.instruments()), Timeframe.H1, datetime.fromisoformat(greeting["market"]["history_until"]))
print("ready", flush=True)
sys.stdin.readline()
print(ingest(source, Lake(sys.argv[1]), wanted).model_dump_json())
"""


class Desk:
    """A copy of the source, a state folder with raw bars, and a Prefect server that remembers."""

    def __init__(self, installation: Any, tree: Path) -> None:
        self.installation, self.tree = installation, tree
        self.raw = installation.lake().upsert("raw", "bars", bars())
        ensure_prefect(installation.operations)

    def research(self, *words: str) -> list[dict[str, Any]]:
        """What each run of the two steps was, in a process that reads the source anew."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        environment = {**kept, "PYTHONPATH": str(self.tree), "MARKET": json.dumps(market()), "RAW": self.raw.model_dump_json()}
        operations = self.installation.operations
        command = [sys.executable, "-c", RESEARCH, str(operations.var), str(operations.prefect_port), *words]
        done = subprocess.run(command, cwd=self.tree, env=environment, capture_output=True, text=True, check=False, timeout=150)
        assert 0 == done.returncode, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def edit(self, module: str, old: str, new: str) -> None:
        """Replace words of the source that are there exactly once."""
        path = self.tree / module
        text = path.read_text(encoding="utf-8")
        assert 1 == text.count(old)
        path.write_text(text.replace(old, new), encoding="utf-8")


def bars() -> pl.DataFrame:
    """A random walk that keeps every law of bars."""
    dice = np.random.default_rng(3)
    close = 100.0 * np.exp(np.cumsum(dice.normal(0, 0.01, BARS)))
    opened = np.concatenate([[100.0], close[:-1]])
    frame = pl.DataFrame(
        {
            "symbol": "BTC/USDT",
            "timeframe": "1h",
            "open_time": [START + timedelta(hours=hour) for hour in range(BARS)],
            "open": opened,
            "high": np.maximum(opened, close) * 1.001,
            "low": np.minimum(opened, close) * 0.999,
            "close": close,
            "volume": dice.uniform(10, 20, BARS),
        }
    )
    return frame.with_columns(pl.col("open_time").cast(pl.Datetime("us", "UTC")))


def market() -> dict[str, Any]:
    return {
        "name": "walk",
        "hash": "0",
        "symbols": ["BTC/USDT"],
        "timeframe": Timeframe.H1.value,
        "history_until": (START + timedelta(hours=BARS)).isoformat(),
        "ends_at": None,
        "synthetic": True,
        "description": "a random walk",
        "instruments": [],
    }


@pytest.fixture
def desk(new_installation: Callable[[], Any], copy_tree: Callable[[], Path]) -> Desk:
    return Desk(new_installation(), copy_tree())


def steps(found: dict[str, Any]) -> tuple[str, str]:
    return found["validated"], found["built"]


def test_a_step_is_computed_again_when_it_must_be_and_never_else(desk: Desk) -> None:
    """Harmed, it is made again as it was. Edited below, it is made anew; edited elsewhere, not; edited back, the old result is the right one again."""
    first, again, deleted, damaged, whole = desk.research("run", "run", "delete", "run", "damage", "run", "run")
    desk.edit("flows/cli.py", "Run the whole pipeline once", "Run it all once")
    (elsewhere,) = desk.research("run")
    formula = ("    return price - lag(price, bars)\n", "    return scaled(price - lag(price, bars), 2.0)\n")
    desk.edit("desk/features/indicators.py", *formula)
    below, settled = desk.research("run", "run")
    desk.edit("desk/features/indicators.py", *reversed(formula))
    (back,) = desk.research("run")

    assert ("Completed", "Completed") == steps(first)
    assert {("Cached", "Cached")} == {steps(found) for found in (again, whole, elsewhere, settled, back)}
    assert {("Cached", "Completed")} == {steps(found) for found in (deleted, damaged, below)}
    assert 1 == len({found["content"] for found in (first, again, deleted, damaged, whole, elsewhere, back)})
    assert first["content"] != below["content"] == settled["content"]
    # the old result names the table's old version, which is still there to be read
    assert first["version"] == back["version"] < below["version"]
    table = f"core_{desk.raw.table}"
    assert first["content"] == desk.installation.lake().ref("features", table, first["version"]).content_hash
    assert below["content"] == desk.installation.lake().ref("features", table).content_hash


def test_two_ingests_of_one_range_at_once_lose_and_double_no_row(tmp_path: Path, practice_exchange: Callable[..., dict[str, Any]]) -> None:
    """Two processes, one empty lake, one exchange; a third fills a lake of its own, to compare with."""
    greeting = practice_exchange("--seed", "3", "--symbols", "BTC/USDT,ETH/USDT,SOL/USDT", "--history-bars", "2500", "--stream-bars", "5")
    environment = {**os.environ, "GREETING": json.dumps(greeting)}
    racing, alone = tmp_path / "racing", tmp_path / "alone"
    started = [
        subprocess.Popen([sys.executable, "-c", INGEST, str(lake)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for lake in (racing, racing, alone)
    ]

    ready = [process.stdout.readline().strip() for process in started if process.stdout]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    refs = [json.loads(process.communicate()[0]) for process in started]

    assert ["ready"] * 3 == ready
    lake = Lake(racing)
    stored, wanted = lake.read(lake.ref("raw", "bars")), Lake(alone).read(Lake(alone).ref("raw", "bars"))
    assert wanted.equals(stored)
    assert stored.height == stored.select("symbol", "timeframe", "open_time").n_unique() == sum(revision.rows_added for revision in lake.history("raw/bars"))
    assert 0 == sum(revision.rows_changed for revision in lake.history("raw/bars"))
    assert 1 == len({ref["content_hash"] for ref in refs})
    assert 3 * 2300 < stored.height <= 3 * 2500
