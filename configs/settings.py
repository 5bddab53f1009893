"""Reads settings: base.yaml < profile < files the user names < environment < overrides.

Everything unknown, misspelt, duplicated or out of range is refused with the source, the dotted path, what was expected and what was found;
nothing is guessed. Imported only by flows, tasks and the assembly of the desk (`desk/modes.py`): everybody else
receives the section, or the plain values, that it needs.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from configs.learning import LearningSettings
from configs.market import MarketSettings
from configs.operations import OperationsSettings
from configs.risk import RiskSettings
from configs.section import Section
from configs.sources import SettingsError as SettingsError
from configs.sources import environment_trees, read_yaml
from configs.trading import TradingSettings
from configs.vocabulary import Mode

FOLDER = Path(__file__).parent
PROFILES = ("backtest", "paper", "live", "demo")
_MOST_PROBLEMS_SHOWN = 20


class Settings(Section):
    """Every knob of a run, frozen. `hash` names the value on every log line, journal entry, run and report."""

    mode: Mode = Field(Mode.BACKTEST, description="how a session is assembled")
    profile: str = Field("base", description="which YAML file lay over base.yaml; set by the reader, not written in files")
    market: MarketSettings = MarketSettings()
    learning: LearningSettings = LearningSettings()
    trading: TradingSettings = TradingSettings()
    risk: RiskSettings = RiskSettings()
    operations: OperationsSettings = OperationsSettings()

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of what can change a decision: market, learning, trading and risk.

        Left out on purpose: `operations` (folders and ports of this machine), `mode` and `profile` (the session never sees them), so that
        the same knobs have the same hash on every machine and in every mode.
        """
        return _sha256({name: _plain(getattr(self, name)) for name in ("market", "learning", "trading", "risk")})

    @property
    def short_hash(self) -> str:
        """First 16 hex digits of `hash`, for log lines and run names."""
        return self.hash[:16]


def load(
    profile: str = "demo",
    *,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
    extra_files: Sequence[str | Path] = (),
) -> Settings:
    """Read the settings of `profile` (backtest, paper, live or demo; "base" for the defaults alone).

    `extra_files` lie over the profile in the order given; then come environment variables (`DESK__RISK__MAX_DRAWDOWN=0.1`, `__` nests, values
    are YAML); then `overrides`, nested (`{"risk": {"max_drawdown": 0.1}}`) or dotted (`{"risk.max_drawdown": 0.1}`).
    Raises `SettingsError` listing every problem found.
    """
    if profile not in (*PROFILES, "base"):
        raise SettingsError(f"profile: expected one of {', '.join(PROFILES)}, found {profile!r}{_nearest(profile, PROFILES)}")
    files = [FOLDER / "base.yaml", *([] if profile == "base" else [FOLDER / f"{profile}.yaml"]), *map(Path, extra_files)]
    layers = [(_shown(path), read_yaml(path)) for path in files]
    layers += environment_trees(environ)
    layers += [("overrides", _nested(key, value)) for key, value in (overrides or {}).items()]
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    problems: list[str] = []
    for source, tree in layers:
        _lay_over(merged, tree, source, origins, problems)
    return _validated({**merged, "profile": profile}, origins, problems)


def known_keys() -> dict[str, Any]:
    """Every dotted key a file may hold, with its default."""
    return {path: default for path, default in _leaves(Settings(), "") if path != "profile"}


def json_schema() -> dict[str, Any]:
    """JSON Schema of a settings file, for editors; committed as configs/schema.json (`make schema` writes it)."""
    schema = Settings.model_json_schema()
    del schema["properties"]["profile"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _leaves(section: Section, prefix: str) -> Iterator[tuple[str, Any]]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _sections() -> set[str]:
    paths = known_keys()
    return {path.rsplit(".", depth)[0] for path in paths for depth in range(1, path.count(".") + 1)}


def _nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def _lay_over(merged: dict[str, Any], tree: Mapping[Any, Any], source: str, origins: dict[str, str], problems: list[str]) -> None:
    """Merge one source into `merged`, noting who set each leaf and every key that nobody reads."""
    leaves, sections = known_keys(), _sections()

    def descend(target: dict[str, Any], branch: Mapping[Any, Any], prefix: str) -> None:
        for key, value in branch.items():
            path = f"{prefix}{key}"
            if path in leaves:
                target[key], origins[path] = value, source
            elif path not in sections:
                problems.append(f"{source}: {path}: unknown key{_nearest(path, [*leaves, *sections])}")
            elif isinstance(value, Mapping):
                descend(target.setdefault(key, {}), value, f"{path}.")
            else:
                problems.append(f"{source}: {path}: expected a section with keys under it, found {value!r}")

    descend(merged, tree, "")


def _nearest(path: str, known: Sequence[str]) -> str:
    same_name = [candidate for candidate in known if candidate.rsplit(".", 1)[-1] == path.rsplit(".", 1)[-1]]
    close = difflib.get_close_matches(path, known, n=1, cutoff=0.6) or same_name or difflib.get_close_matches(path, known, n=1, cutoff=0.3)
    return f"; nearest known: {close[0]}" if close else ""


def _validated(tree: dict[str, Any], origins: Mapping[str, str], problems: Sequence[str]) -> Settings:
    """The settings, unless something was or is wrong with them: then all of it is told at once."""
    # JSON's strict mode is the right strictness: a list may become a tuple and a word a Mode, but "5" is not 5 and true is not 1.
    try:
        settings = Settings.model_validate_json(json.dumps(tree, default=_json_value), strict=True)
    except ValidationError as invalid:
        _refuse([*problems, *(_problem(error["loc"], error["msg"], error["input"], origins) for error in invalid.errors())])
        raise
    _refuse(problems)
    return settings


def _problem(location: tuple[int | str, ...], expected: str, found: Any, origins: Mapping[str, str]) -> str:
    path, expected = ".".join(map(str, location)), expected.removeprefix("Value error, ").removeprefix("expected ")
    source = next((source for key, source in origins.items() if path == key or path.startswith(f"{key}.")), "defaults")
    return f"{source}: {path}: expected: {expected}; found {found!r}"


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        shown = [*problems[:_MOST_PROBLEMS_SHOWN], *([f"and {len(problems) - _MOST_PROBLEMS_SHOWN} more"] if len(problems) > _MOST_PROBLEMS_SHOWN else [])]
        raise SettingsError("settings refused; mend these and start again:\n  " + "\n  ".join(shown))


def _shown(path: Path) -> str:
    return f"configs/{path.name}" if path.parent == FOLDER else str(path)


def _json_value(value: Any) -> Any:
    """What `json` cannot write itself: values that overrides carry."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _plain(section: Section) -> dict[str, Any]:
    """Values as JSON, written one way: 100000, 1E+5 and 100000.00 are one Decimal, an instant is UTC."""
    return {name: _plain_value(getattr(section, name)) for name in type(section).model_fields}


def _plain_value(value: Any) -> Any:
    match value:
        case Section():
            return _plain(value)
        case Decimal():
            return format(value.normalize(), "f")
        case datetime():
            return value.astimezone(UTC).isoformat()
        case Path():
            return value.as_posix()
        case tuple():
            return [_plain_value(item) for item in value]
    return value


def _sha256(tree: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


if __name__ == "__main__":
    (FOLDER / "schema.json").write_text(json.dumps(json_schema(), indent=2) + "\n", encoding="utf-8")
