from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from etl.linkage import link_images
from warehouse_schema.errors import ArgumentError
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGE_LINKS, IMAGES
from warehouse_schema.tables.records import ENCOUNTERS, NOTES

FILM = datetime(2015, 3, 10, 12, tzinfo=UTC)


def _stay(
    name: str, start_hours: float, end_hours: float | None, patient: str = "P1"
) -> dict[str, Any]:
    """A stay by its hours from the film."""
    return {
        "encounter_id": name,
        "patient_id": patient,
        "source": "small",
        "encounter_class": "emergency",
        "start_datetime": FILM + timedelta(hours=start_hours),
        "end_datetime": None if end_hours is None else FILM + timedelta(hours=end_hours),
        "is_synthetic": False,
    }


def _report(encounter: str) -> dict[str, Any]:
    return {
        "note_id": f"N-{encounter}",
        "patient_id": "P1",
        "encounter_id": encounter,
        "source": "small",
        "note_type": "chest_film_report",
        "note_series_id": "N",
        "note_version": 1,
        "status": "final",
        "accession_id": "A1",
        "note_datetime": FILM,
        "text": "",
        "text_sha256": "",
        "is_synthetic": False,
    }


CASES: list[tuple[str, list[dict[str, Any]], list[str], list[tuple[str, str, float]]]] = [
    ("within a stay", [_stay("a", -5, 5)], [], [("a", "contains", 0)]),
    ("an open stay", [_stay("a", -5, None)], [], [("a", "contains", 0)]),
    ("a stay that ended before", [_stay("a", -30, -10)], [], [("a", "window", 10)]),
    ("a stay that ended long before", [_stay("a", -300, -49)], [], []),
    ("a stay that begins after", [_stay("a", 20, 40)], [], [("a", "window", 20)]),
    ("a stay that begins long after", [_stay("a", 73, 99)], [], []),
    (
        "contains beats window",
        [_stay("a", 1, 9), _stay("b", -9, 9)],
        [],
        [("b", "contains", 0), ("a", "window", 1)],
    ),
    (
        "the report beats contains",
        [_stay("a", -9, 9), _stay("b", 10, 20)],
        ["b"],
        [("b", "accession", 10), ("a", "contains", 0)],
    ),
    (
        "the later of two stays",
        [_stay("a", -9, 9), _stay("b", -2, 9)],
        [],
        [("b", "contains", 0), ("a", "contains", 0)],
    ),
    (
        "the lesser id of equals",
        [_stay("b", -2, 9), _stay("a", -2, 8)],
        [],
        [("a", "contains", 0), ("b", "contains", 0)],
    ),
    (
        "the nearer of two windows",
        [_stay("a", -40, -20), _stay("b", 5, 9)],
        [],
        [("b", "window", 5), ("a", "window", 20)],
    ),
    ("another patient's stay", [_stay("a", -5, 5, "P2")], ["a"], []),
]


@pytest.mark.parametrize(
    ("stays", "reports", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_candidates_are_ranked_by_the_stated_rule(
    *,
    store: Store,
    put: Callable[..., None],
    make_image: Callable[..., dict[str, Any]],
    stays: list[dict[str, Any]],
    reports: list[str],
    expected: list[tuple[str, str, float]],
) -> None:
    put(IMAGES, [make_image("I1", acquired_datetime=FILM, accession_id="A1")])
    put(ENCOUNTERS, stays)
    put(NOTES, [_report(name) for name in reports])
    summary = link_images(store=store, hours_before=48, hours_after=72)
    links = sorted(store.read(IMAGE_LINKS).to_pylist(), key=lambda row: row["rank"])
    assert [
        (row["encounter_id"], row["reason"], row["distance_hours"]) for row in links
    ] == expected
    assert [row["is_chosen"] for row in links] == [True, False][: len(links)]
    assert (summary.n_linked, summary.n_ambiguous) == (bool(links), len(links) > 1)


def test_without_a_time_only_the_report_links(
    store: Store, put: Callable[..., None], make_image: Callable[..., dict[str, Any]]
) -> None:
    put(IMAGES, [make_image("I1", accession_id="A1"), make_image("I2")])
    put(ENCOUNTERS, [_stay("a", -5, 5), _stay("b", -5, None)])
    put(NOTES, [_report("a")])
    assert link_images(store=store, hours_before=1, hours_after=1).reasons == {"accession": 1}


def test_negative_hours_are_refused(store: Store) -> None:
    with pytest.raises(ArgumentError, match="hours_after is -1"):
        link_images(store=store, hours_before=0, hours_after=-1)
