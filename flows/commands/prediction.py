"""Commands that use a trained run: on the cohort's films, on single films, outside Ribline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows import stages
from flows.commands.context import console, print_counts, progress, settings_of
from flows.commands.experiments import Run


def predict(
    context: typer.Context,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE...]",
            help="DICOM files, or folders of them (default: the run's validation and test films).",
        ),
    ] = None,
    *,
    run: Run = None,
    operating_point: Annotated[
        Literal["youden", "sensitivity_90", "specificity_90"],
        typer.Option(help="Whose thresholds make boxes of a map."),
    ] = "youden",
    any_view: Annotated[
        bool, typer.Option("--any-view", help="Files that the selection rule refuses too.")
    ] = False,
) -> None:
    """Score the cohort's films, or DICOM files with pictures, boxes and DICOM results."""
    from flows.result_display import print_results

    settings = settings_of(context)
    run_id = stages.require_run(settings, run)
    if not files:
        with progress() as display:
            n_films = stages.predict(settings, run_id=run_id, progress=display)
        print_counts(f"predict {run_id}", {"films scored": n_films})
        return
    with progress() as display:
        summary = stages.predict_files(
            settings,
            run_id=run_id,
            files=files,
            operating_point=operating_point,
            is_any_view=any_view,
            progress=display,
        )
    print_results(console(), summary)
