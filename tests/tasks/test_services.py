"""Local services are found again by their records, shared by those who live, and never taken for a stranger."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from configs.market import MarketSettings, PracticeSettings
from configs.operations import OperationsSettings
from configs.vocabulary import Timeframe
from desk.errors import PortInUse, PreflightFailed, SourceStale
from tasks.services import down, ensure_exchange, recorded_exchange, service_environment, status, stop_started
from tasks.services.exchange import tape_options
from tasks.services.processes import FULL_LOG_BYTES, ask, healthy, ready, refuse_taken_port, start, stop
from tasks.services.records import Process, Service, process_of, record, recorded, room, turn

FOREVER = (sys.executable, "-c", "import sys\nprint('serving', flush=True)\nsys.stdin.read()\nimport signal\nsignal.pause()")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """Another program of this machine, or another console."""
    with subprocess.Popen(FOREVER, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def started(operations: OperationsSettings, name: str = "mlflow", command: tuple[str, ...] = FOREVER) -> Service:
    with turn(operations, name):
        return start(operations, name, "", command)


def test_a_service_is_found_again_by_its_record(operations: OperationsSettings) -> None:
    service = started(operations)

    assert service == recorded(operations, "mlflow")
    assert status(operations)["mlflow"].startswith(f"running, process {service.pid}")
    assert "not running" == status(operations)["prefect"]


def test_a_service_lives_in_a_session_of_its_own(operations: OperationsSettings) -> None:
    """Ctrl-C at the terminal must not reach it."""
    service = started(operations)

    assert service.pid == os.getsid(service.pid)
    assert os.getsid(0) != os.getsid(service.pid)


def test_a_stopped_service_takes_its_children_along(operations: OperationsSettings) -> None:
    parent = (
        "import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\nprint(child.pid, flush=True)\nchild.wait()"
    )
    said = room(operations, "run") / "said"
    with turn(operations, "mlflow"):
        service = start(operations, "mlflow", "", (sys.executable, "-c", parent), said=said)
        ready(operations, service, lambda: said.read_text().endswith("\n"))
    child = process_of(int(said.read_text()))

    assert stop(operations, "mlflow", children_first=True)

    assert [False, False] == [service.alive(), child.alive()]
    assert recorded(operations, "mlflow") is None


def test_what_a_killed_service_left_behind_is_stopped_all_the_same(operations: OperationsSettings) -> None:
    """A server whose head was killed would hold its port for ever: it is known by the mark in its environment."""
    parent = (
        "import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\nprint(child.pid, flush=True)\nchild.wait()"
    )
    said = room(operations, "run") / "said"
    with turn(operations, "mlflow"):
        service = start(operations, "mlflow", "", (sys.executable, "-c", parent), said=said)
        ready(operations, service, lambda: said.read_text().endswith("\n"))
    child = process_of(int(said.read_text()))
    os.kill(service.pid, signal.SIGKILL)
    psutil.Process(service.pid).wait(5)
    assert child.alive()

    assert stop(operations, "mlflow")

    assert not child.alive()


def test_a_stranger_with_the_recorded_number_is_never_signalled(operations: OperationsSettings, stranger: subprocess.Popen[bytes]) -> None:
    room(operations, "run")
    born = psutil.Process(stranger.pid).create_time()
    record(operations, Service(pid=stranger.pid, created=born - 60, name="prefect", url="", command=FOREVER))

    assert not stop(operations, "prefect")

    assert stranger.poll() is None
    assert recorded(operations, "prefect") is None


def test_a_record_that_cannot_be_read_is_no_record(operations: OperationsSettings) -> None:
    (room(operations, "run") / "prefect.json").write_text('{"pid": 1')

    assert recorded(operations, "prefect") is None
    assert not stop(operations, "prefect")


def test_a_console_that_ends_stops_what_only_it_used(operations: OperationsSettings) -> None:
    service = started(operations)

    assert ("mlflow",) == stop_started(operations)
    assert not service.alive()


def test_a_service_that_another_console_uses_is_left_to_it(operations: OperationsSettings, stranger: subprocess.Popen[bytes]) -> None:
    service = started(operations)
    with turn(operations, "mlflow"):
        record(operations, service.model_copy(update={"users": (*service.users, process_of(stranger.pid))}))

    assert () == stop_started(operations)
    assert service.alive()


def test_a_service_whose_other_users_died_is_stopped(operations: OperationsSettings, stranger: subprocess.Popen[bytes]) -> None:
    """After a kill of one console, the next one cleans up for it."""
    service = started(operations)
    record(operations, service.model_copy(update={"users": (*service.users, process_of(stranger.pid))}))

    stranger.kill()
    stranger.wait()

    assert ("mlflow",) == stop_started(operations)


def test_a_service_that_this_console_never_used_is_not_stopped_by_it(operations: OperationsSettings) -> None:
    service = record(operations, started(operations).model_copy(update={"users": ()}))

    assert () == stop_started(operations)
    assert service.alive()


def test_what_up_wants_to_stay_outlives_a_console(operations: OperationsSettings) -> None:
    service = started(operations)
    record(operations, service.used_here(stays=True))

    assert () == stop_started(operations)
    assert service.alive()


def test_down_stops_what_is_recorded_and_says_so(operations: OperationsSettings, stranger: subprocess.Popen[bytes]) -> None:
    service = started(operations)

    said = list(down(operations))

    assert [["worker", "was"], ["exchange", "was"], ["mlflow", "stopped"], ["prefect", "was"]] == [line.split()[:2] for line in said]
    assert not service.alive()
    assert stranger.poll() is None


def test_down_leaves_a_service_to_the_console_that_uses_it(operations: OperationsSettings, stranger: subprocess.Popen[bytes]) -> None:
    service = started(operations)
    record(operations, service.model_copy(update={"users": (process_of(stranger.pid),), "stays": True}))

    said = "\n".join(down(operations))

    assert f"mlflow    still used by process {stranger.pid}" in said
    left = recorded(operations, "mlflow")
    assert left is not None
    assert not left.stays


def test_a_service_that_dies_at_start_tells_its_last_words(operations: OperationsSettings) -> None:
    dying = (sys.executable, "-c", "import sys; sys.exit('no database here')")

    with turn(operations, "mlflow"), pytest.raises(PreflightFailed, match=r"no database here.*mlflow\.log"):
        ready(operations, start(operations, "mlflow", "", dying), lambda: False)

    assert recorded(operations, "mlflow") is None


def test_an_interrupted_start_leaves_no_process(operations: OperationsSettings) -> None:
    service = started(operations)

    def interrupted() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ready(operations, service, interrupted)

    assert not service.alive()


def test_a_full_log_is_put_aside(operations: OperationsSettings) -> None:
    log = room(operations, "log") / "mlflow.log"
    log.write_bytes(bytes(FULL_LOG_BYTES + 1))

    started(operations)

    assert log.stat().st_size < FULL_LOG_BYTES
    assert FULL_LOG_BYTES < log.with_suffix(".log.1").stat().st_size


def test_a_taken_port_is_refused_with_its_holder_and_the_way_out() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]

        with pytest.raises(PortInUse, match=rf"port {port} to be free for prefect.*process {os.getpid()}.*DESK__OPERATIONS__PREFECT_PORT"):
            refuse_taken_port(port, "prefect")

    refuse_taken_port(port, "prefect")


def test_a_state_folder_that_is_a_file_is_refused_clearly(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file")

    with pytest.raises(PreflightFailed, match=r"expected a folder of ours.*DESK__OPERATIONS__VAR"):
        room(OperationsSettings(var=tmp_path / "var"), "run")


def test_nobody_is_healthy_where_nobody_listens() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))

        assert not healthy(f"http://127.0.0.1:{closed.getsockname()[1]}/health")


def test_a_process_is_itself_and_not_the_next_one_with_its_number() -> None:
    me = process_of(os.getpid())

    assert me.alive()
    assert not Process(pid=me.pid, created=me.created - 60).alive()


def test_the_environment_reaches_no_other_machine_and_keeps_all_state_together(tmp_path: Path) -> None:
    environment = service_environment(OperationsSettings(var=tmp_path, prefect_port=4321))

    assert "http://127.0.0.1:4321/api" == environment["PREFECT_API_URL"]
    assert {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GX_ANALYTICS_ENABLED": "false",
    }.items() <= (environment.items())
    assert {str(tmp_path)} == {
        environment["DESK__OPERATIONS__VAR"],
        str(Path(environment["PREFECT_HOME"]).parent),
    }


def test_the_environment_can_be_applied_twice() -> None:
    program = (
        "import os\nfrom configs.operations import OperationsSettings\nfrom tasks.services import service_environment\n"
        "for _ in range(2):\n    os.environ.update(service_environment(OperationsSettings()))\nprint(os.environ['NO_PROXY'])"
    )
    said = subprocess.run([sys.executable, "-c", program], env={**os.environ, "NO_PROXY": "intranet"}, capture_output=True, text=True, check=True).stdout

    assert "intranet,127.0.0.1,localhost" == said.strip()


def test_services_do_not_import_prefect() -> None:
    """Its settings are read at import: whoever imports it before the environment is set talks to the wrong server."""
    program = "import sys, tasks.services; print('prefect' in sys.modules)"

    assert "False" == subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


# --- the practice exchange


def market_of(seed: int = 3) -> MarketSettings:
    return MarketSettings(practice=PracticeSettings(seed=seed, symbols=("BTC/USDT",), history_bars=200, stream_bars=50))


def pid_of(operations: OperationsSettings) -> int:
    service = recorded(operations, "exchange")
    assert service is not None
    return service.pid


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_the_practice_exchange_is_reused_for_one_tape_and_replaced_for_another(operations: OperationsSettings) -> None:
    first = ensure_exchange(market_of(), operations, ())
    before = pid_of(operations)

    assert first == ensure_exchange(market_of(), operations, ()) == recorded_exchange(operations)
    assert before == pid_of(operations)
    assert first.market["hash"] == ask(f"{first.admin}/market")["hash"]

    other = ensure_exchange(market_of(seed=4), operations, ())

    assert before != pid_of(operations)
    assert first.market["hash"] != other.market["hash"]
    assert first.secret not in repr(first)
    assert ("exchange",) == stop_started(operations)


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_killed_practice_exchange_is_started_again_with_its_account_and_clock(operations: OperationsSettings) -> None:
    first = ensure_exchange(market_of(), operations, ())
    ask(f"{first.admin}/advance", {"bars": 5})
    os.kill(pid_of(operations), signal.SIGKILL)

    again = recorded_exchange(operations)

    assert (first.api_key, first.secret) == (again.api_key, again.secret)
    assert ask(f"{again.admin}/market")["now"] > first.market["now"]


def test_a_market_that_somebody_uses_is_not_taken_from_him(operations: OperationsSettings, stranger: subprocess.Popen[bytes]) -> None:
    service = started(operations, "exchange")
    record(operations, service.model_copy(update={"users": (process_of(stranger.pid),)}))

    with pytest.raises(PreflightFailed, match=f"used by process {stranger.pid}"):
        ensure_exchange(market_of(), operations, ())

    assert service.alive()


def test_no_exchange_was_ever_opened(operations: OperationsSettings) -> None:
    with pytest.raises(SourceStale, match="run the flow again"):
        recorded_exchange(operations)


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_two_starters_at_once_share_one_exchange(operations: OperationsSettings) -> None:
    program = (
        "import sys, json\nfrom pathlib import Path\nfrom configs.market import MarketSettings\nfrom configs.operations import OperationsSettings\n"
        "from tasks.services import ensure_exchange\n"
        "market = MarketSettings.model_validate_json(sys.argv[1])\n"
        "print(ensure_exchange(market, OperationsSettings(var=Path(sys.argv[2])), ()).model_dump_json())"
    )
    command = [sys.executable, "-c", program, market_of().model_dump_json(), str(operations.var)]
    starters = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for _ in range(2)]

    greetings = [json.loads(starter.communicate()[0]) for starter in starters]

    assert greetings[0] == greetings[1]
    assert 200 == urllib.request.urlopen(f"{greetings[0]['admin']}/healthz", timeout=5).status


def test_recorded_candles_are_served_as_the_settings_choose(tmp_path: Path) -> None:
    market = MarketSettings(symbols=("BTC/USDT", "ETH/USDT"), timeframe=Timeframe.H4)

    options = tape_options(market, (tmp_path / "a.parquet", tmp_path / "b.parquet"))

    assert (
        *("--candles", str(tmp_path / "a.parquet"), "--candles", str(tmp_path / "b.parquet")),
        *("--symbols", "BTC/USDT,ETH/USDT", "--timeframe", "4h", "--stream-share", "0.05"),
    ) == options
