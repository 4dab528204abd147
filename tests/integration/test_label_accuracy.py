"""Labels of the synthetic hospital's films against its truth, from its records alone.

No film is rendered: the images' rows are written as ingest would, under the same pseudonyms.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl.cohorts.linkage import LinkRule, link_images
from etl.pseudonym import Pseudonymizer, shift_datetime
from etl.records.extraction import extract_records
from etl.records.site_mapping import load_site_mapping
from etl.synthetic_hospital.hospital import write_hospital
from nlp_labeling.definition import load_definitions, shared_linkage
from nlp_labeling.image_labels import label_images
from nlp_labeling.keywords import keyword_pattern
from nlp_labeling.mining import mine_mentions
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGES
from warehouse_schema.tables.labels import IMAGE_LABELS
from warehouse_schema.tables.records import IDENTITIES

SITE = "synthetic_hospital"
KEY = "a key of the accuracy test alone"
# The night after the hospital's last record.
AS_OF = datetime(2017, 1, 1, tzinfo=UTC)
FINDINGS = ("rib_fracture", "clavicle_fracture")
MIN_PRECISION = 0.97
MIN_RECALL = 0.95

Row = dict[str, Any]


@dataclass(frozen=True)
class Accuracy:
    """Counts over films; recall is over positives with any evidence in the records."""

    n_true_positives: int
    n_false_positives: int
    n_found: int
    n_evidenced: int

    @property
    def precision(self) -> float:
        return self.n_true_positives / max(1, self.n_true_positives + self.n_false_positives)

    @property
    def recall(self) -> float:
        return self.n_found / max(1, self.n_evidenced)


def film_rows(store: Store, films: list[Row]) -> list[Row]:
    """The rows of ``images`` for truth rows whose patient is in the warehouse."""
    names = Pseudonymizer(key=KEY, source=SITE)
    zone = ZoneInfo(load_site_mapping(SITE).time_zone)
    identities = store.read(IDENTITIES).to_pylist()
    kinds = {row["kind"] for row in identities}
    kind = "imaging_patient" if "imaging_patient" in kinds else "patient"
    patients = {
        row["source_identifier"]: (row["pseudonym"], row["date_shift_days"])
        for row in identities
        if row["kind"] == kind
    }
    rows = []
    for film in films:
        if film["chart_no"] not in patients or not film["is_frontal"]:
            continue
        patient_id, shift_days = patients[film["chart_no"]]
        taken = film["acquired_datetime"].replace(tzinfo=zone).astimezone(UTC)
        filled: Row = dict.fromkeys(column.name for column in IMAGES.columns)
        filled |= {
            "image_id": names.pseudonym("image", film["sop_instance_uid"]),
            "patient_id": patient_id,
            "source": SITE,
            "study_id": names.pseudonym("study", film["study_instance_uid"]),
            "series_id": names.pseudonym("series", film["study_instance_uid"]),
            "accession_id": names.pseudonym("accession", film["accession_no"]),
            "acquired_datetime": shift_datetime(taken, shift_days),
            "study_year": film["acquired_datetime"].year,
            "modality_code": "DX",
            "view_position_code": film["projection"],
            "rows_px": film["rows_px"],
            "columns_px": film["columns_px"],
            "is_frontal_chest": True,
            "selection_reason": "view position",
            "source_sha256": "0" * 64,
            "is_synthetic": True,
        }
        rows.append(filled)
    return rows


def measured(folder: Path, *, n_patients: int, seed: int) -> dict[str, Accuracy]:
    """Write a hospital, label its films and count per finding."""
    hospital = folder / "hospital"
    write_hospital(folder=hospital, n_patients=n_patients, seed=seed, is_records_only=True)
    store = Store(Home(folder / "home").create())
    definitions = load_definitions(FINDINGS)
    extract_records(
        store=store,
        database_url=f"sqlite:///{hospital / 'hospital.sqlite'}",
        site_mapping=load_site_mapping(SITE),
        keyword_pattern=keyword_pattern(definitions),
        pseudonym_key=KEY,
    )
    films = pq.read_table(hospital / "truth" / "images.parquet").to_pylist()
    rows = film_rows(store, films)
    assert len(rows) > 0.9 * sum(film["is_frontal"] for film in films)
    with store.commit(stage="test") as commit:
        commit.upsert(IMAGES, pa.Table.from_pylist(rows, schema=IMAGES.schema))
    linkage = shared_linkage(definitions)
    rule = LinkRule(hours_before=linkage.hours_before_study, hours_after=linkage.hours_after_study)
    link_images(store=store, rule=rule)
    mine_mentions(store=store, definitions=definitions)
    label_images(store=store, definitions=definitions, as_of_datetime=AS_OF)
    labels = {
        (row["image_id"], row["finding"]): (row["label"], row["acuity"])
        for row in store.read(IMAGE_LABELS).to_pylist()
    }
    names = Pseudonymizer(key=KEY, source=SITE)
    known = {row["image_id"] for row in rows}
    told = {names.pseudonym("image", film["sop_instance_uid"]): film for film in films}
    return {
        finding: counted(finding, {key: told[key] for key in known}, labels) for finding in FINDINGS
    }


def counted(
    finding: str, told: dict[str, Row], labels: dict[tuple[str, str], tuple[str, str | None]]
) -> Accuracy:
    """Count one finding.

    The truth calls a fracture on a later film old; reports call it healing, and so does the label's
    acuity. Such a positive is right where the truth tells of that old fracture.
    """
    positive = {key for key in told if labels.get((key, finding), ("", ""))[0] == "positive"}
    healing = {key for key in positive if labels[key, finding][1] == "healing"}
    acute = {key for key, film in told.items() if film[f"has_acute_{finding}"]}
    true = acute | {key for key in healing if told[key][f"has_old_{finding}"]}
    evidenced = {key for key in acute if told[key][f"evidence_{finding}"]}
    return Accuracy(
        n_true_positives=len(positive & true),
        n_false_positives=len(positive - true),
        n_found=len(positive & evidenced),
        n_evidenced=len(evidenced),
    )


@pytest.fixture(scope="module")
def accuracy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Accuracy]:
    return measured(tmp_path_factory.mktemp("accuracy"), n_patients=400, seed=20)


@pytest.mark.parametrize("finding", FINDINGS)
def test_labels_agree_with_the_truth(accuracy: dict[str, Accuracy], finding: str) -> None:
    assert accuracy[finding].n_evidenced >= 20
    assert accuracy[finding].precision >= MIN_PRECISION
    assert accuracy[finding].recall >= MIN_RECALL
