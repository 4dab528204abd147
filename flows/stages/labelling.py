"""Stages from notes and codes to labels and the cohort."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from flows.stages.counts import Counts, counts
from flows.stages.opening import open_store
from warehouse_schema.progress import SILENT, Progress

if TYPE_CHECKING:
    import pyarrow as pa

    from flows.settings import Settings
    from nlp_labeling.definition import Definitions
    from nlp_labeling.label_diff import LabelDiff


def mine(settings: Settings, *, progress: Progress = SILENT) -> Counts:
    """Notes into mentions."""
    from nlp_labeling.mining import mine_mentions

    return counts(
        mine_mentions(
            store=open_store(settings), definitions=definitions(settings), progress=progress
        )
    )


def label(settings: Settings, *, progress: Progress = SILENT) -> Counts:
    """Codes and mentions into evidence and image-level labels."""
    from nlp_labeling.image_labels import label_images

    return counts(
        label_images(
            store=open_store(settings),
            definitions=definitions(settings),
            as_of_datetime=settings.as_of or datetime.now(UTC),
            progress=progress,
        )
    )


def preview_labels(settings: Settings, *, progress: Progress = SILENT) -> LabelDiff:
    """What mining and labelling with the installed rules would flip; nothing is written."""
    from nlp_labeling.label_diff import preview_diff

    return preview_diff(
        store=open_store(settings),
        definitions=definitions(settings),
        as_of_datetime=settings.as_of or datetime.now(UTC),
        progress=progress,
    )


def diff_labels(settings: Settings, *, before: str | int, after: str | int | None) -> LabelDiff:
    """The labels of two published versions compared."""
    from nlp_labeling.label_diff import diff_labels as compare

    return compare(store=open_store(settings), before=before, after=after)


def list_codes(settings: Settings, *, branch: str | None) -> pa.Table:
    """The warehouse's fracture codes, each with the reason why it counts or not."""
    from nlp_labeling.code_listing import list_codes as listed

    return listed(store=open_store(settings), definitions=definitions(settings), branch=branch)


def build_cohort(settings: Settings, *, progress: Progress = SILENT) -> Counts:
    """Labels and boxes into R, P and N, folds and splits."""
    from etl.cohorts.cohort import build_cohort as build

    progress.start("build-cohort", None)
    summary = build(
        store=open_store(settings),
        findings=labelled_findings(settings),
        seed=settings.seed,
        n_folds=settings.n_folds,
        external_test_sources=settings.external_test_sources,
    )
    progress.finish()
    return counts(summary)


def label_notes(
    settings: Settings,
    *,
    notes: Path,
    output: Path,
    summary: Path | None = None,
    progress: Progress = SILENT,
) -> Counts:
    """The labeler alone on a file of notes; needs no home."""
    from nlp_labeling.note_files import label_notes as label_file

    progress.start("label-notes", None)
    report = label_file(
        notes,
        output,
        summary,
        definitions=definitions(settings),
        processes=settings.n_processes,
        progress=progress,
    )
    progress.finish()
    return counts(report)


def draw_annotation_sample(settings: Settings) -> int:
    """The worklist of positives for the readers; returns how many images it holds."""
    from etl.annotations.annotation_sample import draw_annotation_sample as draw

    n_images: int = draw(
        store=open_store(settings), n_images=settings.n_annotations, seed=settings.seed
    )
    return n_images


def definitions(settings: Settings) -> Definitions:
    """The label definitions of the findings in force."""
    from nlp_labeling.definition import load_definitions

    return load_definitions(settings.findings, folder=settings.rules_folder)


def labelled_findings(settings: Settings) -> list[str]:
    """Findings to build a cohort of: those set, otherwise those that images are labelled with."""
    from warehouse_schema.tables.labels import IMAGE_LABELS

    if settings.findings is not None:
        return list(settings.findings)
    labels = open_store(settings).read(IMAGE_LABELS, columns=["finding"])
    found = sorted(set(labels.column("finding").to_pylist()))
    return found or [definition.name for definition in definitions(settings)]
