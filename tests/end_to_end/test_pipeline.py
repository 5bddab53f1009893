"""Candles to report through the console, and then again: the second run computes nothing, writes nothing twice, and trades on."""

from __future__ import annotations

import itertools
import json
import re
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.services, pytest.mark.timeout(300)]

CACHED_STEPS = 7
PAPER_BARS = 24
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Page(HTMLParser):
    """Which elements are open, what was never closed properly, the text, and every address that the page would fetch."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.crossed: list[str] = []
        self.text: list[str] = []
        self.fetched: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element that must be closed again is remembered."""
        if tag not in VOID:
            self.open.append(tag)
        self.fetched += [value for name, value in attrs if name in ("src", "srcset", "data") or (tag == "link" and name == "href") if value]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Closed at once, as SVG does."""

    def handle_endtag(self, tag: str) -> None:
        """Only the innermost open element may be closed."""
        if not self.open or self.open.pop() != tag:
            self.crossed.append(tag)

    def handle_data(self, data: str) -> None:
        """Text."""
        self.text.append(data)


def lines(twice: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (twice.installation.var / "log" / "pipeline.jsonl").read_text(encoding="utf-8").splitlines()]


def run_ids(twice: Any) -> list[str]:
    """Of both runs, in order."""
    return list(dict.fromkeys(line["run_id"] for line in lines(twice)))


def report(run: Any) -> Path:
    """The page that a run said it wrote."""
    (found,) = re.findall(r"report +(/\S+\.html)", run.said)
    return Path(found)


def test_a_run_that_ends_leaves_no_process(twice: Any) -> None:
    assert [] == twice.left_running


def test_the_first_run_computes_and_the_second_says_that_it_did_not(twice: Any) -> None:
    assert f"cache 0 of {CACHED_STEPS} cached steps" in twice.first.said
    assert f"cache {CACHED_STEPS} of {CACHED_STEPS} cached steps were unchanged and not computed again" in twice.second.said
    assert "again: validate_bars, build_features, train_fold x3, backtest_stitched, promote_model " in twice.second.said


def test_prefect_saw_every_step_found_again(twice: Any) -> None:
    """By Prefect's own record, not by our words."""
    first, second = (twice.api("task_runs/filter", flow_runs={"id": {"any_": [run_id]}}) for run_id in run_ids(twice))

    assert 0 == sum(task["state_name"] == "Cached" for task in first)
    assert CACHED_STEPS == sum(task["state_name"] == "Cached" for task in second)
    assert {"Completed", "Cached"} == {task["state_name"] for task in (*first, *second)}


def test_the_second_run_adds_no_version_to_any_table(twice: Any) -> None:
    assert {"raw", "clean", "features"} == {name.split("/")[0] for name in twice.between["tables"]}
    assert twice.between["commits"] == twice.after["commits"]
    assert twice.between["tables"] == twice.after["tables"]


def test_the_second_run_registers_no_model_and_counts_no_trial(twice: Any) -> None:
    assert [1] == [version for version, _ in twice.between["versions"]]
    assert all(identity for _, identity in twice.between["versions"])
    assert twice.between["versions"] == twice.after["versions"]
    assert twice.between["runs"] == twice.after["runs"] == [(twice.after["versions"][0][1], "FINISHED")]
    assert twice.between["trials"] == twice.after["trials"]
    assert len(twice.after["trials"]) == len(set(twice.after["trials"])) == 6


def test_paper_goes_on_where_it_stood(twice: Any) -> None:
    """Two windows are one journal: an entry for every hour, none twice, the first window unchanged."""
    first, both = twice.between["steps"], twice.after["steps"]

    assert (PAPER_BARS, 2 * PAPER_BARS) == (len(first), len(both))
    assert repr(first) == repr(both[:PAPER_BARS])
    assert {timedelta(hours=1)} == {later.closed_at - earlier.closed_at for earlier, later in itertools.pairwise(both)}
    assert f"paper {PAPER_BARS} bars" in twice.first.said
    assert "a fresh account" in twice.first.said
    assert f"resumed from {first[-1].closed_at.isoformat()}" in twice.second.said
    assert sum(len(step.fills) for step in both) > 0, "no fill in two windows: this test would not notice a lost one"


def test_paper_sends_no_order_to_the_exchange(twice: Any) -> None:
    """The exchange is asked, which remembers every order it ever accepted; its clock did move."""
    assert [] == twice.between["orders"] == twice.after["orders"]
    assert twice.between["market"]["now"] < twice.after["market"]["now"]
    assert twice.between["market"]["hash"] == twice.after["market"]["hash"]


def test_each_run_leaves_a_page_that_stands_alone(twice: Any) -> None:
    """Well formed, nothing fetched from anywhere, and about this very run."""
    for run, run_id in zip((twice.first, twice.second), run_ids(twice), strict=True):
        page = Page(report(run).read_text(encoding="utf-8"))

        text = " ".join(page.text)
        assert ([], []) == (page.open, page.crossed)
        assert [] == [address for address in page.fetched if not address.startswith(("data:", "#"))]
        assert run_id in text
        assert lines(twice)[0]["settings"] in text
        assert "SYNTHETIC" in text
        assert 2 == text.count("nothing that changes with bars to come")


def test_every_line_of_the_log_says_which_run_flow_and_settings(twice: Any) -> None:
    known = {(line["run_id"], line["flow"], line["settings"], line["mode"]) for line in lines(twice)}

    settings = twice.first.said.partition("settings ")[2].split(",")[0]
    assert {(run_id, "pipeline", settings, "paper") for run_id in run_ids(twice)} == known
    assert 2 == len(run_ids(twice))


def test_prefects_run_log_tells_the_same_story(twice: Any) -> None:
    """What a person sees in Prefect's UI under a run is what the file says of that run."""
    for run_id in run_ids(twice):
        told = " ".join(each["message"] for each in twice.api("logs/filter", logs={"flow_run_id": {"any_": [run_id]}}, limit=200))

        titles = [line["fields"]["title"] for line in lines(twice) if line["run_id"] == run_id and line["event"] == "step.done"]
        assert 11 == len(titles)
        assert [] == [title for title in titles if f"title={title}" not in told]
        (run,) = twice.api("flow_runs/filter", flow_runs={"id": {"any_": [run_id]}})
        assert "COMPLETED" == run["state_type"]


def test_the_exchanges_secret_is_nowhere_but_in_its_own_files(twice: Any) -> None:
    """Not in logs, pages, Prefect's database, MLflow or artefacts. Its own state and the private greeting are where it lives."""
    secret, var = twice.exchange.secret.encode(), twice.installation.var
    holding = {path.relative_to(var) for path in var.rglob("*") if path.is_file() and secret in path.read_bytes()}

    home = {path for path in holding if path.parts[0] == "exchange" or path == Path("run/exchange.greeting")}
    assert len(secret) >= 32
    assert 2 <= len(home)
    assert set() == holding - home
    assert {0o600} == {(var / path).stat().st_mode & 0o777 for path in home}
    assert [] == [run for run in (twice.first, twice.second) if secret.decode() in run.said]
