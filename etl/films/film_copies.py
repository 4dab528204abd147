"""One exposure stored more than once: which film stands for it.

A scanner may send a film again with another processing (edges enhanced, bones suppressed, for tubes
and lines), and a workstation may send it again as a study of its own. Two frontal films of a
patient are one exposure where both are of one study or one accession number (an order may hold
several studies), and

1. both carry the same Irradiation Event UID; or one names the other in Source Image Sequence; or
2. the acquisition's own date and time are the same to the fraction written, Irradiation Event UIDs
   do not differ, and the view is the same where both tell it.

Times of the study or of the content prove nothing, and films without a time of acquisition are
never called copies by it. The film that stands is, in this order: not SECONDARY and not a
localizer by Image Type; without a special processing in its descriptions; ORIGINAL; of most
pixels; of the lowest Instance Number; of the lesser SOP Instance UID. The others stay in images,
not frontal, without pixels, and say whose copy they are.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from etl.films.dicom_header import HeaderFacts

PROCESSING_TERMS = re.compile(
    r"\b(EDGE\w*|ENHANC\w*|SHARP\w*|TUBES?|CATH\w*|LINES?|PICC|BONE SUPP\w*|SOFT TISSUE|INVERT\w*"
    r"|REPROC\w*|PROCESSED|DUAL ENERGY|CAD)\b"
)


@dataclass(frozen=True, kw_only=True)
class StoredFilm:
    """A frontal film as far as copies are told by it.

    Attributes:
        image_id: Image.
        patient_id: Patient.
        study_id: Study.
        accession_id: Accession number, where there is one.
        view: AP, PA or None.
        facts: Header.
    """

    image_id: str
    patient_id: str
    study_id: str
    accession_id: str | None
    view: str | None
    facts: HeaderFacts

    @property
    def rank(self) -> tuple[object, ...]:
        """What orders the films of one exposure; the least stands."""
        kinds = set(self.facts.image_type)
        number = self.facts.instance_number
        return (
            bool(kinds & {"SECONDARY", "LOCALIZER"}),
            bool(PROCESSING_TERMS.search(self.facts.descriptions)),
            "ORIGINAL" not in kinds,
            -self.facts.rows_px * self.facts.columns_px,
            float("inf") if number is None else number,
            self.facts.sop_instance_uid,
        )


def find_copies(films: Iterable[StoredFilm]) -> Mapping[str, tuple[str, str]]:
    """Copies among the frontal films of one ingest.

    Returns:
        For each copy's image_id: the image_id of the film that stands, and how it is known.
    """
    groups: dict[tuple[str, str], list[StoredFilm]] = defaultdict(list)
    for film in films:
        for scope in {film.study_id, film.accession_id} - {None}:
            groups[film.patient_id, str(scope)].append(film)
    copies: dict[str, tuple[str, str]] = {}
    for group in groups.values():
        standing: list[StoredFilm] = []
        for film in sorted(group, key=lambda each: each.rank):
            for other in standing:
                evidence = _evidence(film, other)
                if evidence is not None:
                    copies.setdefault(film.image_id, (other.image_id, evidence))
                    break
            else:
                standing.append(film)
    # In a chain of scopes a film may have been called standing in one, and a copy in another.
    return {image_id: (_last(copies, kept), how) for image_id, (kept, how) in copies.items()}


def _last(copies: Mapping[str, tuple[str, str]], image_id: str) -> str:
    while image_id in copies:
        image_id = copies[image_id][0]
    return image_id


def _evidence(film: StoredFilm, other: StoredFilm) -> str | None:
    """How two films are known to be one exposure, or None."""
    one, two = film.facts, other.facts
    if one.irradiation_event_uid is not None and two.irradiation_event_uid is not None:
        is_same = one.irradiation_event_uid == two.irradiation_event_uid
        return "Irradiation Event UID" if is_same else None
    if one.sop_instance_uid in two.source_image_uids or (
        two.sop_instance_uid in one.source_image_uids
    ):
        return "Source Image Sequence"
    if one.acquisition_text is None or one.acquisition_text != two.acquisition_text:
        return None
    if film.view is not None and other.view is not None and film.view != other.view:
        return None
    return "time of acquisition"
