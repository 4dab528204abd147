"""Patient rows, whose age and birth date depend on the patient's encounters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from etl.pseudonym import shift_datetime
from etl.quarantine import QuarantineList
from etl.records.site_mapping import SiteMapping

MAX_AGE_YEARS = 89


@dataclass(frozen=True, kw_only=True)
class PatientRecord:
    """A patient as read; dates are not yet shifted."""

    patient_id: str
    imaging_identifier: str | None
    shift_days: int
    sex_code: str | None
    birth: datetime | None


@dataclass(frozen=True, kw_only=True)
class EncounterRecord:
    """What later rows need to know of an encounter; dates are not shifted."""

    encounter_id: str
    patient: str
    start: datetime


def patient_rows(
    *,
    mapping: SiteMapping,
    patients: dict[str, PatientRecord],
    encounters: Iterable[EncounterRecord],
    quarantine: QuarantineList,
    newest_elsewhere: datetime | None = None,
) -> Iterator[dict[str, Any]]:
    """Rows of the patients; ages over 89 lose their birth date.

    Args:
        mapping: The site.
        patients: By their identifier in the source.
        encounters: All encounters of these patients.
        quarantine: Takes birth dates that cannot be.
        newest_elsewhere: Start of the newest encounter of any other patient; a patient without
            encounters has the age at the newest of all.
    """
    first: dict[str, datetime] = {}
    last: dict[str, datetime] = {}
    for encounter in encounters:
        patient, start = encounter.patient, encounter.start
        first[patient] = min(first.get(patient, start), start)
        last[patient] = max(last.get(patient, start), start)
    newest = max([*last.values(), *filter(None, [newest_elsewhere])], default=None)
    for patient, record in patients.items():
        birth = _birth(record, first.get(patient), mapping, quarantine)
        end = last.get(patient, newest)
        is_over = birth is not None and end is not None and is_over_89(birth, end)
        yield {
            "patient_id": record.patient_id,
            "source": mapping.name,
            "sex_code": record.sex_code,
            "birth_datetime": None if is_over else shift_datetime(birth, record.shift_days),
            "is_over_89": is_over,
            "is_synthetic": mapping.is_synthetic,
        }


def is_over_89(birth: datetime, at: datetime) -> bool:
    """Whether the age in whole years is over 89."""
    years = at.year - birth.year - ((at.month, at.day) < (birth.month, birth.day))
    return years > MAX_AGE_YEARS


def _birth(
    record: PatientRecord,
    first: datetime | None,
    mapping: SiteMapping,
    quarantine: QuarantineList,
) -> datetime | None:
    """The birth date, which a two-digit year may have put a century too late."""
    birth = record.birth
    if birth is None or first is None or birth <= first:
        return birth
    if mapping.two_digit_year_from is not None:
        earlier = _century_before(birth)
        if earlier <= first:
            return earlier
    quarantine.add(
        f"patients/{record.patient_id}", "birth date after the first encounter: left out"
    )
    return None


def _century_before(moment: datetime) -> datetime:
    try:
        return moment.replace(year=moment.year - 100)
    except ValueError:  # 29 February of a year that was no leap year a century before
        return moment.replace(year=moment.year - 100, day=28)
