import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etl.records.extraction import ExtractionSummary, extract_records
from etl.records.site_mapping import SiteMapping, load_site_mapping
from warehouse_schema.errors import ConfigurationError, SourceError
from warehouse_schema.store import Store
from warehouse_schema.tables.records import DIAGNOSES, ENCOUNTERS, IDENTITIES, NOTES, PATIENTS
from warehouse_schema.tables.runs import QUARANTINE

PATIENT = ("Canary-77", "F", "1950-01-02")
VISIT = ("V1", "Canary-77", "2015-03-01 08:00:00", "2015-03-05 12:00:00", "E")
CODE = ("Canary-77", "V1", "807.03", "9", 1, "2015-03-05")
NOTE = (
    "N1", "Canary-77", "V1", "Rib fracture seen.", None, "CXR", None, "2015-03-01 09:00", "ACC1",
)  # fmt: skip


@pytest.fixture
def extract(store: Store, site: SiteMapping, key: str) -> Callable[..., ExtractionSummary]:
    def run(url: str, mapping: SiteMapping | str = site) -> ExtractionSummary:
        return extract_records(
            store=store,
            database_url=url,
            site_mapping=mapping,
            keyword_pattern="(?i)fract|骨折",
            pseudonym_key=key,
        )

    return run


def test_a_patient_is_extracted_under_a_pseudonym_with_intervals_kept(
    store: Store, make_database: Callable[..., str], extract: Callable[..., ExtractionSummary]
) -> None:
    summary = extract(
        make_database(patient=[PATIENT], visit=[VISIT], diagnosis=[CODE], note=[NOTE])
    )
    assert (summary.n_patients, summary.n_encounters, summary.n_diagnoses) == (1, 1, 1)
    assert (summary.n_notes_read, summary.n_notes, summary.n_quarantined) == (1, 1, 0)
    (visit,) = store.read(ENCOUNTERS).to_pylist()
    (note,) = store.read(NOTES).to_pylist()
    (code,) = store.read(DIAGNOSES).to_pylist()
    assert visit["end_datetime"] - visit["start_datetime"] == timedelta(days=4, hours=4)
    assert note["note_datetime"] - visit["start_datetime"] == timedelta(hours=1)
    assert visit["start_datetime"].year in (2014, 2015)
    assert (code["vocabulary"], code["diagnosis_code"], code["position"]) == ("ICD9CM", "807.03", 1)
    assert code["encounter_id"] == note["encounter_id"] == visit["encounter_id"]
    assert (note["note_type"], note["text"]) == ("chest_film_report", "Rib fracture seen.")
    (identity,) = store.read(IDENTITIES, where={"kind": "patient"}).to_pylist()
    assert identity["source_identifier"] == "Canary-77"
    assert identity["pseudonym"] == visit["patient_id"]


def test_no_identifier_reaches_the_shareable_warehouse(
    store: Store, make_database: Callable[..., str], extract: Callable[..., ExtractionSummary]
) -> None:
    orphan = ("Canary-88", "V9", "80703", "9", 1, None)
    extract(make_database(patient=[PATIENT], visit=[VISIT], diagnosis=[CODE, orphan], note=[NOTE]))
    files = [path for path in store.home.warehouse.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if b"Canary" in path.read_bytes()]
    assert "Canary" not in str(store.read(QUARANTINE).to_pylist())


BAD_ROWS = [
    ("patient", (None, "F", None), "patient identifier is missing"),
    ("patient", PATIENT, "a second row for the same patient"),
    ("visit", ("V2", "p9", "2015-01-01", None, "E"), "the patient is not in the patients table"),
    ("visit", ("V2", "Canary-77", None, None, "E"), "start is missing"),
    (
        "visit",
        ("V2", "Canary-77", "2015-01-02", "2015-01-01", "E"),
        "the encounter ends before it starts",
    ),
    (
        "diagnosis",
        ("Canary-77", "V1", "rib", "9", 1, None),
        "the code does not have the shape of ICD9CM",
    ),
    (
        "diagnosis",
        ("Canary-77", "V1", "80703", "8", 1, None),
        "the code system is not one of the mapping's",
    ),
    (
        "diagnosis",
        ("Canary-77", "V7", "80703", "9", 1, None),
        "the encounter is not in the encounters table",
    ),
    ("diagnosis", ("Canary-77", "V1", None, "9", 1, None), "code is missing"),
    ("diagnosis", CODE, "a second row for the same diagnosis"),
    ("diagnosis", ("Canary-77", "V1", "80703", "9", "one", None), "position is not a whole number"),
    (
        "note",
        ("N2", "Canary-77", None, "fracture", None, "X", None, None, None),
        "note date is missing",
    ),
    (
        "note",
        ("N2", "Canary-77", None, "骨折".encode("cp950"), None, "X", "2015-01-01", None, None),
        "text is not valid utf-8",
    ),
    (
        "note",
        ("N2", "Canary-77", None, None, None, "X", "2015-01-01", None, None),
        "the note has no text",
    ),
]


@pytest.mark.parametrize(("table", "row", "reason"), BAD_ROWS)
def test_an_unusable_row_is_counted_and_the_rest_goes_on(
    *,
    store: Store,
    make_database: Callable[..., str],
    extract: Callable[..., ExtractionSummary],
    table: str,
    row: tuple[object, ...],
    reason: str,
) -> None:
    rows = {"patient": [PATIENT], "visit": [VISIT], "diagnosis": [CODE], "note": [NOTE]}
    rows[table] = [*rows[table], row]  # type: ignore[list-item]
    summary = extract(make_database(**rows))
    assert summary.quarantine_reasons == {reason: 1}
    assert store.read(QUARANTINE)["reason"].to_pylist() == [reason]
    assert (summary.n_patients, summary.n_encounters, summary.n_diagnoses, summary.n_notes) == (
        1, 1, 1, 1,
    )  # fmt: skip


def test_a_patient_of_another_encounter_is_set_aside(
    make_database: Callable[..., str], extract: Callable[..., ExtractionSummary]
) -> None:
    other = ("p2", "M", None)
    code = ("p2", "V1", "80703", "9", 1, None)
    summary = extract(make_database(patient=[PATIENT, other], visit=[VISIT], diagnosis=[code]))
    assert summary.quarantine_reasons == {"the patient is not that of the encounter": 1}


def test_the_prefilter_sees_decoded_text_and_drops_notes_without_a_keyword(
    store: Store, make_database: Callable[..., str], extract: Callable[..., ExtractionSummary]
) -> None:
    def note(number: str, body: object, charset: str | None) -> tuple[object, ...]:
        return (number, "Canary-77", "V1", body, charset, "X", "2015-03-01", None, None)

    notes = [
        note("1", "疑似右側鎖骨骨折".encode("cp950"), "cp950"),
        note("2", "左側肋骨骨折", None),
        note("3", "no acute disease", None),
        note("4", "正常".encode("cp950"), "cp950"),
    ]
    summary = extract(make_database(patient=[PATIENT], visit=[VISIT], note=notes))
    assert (summary.n_notes_read, summary.n_notes, summary.n_quarantined) == (4, 2, 0)
    assert set(store.read(NOTES)["text"].to_pylist()) == {"疑似右側鎖骨骨折", "左側肋骨骨折"}


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30), max_size=5
    )
)
def test_every_note_with_a_keyword_is_kept_as_it_stands(
    store: Store,
    make_database: Callable[..., str],
    extract: Callable[..., ExtractionSummary],
    texts: list[str],
) -> None:
    bodies = [text + "Fracture" + text for text in texts]
    notes = [
        (str(n), "Canary-77", None, body, None, "X", "2015-03-01", None, None)
        for n, body in enumerate(bodies)
    ]
    extract(make_database(patient=[PATIENT], visit=[VISIT], note=notes))
    assert sorted(store.read(NOTES)["text"].to_pylist()) == sorted(bodies)


def test_the_same_night_twice_gives_the_same_tables_and_corrections_replace(
    store: Store, make_database: Callable[..., str], extract: Callable[..., ExtractionSummary]
) -> None:
    rows = {
        "patient": [PATIENT],
        "visit": [VISIT],
        "diagnosis": [CODE, ("Canary-77",) + ("x",) * 5],
    }
    extract(make_database(**rows))
    before = [store.read(table) for table in (PATIENTS, ENCOUNTERS, DIAGNOSES, QUARANTINE)]
    extract(make_database(**rows))
    after = [store.read(table) for table in (PATIENTS, ENCOUNTERS, DIAGNOSES, QUARANTINE)]
    assert before == after
    extract(make_database(patient=[PATIENT], visit=[VISIT]))
    assert store.read(DIAGNOSES).num_rows == store.read(QUARANTINE).num_rows == 0


def test_patients_over_89_lose_their_birth_date(
    store: Store, make_database: Callable[..., str], extract: Callable[..., ExtractionSummary]
) -> None:
    patients = [("a", "M", "1925-03-02"), ("b", "M", "1925-02-28"), ("c", "M", "2016-01-01")]
    visits = [(f"V{p[0]}", p[0], "2015-03-01", None, "E") for p in patients]
    summary = extract(make_database(patient=patients, visit=visits))
    over = [row for row in store.read(PATIENTS).to_pylist() if row["is_over_89"]]
    assert len(over) == 1
    assert over[0]["birth_datetime"] is None
    assert summary.quarantine_reasons == {"birth date after the first encounter: left out": 1}


def test_an_unreadable_birth_date_costs_nobody_the_patient(
    store: Store, make_database: Callable[..., str], extract: Callable[..., ExtractionSummary]
) -> None:
    summary = extract(make_database(patient=[("a", "M", "last spring")]))
    assert store.read(PATIENTS)["birth_datetime"].to_pylist() == [None]
    assert summary.quarantine_reasons == {
        "birth date is no date in the mapping's formats: left out": 1
    }


def test_a_two_digit_birth_year_falls_before_the_first_encounter(
    store: Store,
    make_database: Callable[..., str],
    extract: Callable[..., ExtractionSummary],
    site: SiteMapping,
) -> None:
    mapping = site.model_copy(
        update={"datetime_formats": ("%m/%d/%y %H:%M",), "two_digit_year_from": 2100}
    )
    url = make_database(
        patient=[("a", "F", "3/5/94 0:00")],
        visit=[("V", "a", "10/23/64 21:09", "11/1/64 17:15", "E")],
    )
    assert extract(url, mapping).n_quarantined == 0
    birth = store.read(PATIENTS)["birth_datetime"][0].as_py()
    assert birth.year in (2093, 2094)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"patient": ("no", "sex", "born")},
            "key encounters.table: the database has no table visit",
        ),
        (
            {"patient": ("no", "gender", "born")},
            "key patients.sex: table patient has no column sex. It has: born, gender",
        ),
    ],
)
def test_a_missing_table_or_column_names_the_mapping_key(
    store: Store,
    make_database: Callable[..., str],
    extract: Callable[..., ExtractionSummary],
    columns: dict[str, tuple[str, ...]],
    message: str,
) -> None:
    with pytest.raises(SourceError, match=message):
        extract(make_database(columns))
    assert store.manifest().version == 0


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:////nowhere/else.sqlite", "no SQLite file else.sqlite"),
        ("postgresql+psycopg://me:hunter2@127.0.0.1:1/db", "cannot read"),
        ("not a url", "not a SQLAlchemy URL"),
        ("klingon://host/db", "not a SQLAlchemy URL"),
    ],
)
def test_an_unreachable_database_is_one_clear_line(
    extract: Callable[..., ExtractionSummary], url: str, message: str
) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        extract(url)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_one_clear_line(
    tmp_path: Path, extract: Callable[..., ExtractionSummary]
) -> None:
    (tmp_path / "no.sqlite").write_text("Canary " * 500)
    with pytest.raises(SourceError, match="cannot read") as caught:
        extract(f"sqlite:///{tmp_path / 'no.sqlite'}")
    assert "Canary" not in str(caught.value)


def test_a_database_without_patients_leaves_the_warehouse_as_it_was(
    store: Store, make_database: Callable[..., str], extract: Callable[..., ExtractionSummary]
) -> None:
    extract(make_database(patient=[PATIENT], visit=[VISIT]))
    with pytest.raises(SourceError, match="no readable patient"):
        extract(make_database())
    assert store.read(PATIENTS).num_rows == 1


def test_a_pattern_that_re2_refuses_is_named(
    store: Store, make_database: Callable[..., str], site: SiteMapping, key: str
) -> None:
    with pytest.raises(ConfigurationError, match="keyword_pattern"):
        extract_records(
            store=store,
            database_url=make_database(patient=[PATIENT], visit=[VISIT], note=[NOTE]),
            site_mapping=site,
            keyword_pattern="(?<=a)b",
            pseudonym_key=key,
        )


def test_the_source_is_opened_read_only(
    tmp_path: Path, make_database: Callable[..., str], extract: Callable[..., ExtractionSummary]
) -> None:
    url = make_database(patient=[PATIENT], visit=[VISIT])
    path = tmp_path / "small.sqlite"
    before = path.read_bytes()
    path.chmod(0o444)
    assert extract(url).n_patients == 1
    assert path.read_bytes() == before


def test_omop_joins_the_concept_that_names_the_code_system(
    tmp_path: Path, store: Store, key: str
) -> None:
    path = tmp_path / "omop.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            """
            CREATE TABLE person (person_id, gender_concept_id, birth_datetime, person_source_value);
            CREATE TABLE visit_occurrence (visit_occurrence_id, person_id, visit_concept_id,
              visit_start_date, visit_start_datetime, visit_end_date, visit_end_datetime);
            CREATE TABLE concept (concept_id, vocabulary_id);
            CREATE TABLE condition_occurrence (condition_occurrence_id, person_id,
              visit_occurrence_id, condition_source_value, condition_source_concept_id,
              condition_start_date, condition_start_datetime);
            CREATE TABLE note (note_id, person_id, visit_occurrence_id, note_text, note_date,
              note_datetime, note_title, note_class_concept_id);
            INSERT INTO person VALUES (1, 8532, '1960-01-01 00:00:00', 'MRN-1');
            INSERT INTO visit_occurrence VALUES
              (5, 1, 9203, '2015-03-01', NULL, '2015-03-02', NULL);
            INSERT INTO concept VALUES (70, 'ICD10CM'), (71, 'ICD9CM'), (72, 'SNOMED');
            INSERT INTO condition_occurrence VALUES
              (1, 1, 5, 'S22.41XA', 70, '2015-03-01', NULL),
              (2, 1, 5, '80703', 71, '2015-03-01', NULL),
              (3, 1, 5, '20946005', 72, '2015-03-01', NULL);
            INSERT INTO note VALUES (9, 1, 5, 'rib fracture', '2015-03-01', NULL, 'CXR PA', 0);
            """
        )
    connection.close()
    summary = extract_records(
        store=store,
        database_url=f"sqlite:///{path}",
        site_mapping=load_site_mapping("omop_cdm_5_4"),
        keyword_pattern="fracture",
        pseudonym_key=key,
    )
    assert sorted(store.read(DIAGNOSES)["vocabulary"].to_pylist()) == ["ICD10CM", "ICD9CM"]
    assert summary.quarantine_reasons == {"the code system is not one of the mapping's": 1}
    assert store.read(NOTES)["note_type"].to_pylist() == ["chest_film_report"]
    assert store.read(ENCOUNTERS)["encounter_class"].to_pylist() == ["emergency"]
    imaging = store.read(IDENTITIES, where={"kind": "imaging_patient"}).to_pylist()
    assert [row["source_identifier"] for row in imaging] == ["MRN-1"]
