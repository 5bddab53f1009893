"""What the documentation says is true today: its examples run, and every file, word and error that it names exists."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
PACKAGES = ("flows", "tasks", "models", "desk", "data_contracts", "configs")
FOLDERS = (*PACKAGES, "docs", "tests", "benchmarks", "deployments")
TOP_FILES = ("Makefile", "prefect.yaml", "pyproject.toml", "constraints.txt", "environment.yml", "LICENSE")
CANDLES = "BTC_USDT-1h.json"
FIRST_OPEN_MS, HOUR_MS = 1_672_531_200_000, 3_600_000
EXAMPLE_TIMEOUT_S = 100

each_page = pytest.mark.parametrize("page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES])


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text_of(page), re.DOTALL)


def codes(page: Path) -> list[str]:
    """What stands between single backticks, and every line of shell."""
    prose = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
    lines = [line.partition("#")[0].strip() for block in blocks(page, "sh") for line in block.splitlines()]
    return re.findall(r"`([^`\n]+)`", prose) + lines


def write_candles(folder: Path) -> None:
    """A seeded market as freqtrade writes it: [open time in milliseconds, open, high, low, close, volume]."""
    random = np.random.default_rng(5)
    closes = np.round(30_000 * np.exp(np.cumsum(0.006 * random.standard_normal(1400))), 2).tolist()
    volumes = np.round(random.uniform(100, 150, len(closes)), 3).tolist()
    opens = [30_000.0, *closes[:-1]]
    rows = [
        [FIRST_OPEN_MS + number * HOUR_MS, first, round(max(first, last) * 1.002, 2), round(min(first, last) * 0.998, 2), last, volume]
        for number, (first, last, volume) in enumerate(zip(opens, closes, volumes, strict=True))
    ]
    (folder / CANDLES).write_text(json.dumps(rows), encoding="utf-8")


Console = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Console]:
    """`launch("-m", "flows.cli", ...)` starts Python in a folder with candles; everything it started in its turn ends with the test."""
    write_candles(tmp_path)
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, *arguments]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
        running.append(process)
        return process

    yield start

    for process in running:
        try:
            os.killpg(process.pid, signal.SIGTERM)
        except ProcessLookupError:
            continue
        process.communicate(timeout=15)


def run_examples(launch: Console, folder: Path, page: Path) -> str:
    """All Python blocks of a page as one program, which must end well; what it printed."""
    (folder / "example.py").write_text("\n".join(blocks(page, "python")), encoding="utf-8")
    said, complaints = launch("example.py").communicate(timeout=EXAMPLE_TIMEOUT_S)
    assert "" == complaints.strip() or "Traceback" not in complaints, complaints
    return said


def test_the_example_of_the_readme_runs_and_trades(launch: Console, tmp_path: Path) -> None:
    said = run_examples(launch, tmp_path, ROOT / "README.md")

    found = re.fullmatch(r"1400 bars, (\d+) fills, [+-][\d.]+%, drawdown [\d.]+%\n", said)
    assert found is not None, said
    assert int(found[1]) > 5


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_tutorial_goes_from_backtest_to_paper_to_live(launch: Console, tmp_path: Path) -> None:
    """Its own asserts compare paper with a backtest; the last line comes from a live session on the practice exchange."""
    said = run_examples(launch, tmp_path, DOCS / "tutorial.md").splitlines()

    assert ["paper", "continued at", "live"] == [line.partition(":")[0].partition(" 2")[0] for line in said[-3:]]
    assert "live: 20 bars" in said[-1]


def test_the_rule_of_the_tutorial_has_fewer_than_twenty_lines() -> None:
    rule = ast.parse(blocks(DOCS / "tutorial.md", "python")[0]).body[0]

    assert isinstance(rule, ast.ClassDef)
    assert (rule.end_lineno or 0) < 20


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_the_greeting_of_the_console_is_all_that_ccxt_needs(launch: Console, tmp_path: Path) -> None:
    exchange = launch("-m", "flows.cli", "practice-exchange", "--seed", "3", "--history-bars", "300")
    assert exchange.stdout is not None
    (tmp_path / "greeting.json").write_text(exchange.stdout.readline(), encoding="utf-8")

    said = run_examples(launch, tmp_path, DOCS / "practice-exchange.md").splitlines()

    assert 2 == len(json.loads(said[0]))
    assert float(said[1]) > 0


def test_the_example_of_the_settings_page_runs(launch: Console, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("risk: {max_drawdown: 0.2}\n", encoding="utf-8")

    assert run_examples(launch, tmp_path, DOCS / "configuration.md").endswith(" 50000 0.2\n")


def test_the_example_of_the_runbook_verifies_journals(launch: Console, tmp_path: Path) -> None:
    from desk.chain import Chain

    with Chain(tmp_path / "var" / "journal" / "mine.sqlite", sync=False):
        assert "mine.sqlite 0 entries verify\n" == run_examples(launch, tmp_path, DOCS / "runbook.md")


@each_page
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)) if not re.match(r"[a-z]+:", link)]

    broken = [link for link in links if not leads_somewhere(page, *link.partition("#")[::2])]
    assert [] == broken


def leads_somewhere(page: Path, path: str, anchor: str) -> bool:
    target = (page.parent / path).resolve() if path else page
    if not anchor:
        return target.exists()
    titles = re.findall(r"^#+ (.+)$", text_of(target), re.MULTILINE)
    return anchor in [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles]


@each_page
def test_every_file_named_exists(page: Path) -> None:
    """A word in backticks or a link that begins with a folder of ours, or is one of the files at the top."""
    paths = [code for code in codes(page) if re.fullmatch(rf"({'|'.join(FOLDERS)})/[\w./-]*", code) or code in TOP_FILES]

    assert [] == [path for path in paths if not (ROOT / path).exists()]


@each_page
def test_every_word_of_make_exists(page: Path) -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

    named = {word for code in codes(page) for word in re.findall(r"(?:^|\s)make ((?:[a-z-]+ ?)+)", code)}
    assert {word for words in named for word in words.split()} <= known


@each_page
def test_every_word_of_the_console_exists(page: Path) -> None:
    import typer

    from flows.cli import app

    console = typer.main.get_command(app)
    named = {word for code in codes(page) for word in re.findall(r"(?:^|/)tradewind ([a-z-]+(?: validate)?)", code)}

    words = set(getattr(console, "commands", {})) | {"config validate"}
    assert named <= words


@each_page
def test_every_dotted_setting_exists(page: Path) -> None:
    from configs.settings import known_keys

    sections = {key.partition(".")[0] for key in known_keys() if "." in key}

    named = {code for code in codes(page) if re.fullmatch(rf"({'|'.join(sections)})(\.[a-z_]+)+", code)}
    variables = {name[6:].lower().replace("__", ".") for name in re.findall(r"DESK__[A-Z_]+", text_of(page)) if not name.endswith("_")}
    assert named | variables <= set(known_keys())


def test_decisions_are_numbered_without_holes() -> None:
    pages = sorted((DOCS / "decisions").glob("*.md"))

    assert [f"{number:04d}" for number in range(1, len(pages) + 1)] == [page.name[:4] for page in pages]
    for number, page in enumerate(pages, 1):
        said = text_of(page)
        assert said.startswith(f"# {number}. ")
        assert ["Context", "Decision", "Consequences"] == re.findall(r"^\*\*(\w+)\.\*\*", said, re.MULTILINE), page.name


def sources() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))


def test_every_error_that_is_raised_says_what_to_do() -> None:
    import desk.errors

    known = {name for name, kind in vars(desk.errors).items() if isinstance(kind, type) and issubclass(kind, desk.errors.DeskError)}
    raised = known & set(re.findall(r"(?:raise|return) ([A-Z]\w+)\(", sources()))

    answered = set(re.findall(r"^\| `(\w+)` \|", text_of(DOCS / "troubleshooting.md"), re.MULTILINE))
    assert raised | {"SettingsError", "ContractViolation"} == answered


def test_every_event_is_explained() -> None:
    """A name that is given as a variable is written out where it is passed on."""
    logged = set(re.findall(r"\b(?:event|_announce)\(\s*\"([a-z]+\.[a-z]+)\"", sources())) - {"order.refused"}  # the example in desk/log.py
    logged |= {"cache.hit", "cache.missed"}

    row = r"^\| (`[a-z.]+`(?:, `[a-z.]+`)*) \| "
    table = text_of(DOCS / "runbook.md").partition("| event |")[2].partition("\n## ")[0]
    explained = {name.strip("`") for names in re.findall(row, table, re.MULTILINE) for name in names.split(", ")}
    assert logged | {"log"} == explained
