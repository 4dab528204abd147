"""Which encounter a film belongs to, by a stated rule; every candidate is kept.

Candidates are encounters of the film's own patient, in this order of preference:

1. ``accession``: a report on the film's accession number was written in it;
2. ``contains``: the film was taken within the stay (an open stay has no end yet);
3. ``window``: the stay ended up to ``hours_before`` before the film, or began up to
   ``hours_after`` after it (the label definitions' window around the study).

Ties go to the nearer stay, then to the one that began later, then to the lesser encounter_id.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from warehouse_schema.errors import ArgumentError
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGE_LINKS, IMAGES
from warehouse_schema.tables.records import ENCOUNTERS, NOTES

STAGE = "link"
REASONS = ("accession", "contains", "window")
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class LinkSummary:
    """What one linkage found.

    Attributes:
        n_images: Images.
        n_linked: Images with a chosen encounter.
        n_ambiguous: Linked images that had more than one candidate.
        reasons: Chosen links by reason.
    """

    n_images: int
    n_linked: int
    n_ambiguous: int
    reasons: Mapping[str, int] = field(default_factory=dict)


def link_images(*, store: Store, hours_before: float, hours_after: float) -> LinkSummary:
    """Link every image to its best encounter, replacing the table image_links.

    Args:
        store: The store.
        hours_before: How long before the film a stay may have ended.
        hours_after: How long after the film a stay may begin.

    Raises:
        ArgumentError: A number of hours is negative.
    """
    for name, hours in (("hours_before", hours_before), ("hours_after", hours_after)):
        if not hours >= 0:
            raise ArgumentError(f"{name} is {hours}; give hours, 0 or more.")
    images = store.read(
        IMAGES, columns=["image_id", "patient_id", "accession_id", "acquired_datetime"]
    )
    encounters: dict[str, list[Row]] = defaultdict(list)
    for encounter in store.read(ENCOUNTERS).to_pylist():
        encounters[encounter["patient_id"]].append(encounter)
    reported = _reported_encounters(store)
    rows: list[Row] = []
    chosen: Counter[str] = Counter()
    n_ambiguous = 0
    for image in images.to_pylist():
        ranked = _rank(image, encounters[image["patient_id"]], reported, hours_before, hours_after)
        rows += ranked
        chosen.update(row["reason"] for row in ranked[:1])
        n_ambiguous += len(ranked) > 1
    configuration = {"hours_before": hours_before, "hours_after": hours_after}
    with store.commit(stage=STAGE, configuration=configuration) as commit:
        commit.uses(IMAGES, ENCOUNTERS, NOTES)
        commit.replace(IMAGE_LINKS, pa.Table.from_pylist(rows, schema=IMAGE_LINKS.schema))
    return LinkSummary(
        n_images=images.num_rows,
        n_linked=sum(chosen.values()),
        n_ambiguous=n_ambiguous,
        reasons=dict(chosen),
    )


def _reported_encounters(store: Store) -> dict[str, set[str]]:
    """Encounters in which a report on an accession number was written."""
    notes = store.read(NOTES, columns=["accession_id", "encounter_id"])
    reported: dict[str, set[str]] = defaultdict(set)
    for row in notes.to_pylist():
        if row["accession_id"] is not None and row["encounter_id"] is not None:
            reported[row["accession_id"]].add(row["encounter_id"])
    return reported


def _rank(
    image: Row,
    encounters: list[Row],
    reported: Mapping[str, set[str]],
    hours_before: float,
    hours_after: float,
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
        elif hours is not None and -hours_after <= hours <= hours_before:
            reason = "window"
        if reason is not None:
            candidates.append((reason, abs(hours or 0.0), encounter))
    candidates.sort(
        key=lambda each: (
            REASONS.index(each[0]),
            each[1],
            -each[2]["start_datetime"].timestamp(),
            each[2]["encounter_id"],
        )
    )
    return [
        {
            "image_id": image["image_id"],
            "encounter_id": encounter["encounter_id"],
            "rank": number,
            "is_chosen": number == 1,
            "reason": reason,
            "distance_hours": hours,
        }
        for number, (reason, hours, encounter) in enumerate(candidates, start=1)
    ]


def _hours_from_stay(acquired: datetime | None, encounter: Row) -> float | None:
    """Hours from the stay to the film: negative before it, 0 within, None without a time."""
    if acquired is None:
        return None
    if acquired < encounter["start_datetime"]:
        return float((acquired - encounter["start_datetime"]).total_seconds() / 3600)
    end = encounter["end_datetime"]
    return 0.0 if end is None or acquired <= end else float((acquired - end).total_seconds() / 3600)
