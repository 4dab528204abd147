"""A folder of DICOM files to images, cached films and quarantine rows."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from etl.films.film_pool import read_films
from etl.films.film_reading import FilmReading, ReadingOrder
from etl.films.image_rows import ImageRows
from etl.films.pixel_cache import ShardWriter, cached_pixel_rows, check_shards, remove_journals
from etl.pseudonym import Pseudonymizer
from etl.quarantine import QuarantineList
from etl.records.ages import without_birth
from etl.records.site_mapping import list_site_mappings, load_site_mapping
from warehouse_schema.commit import Commit
from warehouse_schema.errors import ArgumentError, SourceError
from warehouse_schema.home_lock import writes_files
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables.imaging import IMAGE_PIXELS, IMAGES
from warehouse_schema.tables.records import IDENTITIES, IMAGE_SOURCES, PATIENTS

STAGE = "ingest-images"
SIZES_PX = range(64, 4097)


@dataclass(frozen=True, kw_only=True)
class IngestSummary:
    """What one ingest found.

    Attributes:
        n_files: Files in the folder.
        n_images: Readable instances of known patients.
        n_frontal: Those that are frontal chest films, and cached.
        n_decoded: Films decoded now; the others were cached already.
        n_quarantined: Files set aside.
        n_opted_out: Files of patients who have opted out; nothing of them is kept.
        quarantine_reasons: How many for each reason.
    """

    n_files: int
    n_images: int
    n_frontal: int
    n_decoded: int
    n_quarantined: int
    n_opted_out: int = 0
    quarantine_reasons: Mapping[str, int] = field(default_factory=dict)


@writes_files
def ingest_images(
    *,
    store: Store,
    folder: Path,
    source: str,
    pseudonym_key: bytes | str,
    size_px: int,
    n_processes: int = 1,
    progress: Progress = SILENT,
    time_zone: str | None = None,
    is_patient_required: bool = True,
    file_names: Collection[str] | None = None,
) -> IngestSummary:
    """Read every file under a folder; cache the frontal chest films.

    Files that cannot be used cost one quarantine row each. Films whose source and transform are
    cached are not decoded again, also where an earlier ingest was killed before it could publish
    them. Everything is published by one commit.

    Args:
        store: The store.
        folder: Folder tree with DICOM files.
        source: Name of the site mapping whose patients these are.
        pseudonym_key: The key that the records were extracted with.
        size_px: Side of the square cached film.
        n_processes: Worker processes; the tables do not depend on it.
        progress: Listener.
        time_zone: IANA zone of dates without an offset; None takes the shipped site mapping's
            of that name, and UTC where there is none.
        is_patient_required: False makes patients from the headers where the warehouse does not
            know them, so that a folder of films can be ingested alone.
        file_names: Read the files of these names alone.

    Raises:
        SourceError: The folder is missing or holds no file.
        ArgumentError: size_px or n_processes is out of range.
    """
    _check_arguments(size_px, n_processes)
    paths = sorted(
        path for path in _list_files(folder) if file_names is None or path.name in file_names
    )
    names = Pseudonymizer(key=pseudonym_key, source=source)
    quarantine = QuarantineList(stage=STAGE, source=source)
    rows = ImageRows(
        store=store, names=names, quarantine=quarantine, is_patient_required=is_patient_required
    )
    cached = cached_pixel_rows(store, size_px)
    writer = ShardWriter(cache=store.home.cache, size_px=size_px)
    orders = (
        ReadingOrder(path=path, size_px=size_px, time_zone=time_zone or _site_time_zone(source))
        for path in paths
    )
    progress.start(STAGE, len(paths))
    for reading in read_films(orders, n_processes=n_processes, cached_sha256=frozenset(cached)):
        _take_up(reading, rows, writer)
        progress.advance()
    writer.flush()
    progress.finish()
    rows.settle_accessions()
    rows.settle_copies()
    pixels = _pixel_rows(rows, writer, cached)
    check_shards(store.home.cache, pixels)
    configuration = {"source": source, "size_px": size_px}
    with store.commit(stage=STAGE, configuration=configuration) as commit:
        _write(commit, rows, pixels, quarantine)
    remove_journals(store.home.cache, pixels)
    return IngestSummary(
        n_files=len(paths),
        n_images=len(rows.images),
        n_frontal=len(pixels),
        n_decoded=len(writer.rows),
        n_quarantined=len(quarantine),
        n_opted_out=rows.n_opted_out,
        quarantine_reasons=quarantine.reasons,
    )


def _check_arguments(size_px: int, n_processes: int) -> None:
    if size_px not in SIZES_PX:
        raise ArgumentError(f"size_px is {size_px}; give a whole number from 64 to 4096.")
    if n_processes < 1:
        raise ArgumentError(f"n_processes is {n_processes}; give at least 1.")


def _site_time_zone(source: str) -> str:
    return load_site_mapping(source).time_zone if source in list_site_mappings() else "UTC"


def _list_files(folder: Path) -> Iterator[Path]:
    """Regular files under the folder; links are not followed out of it."""
    if not folder.is_dir():
        raise SourceError(
            "folder: there is no such folder. Give the folder that holds the DICOM files."
        )
    root = folder.resolve()
    n_files = 0
    for parent, _, file_names in os.walk(root):
        for name in file_names:
            path = Path(parent, name)
            if path.resolve().is_relative_to(root) and path.is_file():
                n_files += 1
                yield path
    if not n_files:
        raise SourceError("folder: it holds no file. Give the folder that holds the DICOM files.")


def _take_up(reading: FilmReading, rows: ImageRows, writer: ShardWriter) -> None:
    image_id = rows.add(reading)
    if image_id is not None and reading.film is not None:
        assert reading.geometry is not None
        writer.add(
            image_id,
            reading.film,
            reading.geometry,
            facts=reading.facts,
            source_sha256=reading.source_sha256,
        )


def _pixel_rows(
    rows: ImageRows, writer: ShardWriter, cached: Mapping[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """image_pixels rows of the frontal films, decoded now or before."""
    return [
        writer.rows.get(image_id) or {**cached[image["source_sha256"]], "image_id": image_id}
        for image_id, image in rows.images.items()
        if image["is_frontal_chest"]
    ]


def _write(
    commit: Commit, rows: ImageRows, pixels: list[dict[str, Any]], quarantine: QuarantineList
) -> None:
    commit.uses(PATIENTS)
    for table, new in (
        (IMAGES, list(rows.images.values())),
        (IMAGE_SOURCES, list(rows.sources.values())),
        (IMAGE_PIXELS, pixels),
    ):
        commit.replace(table, _merge(commit, table, new, rows.seen_images))
    if rows.new_patients:
        commit.upsert(PATIENTS, _table(PATIENTS, list(rows.new_patients.values())))
    if rows.over_89:
        commit.replace(PATIENTS, without_birth(commit.read(PATIENTS), rows.over_89))
    commit.upsert(IDENTITIES, _table(IDENTITIES, list(rows.identities.values())))
    quarantine.replace_in(commit, seen_keys=rows.seen_keys)


def _merge(
    commit: Commit, table: Table, new: list[dict[str, Any]], seen_images: Collection[str]
) -> pa.Table:
    """Earlier rows of images that this ingest has not seen, and the new rows."""
    earlier = commit.read(table)
    is_seen = pc.is_in(earlier["image_id"], value_set=pa.array(list(seen_images), pa.string()))
    return pa.concat_tables([earlier.filter(pc.invert(is_seen)), _table(table, new)])


def _table(table: Table, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=table.schema)
