"""The run report: one HTML file that needs nothing but a browser. No script, no font, no image and no address outside this machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from desk.review.charts import Chart, HeatMap, drawdown_chart, growth_chart, heat_map, share_chart
from desk.review.content import Costs, Gap, Plateau, Promotion, ReportContent, Strategy

NOTHING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
# A percent sign never starts a line.
PERCENT = "\N{NO-BREAK SPACE}%"
# Rows of a long table that are shown before the reader asks for the rest.
SHOWN_ROWS = 8
HASH_CHARACTERS = 12
# Measures told as counts and as percent; every other measure is a plain number. Names as in `Result.measures`, whatever is there of them.
COUNT_WORDS = ("fills", "trades", "orders", "bars", "refusals")
PERCENT_WORDS = ("return", "drawdown", "volatility", "value_at_risk", "expected_shortfall", "hit_rate", "share", "exposure", "cost")


def render(content: ReportContent) -> str:
    """Lay a run out as one self-contained HTML page: light or dark as the reader's system is, readable on a phone. All text is escaped."""
    # A template engine costs the console nothing until a report is made.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    engine = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    engine.filters.update(_filters())
    page: str = engine.get_template("report.html").render(content=content, charts=_charts(content), tiles=_tiles(content), **_arranged(content))
    return page


def _filters() -> dict[str, Callable[..., str]]:
    return {
        "parameter": parameter,
        "percent": percent,
        "number": number,
        "whole": whole,
        "instant": instant,
        "day": day,
        "measure": measure,
        "short": short,
        "lasting": lasting,
        "title": heading,
        "number_head": lambda name: f"#{heading(name)}",
    }


def percent(value: float, digits: int = 2) -> str:
    """A fraction as percent; a dash when undefined."""
    return f"{number(100.0 * value, digits)}{PERCENT}" if math.isfinite(value) else NOTHING


def number(value: float, digits: int = 2) -> str:
    """A number with a fixed count of decimals, thousands apart, no negative zero; a dash when undefined."""
    if not math.isfinite(value):
        return NOTHING
    text = f"{abs(value):,.{digits}f}"
    return f"{MINUS}{text}" if value < 0.0 and text.strip("0.,") else text


def whole(value: int) -> str:
    """A count with thousands apart."""
    return f"{value:,}"


def instant(value: datetime | None) -> str:
    """Date and minute, UTC."""
    return value.strftime("%Y-%m-%d %H:%M") if value else NOTHING


def day(value: datetime) -> str:
    """Date, UTC."""
    return value.strftime("%Y-%m-%d")


def lasting(value: timedelta) -> str:
    """A duration in its largest fitting units."""
    seconds = int(value.total_seconds())
    days, hours, minutes = seconds // 86_400, seconds // 3_600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def short(value: str) -> str:
    """The first characters of a hash: enough to find it."""
    return value[:HASH_CHARACTERS]


def heading(name: str) -> str:
    """A measure's or parameter's name as words."""
    return name.replace("_", " ")


def measure(value: float, name: str) -> str:
    """A measure in the form its name asks for: percent, a count, or a number."""
    if any(word in name for word in COUNT_WORDS):
        return number(value, 0)
    return percent(value) if any(word in name for word in PERCENT_WORDS) else number(value)


def parameter(value: float | int | str) -> str:
    """A tuned parameter in as few characters as tell it."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def is_loopback(address: str) -> bool:
    """Whether an address may be made a link: the page points at nothing beyond this machine."""
    parts = urlsplit(address)
    return parts.scheme in ("http", "https") and parts.hostname in ("127.0.0.1", "localhost")


def _charts(content: ReportContent) -> list[Chart]:
    curves = content.curves
    if curves is None:
        return []
    reviewed = next(iter(curves.equity), "")
    drawn = (
        growth_chart("Growth of 1, net of costs", curves.times, curves.equity),
        drawdown_chart("Drawdown from the highest equity", curves.times, curves.equity),
        share_chart("Gross exposure", curves.times, reviewed, curves.exposure),
    )
    return [chart for chart in drawn if chart is not None]


def _plateaus(content: ReportContent) -> list[tuple[Plateau, HeatMap | None]]:
    """Each plateau with its map of Sharpe ratios; the point that was tested is framed."""
    return [
        (each, heat_map("Annual Sharpe", {(row.down, row.across): row.sharpe for row in each.rows}, axes=each.axes, chosen=each.tested))
        for each in (content.robustness.plateaus if content.robustness else ())
    ]


def _histories(content: ReportContent) -> list[Chart]:
    """The resampled bars' curves."""
    told = content.robustness.resamples if content.robustness else ()
    drawn = (growth_chart(f"Growth of 1, had the same {each.pieces} come in another sequence", each.times, each.curves) for each in told)
    return [chart for chart in drawn if chart is not None]


def _tiles(content: ReportContent) -> list[tuple[str, str, str]]:
    """The figures a reader looks for first: (label, value, remark), from the strategy under review."""
    tiles: list[tuple[str, str, str]] = []
    if content.comparison:
        first, others = content.comparison[0], content.comparison[1:]
        for name, label in (("total_return", "Net return"), ("sharpe", "Sharpe, annual"), ("max_drawdown", "Worst drawdown")):
            if name in first.measures:
                tiles.append((label, measure(first.measures[name], name), _against(name, others)))
    if content.costs and content.costs.initial_equity > 0:
        total = _total(content.costs)
        tiles.append(("Costs paid", percent(total / content.costs.initial_equity), f"of the equity at the start: {number(total)} {content.run.quote}"))
    return tiles


def _against(name: str, others: Sequence[Strategy]) -> str:
    benchmark = next((other for other in others if "hold" in other.name.lower()), None)
    return f"{benchmark.name}: {measure(benchmark.measures[name], name)}" if benchmark and name in benchmark.measures else ""


def _total(costs: Costs) -> float:
    return costs.fees + costs.spread + costs.impact


def _arranged(content: ReportContent) -> dict[str, object]:
    """What the page needs beside the content: tables in reading order, totals, and the verdict's words."""
    gaps: list[Gap] = sorted(content.data.gaps, key=lambda gap: (-gap.missing_bars, gap.symbol, gap.start))
    measures = list(dict.fromkeys(name for row in content.comparison for name in row.measures))
    parameters = list(dict.fromkeys(name for fold in content.learning.folds for name in fold.best_parameters))
    shares = (
        [(name, value) for name, value in (("fees", content.costs.fees), ("spread", content.costs.spread), ("impact", content.costs.impact))]
        if content.costs
        else []
    )
    total = _total(content.costs) if content.costs else 0.0
    return {
        "gaps": gaps,
        "measures": measures,
        "parameters": parameters,
        "cost_parts": [(name, value, value / total if total > 0 else 0.0) for name, value in shares],
        "cost_total": total,
        "verdict": _verdict(content.promotion),
        "plateaus": _plateaus(content),
        "histories": _histories(content),
        "cached": sum(task.cached for task in content.tasks),
        "shown": SHOWN_ROWS,
        "is_loopback": is_loopback,
        "nothing": NOTHING,
    }


def _verdict(promotion: Promotion | None) -> str:
    if promotion is None:
        return "No promotion was decided in this run."
    if promotion.promoted:
        return f"Promoted: {promotion.challenger} is the champion" + (f", in place of {promotion.champion}." if promotion.champion else ".")
    return f"Not promoted: {promotion.challenger} stays out" + (
        f", {promotion.champion} remains champion." if promotion.champion else "; there is no champion."
    )
