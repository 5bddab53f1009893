"""The workloads of the peers' comparison, and the pipe to the process in which a peer runs."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from desk.backtest.panel import Panel

FOLDER = Path(__file__).resolve().parent / "peers"
PYTHON = FOLDER / ".venv" / "bin" / "python"
# Those that cannot share an environment with the others.
ALONE = ("nautilus", "freqtrade")
FLIP = 1 / 50


@numba.njit
def _garch(shocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """GARCH(1,1) returns [time, asset] of minutes: 5 bps a bar on average, persistence .98."""
    returns = np.empty_like(shocks)
    for asset in range(shocks.shape[1]):
        variance = 2.5e-7
        for row in range(len(shocks)):
            returns[row, asset] = shocks[row, asset] * np.sqrt(variance)
            variance = 0.02 * 2.5e-7 + 0.08 * returns[row, asset] ** 2 + 0.90 * variance
    return returns


def _axes(bars: int, assets: int) -> tuple[NDArray[np.datetime64], tuple[str, ...]]:
    """Minutes, and names of assets."""
    return np.datetime64("2022-01-01", "us") + np.arange(bars) * np.timedelta64(1, "m"), tuple(f"S{asset:02}/USDT" for asset in range(assets))


def workload(bars: int, assets: int, seed: int = 1) -> tuple[Panel, NDArray[np.float64]]:
    """Minutes of a seeded market, and exposures in {0, 1} that flip with probability 1/50 a bar."""
    random = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(_garch(random.standard_normal((bars, assets))), axis=0))
    open_ = np.vstack([np.full((1, assets), 100.0), close[:-1]])
    high, low = np.maximum(open_, close) * 1.0002, np.minimum(open_, close) * 0.9998
    times, symbols = _axes(bars, assets)
    exposure = (np.cumsum(random.random((bars, assets)) < FLIP, axis=0) % 2).astype(float)
    return Panel(times, symbols, open_, high, low, close, np.full((bars, assets), 1e9)), exposure


def keep(panel: Panel, exposure: NDArray[np.float64], path: Path, bars: int | None = None) -> str:
    """Write the first `bars` of a workload where the other process finds them."""
    prices = {name: getattr(panel, name)[:bars] for name in ("open", "high", "low", "close", "volume")}
    np.savez(path, exposure=exposure[:bars], **prices)
    return str(path)


def kept(path: str) -> tuple[Panel, NDArray[np.float64]]:
    """What `keep` wrote."""
    arrays = dict(np.load(path))
    exposure = arrays.pop("exposure")
    return Panel(*_axes(*exposure.shape), **arrays), exposure


def peak_mib() -> int:
    """Of this process. Not getrusage: its peak begins with that of the process that started this one."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))
    return int(found[1]) // 1024 if found else 0


def interpreter(peer: str) -> Path:
    """Of the environment in which a peer lives; it exists once `make bench-peers` made it."""
    return next((FOLDER / f".venv-{name}" / "bin" / "python" for name in ALONE if peer.startswith(name)), PYTHON)


@contextmanager
def peers(python: Path = PYTHON) -> Iterator[Callable[[str, str], dict[str, Any]]]:
    """`with peers() as ask: ask("vectorbt:rust", path)` runs one peer once; its seconds, equity, fills and peak memory."""
    process = subprocess.Popen([python, "serve.py"], cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("expected pipes to the peers' process, found none")
    pipe_in, pipe_out = process.stdin, process.stdout

    def ask(peer: str, arrays: str) -> dict[str, Any]:
        pipe_in.write(json.dumps({"peer": peer, "arrays": arrays}) + "\n")
        pipe_in.flush()
        line = pipe_out.readline()
        if not line:
            raise RuntimeError(f"expected an answer of {peer}, found its process ended: the reason stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    try:
        yield ask
    finally:
        pipe_in.close()
        process.wait(60)
