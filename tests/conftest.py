"""What every test stands on: a private home, no network but loopback, no telemetry, and one way to start the practice exchange.

The environment is set while this file is imported, before any library reads it; each pytest worker is its own process and gets its own folder.
"""

from __future__ import annotations

import ipaddress
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

if TYPE_CHECKING:
    from configs.operations import OperationsSettings
    from tasks.values import Market
    from tests.listening import Heard

ROOT = Path(__file__).resolve().parents[1]
HOME = Path(tempfile.mkdtemp(prefix="tradewind-tests-"))
EXCHANGE_START_SECONDS = 60
EXCHANGE_STOP_SECONDS = 5
RAN_TWICE = ("tests/end_to_end/test_pipeline.py", "tests/end_to_end/test_kill_and_resume.py")

Greeting = dict[str, Any]


def isolate_the_environment() -> None:
    """Nothing of the user's machine leaks in; nothing of the tests leaks out."""
    for name in [name for name in os.environ if name.upper().startswith(("DESK__", "PREFECT_", "MLFLOW_", "AWS_"))]:
        del os.environ[name]
    os.environ.update(
        HOME=str(HOME),
        PREFECT_HOME=str(HOME / "prefect"),
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="60",
        MLFLOW_TRACKING_URI=f"sqlite:///{HOME / 'mlflow.db'}",
        MLFLOW_DISABLE_TELEMETRY="true",
        DO_NOT_TRACK="true",
        GX_ANALYTICS_ENABLED="false",
        POLARS_ENGINE_AFFINITY="in-memory",
        # building matplotlib's font list takes seconds: keep it between runs
        MPLCONFIGDIR=str(ROOT / ".pytest_cache" / "matplotlib"),
        MPLBACKEND="Agg",
        # compiling the kernel takes seconds in every process: keep it too, as an installation does; its folder is named by what was compiled
        TRADEWIND_CACHE=str(ROOT / ".pytest_cache" / "kernels"),
    )
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def refuse_the_network(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook: a connection or a look-up that would leave this machine fails at once and says so."""
    if event == "socket.connect":
        address = arguments[1]
        if isinstance(address, tuple) and address and not is_loopback(str(address[0])):
            raise OSError(f"tests reach loopback only; something tried to connect to {address}")
    elif event == "socket.getaddrinfo":
        host = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
        if host and not is_loopback(host) and host != socket.gethostname():
            raise socket.gaierror(socket.EAI_NONAME, f"tests reach loopback only; something looked up {host!r}")


def is_loopback(host: str) -> bool:
    """Whether this is a name or an address of this very machine."""
    if host in {"localhost", "0.0.0.0", "::", ""}:
        return True
    try:
        return ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        return False


isolate_the_environment()
sys.addaudithook(refuse_the_network)

hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.register_profile("desk", deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "desk"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Workers take whole files, so that what the tests of a file share is started once; files that look at the same finished runs count as one."""
    if config.getvalue("dist") != "load":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByWhatIsShared(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "what ran twice" if file in RAN_TWICE else file

    config.option.loadscopereorder = False
    return ByWhatIsShared(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Workers begin with the files that take longest: begun last, one of them would keep a worker busy long after the others are done."""
    if hasattr(config, "workerinput"):
        rank = {item.path: 2 for item in items}
        for item in items:
            rank[item.path] = min(rank[item.path], 0 if item.get_closest_marker("services") else 1 if item.get_closest_marker("slow") else 2)
        items.sort(key=lambda item: rank[item.path])


def pytest_unconfigure() -> None:
    """Erase the private home."""
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real candles named by TRADEWIND_DATA; tests that need it are skipped without it."""
    folder = os.environ.get("TRADEWIND_DATA")
    if not folder:
        pytest.skip("TRADEWIND_DATA does not name a folder of real candles")
    return Path(folder)


@pytest.fixture
def heard() -> Iterator[list[Heard]]:
    """Every event that is logged during the test, whatever other tests made of the log."""
    from tests.listening import listening

    with listening() as heard:
        yield heard


@pytest.fixture
def operations(tmp_path: Path) -> Iterator[OperationsSettings]:
    """An installation of its own, on ports of its own; what was started for it is stopped, whatever happens."""
    # our packages are imported when a test asks, after the environment above is set
    from configs.operations import OperationsSettings
    from tasks.services import down
    from tests.ports import free_port

    operations = OperationsSettings(var=tmp_path / "var", prefect_port=free_port(), mlflow_port=free_port())
    yield operations
    list(down(operations))


@pytest.fixture
def market(operations: OperationsSettings) -> Market:
    """Two coins on a practice exchange that is a process of its own; folders whose tests mean something else by a market say so themselves."""
    from tasks.market import open_market
    from tests.drills.traders import MARKET

    return open_market.fn(MARKET, operations, ())


@pytest.fixture(scope="session")
def practice_exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Greeting]]:
    """`practice_exchange("--seed", "3")` starts a fresh exchange on a free loopback port and returns its greeting; all are stopped at the end."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> Greeting:
        complaints = tmp_path_factory.mktemp("practice-exchange") / "stderr.txt"
        with complaints.open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "desk.practice_exchange", *map(str, arguments)], stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=ROOT
            )
        running.append(process)
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], EXCHANGE_START_SECONDS)
        line = process.stdout.readline() if ready else ""
        if not line:
            pytest.fail(f"the practice exchange printed no greeting within {EXCHANGE_START_SECONDS} s; it said:\n{complaints.read_text()}")
        greeting: Greeting = json.loads(line)
        return greeting

    yield start

    for process in running:
        process.terminate()  # not kill: coverage of the exchange is written on the way out
        try:
            process.wait(EXCHANGE_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
