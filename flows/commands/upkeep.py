"""Commands that keep the warehouse whole and small: `ribline warehouse ...`."""

from __future__ import annotations

from typing import Annotated

import typer

from flows import stages
from flows.commands.context import console, print_counts, progress, settings_of
from warehouse_schema.errors import WarehouseError


def verify(context: typer.Context) -> None:
    """Look at every manifest, log and data file of every version; name what is damaged."""
    with progress() as display:
        report = stages.verify_warehouse(settings_of(context), progress=display)
    for damage in report.damages:
        console().print(f"{damage.where}: {damage.what}. {damage.way_back}", highlight=False)
    if report.damages:
        n_repairable = sum(damage.is_repairable for damage in report.damages)
        raise WarehouseError(
            f"warehouse verify: {len(report.damages)} damages, {n_repairable} of which "
            "`ribline warehouse repair` can make whole."
        )
    console().print(
        f"{report.n_versions} versions, {report.n_files} data files, {report.n_logs} logs: "
        "everything is as written.",
        highlight=False,
    )


def repair(context: typer.Context) -> None:
    """Restore manifests from their copies and logs from the manifest."""
    with progress() as display:
        repaired = stages.repair_warehouse(settings_of(context), progress=display)
    for damage in repaired:
        console().print(f"{damage.where}: {damage.what}: whole again.", highlight=False)
    console().print(f"{len(repaired)} repaired.", highlight=False)
    verify(context)


def maintain(
    context: typer.Context,
    keep_days: Annotated[
        int, typer.Option("--keep-days", help="Keep every version of so many days.")
    ] = 35,
) -> None:
    """Compact tables, end old versions, free their space, show sizes."""
    with progress() as display:
        counts = stages.maintain_warehouse(
            settings_of(context), keep_days=keep_days, progress=display
        )
    print_counts("warehouse maintain", counts)


def migrate(context: typer.Context) -> None:
    """Bring the home to this version's format; the next commit would do it too."""
    done = stages.migrate_warehouse(settings_of(context))
    listed = ", ".join(map(str, done))
    console().print(f"migrated to format {listed}" if done else "up to date", highlight=False)
