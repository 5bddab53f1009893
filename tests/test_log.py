"""The log: one schema, context bound once, and no secret in any sink. Canaries are planted wherever a secret could travel."""

from __future__ import annotations

import gzip
import json
import logging
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger

from desk.log import bind, configure, event, register_secret
from desk.redaction import clean, clean_text

CANARY = "c4n4ry" + "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def quiet_afterwards() -> Iterator[None]:
    handlers = list(logging.getLogger().handlers)
    yield
    logger.remove()
    logging.getLogger().handlers[:] = handlers


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "log" / "desk.jsonl"


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_an_event_is_one_line_of_json_with_its_fields(file: Path) -> None:
    configure(log_file=file)

    event("order.refused", level="WARNING", symbol="BTC/USDT", guard="drawdown", weight=0.25, price=Decimal("1.10"), at=datetime(2024, 1, 1, tzinfo=UTC))

    (line,) = lines(file)
    assert ["time", "level", "event", "run_id", "flow", "settings", "mode", "fields"] == list(line)
    assert ("WARNING", "order.refused") == (line["level"], line["event"])
    assert {"symbol": "BTC/USDT", "guard": "drawdown", "weight": 0.25, "price": "1.10", "at": "2024-01-01T00:00:00+00:00"} == line["fields"]
    assert UTC.utcoffset(None) == datetime.fromisoformat(line["time"]).utcoffset()


def test_context_is_bound_once_and_let_go_afterwards(file: Path) -> None:
    configure(log_file=file)

    with bind(run_id="r1", flow="train", settings="abcd", mode="paper", symbol="ETH/USDT"):
        event("model.trained", flow="a field of that name stays a field")
    event("model.forgotten")

    inside, outside = lines(file)
    assert ("r1", "train", "abcd", "paper") == (inside["run_id"], inside["flow"], inside["settings"], inside["mode"])
    assert {"symbol": "ETH/USDT", "flow": "a field of that name stays a field"} == inside["fields"]
    assert (None, {}) == (outside["run_id"], outside["fields"])


def test_context_of_one_thread_is_not_seen_by_another(file: Path) -> None:
    configure(log_file=file)

    with bind(run_id="mine"):
        thread = threading.Thread(target=event, args=("other.thread",))
        thread.start()
        thread.join()

    assert lines(file)[0]["run_id"] is None


def test_pretty_and_json_terminals_say_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    configure(fmt="json")
    event("bar.closed", symbol="BTC/USDT", text="{braces} <red>markup</red>")
    as_json = json.loads(capsys.readouterr().err)

    configure(fmt="pretty")
    event("bar.closed", symbol="BTC/USDT", text="{braces} <red>markup</red>")
    pretty = capsys.readouterr().err

    assert "{braces} <red>markup</red>" == as_json["fields"]["text"]
    assert "INFO    bar.closed" in pretty
    assert "symbol=BTC/USDT text={braces} <red>markup</red>" in pretty


def test_the_terminal_keeps_its_level_and_the_file_takes_everything(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure("WARNING", log_file=file)

    event("tick.seen", level="DEBUG")

    assert "" == capsys.readouterr().err
    assert ["tick.seen"] == [line["event"] for line in lines(file)]


def test_configuring_twice_does_not_print_twice(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    configure()

    event("once.only")
    logging.getLogger("third.party").warning("also once")

    said = capsys.readouterr().err
    assert (1, 1) == (said.count("once.only"), said.count("also once"))


def test_the_file_rotates_into_compressed_history(file: Path) -> None:
    configure("ERROR", log_file=file, rotate_at="2 KB", files_kept=2)

    for n in range(60):
        event("bar.closed", n=n, padding="x" * 100)

    kept = sorted(file.parent.glob("*.gz"))
    assert 2 == len(kept)
    assert {"bar.closed"} == {json.loads(line)["event"] for line in gzip.decompress(kept[0].read_bytes()).splitlines()}


@dataclass(frozen=True, slots=True)
class Credentials:
    api_key: str
    venue: str


def plant(where: str) -> None:
    """Log a canary by the way named `where`."""
    stdlib = logging.getLogger("third.party")
    match where:
        case "event name":
            event(f"GET https://x/api?signature={CANARY}&a=1")
        case "field by name":
            event("x.done", api_secret=CANARY, apiKey=CANARY, API_KEY=CANARY, password=CANARY, x_mbx_apikey=CANARY, authorization=CANARY)
        case "nested field":
            event("x.done", payload={"a": [{"headers": {"X-MBX-APIKEY": CANARY, "Set-Cookie": CANARY}}], "b": ({"secret": CANARY},)})
        case "text of a field":
            event("x.done", url=f"wss://x/?apiKey={CANARY}&signature={CANARY}", header=f"Authorization: Bearer {CANARY}", body=json.dumps({"secret": CANARY}))
        case "field that is an object":
            event("x.done", credentials=Credentials(CANARY, "practice"), shown=repr(Credentials(CANARY, "practice")))
        case "address of a database":
            event("x.done", address=f"postgresql://desk:{CANARY}@db/desk")
        case "private key":
            event("x.done", pem=f"-----BEGIN EC PRIVATE KEY-----\n{CANARY}\n-----END EC PRIVATE KEY-----")
        case "bound context":
            with bind(token=CANARY):
                event("x.done")
        case "exception":
            try:
                secret = CANARY
                raise ValueError(f"bad signature={secret}")
            except ValueError as failure:
                event("x.failed", level="ERROR", error=failure, again=failure)
        case "chained exception":
            try:
                try:
                    raise KeyError(f"api_key={CANARY}")
                except KeyError as cause:
                    raise ValueError("refused") from cause
            except ValueError:
                logger.exception("raw loguru")
        case "standard library":
            stdlib.warning("sent signature=%s to %s", CANARY, "venue")
        case "standard library exception":
            try:
                raise ValueError(f"password: '{CANARY}'")
            except ValueError:
                stdlib.exception("failed")


@pytest.mark.parametrize(
    "where",
    [
        "event name",
        "field by name",
        "nested field",
        "text of a field",
        "field that is an object",
        "address of a database",
        "private key",
        "bound context",
        "exception",
        "chained exception",
        "standard library",
        "standard library exception",
    ],
)
def test_no_canary_leaves_by_any_sink(where: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forwarded: list[str] = []
    own_handler = logging.StreamHandler(sys.stderr)
    own = logging.getLogger("third.party")
    own.addHandler(own_handler)
    configure(fmt="pretty", log_file=file, bridge=lambda _, text: forwarded.append(text))

    plant(where)

    own.removeHandler(own_handler)
    everything = capsys.readouterr().err + file.read_text(encoding="utf-8") + "".join(forwarded)
    assert "***" in everything
    assert CANARY not in everything


def test_a_registered_value_is_blotted_out_wherever_it_stands(file: Path) -> None:
    value = "correct horse/battery+staple"
    register_secret(value)
    register_secret("")
    configure(log_file=file)

    event("x.done", note=f"it was {value}!", url="https://x/?q=correct%20horse%2Fbattery%2Bstaple", **{value: 1})

    (line,) = lines(file)
    assert {"note": "it was ***!", "url": "https://x/?q=***", "***": 1} == line["fields"]


def test_innocent_text_is_left_alone() -> None:
    innocent = "BTC/USDT 1h closed=2024-01-01T00:00:00Z hash=de8e383396dee8b5 tokens of http://127.0.0.1:4200/api"

    assert innocent == clean_text(innocent)
    assert {"n": 1, "x": "nan", "flag": True, "none": None} == clean({"n": 1, "x": float("nan"), "flag": True, "none": None})


def test_a_value_that_contains_itself_ends() -> None:
    loop: dict[str, Any] = {}
    loop["loop"] = loop

    assert "<dict>" in json.dumps(clean(loop))


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_every_value_becomes_valid_json(value: Any) -> None:
    written = json.dumps(clean(value), allow_nan=False)

    assert written == json.dumps(json.loads(written))


@given(
    name=st.sampled_from(["signature", "apiKey", "api_key", "X-MBX-APIKEY", "client_secret", "password", "refresh_token"]),
    glue=st.sampled_from(["=", ": ", '": "', "='", " = "]),
    value=st.text("0123456789abcdefABCDEFxyz+/._-", min_size=12, max_size=90),
)
def test_a_value_beside_a_secret_name_is_blotted_out(name: str, glue: str, value: str) -> None:
    assert value not in clean_text(f"before {name}{glue}{value}&after=1")


def test_the_bridge_hears_our_events_in_the_thread_that_logged_them_and_nothing_twice(capsys: pytest.CaptureFixture[str]) -> None:
    """A bridge that logs through the standard library, as an orchestrator's run logger does, must not echo."""
    heard: list[tuple[int | str, str, int]] = []

    def bridge(level: int | str, text: str) -> None:
        heard.append((level, text, threading.get_ident()))
        logging.getLogger("orchestrator").warning(text)

    configure("INFO", bridge=bridge)
    event("order.sent", symbol="BTC/USDT")
    event("tick.seen", level="DEBUG")
    logging.getLogger("third.party").warning("not for the bridge")

    assert [(20, threading.get_ident())] == [(level, thread) for level, _, thread in heard]
    assert "order.sent" in heard[0][1]
    assert "symbol=BTC/USDT" in heard[0][1]
    assert 1 == capsys.readouterr().err.count("order.sent")


def test_records_of_the_standard_library_join_with_their_logger_and_level(file: Path) -> None:
    configure(log_file=file)
    logging.addLevelName(35, "NOTICE")

    logging.getLogger("third.party").error("lost %d", 3)
    logging.getLogger("third.party").log(35, "odd level")

    first, second = lines(file)
    assert ("ERROR", "log", {"logger": "third.party", "message": "lost 3"}) == (first["level"], first["event"], first["fields"])
    assert ("Level 35", "odd level") == (second["level"], second["fields"]["message"])
