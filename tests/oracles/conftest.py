from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PEERS = Path(__file__).parents[2] / "benchmarks" / "peers" / ".venv" / "bin" / "python"
PACKAGES = ("arch", "empyrical", "quantstats", "skfolio")


@pytest.fixture(scope="session")
def ask() -> Callable[..., Any]:
    """Ask a library of the peers' environment; skipped where that was not made."""
    known = f"import importlib.util as u; raise SystemExit(not all(map(u.find_spec, {PACKAGES})))"
    if not PEERS.exists() or subprocess.run([PEERS, "-c", known], check=False, capture_output=True, timeout=60).returncode:
        pytest.skip("the packages to compare with are not installed: make oracles")

    def answer(question: str, **arguments: Any) -> Any:
        done = subprocess.run(
            [PEERS, Path(__file__).with_name("_peers.py")], input=json.dumps([question, arguments]), capture_output=True, text=True, check=True, timeout=100
        )
        return json.loads(done.stdout)

    return answer
