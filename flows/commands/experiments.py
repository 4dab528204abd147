"""Commands from the cohort to a trained detector and its report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from flows import experiment, stages
from flows.commands.context import console, progress, settings_of
from warehouse_schema.errors import ArgumentError

Run = Annotated[str | None, typer.Option("--run", help="Training run (default: the newest).")]


def train(
    context: typer.Context,
    *,
    recipe: Annotated[str | None, typer.Option(help="Recipe, for example paper or demo.")] = None,
    method: Annotated[
        str,
        typer.Option(
            help="supervised, aals, chexnet, retinanet, fcos, li-mil, pi-model, "
            "temporal-ensembling or mean-teacher."
        ),
    ] = "aals",
    fold: Annotated[int, typer.Option(min=0, help="Cross-validation fold.")] = 0,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the training.")] = None,
    initial_run: Annotated[
        str | None,
        typer.Option(
            "--initial-run",
            help="Run to start from. Default: the supervised run of the same recipe, seed, fold "
            "and data, trained first where there is none. With --method supervised that run goes "
            "on for as many steps as a second step takes.",
        ),
    ] = None,
    t: Annotated[
        float | None, typer.Option("--t", help="Centre of the sharpening (paper, Table 2).")
    ] = None,
    a0: Annotated[
        float | None, typer.Option("--a0", help="Largest strength of the sharpening (Table 3).")
    ] = None,
    p_fraction: Annotated[
        float | None, typer.Option("--p-fraction", help="Share of P that takes part (Figure 3).")
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Another field of the recipe, such as record_negative=distill; repeat it.",
        ),
    ] = None,
) -> None:
    """Train a detector on one fold."""
    settings = settings_of(context, recipe=recipe, seed=seed).with_recipe_changes(
        recipe_changes(change or [], t=t, a0=a0, p_fraction=p_fraction)
    )
    with progress() as display:
        run_id = experiment.train_from_start(
            settings, method=method, fold=fold, initial_run_id=initial_run, progress=display
        )
    console().print(f"Trained {run_id}", highlight=False)


def recipe_changes(assignments: list[str], **named: object) -> dict[str, object]:
    """Fields of the recipe from ``FIELD=VALUE``, values as JSON or as plain text, and by name.

    Raises:
        ArgumentError: An assignment without a field or a value.
    """
    changes = {name: value for name, value in named.items() if value is not None}
    for assignment in assignments:
        field, is_assigned, text = assignment.partition("=")
        if not field or not is_assigned or not text:
            raise ArgumentError(
                f"--set: got '{assignment}', allowed is FIELD=VALUE, such as batch_mix=stratified."
            )
        try:
            changes[field] = json.loads(text)
        except ValueError:
            changes[field] = text
    return changes


def evaluate(
    context: typer.Context,
    run: Run = None,
    prevalence: Annotated[
        float | None,
        typer.Option(help="Share of positive films that PPV and NPV are also given for."),
    ] = None,
) -> None:
    """Compute AUROC, FROC and all other numbers of a run, with intervals."""
    from flows.result_table import print_results

    settings = settings_of(context, prevalence=prevalence)
    run_id = stages.require_run(settings, run)
    with progress() as display:
        notes = stages.evaluate(settings, run_id=run_id, progress=display)["notes"]
    print_results(console(), settings, [run_id])
    for note in notes:
        console().print(f"Note: {note}", markup=False, highlight=False)


def summarise_folds(
    context: typer.Context,
    run: Annotated[
        list[str] | None,
        typer.Option("--run", help="Run of one fold; repeat it. Default: by --method."),
    ] = None,
    method: Annotated[
        str, typer.Option(help="Method whose newest run of every fold is taken.")
    ] = "aals",
) -> None:
    """Summarise one method over the folds of a cross-validation."""
    import pyarrow as pa

    from flows.query_output import print_table

    settings = settings_of(context)
    run_ids = run or experiment.runs_of_folds(settings, method=method)
    with progress() as display:
        summaries = stages.summarise_folds(settings, run_ids=run_ids, progress=display)
    print_table(console(), pa.Table.from_pylist([vars(row) for row in summaries]))


def report(
    context: typer.Context,
    run: Annotated[
        list[str] | None,
        typer.Option("--run", help="Run to report; repeat it. Default: the newest of each method."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Default: HOME/report.html.")
    ] = None,
) -> None:
    """Write one self-contained HTML report."""
    settings = settings_of(context)
    run_ids = [stages.require_run(settings, name) for name in run or []]
    with progress() as display:
        path = stages.write_report(
            settings,
            run_ids=run_ids or experiment.reported_runs(settings),
            output_path=output,
            progress=display,
        )
    console().print(f"Report: {path.resolve()}", highlight=False, soft_wrap=True)
