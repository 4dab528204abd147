"""Public datasets instead of a hospital."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flows.stages.counts import Counts, counts
from flows.stages.labelling import build_cohort
from flows.stages.opening import open_store
from warehouse_schema.errors import ArgumentError
from warehouse_schema.progress import SILENT, Progress

if TYPE_CHECKING:
    from flows.settings import Settings


def import_public(
    settings: Settings,
    *,
    dataset: str,
    folder: Path,
    finding: str,
    progress: Progress = SILENT,
) -> Counts:
    """A public dataset instead of a hospital, up to the cohort.

    Raises:
        ArgumentError: The dataset is unknown.
    """
    from etl.public_datasets.nih_chestxray14 import import_nih_chestxray14

    importers = {"nih-chestxray14": import_nih_chestxray14}
    if dataset not in importers:
        raise ArgumentError(
            f"import-public: got {dataset!r}; known datasets are {', '.join(importers)}."
        )
    imported = importers[dataset](
        store=open_store(settings, is_new_allowed=True),
        folder=folder,
        finding=finding,
        size_px=settings.size_px,
        pseudonym_key=public_key(settings, dataset),
        progress=progress,
    )
    cohort = build_cohort(settings, progress=progress)
    return {**counts(imported), "cohort": cohort}


def public_key(settings: Settings, dataset: str) -> str:
    """The pseudonym key, or for published data one made of the dataset's name."""
    is_set = settings.pseudonym_key is not None or settings.pseudonym_key_file is not None
    key: str = settings.require("pseudonym_key") if is_set else f"public dataset {dataset}"
    return key
