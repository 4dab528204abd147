"""PadChest (Bustos et al., Medical Image Analysis 2020): published table and PNG films.

Layout of the release of 1 February 2019: ``PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv``
(or ``.csv.gz``) and 16-bit PNGs in folders named by ImageDir, in ``images/`` or beside the table.

Rules for a finding such as ``rib fracture``, on the column Labels (a list, made from the report):

- positive where the list names it; where it names only its callus (``callus rib fracture``), the
  fracture is an old one and the film is excluded, as a hospital's film with an old fracture is;
- uncertain where it names a ``fracture`` without its bone;
- excluded where the list is empty, or holds only ``unchanged``, ``exclude`` or ``suboptimal
  study``: such a report says nothing of the finding;
- negative otherwise. MethodLabel (Physician or RNN_model) is kept with the evidence.

PNGs hold the stored values, so MONOCHROME1 films are inverted. AP_horizontal is AP.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from etl.public_datasets.published_films import PublishedFilm, number, sex_code
from etl.public_datasets.published_import import ImportSummary, PublishedImport
from etl.public_datasets.published_labels import RULE, check_findings, finding_name
from etl.public_datasets.published_tables import Publication, Row, inner_path, tables_hash
from warehouse_schema.home_lock import writes_files
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store

SOURCE = "padchest"
PUBLICATION = Publication(title="PadChest", page="bimcv.cipf.es/bimcv-projects/padchest")
TABLE = "PADCHEST_chest_x_ray_images_labels_160K_*.csv"
COLUMNS = ("ImageID", "ImageDir", "PatientID", "Projection", "MethodLabel", "Labels")
SILENT_LABELS = frozenset({"unchanged", "exclude", "suboptimal_study"})
UNSPECIFIED = "fracture"
VIEWS = {"PA": "PA", "AP": "AP", "AP_HORIZONTAL": "AP", "AP-HORIZONTAL": "AP"}
MODALITIES = ("CR", "DX")


@writes_files
def import_padchest(
    *,
    store: Store,
    folder: Path,
    findings: Sequence[str],
    size_px: int,
    pseudonym_key: bytes | str,
    n_processes: int = 1,
    progress: Progress = SILENT,
) -> ImportSummary:
    """Import films and labels of some findings; the data set has no boxes.

    Args:
        store: The store.
        folder: Folder with the table and the PNGs.
        findings: Published labels, for example rib fracture; case does not matter.
        size_px: Side of the square cached film.
        pseudonym_key: Secret of the pseudonyms.
        n_processes: Worker processes; the tables do not depend on it.
        progress: Listener.

    Raises:
        InputError: The table is missing or has other columns.
        ArgumentError: No film has one of the findings.
    """
    table = PUBLICATION.find_table(folder, TABLE, part="the table of labels")
    rows = list(PUBLICATION.read_rows(table, COLUMNS))
    listed = [_labels(row) for row in rows]
    known = {name for names in listed for name in names or ()}
    names = check_findings(findings, sorted(known - SILENT_LABELS), PUBLICATION.title)
    run = PublishedImport(
        store=store,
        source=SOURCE,
        pseudonym_key=pseudonym_key,
        size_px=size_px,
        definition_hash=tables_hash(RULE, table),
    )
    films = [_film(table.parent, row) for row in rows]
    run.read_films(films, n_processes=n_processes, progress=progress)
    for row, labels in zip(rows, listed, strict=True):
        image = run.images.image(row["ImageID"].strip())
        if image is None or not image["is_frontal_chest"]:
            continue
        for name in names:
            label, why, is_old = _decide(name, labels)
            method = row["MethodLabel"].strip() or "unknown"
            run.labels.add(
                image["image_id"], name, label, f"{why} (labelled by {method})", is_old=is_old
            )
    return run.publish(names)


def _decide(name: str, labels: frozenset[str] | None) -> tuple[str, str, bool]:
    """Label, reason, and whether it is an old fracture."""
    if labels is None or labels <= SILENT_LABELS:
        return "excluded", "the published labels say nothing of any finding", False
    if name in labels:
        return "positive", "the published labels name the finding", False
    if f"callus_{name}" in labels:
        return "excluded", "the published labels name its callus only: an old fracture", True
    if name.endswith("_fracture") and UNSPECIFIED in labels:
        return "uncertain", "the published labels name a fracture without its bone", False
    return "negative", "the published labels do not name the finding", False


def _film(folder: Path, row: Row) -> PublishedFilm:
    view = row["Projection"].strip().upper()
    modality = row.get("Modality_DICOM", "").strip().upper()
    return PublishedFilm(
        film=row["ImageID"].strip(),
        path=_path(folder, row),
        patient=row["PatientID"].strip(),
        study=row.get("StudyID", "").strip() or None,
        view=VIEWS.get(view, view or None),
        acquired=_day(row.get("StudyDate_DICOM", "")),
        birth=_day(f"{number(row.get('PatientBirth')) or 0:04.0f}0701"),
        sex_code=sex_code(row.get("PatientSex_DICOM")),
        modality=modality if modality in MODALITIES else "DX",
        manufacturer=row.get("Manufacturer_DICOM", "").strip() or None,
        pixel_spacing_mm=number(row.get("SpatialResolution_DICOM")),
        is_inverted=row.get("PhotometricInterpretation_DICOM", "").strip() == "MONOCHROME1",
    )


def _path(folder: Path, row: Row) -> Path | None:
    """The film's file: in its numbered folder, in images/, or beside the table."""
    candidates = [
        path
        for names in (
            (row["ImageDir"], row["ImageID"]),
            ("images", row["ImageID"]),
            (row["ImageID"],),
        )
        if (path := inner_path(folder, *names)) is not None
    ]
    return next((path for path in candidates if path.is_file()), next(iter(candidates), None))


def _labels(row: Row) -> frozenset[str] | None:
    """Names in the column Labels, which is a Python list; None where it is none or is empty."""
    try:
        listed = ast.literal_eval(row["Labels"].strip() or "[]")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    names = {finding_name(each) for each in listed if isinstance(each, str)} - {""}
    return frozenset(names) or None


def _day(text: str) -> datetime | None:
    """Noon of a day written YYYYMMDD; None where it is none, or before 1800."""
    try:
        day = datetime.strptime(text.strip()[:8], "%Y%m%d").replace(hour=12, tzinfo=UTC)
    except ValueError:
        return None
    return day if day.year >= 1800 else None
