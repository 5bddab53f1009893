"""What is tried again, and when a finished step is found again: by content, never by luck."""

from __future__ import annotations

import math
import shutil
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from prefect import Task
from prefect.serializers import JSONSerializer
from prefect.states import Failed

from configs.operations import OperationsSettings
from data_contracts.dataset import DatasetRef
from desk.errors import BadFile, ContractBroken, DeskError, JournalBroken, NetworkDown, OrderUnresolved, RateLimited
from desk.market.lake import Lake
from tasks.policies import SEAL, artefact_task, cache_ledger, is_transient, network_retries, source_hash
from tasks.values import Value

ROOT = Path(__file__).resolve().parents[2]


class Made(Value):
    """What the steps of these tests leave behind."""

    folder: Path
    words: tuple[str, ...]
    score: float
    ref: DatasetRef | None = None


class Store:
    """Remembers keys, as Prefect's result store does."""

    def __init__(self) -> None:
        self.keys: set[str] = set()

    def exists(self, key: str) -> bool:
        """Whether a result was kept under this key."""
        return key in self.keys


class Context:
    """The part of a task run's context that a cache key may ask."""

    def __init__(self, store: Store, run: str) -> None:
        self.result_store = store
        self.task_run = self
        self.id = run


class Desk:
    """One installation that runs a step the way Prefect does: key, look-up, body, keep."""

    def __init__(self, step: Task[..., Any], var: Path) -> None:
        self.step, self.operations, self.store, self.runs = step, OperationsSettings(var=var), Store(), 0

    def key(self, **parameters: Any) -> str:
        """The key that Prefect would ask its store for."""
        policy: Any = self.step.cache_policy
        return str(policy.cache_key_fn(Context(self.store, f"{id(self)}-{self.runs}"), {**parameters, "operations": self.operations}))

    def run(self, **parameters: Any) -> bool:
        """Run the step; whether it was found again."""
        self.runs += 1
        key = self.key(**parameters)
        found = self.store.exists(key)
        if not found:
            self.step.fn(**parameters, operations=self.operations)
            self.store.keys.add(key)
        return found


@artefact_task(name="write_words", ignore=("operations", "loudness"))
def write_words(words: tuple[str, ...], operations: OperationsSettings, loudness: int = 0, *, folder: Path) -> Made:
    """Leave two files behind."""
    (folder / "words.txt").write_text(" ".join(words), encoding="utf-8")
    (folder / "deep").mkdir(exist_ok=True)
    (folder / "deep" / "numbers.bin").write_bytes(bytes(range(64)))
    return Made(folder=folder, words=words, score=math.nan)


@artefact_task(name="store_bars", ignore=("operations",))
def store_bars(seed: int, operations: OperationsSettings, *, folder: Path) -> Made:
    """Leave a lake table behind, and no file."""
    return Made(folder=folder, words=(), score=0.0, ref=Lake(str(operations.var / "lake")).upsert("clean", "words", bars(seed)))


@artefact_task(name="use_bars", ignore=("operations",))
def use_bars(ref: DatasetRef, operations: OperationsSettings, *, folder: Path) -> Made:
    """A step behind a dataset."""
    return Made(folder=folder, words=(), score=0.0)


@artefact_task(name="break_down", ignore=("operations",))
def break_down(operations: OperationsSettings, *, folder: Path) -> Made:
    """Write half and fail."""
    (folder / "half.txt").write_text("half", encoding="utf-8")
    raise ContractBroken("expected more, found half; give it all")


def bars(seed: int) -> pl.DataFrame:
    times = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(3)]
    price = [float(seed + hour) for hour in range(1, 4)]
    frame = pl.DataFrame({"symbol": "BTC/USDT", "timeframe": "1h", "open_time": times, **dict.fromkeys(("open", "high", "low", "close", "volume"), price)})
    return frame.with_columns(pl.col("open_time").cast(pl.Datetime("us", "UTC")))


def words_of(desk: Desk) -> Path:
    return next((desk.operations.var / "artefacts" / "write_words").glob("*/words.txt"))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(write_words, tmp_path / "var")


def test_a_step_with_the_same_parameters_is_found_again(desk: Desk) -> None:
    assert [False, True, True] == [desk.run(words=("a", "b")) for _ in range(3)]


def test_other_parameters_are_another_step_with_a_folder_of_its_own(desk: Desk) -> None:
    assert [False, False, True] == [desk.run(words=words) for words in (("a",), ("b",), ("a",))]
    assert 2 == len(list((desk.operations.var / "artefacts" / "write_words").glob("*/words.txt")))


def test_an_ignored_parameter_does_not_count(desk: Desk) -> None:
    assert [False, True] == [desk.run(words=("a",), loudness=loudness) for loudness in (1, 2)]


def delete_a_file(desk: Desk) -> None:
    words_of(desk).unlink()


def damage_a_file(desk: Desk) -> None:
    words_of(desk).write_text("x", encoding="utf-8")


def delete_the_seal(desk: Desk) -> None:
    (words_of(desk).parent / SEAL).unlink()


def tear_the_seal(desk: Desk) -> None:
    (words_of(desk).parent / SEAL).write_text('{"build": "', encoding="utf-8")


def delete_all_artefacts(desk: Desk) -> None:
    shutil.rmtree(desk.operations.var / "artefacts")


@pytest.mark.parametrize("harm", [delete_a_file, damage_a_file, delete_the_seal, tear_the_seal, delete_all_artefacts])
def test_a_step_whose_artefacts_were_harmed_is_computed_again_once(desk: Desk, harm: Callable[[Desk], None]) -> None:
    desk.run(words=("a",))

    harm(desk)

    assert [False, True] == [desk.run(words=("a",)) for _ in range(2)]
    assert "a" == words_of(desk).read_text(encoding="utf-8")


def test_a_state_folder_that_was_moved_is_computed_again(desk: Desk, tmp_path: Path) -> None:
    """Results name absolute folders: those of the old place must not be handed out."""
    desk.run(words=("a",))
    shutil.copytree(desk.operations.var, tmp_path / "moved")
    moved = Desk(write_words, tmp_path / "moved")
    moved.store = desk.store

    assert [False, True] == [moved.run(words=("a",)) for _ in range(2)]


def test_a_step_whose_dataset_left_the_lake_is_computed_again(tmp_path: Path) -> None:
    desk = Desk(store_bars, tmp_path)
    assert [False, True] == [desk.run(seed=1) for _ in range(2)]

    shutil.rmtree(tmp_path / "lake")

    assert [False, True] == [desk.run(seed=1) for _ in range(2)]


def test_the_same_rows_under_another_table_version_are_the_same_dataset(tmp_path: Path) -> None:
    ref = Lake(str(tmp_path / "lake")).upsert("clean", "words", bars(1))
    desk = Desk(use_bars, tmp_path)
    desk.run(ref=ref)

    assert desk.run(ref=ref.model_copy(update={"version": 99}))
    assert not desk.run(ref=ref.model_copy(update={"content_hash": "other"}))


def test_a_step_that_failed_is_not_sealed_and_not_a_hit(tmp_path: Path) -> None:
    desk = Desk(break_down, tmp_path)

    for _ in range(2):
        with pytest.raises(ContractBroken):
            desk.run()

    assert [] == list(tmp_path.rglob(SEAL))
    assert [False, False] == [step.cached for step in cache_ledger() if step.name == "break_down"]


def test_the_ledger_tells_what_was_found_again(desk: Desk) -> None:
    before = len(cache_ledger())

    for _ in range(3):
        desk.run(words=("a",))

    assert [False, True, True] == [step.cached for step in cache_ledger()[before:]]


def test_body_and_cache_answer_with_the_same_value(desk: Desk) -> None:
    """Through JSON a bare tuple becomes a list: a Pydantic value keeps its types, and NaN stays NaN."""
    made: Made = desk.step.fn(words=("a", "b"), operations=desk.operations)

    again = JSONSerializer[Made]().loads(JSONSerializer[Made]().dumps(made))

    assert ("a", "b") == made.words == again.words
    assert made.folder == again.folder
    assert math.isnan(made.score)
    assert math.isnan(again.score)


def test_computations_of_one_step_take_turns(tmp_path: Path) -> None:
    busy, met, operations = threading.Lock(), [], OperationsSettings(var=tmp_path)

    @artefact_task(name="slow", ignore=("operations", "who"))
    def slow(who: int, operations: OperationsSettings, *, folder: Path) -> Made:
        alone = busy.acquire(blocking=False)
        (folder / "work.bin").write_bytes(bytes(1 << 20))
        met.append(alone)
        if alone:
            busy.release()
        return Made(folder=folder, words=(), score=0.0)

    threads = [threading.Thread(target=slow.fn, args=(who, operations)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [True] * 8 == met


@pytest.mark.parametrize(
    ("failure", "again"),
    [
        (NetworkDown("no answer"), True),
        (RateLimited("slow down"), True),
        (ContractBroken("no"), False),
        (OrderUnresolved("unknown"), False),
        (JournalBroken("stop"), False),
        (BadFile("fix"), False),
        (ValueError("a bug"), False),
    ],
)
def test_only_transient_errors_are_tried_again(failure: Exception, again: bool) -> None:
    assert again == is_transient(None, None, Failed(data=failure))


def test_every_error_of_the_desk_is_either_transient_or_final() -> None:
    def family(kind: type[DeskError]) -> list[type[DeskError]]:
        return [kind, *(below for child in kind.__subclasses__() for below in family(child))]

    retried = {kind.__name__ for kind in family(DeskError) if is_transient(None, None, Failed(data=kind("why")))}

    assert {"Transient", "NetworkDown", "RateLimited", "VenueBusy", "SourceStale"} == retried


def test_delays_between_attempts_grow() -> None:
    options = network_retries()

    delays = options["retry_delay_seconds"](options["retries"])

    assert delays == sorted(set(delays))
    assert options["retry_jitter_factor"] > 0


# --- the source a task reaches

MODULES = {
    "tasks/__init__.py": "",
    "tasks/train.py": "from tasks import near\ndef body():\n    from models.lazy import deep\n",
    "tasks/near.py": "import desk.room.below\n",
    "tasks/stranger.py": "",
    "models/lazy.py": "from . import relative\nfrom .cousin import thing\n",
    "models/relative.py": "",
    "models/cousin.py": "import numpy\n",
    "desk/__init__.py": "",
    "desk/room/__init__.py": "",
    "desk/room/below.py": "if False:\n    import configs.knobs\n",
    "configs/knobs.py": "import tasks.near\n",
    "numpy/core.py": "",
}


def house(root: Path) -> Path:
    for name, text in MODULES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def hash_after_editing(root: Path, edited: str | None) -> str:
    house(root)
    if edited:
        (root / edited).write_text(MODULES[edited] + "\nchanged = True\n", encoding="utf-8")
    return source_hash("tasks.train", root)


@pytest.mark.parametrize("edited", sorted(set(MODULES) - {"tasks/stranger.py", "numpy/core.py"}))
def test_a_change_anywhere_below_a_task_changes_its_source(tmp_path: Path, edited: str) -> None:
    assert hash_after_editing(tmp_path / "before", None) != hash_after_editing(tmp_path / "after", edited)


@pytest.mark.parametrize("edited", ["tasks/stranger.py", "numpy/core.py"])
def test_a_change_elsewhere_does_not(tmp_path: Path, edited: str) -> None:
    assert hash_after_editing(tmp_path / "before", None) == hash_after_editing(tmp_path / "after", edited)


def test_the_real_training_task_reaches_the_indicators_and_not_the_console(tmp_path: Path) -> None:
    def copy_with(name: str, edited: str | None) -> Path:
        for floor in ("flows", "tasks", "models", "desk", "data_contracts", "configs"):
            shutil.copytree(ROOT / floor, tmp_path / name / floor, ignore=shutil.ignore_patterns("__pycache__", "*.yaml", "*.json"))
        if edited:
            with (tmp_path / name / edited).open("a", encoding="utf-8") as source:
                source.write("\n# changed\n")
        return tmp_path / name

    plain, console, indicators = (
        source_hash("tasks.train", copy_with(name, edited))
        for name, edited in (("plain", None), ("console", "flows/cli.py"), ("indicators", "desk/features/indicators.py"))
    )

    assert plain == console
    assert plain != indicators


def test_hashing_the_source_is_quick(tmp_path: Path) -> None:
    """A hundred files in well under a second, whatever else this machine does."""
    (tmp_path / "tasks").mkdir()
    for number in range(100):
        text = f"import tasks.m{number + 1}\n" + "def f(x):\n    return x + 1\n" * 50
        (tmp_path / "tasks" / f"m{number}.py").write_text(text, encoding="utf-8")

    began = time.process_time()
    source_hash("tasks.m0", tmp_path)

    assert time.process_time() - began < 1.0
