"""Commands that take patients out, or films out under another name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import stages
from flows.commands.context import console, print_counts, progress, read_identifiers, settings_of


def forget_patient(
    context: typer.Context,
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE|-]", help="One patient identifier of the source a line; - reads it here."
        ),
    ] = None,
    pseudonym: Annotated[
        list[str] | None, typer.Option("--pseudonym", help="A patient_id instead; repeat it.")
    ] = None,
) -> None:
    """Remove a patient who opts out, for good, and prove it."""
    settings = settings_of(context)
    with progress() as display:
        summary = stages.forget_patients(
            settings,
            identifiers=read_identifiers(file, argument="FILE"),
            patient_ids=pseudonym or [],
            progress=display,
        )
    trained, unsure = summary.pop("trained_runs"), summary.pop("unsure_runs")
    print_counts("forget-patient", summary)
    if not summary["n_patients"]:
        console().print(
            f"Note: none of them was in {settings.home}; they are kept out of it from now on.",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    for runs, what in (
        (trained, "were trained or chosen on a film of the patient; their checkpoints stand"),
        (unsure, "may have been: their history ended earlier, or they are unfinished"),
    ):
        if runs:
            console().print(
                f"Note: {', '.join(runs)} {what}. Remove or retrain them if the patient's consent "
                "covered training.",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )


def export_dicom(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder to write.")],
    *,
    finding: Annotated[
        str | None, typer.Option(help="Only films that are positive for this finding.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only train, validation or test.")] = None,
    fold: Annotated[int, typer.Option(min=0, help="Fold whose splits are meant.")] = 0,
    burnt_in: Annotated[
        bool,
        typer.Option("--with-burnt-in-text", help="Films with text in the picture too, flagged."),
    ] = False,
) -> None:
    """Export the cohort's films as de-identified DICOM."""
    from flows.demo import refuse_filled_folder

    refuse_filled_folder("DIR", folder)
    with progress() as display:
        counts = stages.export_dicom(
            settings_of(context),
            folder=folder,
            finding=finding,
            split=split,
            fold=fold,
            is_burnt_in_allowed=burnt_in,
            progress=display,
        )
    print_counts(f"export-dicom {folder}", counts)
