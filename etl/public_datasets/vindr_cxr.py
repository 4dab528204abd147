"""VinDr-CXR 1.0.0 (Nguyen et al., Scientific Data 2022; doi 10.13026/3akn-b287) to the warehouse.

Layout as on PhysioNet: ``train/ID.dicom``, ``test/ID.dicom`` and four tables in ``annotations/``:
``image_labels_train.csv`` (image_id, rad_id, a column a class; one row for each of three readers),
``image_labels_test.csv`` (one row a film, the consensus of five), ``annotations_train.csv``
(image_id, rad_id, class_name, x_min, y_min, x_max, y_max) and ``annotations_test.csv``.

Rules:

- A label of the training part is positive where more than half of the film's readers say so,
  negative where none does, and uncertain where a minority does. The test part's is the consensus.
- Every reader's box is an annotation of that reader, status drawn; a reader without one has a
  reading all the same. The test part's boxes are a consensus, status confirmed, without a reader.
- The headers were emptied of everything but pixels, sex and age. All films were published as
  adults' PA chest films; each film is a patient of its own, as the tables name none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from etl.public_datasets.published_films import PublishedFilm, number
from etl.public_datasets.published_import import ImportSummary, PublishedImport
from etl.public_datasets.published_labels import RULE, check_findings, finding_name
from etl.public_datasets.published_tables import Publication, Row, inner_path, tables_hash
from warehouse_schema.home_lock import writes_files
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store

SOURCE = "vindr_cxr"
PUBLICATION = Publication(title="VinDr-CXR 1.0.0", page="physionet.org/content/vindr-cxr/1.0.0")
SPLITS = ("train", "test")
NO_FINDING = "no_finding"
KEYS = ("image_id", "rad_id")
CORNERS = ("x_min", "y_min", "x_max", "y_max")
HEADER = {"Modality": "DX", "ViewPosition": "PA", "BodyPartExamined": "CHEST"}
Votes = Mapping[str, Sequence[bool]]


@writes_files
def import_vindr_cxr(
    *,
    store: Store,
    folder: Path,
    findings: Sequence[str],
    size_px: int,
    pseudonym_key: bytes | str,
    n_processes: int = 1,
    progress: Progress = SILENT,
) -> ImportSummary:
    """Import films, labels of some findings, and every reader's boxes of all findings.

    Args:
        store: The store.
        folder: Folder with train/, test/ and annotations/, or one above it.
        findings: Published classes, for example Rib fracture; case does not matter.
        size_px: Side of the square cached film.
        pseudonym_key: Secret of the pseudonyms.
        n_processes: Worker processes; the tables do not depend on it.
        progress: Listener.

    Raises:
        InputError: A table is missing or has other columns.
        ArgumentError: The data set has no class of that name.
    """
    tables = {
        name: PUBLICATION.find_table(folder, f"annotations/{name}.csv", part="annotations/")
        for split in SPLITS
        for name in (f"image_labels_{split}", f"annotations_{split}")
    }
    votes = {split: _read_votes(tables[f"image_labels_{split}"]) for split in SPLITS}
    known = set.intersection(*map(_classes, votes.values())) - {NO_FINDING}
    names = check_findings(findings, sorted(known), PUBLICATION.title)
    run = PublishedImport(
        store=store,
        source=SOURCE,
        pseudonym_key=pseudonym_key,
        size_px=size_px,
        definition_hash=tables_hash(RULE, *tables.values()),
    )
    root = tables["image_labels_train"].parent.parent
    films = [_film(root, split, film) for split in SPLITS for film in votes[split]]
    run.read_films(films, n_processes=n_processes, progress=progress)
    for split in SPLITS:
        _add_labels(run, votes[split], names, is_consensus=split == "test")
        if split == "train":
            _add_readings(run, tables[f"image_labels_{split}"])
        _add_boxes(run, tables[f"annotations_{split}"], is_consensus=split == "test")
    return run.publish(names)


def _film(root: Path, split: str, film: str) -> PublishedFilm:
    return PublishedFilm(
        film=film,
        path=inner_path(root, split, f"{film}.dicom"),
        patient=film,
        published_split=split,
        header=HEADER,
    )


def _read_votes(path: Path) -> dict[str, dict[str, list[bool]]]:
    """By film and finding, what each reader said."""
    votes: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for row in PUBLICATION.read_rows(path, KEYS[:1]):
        film = votes[row["image_id"].strip()]
        for column, cell in row.items():
            if column not in KEYS:
                film[finding_name(column)].append((number(cell) or 0.0) > 0)
    return votes


def _classes(votes: Mapping[str, Votes]) -> set[str]:
    return {name for said in votes.values() for name in said}


def _add_labels(
    run: PublishedImport, votes: Mapping[str, Votes], names: Sequence[str], *, is_consensus: bool
) -> None:
    for film, said in votes.items():
        image = run.images.image(film)
        if image is None:
            continue
        for name in names:
            n_positive, n_readers = sum(said[name]), len(said[name])
            label = "negative" if n_positive == 0 else "uncertain"
            if 2 * n_positive > n_readers:
                label = "positive"
            why = f"{n_positive} of {n_readers} readers mark it"
            run.labels.add(
                image["image_id"], name, label, "consensus of the readers" if is_consensus else why
            )


def _add_readings(run: PublishedImport, path: Path) -> None:
    for row in PUBLICATION.read_rows(path, KEYS):
        image = run.images.image(row["image_id"].strip())
        reader = row["rad_id"].strip()
        if image is not None and reader:
            run.boxes.add_reading(image["image_id"], run.names.pseudonym("reader", reader))


def _add_boxes(run: PublishedImport, path: Path, *, is_consensus: bool) -> None:
    for line, row in enumerate(
        PUBLICATION.read_rows(path, ("image_id", "class_name", *CORNERS)), start=2
    ):
        name = finding_name(row["class_name"])
        if name == NO_FINDING:
            continue
        reader = "" if is_consensus else row.get("rad_id", "").strip()
        run.boxes.add(
            f"{path.name.removesuffix('.gz')} {line}",
            run.images.image(row["image_id"].strip()),
            name,
            _box(row),
            reader_id=run.names.pseudonym("reader", reader) if reader else None,
            status="confirmed" if is_consensus else "drawn",
        )


def _box(row: Row) -> list[float] | None:
    values = [number(row[corner]) for corner in CORNERS]
    if None in values:
        return None
    left, top, right, bottom = (value or 0.0 for value in values)
    return [left, top, right - left, bottom - top]
