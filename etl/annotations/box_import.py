"""Readers' boxes from annotation files to annotations, in source pixels, and who read what."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from etl.annotations.box_files import Source, list_annotation_files
from etl.annotations.box_formats.annotation_file import AnnotationFile
from etl.annotations.box_formats.recognition import check_format, read_annotations
from etl.annotations.box_rows import BoxRows, ReadFile, Row
from etl.annotations.image_finder import ImageFinder
from etl.pseudonym import Pseudonymizer
from etl.quarantine import QuarantineList
from warehouse_schema.commit import Commit
from warehouse_schema.errors import ArgumentError, InputError
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables.annotation import IMAGE_READINGS
from warehouse_schema.tables.imaging import ANNOTATION_STATUSES, ANNOTATIONS, IMAGES
from warehouse_schema.tables.records import IMAGE_SOURCES

STAGE = "import-boxes"


@dataclass(frozen=True, kw_only=True)
class BoxImportSummary:
    """What one import found.

    Attributes:
        n_files: Files read, by format.
        n_films: DICOM images among them, passed over.
        n_boxes: Boxes kept.
        n_images: Images with a box.
        n_readings: Readings of an image by one reader, with boxes or without.
        n_clipped: Boxes that reached over their image's edge.
        n_hulls: Boxes that are the hull of another shape.
        n_quarantined: Boxes, looks and files set aside.
        quarantine_reasons: How many for each reason.
    """

    n_files: Mapping[str, int]
    n_films: int
    n_boxes: int
    n_images: int
    n_readings: int
    n_clipped: int
    n_hulls: int
    n_quarantined: int
    quarantine_reasons: Mapping[str, int] = field(default_factory=dict)


def import_boxes(
    *,
    store: Store,
    files: Sequence[Path],
    source: str,
    pseudonym_key: bytes | str,
    findings: Collection[str] | None = None,
    format_name: str | None = None,
    reader: str | None = None,
    status: str = "drawn",
) -> BoxImportSummary:
    """Import annotation files; what cannot be used costs one quarantine row each.

    An image is found by SOP Instance UID, else by hash, else by accession number where its study
    has one frontal film, else by file name. A box drawn on a resized, turned or mirrored copy is
    brought back; one drawn on a copy of another shape is set aside. What a named reader said of
    an image replaces what the same reader said before; a file that only lists an image removes
    nothing.

    Args:
        store: The store.
        files: Annotation files, or folders of them.
        source: Site mapping whose images they are.
        pseudonym_key: The key that the images were ingested with.
        findings: Findings that are defined; None takes every category.
        format_name: One of ``recognition.FORMAT_NAMES``; None recognises each file by its content.
        reader: Who read the images, where the files do not say it.
        status: drawn, confirmed or rejected, where the files do not say it.

    Raises:
        InputError: No file can be read as a whole; with several, each costs a quarantine row.
        ArgumentError: No such format or status.
    """
    check_format(format_name)
    if status not in ANNOTATION_STATUSES:
        raise ArgumentError(f"status: {status!r} is none of {', '.join(ANNOTATION_STATUSES)}.")
    names = Pseudonymizer(key=pseudonym_key, source=source)
    quarantine = QuarantineList(stage=STAGE, source=source)
    rows = BoxRows(
        finder=ImageFinder(store, names),
        quarantine=quarantine,
        findings=findings,
        reader=reader,
        status=status,
    )
    read = _read_all(files, format_name, names, quarantine)
    for each in read.files:
        rows.take_up(each)
    digest = hashlib.sha256("|".join(each.sha256 for each in read.files).encode()).hexdigest()
    configuration = {
        "source": source,
        "files_sha256": digest,
        "format": format_name,
        "status": status,
    }
    with store.commit(stage=STAGE, configuration=configuration) as commit:
        commit.uses(IMAGES, IMAGE_SOURCES)
        _write(commit, rows)
        quarantine.replace_in(commit, seen_keys=read.keys)
    return BoxImportSummary(
        n_files=dict(sorted(Counter(each.format_name for each in read.files).items())),
        n_films=read.n_films,
        n_boxes=len(rows.annotations),
        n_images=len({row["image_id"] for row in rows.annotations.values()}),
        n_readings=len(rows.readings),
        n_clipped=sum(row["is_clipped"] for row in rows.annotations.values()),
        n_hulls=sum(row["drawn_shape"] != "rectangle" for row in rows.annotations.values()),
        n_quarantined=len(quarantine),
        quarantine_reasons=quarantine.reasons,
    )


@dataclass(kw_only=True)
class _ReadFiles:
    """Files that could be read, the keys of all that were looked at, and the films among them."""

    files: list[ReadFile]
    keys: set[str]
    n_films: int = 0


def _read_all(
    paths: Sequence[Path],
    format_name: str | None,
    names: Pseudonymizer,
    quarantine: QuarantineList,
) -> _ReadFiles:
    """Read every file; those that cannot be read are set aside where others can."""
    sources: list[tuple[str, Source]] = list(list_annotation_files(paths, format_name=format_name))
    every = [each for _, each in sources]
    found = _ReadFiles(files=[], keys=set())
    first_error: InputError | None = None
    for name, each in sources:
        key = names.pseudonym("row", name)
        found.keys.add(key)
        try:
            if len(sources) > 1 and isinstance(each, AnnotationFile) and each.is_film:
                found.n_films += 1
                continue
            format_, entries = read_annotations(each, format_name=format_name, beside=every)
            found.files.append(
                ReadFile(key=key, sha256=each.sha256, format_name=format_, entries=entries)
            )
        except InputError as error:
            first_error = first_error or error
            quarantine.add(f"{key}#file", str(error).partition(": ")[2].partition(". ")[0])
        finally:
            each.release()
    if not found.files:
        raise first_error or InputError(
            "file: there are films and no annotations. Give annotation files."
        )
    return found


def _write(commit: Commit, rows: BoxRows) -> None:
    replacing = rows.replacing
    kept = [
        row
        for row in commit.read(ANNOTATIONS).to_pylist()
        if (row["image_id"], row["reader_id"]) not in replacing
    ]
    commit.replace(ANNOTATIONS, _table(ANNOTATIONS, [*kept, *rows.annotations.values()]))
    earlier = {row["reading_id"]: row for row in commit.read(IMAGE_READINGS).to_pylist()}
    for key, row in rows.readings.items():
        if key in replacing or row["reading_id"] not in earlier:
            earlier[row["reading_id"]] = row
    commit.replace(IMAGE_READINGS, _table(IMAGE_READINGS, list(earlier.values())))


def _table(table: Table, rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=table.schema)
