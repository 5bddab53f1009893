"""The environment of everything that touches Prefect or MLflow here, and the addresses it names."""

from __future__ import annotations

import os

from configs.operations import OperationsSettings

HOST = "127.0.0.1"


def prefect_url(operations: OperationsSettings) -> str:
    """The local Prefect server, without a path: its UI."""
    return f"http://{HOST}:{operations.prefect_port}"


def mlflow_url(operations: OperationsSettings) -> str:
    """The local MLflow server: its UI and its API."""
    return f"http://{HOST}:{operations.mlflow_port}"


def service_environment(operations: OperationsSettings) -> dict[str, str]:
    """Loopback, no telemetry, no proxy to ourselves, JSON results, all state under `var`. Must be set before Prefect is imported."""
    home = operations.var.resolve()
    past_proxies = ",".join(dict.fromkeys([*filter(None, os.environ.get("NO_PROXY", "").split(",")), HOST, "localhost"]))
    return {
        # A worker's runs start in another folder: they must find the same state.
        "DESK__OPERATIONS__VAR": str(home),
        "NO_PROXY": past_proxies,
        "no_proxy": past_proxies,
        "PREFECT_HOME": str(home / "prefect"),
        # The port by flag alone leaves the UI asking at 4200.
        "PREFECT_API_URL": f"{prefect_url(operations)}/api",
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(operations.prefect_port),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # Flow runs too, not only events: nothing else ever prunes them.
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "true",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "60",
        # The least that Prefect takes; `tasks/automations.py` counts on it.
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        # Its job runner alone takes 2 GB, for jobs that we do not give it.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "GX_ANALYTICS_ENABLED": "false",
        "POLARS_ENGINE_AFFINITY": "in-memory",
        "PANDERA_VALIDATION_DEPTH": "SCHEMA_AND_DATA",
    }
