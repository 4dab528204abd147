"""Why an encounter was linked to a film, and why the other candidates lost, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_WORDS = {
    "accession": "the film's report was written in it",
    "contains": "the film was taken within the stay",
    "window": "the stay lies near the film",
}
_LOST = {
    "nearest": "the chosen one is nearer",
    "latest_start": "as near as the chosen one, which began later",
    "earliest_start": "as near as the chosen one, which began earlier",
    "encounter_id": "level with the chosen one, which comes first by its id",
}


def explain_links(
    links: Sequence[Mapping[str, Any]], encounters: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Rows of ``image_links``, the best first, with the stay and ``verdict`` in words.

    Args:
        links: Candidates of one image.
        encounters: Rows of ``encounters`` by id.
    """
    ranked = sorted(links, key=lambda row: row["rank"])
    best = next((row for row in ranked if row["is_chosen"]), None)
    told = []
    for row in ranked:
        stay = encounters.get(row["encounter_id"], {})
        told.append(
            {
                **row,
                "encounter_class": stay.get("encounter_class"),
                "start_datetime": stay.get("start_datetime"),
                "end_datetime": stay.get("end_datetime"),
                "verdict": _verdict(row, best),
            }
        )
    return told


def _verdict(row: Mapping[str, Any], best: Mapping[str, Any] | None) -> str:
    words = _WORDS.get(row["reason"], row["reason"])
    if best is None or row is best:
        return f"chosen: {words}"
    if row["lost_by"] == "reason":
        better = _WORDS.get(best["reason"], best["reason"])
        return f"lost: {words}; the chosen one counts more: {better}"
    hours = f"{row['distance_hours']:.1f} h away, the chosen one {best['distance_hours']:.1f} h"
    return f"lost: {words} ({hours}); {_LOST[row['lost_by']]}"
