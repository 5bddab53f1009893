"""What an installation does once, so that the first run does not wait for it."""

from __future__ import annotations

from desk.backtest.kernel import warm_up


def compile_kernel() -> None:
    """Compile the backtest's loop and leave it on disk."""
    warm_up()
