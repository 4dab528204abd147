"""NIH ChestX-ray14 (Wang et al., CVPR 2017): published tables and PNG films to the warehouse.

Layout of the 2017 release and its tables of 2020: ``Data_Entry_2017*.csv``, ``BBox_List_2017.csv``
and ``images/``. Labels are the published ones: positive where the finding is listed, negative where
it is not (the fourteen findings were mined for every film). Boxes are published in a 1024 x 1024
frame and are scaled to the PNG. Films carry no date, so there is no study_year; nor does the data
set say which films share a study.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from etl.public_datasets.published_films import (
    FRONTAL,
    PublishedFilm,
    age_years,
    number,
    sex_code,
)
from etl.public_datasets.published_import import ImportSummary, PublishedImport
from etl.public_datasets.published_labels import RULE, check_findings, finding_name
from etl.public_datasets.published_tables import Publication, Row, inner_path, tables_hash
from warehouse_schema.errors import InputError
from warehouse_schema.home_lock import writes_files
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store

SOURCE = "nih_chestxray14"
PUBLICATION = Publication(title="NIH ChestX-ray14", page="nihcc.app.box.com/v/ChestXray-NIHCC")
NO_FINDING = "No Finding"
BOX_FRAME_PX = 1024.0
# The table of boxes says Infiltrate where the table of labels says Infiltration.
BOX_NAMES = {"Infiltrate": "Infiltration"}
COLUMNS = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "Patient Gender")


@writes_files
def import_nih_chestxray14(
    *,
    store: Store,
    folder: Path,
    findings: Sequence[str],
    size_px: int,
    pseudonym_key: bytes | str,
    n_processes: int = 1,
    progress: Progress = SILENT,
) -> ImportSummary:
    """Import films, labels of some findings, and all boxes.

    Args:
        store: The store.
        folder: Folder with Data_Entry_2017*.csv, BBox_List_2017.csv and images/.
        findings: Published findings, for example Pneumonia; case does not matter.
        size_px: Side of the square cached film.
        pseudonym_key: Secret of the pseudonyms.
        n_processes: Worker processes; the tables do not depend on it.
        progress: Listener.

    Raises:
        InputError: A table is missing or has other columns.
        ArgumentError: No film has one of the findings.
    """
    table = PUBLICATION.find_table(folder, "Data_Entry_2017*.csv", part="Data_Entry_2017_v2020.csv")
    box_table = PUBLICATION.find_table(folder, "BBox_List_2017.csv", part="BBox_List_2017.csv")
    entries = list(PUBLICATION.read_rows(table, COLUMNS))
    known = {name for entry in entries for name in _findings(entry)}
    names = check_findings(findings, sorted(known), PUBLICATION.title)
    run = PublishedImport(
        store=store,
        source=SOURCE,
        pseudonym_key=pseudonym_key,
        size_px=size_px,
        definition_hash=tables_hash(RULE, table, box_table),
    )
    films = [_film(table.parent / "images", entry) for entry in entries]
    run.read_films(films, n_processes=n_processes, progress=progress)
    for entry in entries:
        image = run.images.image(entry["Image Index"].strip())
        if image is None:
            continue
        image["pixel_spacing_mm"] = _spacing(entry, image["columns_px"])
        for name in names:
            is_listed = name in _findings(entry)
            run.labels.add(
                image["image_id"],
                name,
                "positive" if is_listed else "negative",
                f"the published labels {'name' if is_listed else 'do not name'} the finding",
            )
    for line, cells in enumerate(_read_boxes(box_table), start=1):
        image = run.images.image(cells[0].strip())
        name = finding_name(BOX_NAMES.get(cells[1].strip(), cells[1]))
        run.boxes.add(f"box {line}", image, name, _box(cells[2:6], image))
    return run.publish(names)


def _film(folder: Path, entry: Row) -> PublishedFilm:
    return PublishedFilm(
        film=entry["Image Index"].strip(),
        path=inner_path(folder, entry["Image Index"]),
        patient=entry["Patient ID"].strip(),
        view=(entry.get("View Position") or "").strip().upper() or FRONTAL,
        age_years=age_years(entry["Patient Age"]),
        sex_code=sex_code(entry["Patient Gender"]),
    )


def _spacing(entry: Row, columns_px: int) -> float | None:
    """Spacing of the PNG's pixels: the original's, times how much it was reduced."""
    spacing = number(entry.get("OriginalImagePixelSpacing[x"))
    width = number(entry.get("OriginalImage[Width"))
    return None if spacing is None or not width else spacing * width / columns_px


def _findings(entry: Row) -> set[str]:
    published = {label.strip() for label in entry["Finding Labels"].split("|")}
    return {finding_name(label) for label in published if label and label != NO_FINDING}


def _read_boxes(path: Path) -> Iterator[list[str]]:
    """Rows of the table of boxes, by position: its header has commas in a name."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            next(rows, None)
            yield from (row for row in rows if len(row) >= 2)
    except (OSError, UnicodeDecodeError, csv.Error):
        raise InputError(f"{path.name} is unreadable. Take it again as published.") from None


def _box(cells: Sequence[str], image: Mapping[str, object] | None) -> list[float] | None:
    values = [number(cell) for cell in cells]
    if len(values) != 4 or None in values:
        return None
    scale = 1.0 if image is None else float(str(image["columns_px"])) / BOX_FRAME_PX
    return [(value or 0.0) * scale for value in values]
