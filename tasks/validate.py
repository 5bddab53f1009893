"""Raw bars to clean bars: the hard contract, the real gaps, the batch expectations."""

from __future__ import annotations

from pathlib import Path

from prefect.artifacts import create_table_artifact

from configs.operations import OperationsSettings
from data_contracts import bars as bars_contract
from data_contracts.dataset import DatasetRef
from data_contracts.expectations import SuiteResult, audit
from data_contracts.gate import Quarantined, admit
from desk.errors import ContractBroken
from desk.log import event
from desk.market.gaps import find_gaps
from tasks.places import lake_of
from tasks.policies import artefact_task
from tasks.values import Gap, Market, Validated

# Rows of the gaps table shown in Prefect's UI; the report and the result hold all of them.
SHOWN_GAPS = 50


@artefact_task(name="validate_bars", ignore=("operations",))
def validate_bars(raw: DatasetRef, market: Market, operations: OperationsSettings, *, folder: Path) -> Validated:
    """Admit the raw bars into clean/bars or quarantine their cases; report gaps, fill none."""
    lake = lake_of(operations)
    frame = lake.read(raw)
    admitted = admit(frame, bars_contract.CONTRACT)
    if isinstance(admitted, Quarantined):
        admitted.cases.write_parquet(folder / "quarantined.parquet")
        raise ContractBroken(f"{admitted.summary()}; all cases are in {folder / 'quarantined.parquet'}")
    gaps = tuple(Gap(**row) for row in find_gaps(frame).iter_rows(named=True))
    suite = audit(frame, as_of=market.history_until, previous=None)
    (folder / "expectations.json").write_text(suite.to_json(), encoding="utf-8")
    announce(gaps, suite)
    clean = lake.upsert("clean", raw.table, admitted.frame)
    return Validated(clean=clean, gaps=gaps, expectations_met=suite.success, expectation_failures=suite.failures)


def announce(gaps: tuple[Gap, ...], suite: SuiteResult) -> None:
    """Say what the data lacks, in the log and as an artifact."""
    longest = max(gaps, key=lambda gap: gap.missing_bars, default=None)
    event(
        "bars.validated",
        gaps=len(gaps),
        missing_bars=sum(gap.missing_bars for gap in gaps),
        longest_gap=f"{longest.symbol} {longest.missing_bars} bars after {longest.after.isoformat()}" if longest else "none",
        expectations_met=suite.success,
    )
    rows = [gap.model_dump(mode="json") for gap in sorted(gaps, key=lambda gap: -gap.missing_bars)[:SHOWN_GAPS]]
    create_table_artifact(key="gaps", table=rows or [{"gaps": "none"}], description=f"{len(gaps)} gaps, reported and not filled")
