"""Plots for the experiment browser."""

from __future__ import annotations

from pathlib import Path

import polars as pl


def equity_plot(curves: Path, target: Path) -> Path:
    """Equity of every strategy over the tested bars as a PNG; `curves` holds a `time` column and one column a strategy. Returns `target`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    frame = pl.read_parquet(curves)
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    for name in frame.columns[1:]:
        axes.plot(frame["time"].to_numpy(), frame[name].to_numpy(), label=name, linewidth=1.2)
    axes.set_ylabel("equity, quote currency")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    FigureCanvasAgg(figure).print_png(str(target))
    return target
