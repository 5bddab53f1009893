"""The console script `tradewind`. Imports lazily: `doctor` and `--help` need none of the heavy libraries.

Exit codes: 0 done, 1 a check found something missing, or something nobody foresaw (with its traceback), 2 a clear refusal (a wrong command line,
bad input, bad settings, a broken contract).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

if __name__ != "__main__" and len(sys.argv) > 1 and sys.argv[1] == "doctor":  # a broken environment must still be able to say what is broken
    from flows.doctor import main as _doctor

    raise SystemExit(_doctor())

import typer
from typer.exceptions import TyperException

if TYPE_CHECKING:
    from configs.settings import Settings

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Tradewind: ingest, validate, learn, backtest, promote, trade."
)
config = typer.Typer(no_args_is_help=True, help="Look at the settings.")
app.add_typer(config, name="config")

Profile = Annotated[str, typer.Option(help="settings profile: demo, backtest, paper, live")]


@app.command()
def run(
    profile: Profile = "demo",
    candles: Annotated[list[str] | None, typer.Option(help="your own candle files, served by the practice exchange; repeatable, globs allowed")] = None,
    settings: Annotated[list[str] | None, typer.Option(help="your own settings file, laid over the profile; repeatable, later ones win")] = None,
) -> None:
    """Run the whole pipeline once: ingest to report."""
    files = [os.path.abspath(path) for path in settings or ()]
    read = _settings(profile, files)
    from flows.console import run_pipeline

    run_pipeline(read, profile, candles or (), files)


@app.command()
def up(profile: Profile = "demo") -> None:
    """Start Prefect, a worker and MLflow on loopback and deploy everything in prefect.yaml."""
    from tasks.services import up as start

    for line in start(_settings(profile).operations):
        print(line)


@app.command()
def down(profile: Profile = "demo") -> None:
    """Stop what `up` started, nothing else."""
    from tasks.services import down as stop

    for line in stop(_settings(profile).operations):
        print(line)


@app.command()
def doctor() -> None:
    """Say what is missing and the command that mends it."""
    from flows.doctor import main as diagnose

    raise SystemExit(diagnose())


@app.command()
def warmup() -> None:
    """Compile the backtest's kernel, so that the first backtest does not have to; make env does it."""
    from tasks.warmup import compile_kernel

    compile_kernel()


@app.command("practice-exchange", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def practice_exchange(
    context: typer.Context,
    candles: Annotated[list[str] | None, typer.Option(help="candle files to serve; none: the seeded synthetic market")] = None,
) -> None:
    """Serve an exchange on loopback that speaks Binance's wire; prints one JSON line and stays until stopped."""
    from tasks.candles import canonical_candles
    from tasks.services import serve_exchange

    files = canonical_candles(candles or (), _settings("demo").operations)
    raise SystemExit(serve_exchange(files, context.args))


@app.command("validate-data")
def validate_data(files: list[str], as_json: Annotated[bool, typer.Option("--json", help="one JSON line a file")] = False) -> None:
    """Check candle files against the bars contract; changes nothing."""
    from tasks.candles import check_candles

    verdicts = [check_candles(path) for path in files]
    for verdict in verdicts:
        print(json.dumps(verdict) if as_json else f"{'ok ' if verdict['ok'] else 'BAD'} {verdict['file']}: {verdict['message']}")
    raise SystemExit(0 if all(verdict["ok"] for verdict in verdicts) else 2)


@app.command()
def halt(
    *,
    reason: Annotated[str, typer.Option(help="why, for the journal")] = "an operator said so",
    reduce: Annotated[bool, typer.Option("--reduce", help="only stop opening: orders that reduce positions still leave")] = False,
    profile: Profile = "demo",
) -> None:
    """Stop every session from sending orders, now and after any restart, until `resume`. Cancellations still leave; positions stay."""
    from tasks.oversight import halt as turn_off

    print(f"{turn_off(_settings(profile).operations, reason, reduce=reduce).state.value}: {reason}")


@app.command()
def resume(reason: Annotated[str, typer.Option(help="why it is safe again, for the journal")], profile: Profile = "demo") -> None:
    """Let sessions send again: after `halt`, after safe mode, and after a drawdown, whose peak is then counted anew."""
    from tasks.oversight import resume as turn_on

    print(f"{turn_on(_settings(profile).operations, reason).state.value}: {reason}")


@app.command()
def acknowledge(reason: Annotated[str, typer.Option(help="who it was and why it is well, for the log")], profile: Profile = "demo") -> None:
    """Take note of foreign orders and trades found on the account: they halt nobody any more, and the next start books the trades."""
    from tasks.sentry import acknowledge as take_note

    found = take_note(_settings(profile).operations, reason)
    for words in found.values():
        print(f"acknowledged: {words}")
    if not found:
        print("nothing to acknowledge")


@app.command()
def status(*, profile: Profile = "demo", as_json: Annotated[bool, typer.Option("--json", help="one JSON line")] = False) -> None:
    """Who may trade, what stops it, what the journals and the account say. Changes nothing."""
    from flows.desk_console import status_lines

    for line in status_lines(_settings(profile), as_json=as_json):
        print(line)


@app.command()
def positions(*, profile: Profile = "demo", as_json: Annotated[bool, typer.Option("--json", help="one JSON line")] = False) -> None:
    """What every journal's book holds; beside a live one, what the venue says. Changes nothing."""
    from flows.desk_console import position_lines

    for line in position_lines(_settings(profile), as_json=as_json):
        print(line)


@app.command()
def flatten(
    *,
    reason: Annotated[str, typer.Option(help="why, for the journal")] = "an operator said so",
    profile: Profile = "live",
    as_json: Annotated[bool, typer.Option("--json", help="one JSON line")] = False,
) -> None:
    """Halt the desk, end its trader if it lives, cancel all its orders, close all its positions. 1: something is left."""
    from flows.desk_console import flatten_lines

    flat, lines = flatten_lines(_settings(profile), reason, as_json=as_json)
    for line in lines:
        print(line)
    raise SystemExit(0 if flat else 1)


@app.command()
def prove(
    *,
    only: Annotated[list[str] | None, typer.Option(help="a proof's name; repeatable")] = None,
    seed: Annotated[int, typer.Option(help="where its randomness starts")] = 1,
    runs: Annotated[int | None, typer.Option(help="its size; none: the declared one")] = None,
    parameters: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE: a constant of the generator; repeatable")] = None,
    full: Annotated[bool, typer.Option("--full", help="full sizes; what is proven on this commit is skipped")] = False,
    names: Annotated[bool, typer.Option("--list", help="only say what can be proven")] = False,
) -> None:
    """Prove what the system claims; one JSON line for each proof."""
    from flows.prove import Series, claims, commit_of_tree, unknown
    from flows.prove import prove as run_proofs

    if names:
        for name, claim in claims().items():
            print(f"{name:20} {claim}")
        return
    series = Series(tuple(only or ()), seed, runs, full, tuple(parameters or ()))
    if wrong := unknown(series):
        raise typer.BadParameter(wrong)
    unmet = 0
    for verdict in run_proofs(series, _settings("demo").operations.var, commit_of_tree()):
        print(json.dumps(verdict), flush=True)
        unmet += not verdict["met"]
    raise SystemExit(1 if unmet else 0)


@app.command()
def replay(run: str, mode: Annotated[str, typer.Option(help="backtest, paper or live")] = "backtest", profile: Profile = "demo") -> None:
    """Trade a recorded run again and compare every decision. RUN is a session, or its journal's path."""
    from configs.vocabulary import Mode
    from tasks.replay import replay_run

    if mode not in list(Mode):
        raise typer.BadParameter(f"expected {', '.join(Mode)}, found {mode}")
    told = replay_run(run, Mode(mode), _settings(profile).operations)
    print(f"{told.steps} steps and {told.orders} orders decided alike" + (f"; first divergence at {told.divergence}" if told.divergence else f" as {mode}"))
    raise SystemExit(1 if told.divergence else 0)


@app.command()
def diff(first: str, second: str, profile: Profile = "demo") -> None:
    """Where two runs part, and what their orders cost apart (live first). Each is a session, a journal's path, or a backtest's folder of results."""
    from tasks.replay import difference

    same, lines = difference(first, second, _settings(profile).operations)
    for line in lines:
        print(line)
    raise SystemExit(0 if same else 1)


@config.command("validate")
def config_validate(profile: Profile = "demo") -> None:
    """Read the settings as a run would; print their hash."""
    settings = _settings(profile)
    print(f"{profile}: valid, settings {settings.short_hash}")


def _settings(profile: str, files: Sequence[str] = ()) -> Settings:
    from configs.settings import load

    return load(profile, extra_files=files)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the console; named refusals become one clear line on stderr."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from configs.settings import SettingsError

    try:
        app(args=list(arguments) if arguments is not None else None, standalone_mode=False)
    except SettingsError as error:
        return _refuse(error)
    except typer.Exit as leaving:
        return leaving.exit_code
    except typer.Abort:
        return 130
    except SystemExit as leaving:
        return int(leaving.code or 0)
    except TyperException as error:
        # without any word the help was shown, and there is nothing to add
        return _refuse(f"wrong command line: {str(error).rstrip('.')}; see tradewind --help") if str(error) else 2
    except Exception as error:
        if refusal := _named(error):
            return _refuse(refusal)
        raise
    return 0


# Telemetry off and deterministic engines, before any of the libraries is imported.
QUIET = {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "POLARS_ENGINE_AFFINITY": "in-memory",
}


def _named(error: BaseException | None) -> Exception | None:
    """The desk's own error behind an exception, if there is one."""
    from tasks.refusals import named

    return named(error)


def _refuse(error: Exception | str) -> int:
    print(f"tradewind: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
