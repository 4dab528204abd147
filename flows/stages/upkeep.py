"""Keeping the warehouse whole and small."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flows.stages.counts import Counts, counts
from flows.stages.opening import open_store
from warehouse_schema.progress import SILENT, Progress

if TYPE_CHECKING:
    from flows.settings import Settings
    from warehouse_schema.verification import Damage, Verification


def verify_warehouse(settings: Settings, *, progress: Progress = SILENT) -> Verification:
    """Every manifest, log entry and data file looked at."""
    from warehouse_schema.verification import verify

    return verify(open_store(settings, is_checked=False), progress=progress)


def repair_warehouse(settings: Settings, *, progress: Progress = SILENT) -> tuple[Damage, ...]:
    """Manifests restored from their copies, logs from the newest manifest."""
    from warehouse_schema.verification import repair

    return repair(open_store(settings, is_checked=False), progress=progress)


def maintain_warehouse(
    settings: Settings, *, keep_days: int, progress: Progress = SILENT
) -> Counts:
    """Tables compacted, old versions ended, their files removed."""
    from warehouse_schema.maintenance import maintain

    return counts(
        maintain(
            store=open_store(settings),
            now=datetime.now(UTC),
            keep_days=keep_days,
            progress=progress,
        )
    )


def migrate_warehouse(settings: Settings) -> list[int]:
    """The home in this code's format; returns the numbers of the migrations applied."""
    from warehouse_schema.home_format import bring_up_to_date

    store = open_store(settings, is_checked=False)
    with store.writer_lock():
        return bring_up_to_date(store)
