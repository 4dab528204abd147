"""What the hospital's staff come to believe about a patient's fractures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from etl.synthetic_hospital.film_request import FINDINGS, SEVERITIES
from etl.synthetic_hospital.population import PatientTruth
from etl.synthetic_hospital.record_quality import RecordQuality
from etl.synthetic_hospital.visits import Visit


@dataclass(frozen=True, kw_only=True)
class EpisodeBelief:
    """One trauma episode: readings by accession number and finding, and what is known at the end.

    A reading is present, uncertain, absent, old, healing or none (nothing to say).
    """

    readings: dict[str, dict[str, str]]
    is_known: dict[str, bool]


def most_evident(truth: PatientTruth, finding: str) -> str | None:
    """Severity of the most evident acute fracture of a finding, None without one."""
    severities = {one.severity for one in truth.acute_of(finding)}
    return next((name for name in SEVERITIES if name in severities), None)


def read_episode(
    rng: np.random.Generator, *, truth: PatientTruth, visits: list[Visit], quality: RecordQuality
) -> EpisodeBelief:
    """Reads every study of these visits and draws what the physicians know afterwards."""
    readings: dict[str, dict[str, str]] = {}
    for visit in visits:
        for order in visit.orders:
            readings[order.accession_no] = {
                finding: _reading(
                    rng,
                    severity=most_evident(truth, finding),
                    state=visit.states[finding],
                    exam_code=order.exam_code,
                    quality=quality,
                )
                for finding in FINDINGS
            }
    known = {}
    for finding in FINDINGS:
        is_seen = any(reading[finding] == "present" for reading in readings.values())
        is_found = rng.random() < quality.known_otherwise
        is_acute = any(visit.states[finding] == "acute" for visit in visits)
        known[finding] = is_acute and (is_seen or is_found)
    return EpisodeBelief(readings=readings, is_known=known)


def _reading(
    rng: np.random.Generator,
    *,
    severity: str | None,
    state: str,
    exam_code: str,
    quality: RecordQuality,
) -> str:
    chance, nuance = float(rng.random()), float(rng.random())
    if exam_code == "KUB":
        return "none"
    if state == "acute":
        is_ct = exam_code == "CTCHEST"
        seen = quality.ct_seen if is_ct else quality.film_seen(severity or "occult")
        if chance < seen:
            return "uncertain" if nuance < quality.film_hedged and not is_ct else "present"
        return "absent"
    if state in ("healing", "old"):
        return state if chance < quality.old_reported else "none"
    if chance < quality.film_false_alarm:
        return "present"
    return "uncertain" if chance < quality.film_false_alarm + quality.film_false_doubt else "absent"
