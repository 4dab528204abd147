"""Commands that show that an installation works."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.context import console, progress
from flows.commands.hospital import N_PATIENTS, Patients


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="New home folder of the demo.")] = Path(
        "demo-home"
    ),
    patients: Patients = N_PATIENTS,
    seed: Annotated[int, typer.Option(min=0, help="One seed, one result.")] = 0,
) -> None:
    """Run everything on a synthetic hospital, up to the report."""
    from flows.demo import run_demo

    with progress() as display:
        result = run_demo(folder=out, n_patients=patients, seed=seed, progress=display)
    result.print_to(console())


def doctor(context: typer.Context) -> None:
    """Check this installation; each problem with its remedy."""
    from flows.doctor import run_doctor

    if run_doctor(console(), home=context.obj):
        raise typer.Exit(1)
