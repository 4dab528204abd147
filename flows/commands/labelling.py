"""Commands from records to labels and the cohort."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import stages
from flows.commands.context import console, print_counts, progress, settings_of


def label(
    context: typer.Context,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show what would flip (links as they are); write nothing."),
    ] = False,
) -> None:
    """Link films, mine notes, label every film with its evidence."""
    settings = settings_of(context)
    if dry_run:
        from flows.label_diff_display import print_diff

        with progress() as display:
            diff = stages.preview_labels(settings, progress=display)
        print_diff(console(), diff)
        return
    with progress() as display:
        counts = {
            "link": stages.link(settings, progress=display),
            "mine": stages.mine(settings, progress=display),
            "label": stages.label(settings, progress=display),
        }
    for stage, values in counts.items():
        print_counts(stage, values)


def build_cohort(
    context: typer.Context,
    seed: Annotated[int | None, typer.Option(help="Seed of folds and splits.")] = None,
    external_test: Annotated[
        list[str] | None,
        typer.Option(help="Source that is tested on in every fold, e.g. vindr_cxr; repeat it."),
    ] = None,
) -> None:
    """Divide films into R, P and N, folds and splits."""
    settings = settings_of(context, seed=seed, external_test_sources=external_test or None)
    with progress() as display:
        counts = stages.build_cohort(settings, progress=display)
    print_counts("build-cohort", counts)


def relabel(context: typer.Context) -> None:
    """Everything from extract to build-cohort once, as every night."""
    from flows.relabelling import relabel as run_all

    with progress() as display:
        counts = run_all(settings_of(context), progress=display)
    for stage, values in counts.items():
        if values:
            print_counts(stage, values)


def annotation_sample(
    context: typer.Context,
    images: Annotated[
        int | None, typer.Option("--images", min=1, help="Images to draw (the paper: 808).")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the draw.")] = None,
) -> None:
    """Draw the positives that readers then annotate."""
    n_images = stages.draw_annotation_sample(settings_of(context, n_annotations=images, seed=seed))
    print_counts("annotation-sample", {"images drawn into annotation_worklist": n_images})


def label_notes(
    notes: Annotated[
        Path, typer.Argument(metavar="IN", help="csv, jsonl or parquet with note_id and text.")
    ],
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="csv, jsonl or parquet: one row per mention.")
    ],
    context: typer.Context,
    summary: Annotated[
        Path | None, typer.Option(metavar="FILE", help="One row per note and finding.")
    ] = None,
    rules: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Your own definitions and rules.")
    ] = None,
) -> None:
    """Run the labeler alone on a file of notes."""
    settings = settings_of(context, rules_folder=rules)
    with progress() as display:
        counts = stages.label_notes(
            settings, notes=notes, output=output, summary=summary, progress=display
        )
    print_counts("label-notes", counts)
