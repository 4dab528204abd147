"""Commands that use a trained run: on the cohort's films, on single films, outside Ribline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows import stages
from flows.commands.context import console, print_counts, progress, read_identifiers, settings_of
from flows.commands.experiments import Run
from warehouse_schema.errors import ArgumentError, SourceError


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
    studies: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|-",
            help="Studies to fetch from the PACS instead: one Study Instance UID or accession "
            "number a line.",
        ),
    ] = None,
    route: Annotated[
        Literal["dicomweb", "dimse"] | None,
        typer.Option("--pacs", help="How the PACS is reached (default: what is configured)."),
    ] = None,
    to_pacs: Annotated[
        bool, typer.Option("--to-pacs", help="Store the DICOM results in the PACS too.")
    ] = False,
    operating_point: Annotated[
        Literal["youden", "sensitivity_90", "specificity_90"],
        typer.Option(help="Whose thresholds make boxes of a map."),
    ] = "youden",
    any_view: Annotated[
        bool, typer.Option("--any-view", help="Films that the selection rule refuses too.")
    ] = False,
) -> None:
    """Score the cohort's films, or single films: pictures, boxes, DICOM results."""
    from flows.result_display import print_delivery, print_faults, print_results

    settings = settings_of(context, image_source=route)
    run_id = stages.require_run(settings, run)
    if files and studies:
        raise ArgumentError("--studies: got files too; give either FILES or --studies.")
    if not files and studies is None:
        _refuse_without_files(to_pacs=to_pacs, any_view=any_view)
        with progress() as display:
            n_films = stages.predict(settings, run_id=run_id, progress=display)
        print_counts(f"predict {run_id}", {"films scored": n_films})
        return
    with progress() as display:
        summary, faults = stages.predict_films(
            settings,
            run_id=run_id,
            films=files or read_identifiers(studies, argument="--studies"),
            operating_point=operating_point,
            is_any_view=any_view,
            progress=display,
        )
    print_results(console(), summary)
    print_faults(console(), "study", faults)
    if to_pacs:
        with progress() as display:
            delivery = stages.deliver_results(settings, summary, progress=display)
        print_delivery(console(), delivery)
        if delivery.faults:
            raise typer.Exit(SourceError.exit_code)


def _refuse_without_files(**options: bool) -> None:
    given = [f"--{name.replace('_', '-')}" for name, is_given in options.items() if is_given]
    if given:
        raise ArgumentError(f"{given[0]} goes with FILES or --studies; give one of them.")


def export_model(
    context: typer.Context,
    run: Run = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE.onnx", help="File to write.")
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            "--check", metavar="FILE.onnx", help="Only tell whether a file is such an export."
        ),
    ] = None,
) -> None:
    """Write a run's network as an ONNX file, which needs neither Ribline nor torch."""
    settings = settings_of(context)
    if (to is None) == (check is None):
        raise ArgumentError("export-model: give --to FILE.onnx, or --check FILE.onnx.")
    if check is not None:
        known = stages.check_model(settings, path=check)
        console().print(f"{check} is the export of {known.run_id}.", highlight=False, markup=False)
        return
    assert to is not None
    run_id = stages.require_run(settings, run)
    with progress() as display:
        exported = stages.export_model(settings, run_id=run_id, path=to, progress=display)
    console().print(
        f"Written: {to}, {exported.n_bytes:,} bytes, SHA-256 {exported.file_sha256}; "
        f"outputs within {exported.largest_difference:.1g} of torch's.",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def model_card(
    context: typer.Context,
    run: Run = None,
    output: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Default: the run's folder in the home."),
    ] = None,
) -> None:
    """Write a run's model card: data, results, limits, CLAIM checklist."""
    settings = settings_of(context)
    run_id = stages.require_run(settings, run)
    path = stages.write_model_card(settings, run_id=run_id, output_path=output)
    console().print(f"Model card: {path.resolve()}", highlight=False, markup=False, soft_wrap=True)
