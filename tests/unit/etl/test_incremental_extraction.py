"""Night after night, an incremental extraction gives what a full one into an empty home gives."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest
from changing_hospital import ChangingHospital, changing_site

from etl.extraction import ExtractionSummary, extract_records
from etl.site_mapping import SiteMapping
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables.records import (
    DIAGNOSES,
    ENCOUNTERS,
    IDENTITIES,
    NOTES,
    PATIENTS,
    SOURCE_ROWS,
)
from warehouse_schema.tables.runs import QUARANTINE

KEY = "0123456789abcdef"
TABLES = (PATIENTS, ENCOUNTERS, DIAGNOSES, NOTES, QUARANTINE, SOURCE_ROWS)
ALL = {"patient", "visit", "diagnosis", "note"}


def extract(
    home: Path, url: str, site: SiteMapping, *, is_full: bool = False, pattern: str = "fracture"
) -> ExtractionSummary:
    return extract_records(
        store=Store(Home(home)),
        database_url=url,
        site_mapping=site,
        keyword_pattern=pattern,
        pseudonym_key=KEY,
        is_full=is_full,
    )


def content(home: Path) -> dict[str, pa.Table]:
    """All that extraction writes; accession numbers stay in the id map when notes go."""
    store = Store(Home(home))
    identities = store.read(IDENTITIES)
    kept = [kind != "accession" for kind in identities["kind"].to_pylist()]
    return {table.name: store.read(table) for table in TABLES} | {
        "identities": identities.filter(pa.array(kept, pa.bool_()))
    }


def assert_equal(found: dict[str, pa.Table], expected: dict[str, pa.Table]) -> None:
    for name, table in expected.items():
        assert found[name].to_pylist() == table.to_pylist(), name


def live_through(
    folder: Path, site: SiteMapping, *, seed: int, n_patients: int, n_nights: int, n_changes: int
) -> None:
    hospital = ChangingHospital(folder / "hospital.sqlite", random.Random(seed))
    hospital.build(n_patients)
    assert extract(folder / "home", hospital.url, site).mode == "full"
    for night in range(n_nights):
        hospital.work(n_changes)
        summary = extract(folder / "home", hospital.url, site)
        full = extract(folder / f"night{night}", hospital.url, site)
        assert_equal(content(folder / "home"), content(folder / f"night{night}"))
        assert summary.mode == "incremental"
        assert (summary.n_quarantined, summary.n_notes) == (full.n_quarantined, full.n_notes)


@pytest.mark.parametrize(
    ("with_cursor", "has_diagnosis_key"),
    [(ALL, True), (ALL, False), (set(), True), (set(), False), ({"visit", "note"}, True)],
    ids=["cursors", "cursors, diagnoses without identifier", "no cursor",
         "no cursor, diagnoses without identifier", "some cursors"],
)  # fmt: skip
@pytest.mark.parametrize("seed", [0, 1])
def test_every_night_equals_a_full_read(
    tmp_path: Path, with_cursor: set[str], has_diagnosis_key: bool, seed: int
) -> None:
    site = changing_site(with_cursor=with_cursor, has_diagnosis_key=has_diagnosis_key)
    live_through(tmp_path, site, seed=seed, n_patients=60, n_nights=4, n_changes=40)
