"""Who has opted out is not read again, is counted, and leaves no key anywhere."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from etl.films.image_ingest import ingest_images
from etl.privacy.forgetting import forget_patients
from etl.privacy.opt_outs import OptOuts
from etl.pseudonym import Pseudonymizer
from etl.records.extraction import ExtractionSummary, extract_records
from etl.records.site_mapping import SiteMapping
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGES
from warehouse_schema.tables.records import ENCOUNTERS, IDENTITIES, NOTES, OPT_OUTS, PATIENTS
from warehouse_schema.tables.runs import QUARANTINE

PATIENTS_ROWS = [("p1", "M", "1950-01-01"), ("p2", "F", "1960-01-01")]
VISITS = [(f"V{n}", f"p{n}", "2015-03-01", "2015-03-09", "E") for n in (1, 2)]
# A visit, a code and a note that would be set aside, were the patient not opted out.
BAD = ("V9", "p2", "no date", None, "E")
NOTES_ROWS = [
    ("N1", "p1", "V1", "rib fracture", None, "CXR", "2015-03-02", None, "A1"),
    ("N2", "p2", "V2", "rib fracture", None, "CXR", "2015-03-02", None, "A2"),
    ("N3", "p2", "V2", b"\xff rib fracture", None, "CXR", "2015-03-02", None, "A3"),
]


@pytest.fixture
def extract(
    store: Store, site: SiteMapping, key: str, make_database: Callable[..., str]
) -> Callable[[], ExtractionSummary]:
    def run() -> ExtractionSummary:
        codes = [("p2", "V2", "not a code", "10", 1, None)]
        url = make_database(
            patient=PATIENTS_ROWS, visit=[*VISITS, BAD], note=NOTES_ROWS, diagnosis=codes
        )
        return extract_records(
            store=Store(store.home),
            database_url=url,
            site_mapping=site,
            keyword_pattern="rib",
            pseudonym_key=key,
        )

    return run


def opt_out(store: Store, key: str, *identifiers: str) -> None:
    forget_patients(
        store=Store(store.home), source="small", pseudonym_key=key, identifiers=identifiers
    )


def test_the_next_night_does_not_bring_a_patient_back(
    store: Store, key: str, extract: Callable[[], ExtractionSummary]
) -> None:
    assert extract().n_patients == 2
    opt_out(store, key, "p2")
    summary = extract()
    assert (summary.n_patients, summary.n_opted_out, summary.n_quarantined) == (1, 1, 0)
    now = Store(store.home)
    assert [t for t in (PATIENTS, ENCOUNTERS, NOTES) if now.read(t).num_rows != 1] == []
    assert now.read(QUARANTINE).num_rows == 0
    assert "p2" not in now.read(IDENTITIES)["source_identifier"].to_pylist()


def test_a_patient_may_opt_out_before_ever_being_read(
    store: Store, key: str, extract: Callable[[], ExtractionSummary]
) -> None:
    opt_out(store, key, "p2")
    assert extract().n_opted_out == 1


def test_films_of_the_patient_are_counted_and_left(
    store: Store, key: str, write_film: Callable[..., Path], tmp_path: Path
) -> None:
    write_film("a.dcm", PatientID="p1")
    write_film("b.dcm", PatientID="p2")
    opt_out(store, key, "p2")
    summary = ingest_images(
        store=Store(store.home),
        folder=tmp_path / "dicom",
        source="small",
        pseudonym_key=key,
        size_px=64,
        is_patient_required=False,
    )
    assert (summary.n_images, summary.n_opted_out, summary.n_quarantined) == (1, 1, 0)
    assert Store(store.home).read(IMAGES).num_rows == 1


def test_the_films_own_number_is_learnt_from_the_records(
    store: Store, site: SiteMapping, key: str, make_database: Callable[..., str]
) -> None:
    columns: dict[str, Any] = {
        "patient": ("no", "sex", "born", "chart"),
        "visit": ("visit_no", "no", "came", "went", "kind"),
        "diagnosis": ("no", "visit_no", "code", "version", "seq", "coded"),
        "note": (
            *("note_no", "no", "visit_no", "body", "charset", "kind", "signed", "written"),
            "accession",
        ),
    }
    patients = site.patients.model_copy(update={"imaging_patient": "chart"})
    opt_out(store, key, "p2")
    extract_records(
        store=Store(store.home),
        database_url=make_database(
            columns, patient=[("p1", "M", None, "C1"), ("p2", "F", None, "C2")]
        ),
        site_mapping=site.model_copy(update={"patients": patients}),
        keyword_pattern="rib",
        pseudonym_key=key,
    )
    opt_outs = OptOuts(Store(store.home), Pseudonymizer(key=key, source="small"))
    assert opt_outs.holds("C2")
    assert not opt_outs.holds("C1")
    assert not opt_outs.holds(None)


def test_the_list_tells_nothing_without_the_key(store: Store, key: str) -> None:
    opt_out(store, key, "p2")
    opt_out(store, key, "p2")
    (row,) = Store(store.home).read(OPT_OUTS).to_pylist()
    names = Pseudonymizer(key=key, source="small")
    assert row["opt_out_id"] not in {names.pseudonym("patient", "p2"), "p2"}
    assert row["opted_out_datetime"] <= datetime.now(UTC)
    other = Pseudonymizer(key="another key, long enough", source="small")
    assert not OptOuts(Store(store.home), other).holds("p2")
