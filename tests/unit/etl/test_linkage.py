from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from etl.cohorts.linkage import REASONS, LinkRule, link_images
from warehouse_schema.errors import ArgumentError
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.table import Table
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
    summary = link_images(store=store, rule=LinkRule(hours_before=48, hours_after=72))
    links = sorted(store.read(IMAGE_LINKS).to_pylist(), key=lambda row: row["rank"])
    assert [
        (row["encounter_id"], row["reason"], row["distance_hours"]) for row in links
    ] == expected
    assert [row["is_chosen"] for row in links] == [True, False][: len(links)]
    assert [row["lost_by"] is None for row in links] == [True, False][: len(links)]
    assert (summary.n_linked, summary.n_ambiguous) == (bool(links), len(links) > 1)


def test_without_a_time_only_the_report_links(
    store: Store, put: Callable[..., None], make_image: Callable[..., dict[str, Any]]
) -> None:
    put(IMAGES, [make_image("I1", accession_id="A1"), make_image("I2")])
    put(ENCOUNTERS, [_stay("a", -5, 5), _stay("b", -5, None)])
    put(NOTES, [_report("a")])
    assert link_images(store=store, rule=LinkRule(hours_before=1, hours_after=1)).reasons == {
        "accession": 1
    }


@pytest.mark.parametrize(
    ("prefer", "ties", "chosen", "lost_by"),
    [
        (REASONS, ("nearest",), "inside", ["reason", "reason"]),
        (("window", "contains", "accession"), ("nearest",), "near", ["nearest", "reason"]),
        (
            ("window", "contains", "accession"),
            ("latest_start",),
            "near",
            ["latest_start", "reason"],
        ),
        (
            ("window", "contains", "accession"),
            ("earliest_start",),
            "far",
            ["earliest_start", "reason"],
        ),
        (("window", "contains", "accession"), (), "far", ["encounter_id", "reason"]),
    ],
)
def test_the_rule_orders_reasons_and_ties(
    *,
    store: Store,
    put: Callable[..., None],
    make_image: Callable[..., dict[str, Any]],
    prefer: tuple[str, ...],
    ties: tuple[str, ...],
    chosen: str,
    lost_by: list[str],
) -> None:
    put(IMAGES, [make_image("I1", acquired_datetime=FILM)])
    put(ENCOUNTERS, [_stay("far", -40, -30), _stay("near", -20, -10), _stay("inside", -5, 5)])
    rule = LinkRule(hours_before=48, hours_after=48, prefer=prefer, ties=ties)
    link_images(store=store, rule=rule)
    links = sorted(store.read(IMAGE_LINKS).to_pylist(), key=lambda row: row["rank"])
    assert links[0]["encounter_id"] == chosen
    assert [row["lost_by"] for row in links[1:]] == lost_by


@pytest.mark.parametrize("seed", range(4))
def test_after_any_changes_the_links_are_those_of_linking_all(
    *,
    store: Store,
    tmp_path: Path,
    put: Callable[..., None],
    make_image: Callable[..., dict[str, Any]],
    seed: int,
) -> None:
    generator = np.random.default_rng(seed)

    def some(n: int) -> list[int]:
        return generator.permutation(6)[: generator.integers(1, n)].tolist()

    def publish(target: Store) -> None:
        for table, rows in state.items():
            with target.commit(stage="extract") as commit:
                commit.replace(
                    table, pa.Table.from_pylist(list(rows.values()), schema=table.schema)
                )

    state: dict[Table, dict[str, dict[str, Any]]] = {IMAGES: {}, ENCOUNTERS: {}, NOTES: {}}
    rule = LinkRule(hours_before=20, hours_after=20)
    n_linked = []
    for number in range(8):
        for k in some(4):
            hours = int(generator.integers(-40, 40))
            state[ENCOUNTERS][f"E{k}"] = _stay(f"E{k}", hours, hours + 8, f"P{k % 3}")
            film = FILM + timedelta(hours=int(generator.integers(-9, 9)))
            state[IMAGES][f"I{k}"] = make_image(
                f"I{k}", patient_id=f"P{k % 3}", acquired_datetime=film, accession_id=f"A{k}"
            )
        for k in some(3):
            note = _report(f"E{k}") | {"patient_id": f"P{k % 3}", "accession_id": f"A{k}"}
            state[NOTES][f"N{k}"] = note
        for rows in state.values():
            for key in list(rows)[: int(generator.random() < 0.4)]:
                del rows[key]
        publish(store)
        n_linked.append(link_images(store=store, rule=rule).n_patients_linked)
        fresh = Store(Home(tmp_path / f"fresh{number}"))
        publish(fresh)
        summary = link_images(store=fresh, rule=rule)
        assert store.read(IMAGE_LINKS).equals(fresh.read(IMAGE_LINKS))
        again = link_images(store=store, rule=rule)
        assert again.n_patients_linked == 0
        assert (again.n_images, again.n_linked, again.n_ambiguous, again.reasons) == (
            summary.n_images,
            summary.n_linked,
            summary.n_ambiguous,
            summary.reasons,
        )
    assert min(n_linked) < 3


def test_a_night_without_changes_links_and_writes_nothing(
    store: Store, put: Callable[..., None], make_image: Callable[..., dict[str, Any]]
) -> None:
    put(IMAGES, [make_image("I1", acquired_datetime=FILM)])
    put(ENCOUNTERS, [_stay("a", -5, 5)])
    rule = LinkRule(hours_before=1, hours_after=1)
    assert link_images(store=store, rule=rule).n_patients_linked == 1
    version = store.manifest().version
    assert link_images(store=store, rule=rule).n_patients_linked == 0
    assert store.manifest().version == version
    other = LinkRule(hours_before=2, hours_after=1)
    assert link_images(store=store, rule=other).n_patients_linked == 1


WRONG_RULES: list[tuple[dict[str, Any], str]] = [
    ({"hours_after": -1}, "hours_after is -1"),
    ({"hours_before": float("nan")}, "hours_before is nan"),
    ({"prefer": ("accession", "window")}, "prefer is accession, window; give accession, contains"),
    ({"ties": ("nearest", "oldest")}, "ties names oldest; allowed: nearest"),
]


@pytest.mark.parametrize(("values", "message"), WRONG_RULES)
def test_a_wrong_rule_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        LinkRule(**{"hours_before": 0, "hours_after": 0, **values})
