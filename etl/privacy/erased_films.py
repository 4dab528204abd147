"""Takes a forgotten patient's films out of cache shards, score maps and spooled files."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from etl.films.dicom_header import UnusableFileError, open_dataset, read_header
from etl.privacy.patient_traces import JOURNAL
from etl.privacy.trace_search import TraceSearch
from warehouse_schema.home import Home
from warehouse_schema.pixel_shards import open_array, write_array
from warehouse_schema.store import Store
from warehouse_schema.tables import TABLES
from warehouse_schema.tables.imaging import IMAGE_PIXELS
from warehouse_schema.tables.runs import PREDICTIONS

# As the cache names its shards: kind, transform and hash of the films.
N_NAME_DIGITS = 16
# Films that a run shows as examples of its pseudo-labels.
PICTURES = ("*/pseudo_labels/*", "*/tensorboard/pictures/*")
# What a run cannot do without. A trace in one of these ends the search with an error.
KEPT_PATTERNS = ("best-*", "last-*", "events.out.tfevents.*", "ribline.toml", "*.key")


def rewrite_shards(cache: Path, kept: pa.Table) -> pa.Table:
    """Write the shards that hold more than the films kept anew, without the others.

    The shards that were stay on disk until no version names them.

    Args:
        cache: Folder of the cache.
        kept: Rows of image_pixels of everybody else.

    Returns:
        The same rows, with the new shard_name and shard_row.
    """
    rows = kept.to_pylist()
    by_shard: dict[str, list[dict[str, object]]] = defaultdict(list)
    for row in rows:
        by_shard[row["shard_name"]].append(row)
    for name, members in by_shard.items():
        if (cache / name).is_file():
            _rewrite_shard(cache, name, members)
    return pa.Table.from_pylist(rows, schema=IMAGE_PIXELS.schema)


def _rewrite_shard(cache: Path, name: str, members: list[dict[str, object]]) -> None:
    films = np.asarray(open_array(cache / name), dtype=np.uint8)
    used = sorted({int(str(row["shard_row"])) for row in members})
    if len(used) == len(films):
        return
    kept = np.ascontiguousarray(films[used])
    digest = hashlib.sha256(kept.tobytes()).hexdigest()[:N_NAME_DIGITS]
    new_name = f"{name.rpartition('-')[0]}-{digest}.npy"
    if not (cache / new_name).is_file():
        write_array(cache / new_name, kept)
    place = {old: new for new, old in enumerate(used)}
    for row in members:
        row |= {"shard_name": new_name, "shard_row": place[int(str(row["shard_row"]))]}


def remove_films(store: Store) -> int:
    """Remove shards, score maps and pictures that no row names; returns the files changed.

    Drafts and journals of an ingest go too; it is refused at its commit and starts again.

    A map without a prediction is overwritten with zeros where others share its file, so that
    their rows stay where they are.
    """
    named = set(store.read(IMAGE_PIXELS, columns=["shard_name"])["shard_name"].to_pylist())
    stray = [path for path in store.home.cache.rglob("*") if path.name not in named]
    stray = [path for path in stray if path.is_file()]
    for path in stray:
        path.unlink()
    return len(stray) + _remove_pictures(store.home) + _blank_maps(store)


def _remove_pictures(home: Home) -> int:
    """Remove the trainer's example pictures: which patients they show stands nowhere."""
    found = [path for pattern in PICTURES for path in home.runs.glob(pattern) if path.is_file()]
    for path in found:
        path.unlink()
    return len(found)


def _blank_maps(store: Store) -> int:
    rows = store.read(PREDICTIONS, columns=["map_path", "map_row"]).to_pylist()
    used: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        if row["map_path"] is not None:
            used[row["map_path"]].add(row["map_row"])
    n_changed = 0
    for path in sorted(store.home.runs.glob("*/maps/*")):
        rows_used = used.get(str(path.relative_to(store.home.root)))
        if rows_used is None:
            path.unlink()
        elif not _blank_rows(path, rows_used):
            continue
        n_changed += 1
    return n_changed


def _blank_rows(path: Path, used: set[int]) -> bool:
    maps = open_array(path)
    unused = [row for row in range(len(maps)) if row not in used]
    if not unused or not np.asarray(maps[unused]).any():
        return False
    blanked = np.array(maps)
    blanked[unused] = 0
    write_array(path, blanked)
    return True


def remove_files_that_name(home: Home, search: TraceSearch, identifiers: set[str]) -> int:
    """Remove reports, spooled films and other files that name a patient; returns how many."""
    found = [
        path
        for path in other_files(home)
        if home.warehouse not in path.parents
        and not any(path.match(pattern) for pattern in KEPT_PATTERNS)
        and (search.is_named(path) or search.is_in(path) or _is_film_of(path, identifiers))
    ]
    for path in found:
        path.unlink()
    return len(found)


def other_files(home: Home) -> Iterator[Path]:
    """Files of a home that are not tables: runs, reports, spools, what lies at its top."""
    tables = {
        (home.restricted if table.area == "restricted" else home.warehouse) / table.name
        for table in TABLES.values()
    }
    for path in sorted(home.root.iterdir()):
        if path.is_file():
            yield path
    for folder in (home.runs, home.restricted, home.warehouse):
        for path in sorted(folder.rglob("*")):
            is_apart = path.is_file() and not path.is_symlink() and path.name != JOURNAL
            if is_apart and not tables & set(path.parents):
                yield path


def _is_film_of(path: Path, identifiers: set[str]) -> bool:
    """True for a DICOM file of a patient whose header is compressed or oddly encoded."""
    with path.open("rb") as file:
        if file.read(132)[128:] != b"DICM":
            return False
    try:
        facts = read_header(open_dataset(path.read_bytes()))
    except UnusableFileError:
        return False
    named = {facts.patient_identifier, facts.sop_instance_uid, facts.study_uid}
    return bool(named & identifiers)
