"""What an installation does once, so that the first run does not wait for it."""

from __future__ import annotations

from desk.backtest import kernel, skipping


def compile_kernel() -> None:
    """Compile the backtest's loop and the sweeps' and leave them on disk."""
    kernel.warm_up()
    skipping.warm_up()
