"""The reader of settings: what it accepts, what it refuses, and how it says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing
from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import configs.settings
from configs.settings import PROFILES, Settings, json_schema, known_keys, load
from configs.sources import SettingsError
from configs.vocabulary import Mode, VenueName

FOLDER = Path(configs.settings.__file__).parent
BASE = yaml.safe_load((FOLDER / "base.yaml").read_text(encoding="utf-8"))


def nested(path: str, value: Any) -> dict[str, Any]:
    for part in reversed(path.split(".")):
        value = {part: value}
    return typing.cast("dict[str, Any]", value)


def leaves_of(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= leaves_of(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def test_base_yaml_holds_every_key_of_the_sections_and_no_other() -> None:
    assert set(known_keys()) == set(leaves_of(BASE))


def test_base_yaml_says_the_defaults_of_the_sections() -> None:
    assert Settings() == load("base", environ={})


def test_every_key_of_base_yaml_stands_under_a_comment() -> None:
    lines = (FOLDER / "base.yaml").read_text(encoding="utf-8").splitlines()

    bare = [line for above, line in pairwise(lines) if line.strip() and not line.lstrip().startswith("#") and "#" not in above]

    assert [] == bare


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_holds_only_differences(profile: str) -> None:
    tree = leaves_of(yaml.safe_load((FOLDER / f"{profile}.yaml").read_text(encoding="utf-8")))

    same = {path: value for path, value in tree.items() if path != "mode" and value == leaves_of(BASE)[path]}

    assert {} == same
    assert profile == load(profile, environ={}).profile


def test_live_fits_on_one_screen_and_is_tighter_than_the_defaults() -> None:
    live = load("live", environ={})

    assert len((FOLDER / "live.yaml").read_text(encoding="utf-8").splitlines()) <= 24
    assert (Mode.LIVE, VenueName.BINANCE) == (live.mode, live.market.venue)
    # The smaller, the tighter; what is off by default has no size to compare.
    limits = {name: value for name, value in Settings().risk.model_dump().items() if name.startswith("max_") and value}
    assert all(getattr(live.risk, name) < value for name, value in limits.items())


def test_backtest_and_paper_share_one_hash() -> None:
    assert load("backtest", environ={}).hash == load("paper", environ={}).hash


def test_each_source_lies_over_the_ones_before_it(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("risk: {max_drawdown: 0.31, max_daily_loss: 0.11, max_gross_weight: 0.9, max_position_weight: 0.41}\n", encoding="utf-8")
    second.write_text("risk: {max_drawdown: 0.32, max_daily_loss: 0.12, max_gross_weight: 0.8}\n", encoding="utf-8")
    environ = {"DESK__RISK__MAX_DRAWDOWN": "0.33", "DESK__RISK__MAX_DAILY_LOSS": "1.3e-1", "HOME": "/nowhere"}

    risk = load("live", environ=environ, extra_files=[first, second], overrides={"risk.max_drawdown": 0.34}).risk

    assert (0.34, 0.13, 0.8, 0.41) == (risk.max_drawdown, risk.max_daily_loss, risk.max_gross_weight, risk.max_position_weight)


def test_overrides_may_be_nested_and_carry_python_values() -> None:
    found = load("base", environ={}, overrides={"operations": {"var": Path("/tmp/x")}, "trading": {"initial_cash": Decimal("12.50")}})

    assert (Path("/tmp/x"), Decimal("12.50")) == (found.operations.var, found.trading.initial_cash)


def test_environment_values_are_yaml() -> None:
    found = load(
        "base", environ={"DESK__MARKET__SYMBOLS": "[BTC/USDT, ETH/USDT]", "DESK__MARKET__PRACTICE__PORT": "8100", "DESK__LEARNING__NETWORK__ATTENTION": "false"}
    )

    assert ("BTC/USDT", "ETH/USDT") == found.market.symbols
    assert (8100, False) == (found.market.practice.port, found.learning.network.attention)


def test_the_reader_takes_the_real_environment_of_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from configs.settings import load; print(load('base').risk.max_drawdown)"],
        env={**os.environ, "DESK__RISK__MAX_DRAWDOWN": "0.07"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "0.07" == done.stdout.strip()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("risk: {max_drawdown: 0.1\n", "expected valid YAML, found a fault at line"),
        ("risk:\n  max_drawdown: 0.1\n  max_drawdown: 0.2\n", "duplicate key 'max_drawdown'"),
        ("risk: &a {max_drawdown: 0.1}\ntrading: *a\n", "found an alias"),
        ("- risk\n", "expected sections (a mapping), found list"),
        ("risk: 5\n", "risk: expected a section with keys under it, found 5"),
        ("risk:\n", "risk: expected a section with keys under it, found None"),
        ("risk: {max_drawdwon: 0.1}\n", "risk.max_drawdwon: unknown key; nearest known: risk.max_drawdown"),
        ("costs: {fee_rate: 0.1}\n", "costs: unknown key; nearest known: trading.costs"),
        (
            "trading: {costs: {fee_tiers: [{volume: 2, taker: 0}, {volume: 2, taker: 0}]}}\n",
            "trading.costs.fee_tiers: expected: each volume above the one before it, found [2.0, 2.0]",
        ),
        ("profile: live\n", "profile: unknown key"),
        ("1: 2\n", "1: unknown key"),
        ("risk: {max_drawdown: no}\n", "risk.max_drawdown: expected: Input should be a valid number; found 'no'"),
        ("[a, b]: 1\n", "expected a plain key"),
        ("risk: {max_drawdown: " + "9" * 5000 + "}\n", "expected valid YAML"),
        ("\x00", "expected valid YAML"),
        ("a: " + "[" * 5000, "expected valid YAML"),
        ("learning: {tuning: {learning_rate: [1e-3, 2e-3, 3e-3]}}", "learning.tuning.learning_rate"),
        ("learning: {tuning: {channels: [16, x]}}", "learning.tuning.channels.1: expected"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_the_path_and_the_fault(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(SettingsError) as refused:
        load("base", environ={}, extra_files=[file])

    assert says in str(refused.value)
    assert str(file) in str(refused.value)


def test_a_missing_or_binary_file_is_refused_by_name(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")

    for file in (tmp_path / "absent.yaml", binary):
        with pytest.raises(SettingsError, match="expected a readable UTF-8 YAML file"):
            load("base", environ={}, extra_files=[file])


def test_a_key_that_nobody_reads_hides_no_value_out_of_range(tmp_path: Path) -> None:
    """Two kinds of fault, found in two ways: who mends one should not meet the other afterwards."""
    file = tmp_path / "mine.yaml"
    file.write_text("risk: {max_drawdwon: 0.1}\ntrading: {costs: {fee_rate: 5}}\n", encoding="utf-8")

    with pytest.raises(SettingsError) as refused:
        load("base", environ={}, extra_files=[file])

    assert f"{file}: risk.max_drawdwon: unknown key" in str(refused.value)
    assert f"{file}: trading.costs.fee_rate: expected: Input should be less than 0.1; found 5" in str(refused.value)


def test_every_problem_is_listed_at_once() -> None:
    overrides = {f"risk.key_{n}": n for n in range(30)}

    with pytest.raises(SettingsError) as refused:
        load("base", environ={}, overrides=overrides)

    assert "risk.key_0" in str(refused.value)
    assert str(refused.value).endswith("and 10 more")


def test_a_misspelt_profile_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match="found 'papr'; nearest known: paper"):
        load("papr", environ={})


def misspell(word: str, at: int) -> str:
    at %= len(word)
    return word[:at] + ("q" if word[at] != "q" else "z") + word[at + 1 :]


WRONG_VALUES: tuple[Any, ...] = ({"a": 1}, float("nan"), [[1]])
ENUMERATED = [(path, value) for path in sorted(known_keys()) for value in WRONG_VALUES]


def test_at_least_two_hundred_mutated_settings_are_all_refused_with_the_path() -> None:
    """Each known key misspelt, and each given values of a wrong kind."""
    mutants = [(misspell(path, len(path) // 2 if path[len(path) // 2] != "." else -1), 1) for path in sorted(known_keys())] + ENUMERATED

    silent = []
    for path, value in mutants:
        try:
            load("base", environ={}, overrides=nested(path, value))
        except SettingsError as refused:
            if not any(f"{part}" in str(refused) for part in (path, path.rsplit(".", 1)[0])):
                silent.append((path, value, str(refused)))
        else:
            silent.append((path, value, "accepted"))

    assert len(mutants) >= 200
    assert [] == silent


NUMERIC = [path for path, default in sorted(known_keys().items()) if isinstance(default, int | float | Decimal) and not isinstance(default, bool)]


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(path=st.sampled_from(NUMERIC), value=st.one_of(st.text(max_size=8), st.booleans(), st.none(), st.floats(max_value=-1e-9), st.just(float("inf"))))
def test_numbers_take_neither_words_nor_truths_nor_values_out_of_range(path: str, value: Any) -> None:
    if path == "trading.policy.exit" and isinstance(value, float) and abs(value) < float("inf"):
        return
    if path == "trading.initial_cash" and isinstance(value, str):
        return  # money may be written as text, so that no digit is lost

    with pytest.raises(SettingsError) as refused:
        load("base", environ={}, overrides={path: value})

    assert path in str(refused.value)


@pytest.mark.parametrize("path", sorted(known_keys()))
def test_the_hash_follows_every_knob_of_a_decision_and_no_knob_of_the_machine(path: str) -> None:
    base = load("base", environ={})

    changed = load("base", environ={}, overrides={path: another(path)})

    assert changed != base
    assert (path.startswith("operations.") or path == "mode") == (changed.hash == base.hash)


def another(path: str) -> Any:
    """A legal value other than the default."""
    special = {
        "mode": "live",
        "market.venue": "binance",
        "market.symbols": ["ADA/USDT"],
        "market.timeframe": "4h",
        "trading.execution.submission": "stream",
        "trading.execution.route": "twap",
        "trading.policy.construction": "hrp",
        "trading.policy.members": ["hrp"],
        "trading.policy.shares": [0.7, 0.3],
        "trading.costs.fee_tiers": [{"volume": 1000000.0, "taker": 0.0008}],
        "market.practice.timeframe": "4h",
        "market.practice.start": "2024-01-01T00:00:00Z",
        "market.practice.scenario": "depeg",
        "market.fallbacks": ["kraken"],
        "operations.log_level": "DEBUG",
        "operations.log_format": "json",
        "operations.var": "elsewhere",
    }
    default = known_keys()[path]
    if path in special:
        return special[path]
    kinds: list[tuple[type, Callable[[Any], Any]]] = [
        (bool, lambda value: not value),
        (int, lambda value: value + 1),
        (float, lambda value: value * 0.9 + 0.011),
        (Decimal, lambda value: str(value + 1)),
        (str, lambda value: value + "x"),
        (tuple, lambda value: [*value[:-1], value[-1] * 2]),
        (type(None), lambda value: "x"),
    ]
    return next(change(default) for kind, change in kinds if isinstance(default, kind))


def test_the_hash_does_not_depend_on_how_a_value_was_written(tmp_path: Path) -> None:
    file = tmp_path / "same.yaml"
    file.write_text(
        'trading: {initial_cash: "100000.00"}\nmarket: {practice: {start: "2023-01-01T02:00:00+02:00"}}\nrisk: {max_gross_weight: 1}\n', encoding="utf-8"
    )

    assert Settings().hash == load("base", environ={}, extra_files=[file]).hash


def test_the_hash_is_the_same_in_another_process() -> None:
    done = subprocess.run([sys.executable, "-c", "from configs.settings import Settings; print(Settings().hash)"], capture_output=True, text=True, check=True)

    assert Settings().hash == done.stdout.strip()
    assert Settings().short_hash == Settings().hash[:16]


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().risk.max_drawdown = 0.9  # type: ignore[misc]


def test_the_committed_schema_is_fresh() -> None:
    """`make schema` writes it."""
    assert json_schema() == json.loads((FOLDER / "schema.json").read_text(encoding="utf-8"))


def test_the_schema_covers_every_key_and_demands_none() -> None:
    schema = json_schema()

    for path in known_keys():
        node = schema
        for part in path.split("."):
            assert "required" not in node
            node = node["properties"][part]
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]] if "$ref" in node else node
        assert node


def test_every_field_of_every_section_says_what_it_means() -> None:
    schema = json_schema()

    silent = [
        (title, name)
        for title, section in [("Settings", schema), *schema["$defs"].items()]
        for name, field in section.get("properties", {}).items()
        if "$ref" not in field and not field.get("description")
    ]

    assert [] == silent
