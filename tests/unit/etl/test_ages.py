"""Over 89 is one group, whichever stage finds out, and for good."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from etl.films.image_ingest import ingest_images
from etl.records.extraction import extract_records
from etl.records.site_mapping import SiteMapping
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGES
from warehouse_schema.tables.records import PATIENTS


@pytest.mark.parametrize(
    ("born", "film", "age_years"),
    [
        ("1935-03-02", "20150301", 80.0),
        ("1925-03-08", "20150301", 89.9),
        ("1925-02-27", "20150301", 90.0),
        ("1915-03-02", "20150301", 90.0),
    ],
)
def test_a_film_later_than_every_visit_decides_too(
    *,
    store: Store,
    site: SiteMapping,
    key: str,
    make_database: Callable[..., str],
    write_film: Callable[..., Path],
    tmp_path: Path,
    born: str,
    film: str,
    age_years: float,
) -> None:
    url = make_database(
        patient=[("p1", "M", born), ("p2", "M", "1960-01-01")],
        visit=[("V1", "p1", "2004-03-01", "2004-03-02", "E")],
    )
    write_film("a.dcm", PatientID="p1", StudyDate=film)
    for _ in range(2):
        extract_records(
            store=store,
            database_url=url,
            site_mapping=site,
            keyword_pattern="rib",
            pseudonym_key=key,
        )
        ingest_images(
            store=store,
            folder=tmp_path / "dicom",
            source="small",
            pseudonym_key=key,
            size_px=64,
        )
        (image,) = store.read(IMAGES).to_pylist()
        patients = {row["patient_id"]: row for row in store.read(PATIENTS).to_pylist()}
        assert image["age_years"] == pytest.approx(age_years, abs=0.1)
        owner = patients.pop(image["patient_id"])
        assert owner["is_over_89"] == (age_years >= 90)
        assert (owner["birth_datetime"] is None) == (age_years >= 90)
        (other,) = patients.values()
        assert other["birth_datetime"] is not None
    extract_records(
        store=store, database_url=url, site_mapping=site, keyword_pattern="rib", pseudonym_key=key
    )
    over = store.read(PATIENTS, where={"patient_id": image["patient_id"]})["is_over_89"]
    assert over.to_pylist() == [age_years >= 90], "the next night does not give the birth back"
