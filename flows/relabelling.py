"""The nightly sequence, from the hospital's records to the cohort."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from flows import stages
from flows.stages import Counts
from warehouse_schema.progress import SILENT, Progress

if TYPE_CHECKING:
    from flows.settings import Settings

RELABEL_STAGES: Mapping[str, Callable[..., Counts]] = {
    "extract": stages.extract,
    "ingest-images": stages.ingest_images,
    "link": stages.link,
    "mine": stages.mine,
    "label": stages.label,
    "import-boxes": stages.import_boxes,
    "build-cohort": stages.build_cohort,
}


def relabel(settings: Settings, *, progress: Progress = SILENT) -> dict[str, Counts]:
    """Run every stage of the nightly sequence in this process.

    Args:
        settings: Values in force.
        progress: Listener.

    Returns:
        Each stage's counts, by stage.

    Raises:
        RiblineError: A stage cannot go on; what the stages before it committed stands.
    """
    return {
        name: run_relabel_stage(settings, stage=name, progress=progress) for name in RELABEL_STAGES
    }


def run_relabel_stage(settings: Settings, *, stage: str, progress: Progress = SILENT) -> Counts:
    """Run one stage of the nightly sequence by name; returns its counts."""
    return RELABEL_STAGES[stage](settings, progress=progress)
