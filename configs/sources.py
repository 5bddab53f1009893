"""Where settings come from: YAML text and environment variables, read strictly into plain trees.

YAML is read by the 1.2 core rules, because the 1.1 rules of PyYAML surprise: there `1e-3` is a string, `no` is false and `010` is eight.
Duplicate keys, anchors and anything but one mapping are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

ENVIRONMENT_PREFIX = "DESK__"


class SettingsError(ValueError):
    """Settings that cannot be used; the message lists each problem with its source and dotted path."""


class _StrictLoader(yaml.SafeLoader):
    """Plain mappings, lists and YAML 1.2 core scalars; nothing else."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own class attribute

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse aliases: a settings file that refers to itself hides what it says."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="expected plain values, found an alias", problem_mark=self.get_mark())
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key written twice: which one did the author mean?"""
        mapping: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="expected a plain key", problem_mark=key_node.start_mark)
            key = self.construct_object(key_node)
            if key in mapping:
                raise yaml.MarkedYAMLError(problem=f"duplicate key {key!r}", problem_mark=key_node.start_mark)
            mapping[key] = self.construct_object(value_node, deep=True)
        return mapping

    def construct_yaml_float(self, node: yaml.Node) -> float:
        """Numbers of the core rules; `float` reads them all but the dotted words."""
        return float(str(node.value).lower().replace(".inf", "inf").replace(".nan", "nan"))

    def construct_yaml_int(self, node: yaml.Node) -> int:
        """Decimal only."""
        return int(str(node.value))


_StrictLoader.add_constructor("tag:yaml.org,2002:float", _StrictLoader.construct_yaml_float)
_StrictLoader.add_constructor("tag:yaml.org,2002:int", _StrictLoader.construct_yaml_int)
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.0123456789")),
):
    _StrictLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def read_yaml(path: Path) -> dict[str, Any]:
    """The tree in one YAML file; an empty file is an empty tree. Raises `SettingsError` naming the file and the line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as unreadable:
        raise SettingsError(f"{path}: expected a readable UTF-8 YAML file, found: {unreadable}") from unreadable
    tree = _parse(text, str(path))
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise SettingsError(f"{path}: expected sections (a mapping), found {type(tree).__name__}")
    return tree


def environment_trees(environ: Mapping[str, str]) -> list[tuple[str, dict[str, Any]]]:
    """(source, tree) of each variable whose name begins with `DESK__`, in order of name; `__` nests, values are YAML."""
    trees: list[tuple[str, dict[str, Any]]] = []
    for name in sorted(name for name in environ if name.upper().startswith(ENVIRONMENT_PREFIX)):
        tree: Any = _parse(environ[name], f"environment variable {name}")
        for part in reversed(name[len(ENVIRONMENT_PREFIX) :].lower().split("__")):
            tree = {part: tree}
        trees.append((f"environment variable {name}", tree))
    return trees


@lru_cache(maxsize=32)
def _parse(text: str, source: str) -> Any:
    """The tree in a text, nobody's to change: every task of a flow reads the same few files."""
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as broken:
        mark = broken.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SettingsError(f"{source}: expected valid YAML, found a fault{where}: {broken.problem}") from broken
    except (yaml.YAMLError, RecursionError, ValueError) as broken:
        raise SettingsError(f"{source}: expected valid YAML, found: {broken}") from broken
