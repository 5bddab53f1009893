"""The one door for frames: `admit` answers with the frame itself or with every case that breaks its contract.

Nothing is repaired, dropped or filled here. A contract is a plain value (columns and rules); Pandera runs it, imported on first use so that
modules which only name a contract stay cheap to import. Two passes: columns and types first, because rules over missing columns are noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    import pandera.polars as pandera

# Enough rows to recognise a pattern, few enough for one log line.
ROWS_SHOWN = 3
CASE_SCHEMA = {"column": pl.String, "check": pl.String, "value": pl.String, "symbol": pl.String, "open_time": pl.String, "row": pl.Int64}
_FRAME_EMPTY = "not_empty"
_NOT_NULL = "present"
_COLUMN_CHECKS = {"column_in_dataframe": "column_missing", "column_in_schema": "column_unexpected", "column_ordered": "column_order"}


class ContractViolation(ValueError):
    """Data, or an argument, is not what its contract says."""


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One row-wise demand: `holds` is a boolean expression over the frame, `columns` are shown when it fails, `advice` is the next step."""

    name: str
    columns: tuple[str, ...]
    holds: pl.Expr
    expected: str
    advice: str


@dataclass(frozen=True, slots=True, eq=False)
class Contract:
    """What a frame must look like: exact columns in order with dtypes, no null or NaN except in `nan_allowed`, at least one row, rules."""

    name: str
    columns: Mapping[str, pl.DataType]
    rules: tuple[Rule, ...]
    nan_allowed: frozenset[str] = field(default_factory=frozenset)

    def rule(self, name: str) -> Rule | None:
        """The rule of this name, if it is one of ours and not a column check."""
        return next((rule for rule in self.rules if rule.name == name), None)


@dataclass(frozen=True, slots=True, eq=False)
class Admitted:
    """The very frame that was shown, now known to keep its contract."""

    frame: pl.DataFrame


@dataclass(frozen=True, slots=True, eq=False)
class Quarantined:
    """A frame that breaks its contract. `cases`: one row per broken value (column, check, value, symbol, open_time, row), all as text."""

    frame: pl.DataFrame
    contract: Contract
    cases: pl.DataFrame

    def summary(self) -> str:
        """One sentence per broken check: what was expected, what was found and how often, the first rows, the next step."""
        checks = self.cases.get_column("check").unique(maintain_order=True).to_list()
        return " ".join(self._sentence(check) for check in checks)

    def violation(self, where: str) -> ContractViolation:
        """The error to raise at an edge that cannot go on; `where` names the source of the frame."""
        return ContractViolation(f"{where}: breaks the contract of {self.contract.name}. {self.summary()}")

    def _sentence(self, check: str) -> str:
        cases = self.cases.filter(pl.col("check") == check)
        rule = self.contract.rule(check)
        expected = rule.expected if rule else _column_expectation(check, self.contract)
        advice = rule.advice if rule else _COLUMN_ADVICE.get(check, "Fix the source of the frame.")
        shown = "; ".join(_case_text(case) for case in cases.head(ROWS_SHOWN).iter_rows(named=True))
        return f"Expected {expected}, found {cases.height} case{'s' if cases.height > 1 else ''}: {shown}. {advice}"


def admit(frame: pl.DataFrame, contract: Contract) -> Admitted | Quarantined:
    """Check a frame against its contract and say either that it may pass or every case why not. The frame is never changed."""
    if frame.is_empty():
        return Quarantined(frame, contract, _empty_case())
    cases = _column_cases(frame, contract)
    if cases.is_empty():
        cases = _value_cases(frame, contract)
    return Admitted(frame) if cases.is_empty() else Quarantined(frame, contract, cases)


_COLUMN_ADVICE = {
    "column_missing": "Deliver the column, or name it as the contract does.",
    "column_unexpected": "Select the contract's columns before asking for admission.",
    "column_order": "Select the contract's columns in their order.",
    "column_type": "Cast the column at its source, where its unit is known.",
    _NOT_NULL: "Find out why the source left a hole; a bar that is not known is left out, never filled.",
    _FRAME_EMPTY: "Ask for a range that holds rows; an empty frame proves nothing.",
}


def _column_expectation(check: str, contract: Contract) -> str:
    names = ", ".join(contract.columns)
    expectations = {
        "column_missing": f"the columns {names}",
        "column_unexpected": f"only the columns {names}",
        "column_order": f"the columns in the order {names}",
        "column_type": "the dtypes " + ", ".join(f"{name}: {dtype}" for name, dtype in contract.columns.items()),
        _NOT_NULL: "a number or text in every cell (no null, no NaN)",
        _FRAME_EMPTY: "at least one row",
    }
    return expectations[check]


def _case_text(case: Mapping[str, Any]) -> str:
    where = [case["symbol"], None if case["column"] == "open_time" else case["open_time"], None if case["row"] is None else f"row {case['row']}"]
    found = [case["column"], case["value"]]
    places = ", ".join(str(place) for place in where if place is not None)
    return " = ".join(str(part) for part in found if part is not None) + (f" ({places})" if places else "")


def _empty_case() -> pl.DataFrame:
    return pl.DataFrame([{"check": _FRAME_EMPTY, "value": "no rows"}], schema=CASE_SCHEMA)


@lru_cache(maxsize=32)
def _schemas(contract: Contract) -> tuple[pandera.DataFrameSchema, pandera.DataFrameSchema]:
    """Two Pandera schemas of one contract: its columns, then its values (nullness and rules)."""
    import pandera.polars as pandera

    columns = {name: pandera.Column(dtype, nullable=True) for name, dtype in contract.columns.items()}
    # Rules hang on the first column (a text), because Pandera renders what it judges: whole rows cost seconds, and a far-off time overflows.
    first, *rest = contract.columns
    checks = [pandera.Check(_checker(rule.holds), name=rule.name) for rule in contract.rules]
    values = {name: pandera.Column(None, nullable=name in contract.nan_allowed) for name in rest}
    judged = {first: pandera.Column(None, checks, nullable=first in contract.nan_allowed), **values}
    return pandera.DataFrameSchema(columns, strict=True, ordered=True), pandera.DataFrameSchema(judged)


def _checker(holds: pl.Expr) -> Any:
    """A Pandera check function; a rule that cannot be judged (null) is left to the check for holes."""
    return lambda data: data.lazyframe.select(holds.fill_null(True))


def _failures(frame: pl.DataFrame, schema: pandera.DataFrameSchema) -> list[dict[str, Any]]:
    from pandera.config import ValidationDepth, config_context
    from pandera.errors import SchemaErrors

    with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
        try:
            schema.validate(frame, lazy=True)
        except SchemaErrors as broken:
            cases: pl.DataFrame = broken.failure_cases
            return cases.to_dicts()
    return []


def _column_cases(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    found = []
    for case in _failures(frame, _schemas(contract)[0]):
        check = _COLUMN_CHECKS.get(case["check"], "column_type")
        is_type = check == "column_type"
        column = case["column"] if is_type else case["failure_case"]
        found.append({"column": column, "check": check, "value": str(case["failure_case"]) if is_type else None})
    return pl.DataFrame(found, schema=CASE_SCHEMA)


def _value_cases(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    failures = _failures(frame, _schemas(contract)[1])
    if not failures:
        return pl.DataFrame(schema=CASE_SCHEMA)
    rows = pl.DataFrame(
        [{"check": _NOT_NULL if c["check"] == "not_nullable" else c["check"], "column": c["column"], "row": c["index"]} for c in failures],
        schema={"check": pl.String, "column": pl.String, "row": pl.Int64},
    )
    parts = [_located(frame, contract, part) for part in rows.partition_by("check", "column", maintain_order=True)]
    return pl.concat(parts).select(list(CASE_SCHEMA))


def _located(frame: pl.DataFrame, contract: Contract, part: pl.DataFrame) -> pl.DataFrame:
    """The failing rows of one check with their values and keys read off the frame itself."""
    check, column = part.item(0, "check"), part.item(0, "column")
    rule = contract.rule(check)
    columns = rule.columns if rule else (column,)
    rows = frame[part.get_column("row")]
    shown = pl.concat_str([_text(frame, name).fill_null("null") for name in columns], separator=", ")
    keys = [_text(frame, name) if name in frame.columns else pl.lit(None, pl.String).alias(name) for name in ("symbol", "open_time")]
    located = rows.select(shown.alias("value"), *keys)
    return located.with_columns(pl.lit(", ".join(columns)).alias("column"), pl.lit(check).alias("check"), part.get_column("row"))


def _text(frame: pl.DataFrame, name: str) -> pl.Expr:
    column = pl.col(name)
    return column.dt.to_string("%Y-%m-%dT%H:%M:%SZ") if frame.schema[name].is_temporal() else column.cast(pl.String)
