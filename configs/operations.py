"""Where things live and how they are watched."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from configs.section import Section


class OperationsSettings(Section):
    """Folders, ports, logging, services."""

    var: Path = Field(Path("var"), description="the one folder of state: lake, journal, checkpoints, MLflow store; mount, back up, erase")
    lake_url: str | None = Field(None, description="Delta Lake root, a folder or an s3:// URL; null means <var>/lake")
    tracking_uri: str | None = Field(None, description="MLflow tracking URI; null means sqlite in <var>/mlflow")
    prefect_port: int = Field(4200, ge=1, le=65535, description="loopback port of the local Prefect server")
    mlflow_port: int = Field(5000, ge=1, le=65535, description="loopback port of the local MLflow server")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="smallest level shown on the terminal")
    log_format: Literal["pretty", "json"] = Field("pretty", description="terminal log format; the file under <var>/log is always JSON")
    registered_model: str = Field("tradewind", description="name of the registered model in MLflow")
