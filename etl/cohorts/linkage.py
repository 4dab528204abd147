"""Which encounter a film belongs to, by a stated rule; every candidate is kept.

Candidates are encounters of the film's own patient, by one of these reasons:

* ``accession``: a report on the film's accession number was written in it;
* ``contains``: the film was taken within the stay (an open stay has no end yet);
* ``window``: the stay ended up to ``hours_before`` before the film, or began up to
  ``hours_after`` after it.

Which reason goes first, and what settles ties, is a ``LinkRule``, which the label definitions
give; the lesser encounter_id settles what remains.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from warehouse_schema.code_version import code_hash
from warehouse_schema.errors import ArgumentError, WarehouseError
from warehouse_schema.manifest import Manifest
from warehouse_schema.previous_run import PreviousRun, changed_values, previous_run
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables.imaging import IMAGE_LINKS, IMAGES
from warehouse_schema.tables.records import ENCOUNTERS, NOTES

STAGE = "link"
REASONS = ("accession", "contains", "window")
Row = dict[str, Any]
TIES: Mapping[str, Callable[[float, datetime], float]] = {
    "nearest": lambda distance, start: distance,
    "latest_start": lambda distance, start: -start.timestamp(),
    "earliest_start": lambda distance, start: start.timestamp(),
}
# The columns that the rule looks at, by table.
_READ: tuple[tuple[Table, list[str]], ...] = (
    (IMAGES, ["image_id", "patient_id", "accession_id", "acquired_datetime"]),
    (ENCOUNTERS, ["encounter_id", "patient_id", "start_datetime", "end_datetime"]),
    (NOTES, ["note_id", "patient_id", "accession_id", "encounter_id"]),
)


@dataclass(frozen=True, kw_only=True)
class LinkRule:
    """How a film finds its encounter.

    Attributes:
        hours_before: How long before the film a stay may have ended.
        hours_after: How long after the film a stay may begin.
        prefer: Every reason, the strongest first.
        ties: Names of ``TIES``, the first decides first.

    Raises:
        ArgumentError: A number of hours is negative, or a name is unknown or missing.
    """

    hours_before: float
    hours_after: float
    prefer: tuple[str, ...] = REASONS
    ties: tuple[str, ...] = ("nearest", "latest_start")

    def __post_init__(self) -> None:
        for name in ("hours_before", "hours_after"):
            if not getattr(self, name) >= 0:
                raise ArgumentError(f"{name} is {getattr(self, name)}; give hours, 0 or more.")
        if sorted(self.prefer) != sorted(REASONS):
            raise ArgumentError(
                f"prefer is {', '.join(self.prefer)}; give {', '.join(REASONS)}, each once."
            )
        unknown = sorted(set(self.ties) - set(TIES))
        if unknown:
            raise ArgumentError(f"ties names {', '.join(unknown)}; allowed: {', '.join(TIES)}.")


@dataclass(frozen=True, kw_only=True)
class LinkSummary:
    """What the links are after a run.

    Attributes:
        n_images: Images.
        n_linked: Images with a chosen encounter.
        n_ambiguous: Linked images that had more than one candidate.
        n_patients_linked: Patients whose films were linked now; the others had not changed.
        reasons: Chosen links by reason.
    """

    n_images: int
    n_linked: int
    n_ambiguous: int
    n_patients_linked: int
    reasons: Mapping[str, int] = field(default_factory=dict)


def link_images(*, store: Store, rule: LinkRule) -> LinkSummary:
    """Bring ``image_links`` up to date: every image and its candidate encounters.

    Only patients are linked whose films, stays or reports changed since the last run by this rule;
    the result is that of linking all.
    """
    manifest = store.manifest()
    configuration = {**asdict(rule), "code_hash": code_hash(Path(__file__))}
    previous = previous_run(store, STAGE, configuration)
    patients = _changed_patients(store, manifest, previous)
    where = None if patients is None else {"patient_id": patients}
    images, encounters, notes = (
        store.read(table, columns=columns, where=where, at=manifest.version)
        for table, columns in _READ
    )
    if where is None or len(where["patient_id"]):
        replaced = (
            None if where is None else {"image_id": _seen_images(store, previous, images, where)}
        )
        rows = _link_all(images, encounters, notes, rule)
        with store.commit(stage=STAGE, configuration=configuration, is_recorded=True) as commit:
            commit.uses(*(table for table, _ in _READ), at=manifest.version)
            new = pa.Table.from_pylist(rows, schema=IMAGE_LINKS.schema)
            commit.replace(IMAGE_LINKS, new, where=replaced)
    return _summary(store, len(images["patient_id"].unique()))


def _changed_patients(
    store: Store, manifest: Manifest, previous: PreviousRun | None
) -> pa.Array | None:
    """Patients to link again; None for all."""
    if previous is None:
        return None
    try:
        changed = [
            changed_values(
                store, table, "patient_id", since=previous, now=manifest, columns=columns
            )
            for table, columns in _READ
        ]
    except WarehouseError:
        return None
    return pc.unique(pa.concat_arrays(changed))


def _seen_images(
    store: Store, previous: PreviousRun | None, images: pa.Table, where: Mapping[str, object]
) -> pa.Array:
    """Images of some patients, those included that are there no more."""
    assert previous is not None
    before = store.read_version(IMAGES, previous.inputs[IMAGES.name], ["image_id"], where)
    return pa.concat_tables([before, images.select(["image_id"])])["image_id"].unique()


def _summary(store: Store, n_patients_linked: int) -> LinkSummary:
    manifest = store.manifest()
    links = store.read(IMAGE_LINKS, columns=["rank", "reason"], at=manifest.version)
    chosen = links.filter(pc.field("rank") == 1)
    images = manifest.tables.get(IMAGES.name)
    counts = {
        each["values"]: each["counts"] for each in chosen["reason"].value_counts().to_pylist()
    }
    return LinkSummary(
        n_images=0 if images is None else images.n_rows,
        n_linked=chosen.num_rows,
        n_ambiguous=links.filter(pc.field("rank") == 2).num_rows,
        n_patients_linked=n_patients_linked,
        reasons={reason: counts[reason] for reason in REASONS if reason in counts},
    )


def _link_all(images: pa.Table, encounters: pa.Table, notes: pa.Table, rule: LinkRule) -> list[Row]:
    stays: dict[str, list[Row]] = defaultdict(list)
    for encounter in encounters.to_pylist():
        stays[encounter["patient_id"]].append(encounter)
    reported: dict[str, set[str]] = defaultdict(set)
    for accession_id, encounter_id in zip(
        notes["accession_id"].to_pylist(), notes["encounter_id"].to_pylist(), strict=True
    ):
        if accession_id is not None and encounter_id is not None:
            reported[accession_id].add(encounter_id)
    rows: list[Row] = []
    for image in images.to_pylist():
        rows += _rank(image, stays[image["patient_id"]], reported, rule)
    return rows


def _rank(
    image: Row, encounters: list[Row], reported: Mapping[str, set[str]], rule: LinkRule
) -> list[Row]:
    """Link rows of one image, best candidate first."""
    by_report = reported.get(image["accession_id"], set())
    candidates = []
    for encounter in encounters:
        hours = _hours_from_stay(image["acquired_datetime"], encounter)
        reason = None
        if encounter["encounter_id"] in by_report:
            reason = "accession"
        elif hours == 0:
            reason = "contains"
        elif hours is not None and -rule.hours_after <= hours <= rule.hours_before:
            reason = "window"
        if reason is not None:
            distance = abs(hours or 0.0)
            candidates.append((_place(reason, distance, encounter, rule), distance, encounter))
    candidates.sort(key=lambda each: tuple(each[0].values()))
    return [
        {
            "image_id": image["image_id"],
            "encounter_id": encounter["encounter_id"],
            "rank": number,
            "is_chosen": number == 1,
            "reason": rule.prefer[int(place["reason"])],
            "distance_hours": distance,
            "lost_by": None if number == 1 else _first_difference(candidates[0][0], place),
        }
        for number, (place, distance, encounter) in enumerate(candidates, start=1)
    ]


def _place(reason: str, distance: float, encounter: Row, rule: LinkRule) -> dict[str, Any]:
    """What a candidate is sorted by, the first that differs decides."""
    ties = {tie: TIES[tie](distance, encounter["start_datetime"]) for tie in rule.ties}
    return {
        "reason": rule.prefer.index(reason),
        **ties,
        "encounter_id": encounter["encounter_id"],
    }


def _first_difference(best: Mapping[str, Any], place: Mapping[str, Any]) -> str:
    return next(name for name in place if place[name] != best[name])


def _hours_from_stay(acquired: datetime | None, encounter: Row) -> float | None:
    """Hours from the stay to the film: negative before it, 0 within, None without a time."""
    if acquired is None:
        return None
    if acquired < encounter["start_datetime"]:
        return float((acquired - encounter["start_datetime"]).total_seconds() / 3600)
    end = encounter["end_datetime"]
    return 0.0 if end is None or acquired <= end else float((acquired - end).total_seconds() / 3600)
