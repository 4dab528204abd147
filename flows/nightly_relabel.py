"""Prefect flow nightly-relabel: extract, ingest, link, mine, label, cohort."""

from __future__ import annotations

from prefect import flow

from flows.artifacts import publish_counts
from flows.relabelling import RELABEL_STAGES
from flows.run_names import night_name
from flows.stages import Counts
from flows.tasks import relabel_stage


@flow(
    name="nightly-relabel",
    flow_run_name=night_name,
    validate_parameters=True,
    persist_result=True,
    result_serializer="json",
)
def nightly_relabel() -> dict[str, Counts]:
    """Bring labels and cohort up to date with the hospital's records."""
    counts = {stage: relabel_stage(stage) for stage in RELABEL_STAGES}
    publish_counts("nightly-relabel", title="Nightly relabelling", counts=counts)
    return counts
