"""Every candidate encounter is told why it won or lost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from nlp_labeling.link_reasoning import explain_links


def link(rank: int, reason: str, hours: float, lost_by: str | None = None) -> dict[str, Any]:
    return {
        "encounter_id": f"e{rank}",
        "rank": rank,
        "is_chosen": rank == 1,
        "reason": reason,
        "distance_hours": hours,
        "lost_by": lost_by,
    }


@pytest.mark.parametrize(
    ("best", "other", "words"),
    [
        (("accession", 0.0), ("contains", 0.0, "reason"), "the chosen one counts more"),
        (("contains", 0.0), ("window", 5.0, "reason"), "the chosen one counts more"),
        (("window", 3.0), ("window", 9.0, "nearest"), "9.0 h away, the chosen one 3.0 h); the cho"),
        (("window", 3.0), ("window", 3.0, "latest_start"), "which began later"),
        (("window", 9.0), ("window", 3.0, "earliest_start"), "which began earlier"),
        (("window", 3.0), ("window", 3.0, "encounter_id"), "comes first by its id"),
    ],
)
def test_the_loser_is_told_why(
    best: tuple[str, float], other: tuple[str, float, str], words: str
) -> None:
    told = explain_links([link(2, *other), link(1, *best)], {})
    assert [row["encounter_id"] for row in told] == ["e1", "e2"]
    assert told[0]["verdict"].startswith("chosen: ")
    assert told[1]["verdict"].startswith("lost: ")
    assert words in told[1]["verdict"]


def test_the_stay_is_joined_and_a_missing_one_left_open() -> None:
    start = datetime(2014, 5, 1, tzinfo=UTC)
    stay = {"encounter_class": "emergency", "start_datetime": start, "end_datetime": None}
    told = explain_links([link(1, "contains", 0.0), link(2, "window", 1.0, "reason")], {"e1": stay})
    assert told[0]["start_datetime"] == start
    assert told[1]["encounter_class"] is None
