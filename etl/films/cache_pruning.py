"""Removing cached films that nothing can ask for any more.

A shard goes where no published version of the warehouse names it; with ``is_history_kept`` off,
where the newest does not. An ingest that still runs has shards which no version names yet, so
nothing younger than ``keep_days`` is touched. The writer lock is held, so that nobody publishes
meanwhile, and a warehouse that cannot be read whole stops the pruning before anything is removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from etl.films.pixel_cache import JOURNAL_SUFFIX
from warehouse_schema.errors import ArgumentError
from warehouse_schema.manifest import list_versions
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGE_PIXELS

STAGE = "prune-cache"
KEEP_DAYS = 7


@dataclass(frozen=True, kw_only=True)
class PruneSummary:
    """What one pruning did.

    Attributes:
        n_shards: Shards that stay.
        n_removed: Shards removed.
        n_leftovers: Drafts and journals of killed runs removed.
        n_mib_freed: Mebibytes freed.
    """

    n_shards: int
    n_removed: int
    n_leftovers: int
    n_mib_freed: int


def prune_cache(
    *, store: Store, now: datetime, keep_days: int = KEEP_DAYS, is_history_kept: bool = True
) -> PruneSummary:
    """Remove shards that no version names, and what killed runs have left.

    Args:
        store: The store.
        now: Clock.
        keep_days: Nothing younger is removed.
        is_history_kept: False keeps the newest version's shards alone; tables of earlier versions
            stay readable, their films do not.

    Raises:
        ArgumentError: keep_days is below 1.
        WarehouseError: The warehouse is damaged; nothing has been removed.
    """
    if keep_days < 1:
        raise ArgumentError(f"keep_days is {keep_days}; give at least 1.")
    oldest = (now - timedelta(days=keep_days)).timestamp()
    with store.commit(stage=STAGE):
        named = _named_shards(store, is_history_kept=is_history_kept)
        shards = sorted(store.home.cache.glob("*.npy"))
        removed = [path for path in _older(shards, oldest) if path.name not in named]
        leftovers = list(_older(_leftovers(store.home.cache), oldest))
        n_bytes = sum(path.stat().st_size for path in (*removed, *leftovers))
        for path in (*removed, *leftovers):
            path.unlink()
    return PruneSummary(
        n_shards=len(shards) - len(removed),
        n_removed=len(removed),
        n_leftovers=len(leftovers),
        n_mib_freed=n_bytes >> 20,
    )


def _named_shards(store: Store, *, is_history_kept: bool) -> set[str]:
    versions = list_versions(store.home.warehouse)
    found = {}
    for version in versions if is_history_kept else versions[-1:]:
        table = store.manifest(version).tables.get(IMAGE_PIXELS.name)
        if table is not None:
            found[table.delta_version] = table
    return {
        name
        for table in found.values()
        for name in store.read_version(IMAGE_PIXELS, table, ["shard_name"], None)[
            "shard_name"
        ].to_pylist()
    }


def _leftovers(cache: Path) -> Iterator[Path]:
    yield from sorted(cache.glob(".*.draft-*"))
    yield from sorted(cache.glob(f"*{JOURNAL_SUFFIX}"))


def _older(paths: Iterator[Path] | list[Path], moment: float) -> Iterator[Path]:
    for path in paths:
        if path.stat().st_mtime < moment:
            yield path
