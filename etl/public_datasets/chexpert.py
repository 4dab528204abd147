"""CheXpert v1.0 (Irvin et al., AAAI 2019): published tables and JPEG films to the warehouse.

Layout of CheXpert-v1.0 and CheXpert-v1.0-small: ``train.csv``, ``valid.csv`` (Path, Sex, Age,
Frontal/Lateral, AP/PA, a column a label: 1 positive, 0 negative, -1 uncertain, empty not mentioned)
and the films at ``train/patientNNNNN/studyN/viewN_frontal.jpg``.

Its label Fracture is of any bone on the film: rib, clavicle, humerus, spine. So it is a finding of
its own, ``fracture``. For ``rib_fracture`` and ``clavicle_fracture`` it can only rule out:

| Fracture | ``fracture`` | ``rib_fracture``, ``clavicle_fracture`` |
|---|---|---|
| 1 | positive | uncertain: the bone is not named |
| -1 | uncertain | uncertain |
| 0 | negative | negative |
| empty | negative: no fracture is mentioned in the report | negative |

Labels of valid.csv were read by three radiologists from the films themselves. Dates are not
published.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

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
from warehouse_schema.home_lock import writes_files
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store

SOURCE = "chexpert"
PUBLICATION = Publication(
    title="CheXpert v1.0", page="stanfordmlgroup.github.io/competitions/chexpert"
)
SPLITS = {"train": "train", "valid": "validation"}
KEYS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA")
FRACTURE = "fracture"
BONES = ("rib_fracture", "clavicle_fracture")
LABELS = {1.0: "positive", 0.0: "negative", -1.0: "uncertain"}


@writes_files
def import_chexpert(
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
        folder: Folder with train.csv and valid.csv, or one above it.
        findings: Published labels, or rib_fracture and clavicle_fracture; case does not matter.
        size_px: Side of the square cached film.
        pseudonym_key: Secret of the pseudonyms.
        n_processes: Worker processes; the tables do not depend on it.
        progress: Listener.

    Raises:
        InputError: A table is missing or has other columns.
        ArgumentError: The data set has no label of that name.
    """
    tables = {
        split: PUBLICATION.find_table(folder, f"{name}.csv", part=f"{name}.csv")
        for name, split in SPLITS.items()
    }
    rows = [
        (split, path.parent, row)
        for split, path in tables.items()
        for row in PUBLICATION.read_rows(path, (*KEYS, "Fracture"))
    ]
    published = {finding_name(column) for _, _, row in rows[:1] for column in row} - {
        finding_name(key) for key in ("", *KEYS)
    }
    names = check_findings(findings, sorted(published | set(BONES)), PUBLICATION.title)
    run = PublishedImport(
        store=store,
        source=SOURCE,
        pseudonym_key=pseudonym_key,
        size_px=size_px,
        definition_hash=tables_hash(RULE, *tables.values()),
    )
    films = [_film(split, root, row) for split, root, row in rows]
    run.read_films(films, n_processes=n_processes, progress=progress)
    for film, (_, _, row) in zip(films, rows, strict=True):
        image = run.images.image(film.film)
        if image is not None and image["is_frontal_chest"]:
            for name, label, why in _labels(row, names):
                run.labels.add(image["image_id"], name, label, why)
    return run.publish(names)


def _labels(row: Row, names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Finding, label and reason."""
    values = {finding_name(column): number(cell) for column, cell in row.items()}
    for name in names:
        value = values.get(FRACTURE if name in BONES else name)
        if value is None:
            yield name, "negative", "the published labels do not mention it"
        elif name in BONES and value == 1.0:
            yield name, "uncertain", "a fracture is published without its bone"
        else:
            yield name, LABELS.get(value, "uncertain"), f"published as {value:g}"


def _film(split: str, root: Path, row: Row) -> PublishedFilm:
    """A film; its patient and study are folders of its path."""
    published = PurePosixPath(row["Path"].strip())
    inner = published.parts[1:] if published.parts[:1] not in (("train",), ("valid",)) else None
    film = "/".join(inner or published.parts)
    patient, study = (*film.split("/"), "", "", "")[1:3]
    is_frontal = row["Frontal/Lateral"].strip().lower() == "frontal"
    return PublishedFilm(
        film=film,
        path=inner_path(root, film),
        patient=patient or film,
        study=f"{patient}/{study}",
        view=(row["AP/PA"].strip().upper() or FRONTAL) if is_frontal else "LATERAL",
        age_years=age_years(row["Age"]),
        sex_code=sex_code(row["Sex"]),
        published_split=split,
    )
