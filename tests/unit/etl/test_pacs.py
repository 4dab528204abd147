"""What of the pull needs no PACS: hours, rate, worklist, files."""

from __future__ import annotations

import time as clock
from collections.abc import Callable
from datetime import UTC, datetime, time
from io import BytesIO
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from etl.pacs.archive import RefusedRequestError
from etl.pacs.pace import Pace, PullHours
from etl.pacs.part10 import join_part10, split_part10
from etl.pacs.worklist import plan_queries
from warehouse_schema.errors import ArgumentError
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables.pacs import PACS_QUERIES
from warehouse_schema.tables.records import IDENTITIES, PATIENTS

Put = Callable[[Table, list[dict[str, Any]]], None]


@pytest.mark.parametrize(
    ("hours", "inside", "outside"),
    [
        ("22:00-06:00", ["22:00", "23:59", "00:00", "05:59"], ["06:00", "12:00", "21:59"]),
        ("01:30-04:00", ["01:30", "03:59"], ["01:29", "04:00", "23:00"]),
        ("00:00-00:00", ["00:00", "12:00"], []),
    ],
)
def test_hours_may_run_over_midnight(hours: str, inside: list[str], outside: list[str]) -> None:
    parsed = PullHours.parse(hours)
    for text in inside + outside:
        moment = datetime.combine(datetime(2026, 1, 1, tzinfo=UTC), time.fromisoformat(text))
        assert parsed.contain(moment) is (text in inside)


@pytest.mark.parametrize("text", ["", "22-06", "22:00", "25:00-06:00", "22:00-06:60", "a:b-c:d"])
def test_malformed_hours_are_told_with_an_example(text: str) -> None:
    with pytest.raises(ArgumentError, match=r"for example 22:00-06:00"):
        PullHours.parse(text)


def test_the_pace_is_kept() -> None:
    with Pace(50) as pace:
        started = clock.monotonic()
        pace.wait(11)
        assert clock.monotonic() - started >= 10 / 50
    with Pace(None) as pace:
        pace.wait(10**6)


@pytest.mark.parametrize("rate", [0, -1, 1001])
def test_a_rate_outside_its_range_is_refused(rate: float) -> None:
    with pytest.raises(ArgumentError, match="pacs_instances_per_second"):
        Pace(rate)


def test_a_file_has_the_data_set_as_sent_and_our_meta_information(
    make_film: Callable[..., Dataset],
) -> None:
    buffer = BytesIO()
    make_film().save_as(buffer, enforce_file_format=True)
    instance = split_part10(buffer.getvalue())
    content = join_part10(instance)
    assert split_part10(content) == instance
    assert content.endswith(instance.data_set)
    assert pydicom.dcmread(BytesIO(content)).PixelData == make_film().PixelData


@pytest.mark.parametrize("content", [b"", b"<html>", bytes(128) + b"DICM", bytes(4096)])
def test_what_is_no_file_is_refused(content: bytes) -> None:
    with pytest.raises(RefusedRequestError, match="not a DICOM file"):
        split_part10(content)


def _patient(number: int) -> dict[str, Any]:
    return {
        "patient_id": f"P{number}",
        "source": "small",
        "is_over_89": False,
        "is_synthetic": False,
    }


def _identity(kind: str, pseudonym: str, identifier: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "pseudonym": pseudonym,
        "source": "small",
        "source_identifier": identifier,
        "date_shift_days": -1,
    }


def test_patients_are_asked_for_by_their_imaging_numbers_the_longest_unasked_first(
    store: Store, put: Put
) -> None:
    put(PATIENTS, [_patient(n) for n in (1, 2, 3)])
    put(
        IDENTITIES,
        [_identity("patient", f"P{n}", f"emr{n}") for n in (1, 2, 3)]
        + [_identity("imaging_patient", f"P{n}", f"chart{n}") for n in (1, 2, 3)],
    )
    asked = {"kind": "patient", "source": "small", "n_studies": 0}
    put(
        PACS_QUERIES,
        [
            {
                **asked,
                "pseudonym": f"P{n}",
                "patient_id": f"P{n}",
                "asked_datetime": datetime(2026, 1, 4 - n, tzinfo=UTC),
            }
            for n in (1, 2)
        ],
    )
    queries = plan_queries(store=store, source="small", pull_by="patients")
    assert [query.keys for query in queries] == [
        {"PatientID": "chart3"},
        {"PatientID": "chart2"},
        {"PatientID": "chart1"},
    ]
    assert plan_queries(store=store, source="other", pull_by="patients") == []


def test_an_identifier_with_a_wildcard_is_never_sent(store: Store, put: Put) -> None:
    put(PATIENTS, [_patient(1)])
    put(IDENTITIES, [_identity("patient", "P1", "T00*")])
    (query,) = plan_queries(store=store, source="small", pull_by="patients")
    assert query.is_unsafe
