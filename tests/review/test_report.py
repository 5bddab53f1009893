"""The report parses, says the numbers it was given, escapes what it was given, and needs nothing from outside."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser

import pytest

from desk.review import report
from desk.review.content import DataSection, LearningSection, Viewer

VOID = {"meta", "br", "link", "img", "hr", "input"}


class _Page(HTMLParser):
    """Collects rows of cells, text, links and ids, and fails on tags that do not close in order."""

    def __init__(self, html):
        super().__init__()
        self.open, self.rows, self.links, self.ids, self.text, self.tags = [], [], [], [], [], set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.add(tag)
        self.links += [found[name] for name in ("href", "src") if name in found]
        self.ids += [found["id"]] if "id" in found else []
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert tag == self.open.pop(), f"</{tag}> closes another tag at {self.getpos()}"

    def handle_data(self, data):
        if "style" in self.open:
            return
        data = data.replace("\N{NO-BREAK SPACE}", " ")
        self.text.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data.strip()

    def row(self, first):
        """The first table row whose first cell is this."""
        return next(row for row in self.rows if row[0] == first)

    def words(self):
        return " ".join(" ".join(self.text).split())


def test_every_tag_closes_and_every_section_is_there(full_content):
    page = _Page(report.render(full_content))

    assert [] == page.open
    assert ["result", "promotion", "robustness", "costs", "regimes", "refused", "paper", "learning", "data", "run"] == page.ids
    assert {f"#{name}" for name in page.ids} == {link for link in page.links if link.startswith("#")}


def test_the_comparison_tells_each_measure_in_its_own_form(full_content):
    page = _Page(report.render(full_content))

    assert ["strategy", "total return", "sharpe", "sortino", "calmar", "max drawdown", "volatility", "expected shortfall", "turnover", "fills"] == page.row(
        "strategy"
    )
    assert ["network", "12.35 %", "0.87", "1.31", "0.66", "−18.72 %", "18.30 %", "−1.02 %", "0.04", "1,423"] == page.row("network")
    assert ["flat", "0.00 %", "–", "–", "–", "0.00 %", "0.00 %", "0.00 %", "0.00", "0"] == page.row("flat")


def test_costs_are_split_and_add_up(full_content):
    page = _Page(report.render(full_content))

    assert ["fees", "412.50", "59.1 %", "4.12 %"] == page.row("fees")
    assert ["impact", "98.10", "14.1 %", "0.98 %"] == page.row("impact")
    assert "697.85 USDT in all, on 512,345.00 USDT traded: 13.62 basis points" in page.words()


def test_folds_regimes_refusals_and_paper_are_told(full_content):
    page = _Page(report.render(full_content))

    assert ["1", "2022-01-01 to 2023-02-03", "2023-02-05 to 2023-05-06", "6", "0.0310", "0.0213", "0.00312", "0.00012", "24", "0.1"] in page.rows
    assert ["wild", "26.0 %", "−0.0012 %", "−0.21", "48.9 %"] == page.row("wild")
    assert ["position", "17", "position after the order above 35 % of equity"] == page.row("position")
    assert "10,037.42 from 10,000.00, 0.37 %" in page.words()
    assert "Took up from bar 2024-05-31 22:00 of the last session." in page.words()
    assert "2 of 4 taken from the cache" in page.words()


def test_the_plateau_is_drawn_with_the_tested_point_framed(full_content):
    """One rectangle a point, coloured by size and sign; the point that was tested is drawn last, so that its frame is whole."""
    html = report.render(full_content)
    drawn = re.findall(r'<rect class="(\w+)( chosen)?" x="([\d.]+)" y="([\d.]+)" width="20.0" height="25.0" fill-opacity="([\d.]+)"', html)

    assert 20 == len(drawn)
    assert ("up", " chosen", "0.0", "0.0", "0.55") == drawn[-1]
    assert "67 % of the best point's neighbours have a Sharpe within 20 % of its own" in _Page(html).words()


def test_worse_terms_bad_days_and_other_orders_are_told(full_content):
    page = _Page(report.render(full_content))

    assert ["every cost doubled", "5.12 %", "0.41", "20.11 %", "1,401", "19"] == page.row("every cost doubled")
    assert ["flash crash", "everything falls by 50% & comes back", "97 %", "47.39 %", "24.14 %", "1.03", "drawdown 42, daily loss 3"] == page.row("flash crash")
    assert ["2020-03-12", "the recorded bars", "0 %", "0.00 %", "0.00 %", "–", "none"] == page.row("2020-03-12")
    assert ["bars", "total return", "−8.00 %", "2.00 %", "11.00 %", "21.00 %", "37.00 %", "12.35 %"] == page.row("bars")
    assert ["diffusion", "40", "−7.67 %", "21.77 %", "22.25 %", "2.5 %"] == page.row("diffusion")
    assert "1,000 histories of bars in blocks of 7.3 on average; 1,000 histories of trades in blocks of 1.0 on average." in page.words()


def test_the_longest_gaps_come_first_and_the_rest_are_folded_away(full_content):
    page = _Page(report.render(full_content))
    gaps = [row for row in page.rows if row[-1] == "outage"]

    assert 12 == len(gaps)
    assert ["ETH/USDT", "2022-08-09 00:00", "2022-08-09 12:00", "12", "outage"] == gaps[0]
    assert "4 more gaps" in page.words()


def test_a_promotion_that_failed_says_so_with_its_reasons(full_content):
    page = _Page(report.render(full_content))

    assert "Not promoted: core-network version 4 stays out, core-network version 3 remains champion." in page.words()
    assert ["holdout block t-test, p", "0.034", "< 0.010", "✗ failed"] == page.row("holdout block t-test, p")


def test_a_promotion_names_the_new_champion(full_content):
    promoted = replace(full_content, promotion=replace(full_content.promotion, promoted=True, champion=None))

    assert "Promoted: core-network version 4 is the champion." in _Page(report.render(promoted)).words()


def test_the_banner_stands_on_synthetic_markets_only(full_content):
    made_up, real = full_content, replace(full_content, run=replace(full_content.run, synthetic=False))

    assert "This market is made up (seed 7)." in _Page(report.render(made_up)).words()
    assert "made up" not in report.render(real)


def test_what_came_from_outside_is_escaped(full_content):
    html = report.render(full_content)

    assert "<script" not in html
    assert "run-20240601-&lt;script&gt;" in html
    assert "low &lt;b&gt;9.9&lt;/b&gt;" in html


def test_the_page_needs_nothing_from_outside(full_content):
    html = report.render(full_content)
    page = _Page(html)

    assert not {"script", "link", "iframe", "img", "object"} & page.tags
    assert {"http://127.0.0.1:4200", "http://127.0.0.1:5000"} == {link for link in page.links if not link.startswith("#")}
    assert not re.search(r"url\(|@import", html)
    assert len(html) < 200_000


@pytest.mark.parametrize("address", ["https://example.org", "javascript:alert(1)", "http://127.0.0.1.example.org"])
def test_an_address_beyond_this_machine_is_no_link(full_content, address):
    page = _Page(report.render(replace(full_content, viewers=(Viewer("elsewhere", "open", address),))))

    assert address not in page.links
    assert address in page.words()


def test_a_run_in_which_nothing_happened_says_so(full_content):
    bare = replace(
        full_content,
        data=DataSection(()),
        learning=LearningSection((), "core", "", 16, 0),
        comparison=(),
        curves=None,
        costs=None,
        regimes=(),
        refusals=(),
        promotion=None,
        paper=None,
        tasks=(),
        viewers=(),
        robustness=None,
        assumptions={},
    )

    page = _Page(report.render(bare))

    for words in (
        "No strategy was tested.",
        "No order was refused.",
        "No paper session",
        "No fold was trained.",
        "No bar is missing.",
        "No promotion was decided",
        "No backtest was put to the test.",
    ):
        assert words in page.words()


@pytest.mark.parametrize(
    ("value", "expected"), [(0.1234, "12.34 %"), (-0.5, "−50.00 %"), (-0.0, "0.00 %"), (-0.00001, "0.00 %"), (float("nan"), "–"), (float("-inf"), "–")]
)
def test_percent_is_signed_rounded_and_honest_about_nothing(value, expected):
    assert expected == report.percent(value).replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (timedelta(seconds=9), "9 s"),
        (timedelta(minutes=3, seconds=42), "3 min 42 s"),
        (timedelta(hours=2), "2 h 0 min"),
        (timedelta(days=2, hours=5), "2 d 5 h"),
    ],
)
def test_durations_are_told_in_their_largest_units(value, expected):
    assert expected == report.lasting(value)
