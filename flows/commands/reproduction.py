"""Commands that repeat the paper's tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.context import console, progress, settings_of

reproduce = typer.Typer(no_args_is_help=True, help="Repeat the paper's experiments.")
OWN = "own"


@reproduce.command("table1")
def table1(
    context: typer.Context,
    *,
    profile: Annotated[
        str,
        typer.Option(
            help="cpu or gpu: a synthetic hospital of that size in --out. own: the home and recipe "
            "in force."
        ),
    ] = "cpu",
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Home of the synthetic hospital.")
    ] = Path("table1-home"),
    method: Annotated[
        list[str] | None,
        typer.Option("--method", help="Row of the table; repeat it. Default: all."),
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option("--seed", min=0, help="Seed; repeat it. Default: 0 1 2.")
    ] = None,
    fold: Annotated[int, typer.Option(min=0, help="Cross-validation fold.")] = 0,
    patients: Annotated[
        int | None, typer.Option("--patients", min=1, help="Patients of a new hospital.")
    ] = None,
) -> None:
    """Train and evaluate all methods, run by run, and print the table beside the paper's.

    Stop it at any time: the same command goes on where it was.
    """
    from flows import reproduction
    from flows.table1_display import print_table1

    seeds = seed or list(range(3))
    with progress() as display:
        settings = (
            settings_of(context)
            if profile == OWN
            else reproduction.prepare_profile_home(
                folder=out, profile=profile, n_patients=patients, progress=display
            )
        )
        runs = reproduction.run_table1(
            settings,
            methods=method or reproduction.TABLE1_METHODS,
            seeds=seeds,
            fold=fold,
            tell=lambda run: console().print(
                f"seed {run.seed}  {run.row}  {run.run_id}{'  (found)' if run.is_found else ''}",
                highlight=False,
            ),
            progress=display,
        )
    print_table1(console(), settings, runs)
