"""Commands that bring records, films and boxes in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from flows import stages
from flows.commands.context import console, print_counts, progress, settings_of

N_PATIENTS = 1200
BOX_FORMATS = (
    "coco, cvat, label_studio, via, pascal_voc, yolo, csv, dicom_sr or gsps "
    "(default: seen from the content)."
)

Patients = Annotated[int, typer.Option("--patients", min=1, help="Number of patients.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed; the same seed gives the same hospital.")]


def synthetic_hospital(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder to write.")],
    patients: Patients = N_PATIENTS,
    seed: Seed = 0,
    paper_proportions: Annotated[
        bool, typer.Option("--paper-proportions", help="The paper's prevalences.")
    ] = False,
    records_only: Annotated[
        bool, typer.Option("--records-only", help="The database, without films.")
    ] = False,
) -> None:
    """Write a synthetic hospital: records, films, boxes."""
    from flows.demo import write_synthetic_hospital

    with progress() as display:
        counts = write_synthetic_hospital(
            folder=folder,
            n_patients=patients,
            seed=seed,
            is_paper_proportions=paper_proportions,
            is_records_only=records_only,
            n_processes=os.cpu_count() or 1,
            progress=display,
        )
    print_counts(f"Synthetic hospital in {folder}", counts)


def extract(context: typer.Context) -> None:
    """Read the hospital database: codes and keyword-matched notes."""
    with progress() as display:
        counts = stages.extract(settings_of(context), progress=display)
    print_counts("extract", counts)


def ingest_images(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="DICOM folder (default: image_folder).")
    ] = None,
    image_source: Annotated[
        Literal["folder", "dicomweb", "dimse"] | None,
        typer.Option("--from", help="Where films come from (default: what is configured)."),
    ] = None,
) -> None:
    """Read chest films from a DICOM folder or the PACS."""
    if folder is not None and image_source is None:
        image_source = "folder"
    settings = settings_of(context, image_folder=folder, image_source=image_source)
    with progress() as display:
        counts = stages.ingest_images(settings, progress=display)
    print_counts("ingest-images", counts)


def prune_cache(
    context: typer.Context,
    keep_days: Annotated[
        int, typer.Option("--keep-days", help="Remove nothing younger than so many days.")
    ] = 7,
    newest_only: Annotated[
        bool, typer.Option("--newest-only", help="Keep the newest version's films alone.")
    ] = False,
) -> None:
    """Remove cached films that no version of the warehouse names."""
    counts = stages.prune_cache(
        settings_of(context), keep_days=keep_days, is_history_kept=not newest_only
    )
    print_counts("prune-cache", counts)


def import_boxes(
    context: typer.Context,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Annotation files, or folders of them."),
    ],
    *,
    format_name: Annotated[str | None, typer.Option("--format", help=BOX_FORMATS)] = None,
    reader: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who read, where the files name nobody.")
    ] = None,
    status: Annotated[
        str, typer.Option(help="drawn, confirmed or rejected, where the files do not say it.")
    ] = "drawn",
) -> None:
    """Join readers' boxes to the images."""
    with progress() as display:
        counts = stages.import_boxes(
            settings_of(context),
            files=files,
            format_name=format_name,
            reader=reader,
            status=status,
            progress=display,
        )
    print_counts("import-boxes", counts)


def reader_agreement(context: typer.Context) -> None:
    """Tell how far readers of the same films agree."""
    from flows.agreement_display import print_agreement

    settings = settings_of(context)
    with progress() as display:
        counts = stages.measure_agreement(settings, progress=display)
    print_counts("reader-agreement", counts)
    print_agreement(console(), stages.open_store(settings))


def import_public(
    context: typer.Context,
    dataset: Annotated[
        str, typer.Argument(help="mimic, vindr-cxr, nih-chestxray14, padchest or chexpert.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Its files as published.")],
    finding: Annotated[
        list[str] | None,
        typer.Option(
            help="Published finding, for example Pneumonia; repeat it. Default: the defined ones."
        ),
    ] = None,
    size_px: Annotated[
        int | None, typer.Option("--size-px", help="Side of the cached square film.")
    ] = None,
) -> None:
    """Read a public dataset, up to the cohort of all that the home holds."""
    with progress() as display:
        counts = stages.import_public(
            settings_of(context, size_px=size_px),
            dataset=dataset,
            folder=folder,
            findings=finding or (),
            progress=display,
        )
    print_counts(f"import-public {dataset}", counts)
