"""What source-check finds on small databases, and that it tells nothing of a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import date

import pytest

from etl.records.site_mapping import SiteMapping
from etl.records.source_check import SectionCheck, SourceCheck, check_source
from warehouse_schema.errors import SourceError

PATIENTS = [("Canary-1", "F", "1950-01-02"), ("Canary-2", "M", None), (None, "F", None)]
VISITS = [
    ("V1", "Canary-1", "2015-03-01 08:00:00", "2015-03-05 12:00:00", "E"),
    ("V2", "Canary-1", "2015-02-01 08:00:00", None, "Canary ward"),
    ("V2", "Canary-2", "last Monday", None, None),
]
CODES = [
    ("Canary-1", "V1", "80703", "9", 1, "2015-03-05"),
    ("Canary-1", "V1", "S22.4", "SNOMED", 1, None),
    ("Canary-1", "V1", "S22.4", "SNOMED", 2, None),
    ("Canary-1", "V1", "S22.4", "Canary Smith", 2, None),
]
NOTES = [
    ("N1", "Canary-1", "V1", "Rib fracture of Canary.", None, "CXR", None, "2015-03-01 09:00", "A"),
    ("N2", "Canary-1", "V1", "骨折".encode("cp950"), "cp950", "X", None, "2015-04-01", "A"),
    ("N3", "Canary-1", "V1", "骨折".encode("cp950"), None, "X", None, "2015-04-01", "A"),
    ("N4", "Canary-1", "V1", "fracture", "klingon", "X", None, "2015-04-01", "A"),
]


@pytest.fixture
def check(
    make_database: Callable[..., str], site: SiteMapping
) -> Callable[..., dict[str, SectionCheck]]:
    def run(**rows: object) -> dict[str, SectionCheck]:
        found = check_source(database_url=make_database(**rows), site_mapping=site)
        return {each.section: each for each in found.sections}

    return run


@pytest.fixture
def found(check: Callable[..., dict[str, SectionCheck]]) -> dict[str, SectionCheck]:
    return check(patient=PATIENTS, visit=VISITS, diagnosis=CODES, note=NOTES)


def test_rows_identifiers_and_columns_are_counted(found: dict[str, SectionCheck]) -> None:
    counted = {
        name: (
            each.n_columns_found, each.n_rows, each.n_without_identifier,
            each.n_repeated_identifiers,
        )
        for name, each in found.items()
    }  # fmt: skip
    assert counted == {
        "patients": (3, 3, 1, 0),
        "encounters": (5, 3, 0, 1),
        "diagnoses[0]": (6, 4, 0, None),
        "notes[0]": (9, 4, 0, 0),
    }
    assert {each.missing for each in found.values()} == {()}


def test_code_systems_are_named_and_other_values_counted(found: dict[str, SectionCheck]) -> None:
    (systems,) = found["diagnoses[0]"].values
    assert systems.mapped == {"ICD9CM": 1}
    assert (systems.n_unmapped, systems.n_unmapped_values) == (3, 2)
    assert systems.unmapped_code_systems == {"SNOMED": 2}


def test_dates_have_a_range_and_unreadable_ones_a_count(found: dict[str, SectionCheck]) -> None:
    start, end = found["encounters"].dates
    assert (start.key, start.earliest, start.latest, start.n_unreadable) == (
        "start", date(2015, 2, 1), date(2015, 3, 1), 1,
    )  # fmt: skip
    assert (end.earliest, end.latest, end.n_unreadable) == (date(2015, 3, 5), date(2015, 3, 5), 0)
    assert found["patients"].dates == ()


def test_text_that_is_not_valid_in_its_encoding_is_counted(
    found: dict[str, SectionCheck],
) -> None:
    notes = found["notes[0]"]
    assert (notes.n_sampled, notes.n_undecodable) == (4, 2)
    assert notes.encodings == {"utf-8": 2, "cp950": 1, "unknown to Python": 1}


def test_nothing_of_a_person_is_in_it(found: dict[str, SectionCheck]) -> None:
    told = str([asdict(each) for each in found.values()])
    for word in ("Canary", "1950", "V1", "N1", "Smith", "ward", "80703"):
        assert word not in told


@pytest.mark.parametrize(
    ("columns", "section", "missing"),
    [
        ({"patient": ("no", "sex", "born")}, "encounters", ("table visit",)),
        (
            {"patient": ("no", "gender", "born"), "visit": ("visit_no", "no", "kind")},
            "patients",
            ("sex = sex",),
        ),
        ({"visit": ("visit_no", "no", "kind")}, "encounters", ("start = came", "end = went")),
    ],
)
def test_what_is_missing_is_named_section_by_section(
    make_database: Callable[..., str],
    site: SiteMapping,
    columns: dict[str, tuple[str, ...]],
    section: str,
    missing: tuple[str, ...],
) -> None:
    found: SourceCheck = check_source(database_url=make_database(columns), site_mapping=site)
    assert not found.is_complete
    assert {each.section: each for each in found.sections}[section].missing == missing


def test_a_database_without_patients_is_not_complete(
    make_database: Callable[..., str], site: SiteMapping
) -> None:
    assert not check_source(database_url=make_database(), site_mapping=site).is_complete
    url = make_database(patient=PATIENTS)
    assert check_source(database_url=url, site_mapping=site).is_complete


def test_an_unreachable_database_is_one_clear_line(site: SiteMapping) -> None:
    with pytest.raises(SourceError, match="no SQLite file"):
        check_source(database_url="sqlite:////nowhere/x.sqlite", site_mapping=site)
