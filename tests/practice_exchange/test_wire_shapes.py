"""Our wire against recorded payloads: every field that Binance sent is there, of the same type. Their shapes are kept here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from desk.practice_exchange.shapes import differences, shape_of
from tests.practice_exchange.conftest import Serving
from tests.practice_exchange.wire_kinds import NOT_OURS, SHAPES, everything, kind_of, opened

RECORDED = [json.loads(line) for line in SHAPES.read_text().splitlines()]


@pytest.fixture(scope="module")
def ours(serve: Callable[..., Serving]) -> dict[str, Any]:
    """The shape of one payload of each kind."""
    serving = serve("--seed", 5, "--symbols", "BTC/USDT", "--history-bars", 100, "--stream-bars", 10)
    return {kind: shape_of(payload) for kind, payload in asyncio.run(everything(serving)).items()}


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded["files"][0])
def test_a_payload_has_every_recorded_field(ours: dict[str, Any], recorded: dict[str, Any]) -> None:
    found = differences(recorded["shape"], ours[recorded["kind"]], recorded["kind"])

    assert [] == [line for line in found if line.removesuffix(": missing") not in NOT_OURS]


def test_every_kind_that_is_recorded_is_ours(ours: dict[str, Any]) -> None:
    assert set() == {recorded["kind"] for recorded in RECORDED} - set(ours)


@pytest.mark.data
def test_the_shapes_kept_are_those_of_the_recorded_payloads(real_data: Path) -> None:
    """Every recorded file is accounted for: its shape is kept, or it is named as one that is not served."""
    folder, kept = real_data / "api", {file: recorded["shape"] for recorded in RECORDED for file in recorded["files"]}
    unlike = []

    for path in sorted(folder.rglob("*.json")):
        payload, name = json.loads(path.read_text()), str(path.relative_to(folder))
        kind = kind_of(name, payload)
        shape = shape_of(opened(payload)[0] if kind == "error" else opened(payload))
        if kind is not None and kept.get(name) != shape:
            unlike.append(name)

    assert [] == unlike


def test_a_shape_tells_types_and_what_rows_have_in_common() -> None:
    payload = {"n": 1, "rows": [{"a": "1", "b": True}, {"a": None}], "row": [1, "2", 2.5], "none": []}

    assert {"n": "number", "rows": [{"a": "text"}], "row": ["number", "text", "number"], "none": []} == shape_of(payload)


def test_what_is_missing_or_of_another_type_is_told_and_what_is_more_is_not() -> None:
    expected, found = {"a": "text", "b": [{"c": "number"}], "d": "null"}, {"b": [{"c": "text"}], "d": "bool", "e": "text"}

    assert [".a: missing", ".b[0].c: number expected, text found"] == differences(expected, found)
