"""Stages that take patients out, or films out under another name."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from flows.stages.counts import Counts, counts
from flows.stages.opening import open_store
from warehouse_schema.progress import SILENT, Progress

if TYPE_CHECKING:
    from flows.settings import Settings


def forget_patients(
    settings: Settings,
    *,
    identifiers: Collection[str] = (),
    patient_ids: Collection[str] = (),
    progress: Progress = SILENT,
) -> Counts:
    """Patients out of the whole home, its past included."""
    from etl.privacy.forgetting import forget_patients as forget
    from etl.records.site_mapping import load_site_mapping

    return counts(
        forget(
            store=open_store(settings, is_new_allowed=bool(identifiers)),
            source=load_site_mapping(settings.site_mapping).name,
            pseudonym_key=settings.require("pseudonym_key"),
            identifiers=identifiers,
            patient_ids=patient_ids,
            progress=progress,
        )
    )


def export_dicom(
    settings: Settings,
    *,
    folder: Path,
    finding: str | None = None,
    split: str | None = None,
    fold: int = 0,
    is_burnt_in_allowed: bool = False,
    progress: Progress = SILENT,
) -> Counts:
    """Films of the cohort as de-identified DICOM files."""
    from etl.privacy.dicom_export import export_films

    return counts(
        export_films(
            store=open_store(settings),
            folder=folder,
            pseudonym_key=settings.require("pseudonym_key"),
            finding=finding,
            split=split,
            fold=fold,
            is_burnt_in_allowed=is_burnt_in_allowed,
            n_processes=settings.n_processes,
            progress=progress,
        )
    )
