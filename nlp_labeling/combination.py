"""The combination rule: from what each kind of source says to one label. Small, pure, a table.

Codes, the film's own report, other imaging and clinical text each speak with one voice (``Voice``).
The rows below are tried in order and the first that fits decides; the tests spell out all
combinations. Disagreement never goes to a side in silence: it is uncertain, or marked a conflict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Voice = Literal["positive", "negative", "uncertain", "old", "mixed", "none"]
CodeVoice = Literal["initial", "subsequent", "past", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Voices:
    """What the sources say about one finding on one image.

    ``is_closed``: the encounter has ended the stated number of days ago. ``is_linked``: there is an
    encounter. ``is_past_told``: a history of the finding is told, nothing more.
    """

    film: Voice = "none"
    imaging: Voice = "none"
    clinical: Voice = "none"
    code: CodeVoice = "none"
    is_past_told: bool = False
    is_closed: bool = True
    is_linked: bool = True

    @property
    def has_report_denial(self) -> bool:
        """A report on an image denies the finding."""
        return "negative" in (self.film, self.imaging)

    @property
    def has_positive(self) -> bool:
        """Anything speaks for a current fracture."""
        return (
            "positive" in (self.film, self.imaging, self.clinical)
            or "mixed" in (self.film, self.imaging, self.clinical)
            or self.code == "initial"
        )

    @property
    def is_conflict(self) -> bool:
        """Sources speak for and against the finding."""
        denied = "negative" in (self.film, self.imaging, self.clinical)
        mixed = "mixed" in (self.film, self.imaging, self.clinical)
        old_film_new_code = self.film == "old" and self.has_positive
        return mixed or (denied and self.has_positive) or old_film_new_code


@dataclass(frozen=True, slots=True)
class Verdict:
    """A label, the row of the rule that gave it, and where a positive was seen."""

    label: str
    reason: str
    visibility_tier: str | None = None


_Row = tuple[str, Callable[[Voices], bool], str, str | None]

RULE: tuple[_Row, ...] = (
    ("no_linked_encounter", lambda v: not v.is_linked and v.film == "none", "excluded", None),
    ("reports_contradict", lambda v: "mixed" in (v.film, v.imaging), "uncertain", None),
    (
        "film_against_other_imaging",
        lambda v: v.film == "positive" and v.imaging == "negative",
        "uncertain",
        None,
    ),
    (
        "film_and_code_agree",
        lambda v: v.film == "positive" and v.code in ("initial", "subsequent"),
        "positive",
        "chest_film_report",
    ),
    ("film_report", lambda v: v.film == "positive", "positive", "chest_film_report"),
    ("old_on_film_against_new", lambda v: v.film == "old" and v.has_positive, "uncertain", None),
    ("only_old", lambda v: v.film == "old", "excluded", None),
    (
        "film_doubt_confirmed",
        lambda v: (
            v.film == "uncertain"
            and v.imaging != "negative"
            and (v.code == "initial" or "positive" in (v.imaging, v.clinical))
        ),
        "positive",
        "chest_film_report",
    ),
    (
        "seen_on_other_imaging",
        lambda v: v.imaging == "positive",
        "positive",
        "other_imaging",
    ),
    (
        "code_against_report",
        lambda v: v.code == "initial" and v.has_report_denial,
        "uncertain",
        None,
    ),
    (
        "clinician_against_report",
        lambda v: v.clinical in ("positive", "mixed") and v.has_report_denial,
        "uncertain",
        None,
    ),
    (
        "code_and_clinician_agree",
        lambda v: v.code == "initial" and v.clinical == "positive",
        "positive",
        "clinical_text",
    ),
    (
        "code_against_clinician",
        lambda v: v.code == "initial" and v.clinical in ("negative", "mixed"),
        "uncertain",
        None,
    ),
    ("code_alone", lambda v: v.code == "initial", "positive", "code_only"),
    ("clinician_contradicts_itself", lambda v: v.clinical == "mixed", "uncertain", None),
    ("clinician_alone", lambda v: v.clinical == "positive", "positive", "clinical_text"),
    (
        "only_old_elsewhere",
        lambda v: "old" in (v.imaging, v.clinical),
        "excluded",
        None,
    ),
    (
        "subsequent_code_alone",
        lambda v: v.code == "subsequent" and not v.has_report_denial,
        "uncertain",
        None,
    ),
    (
        "only_uncertain",
        lambda v: v.film == "uncertain" and v.imaging != "negative",
        "uncertain",
        None,
    ),
    (
        "only_uncertain_elsewhere",
        lambda v: "uncertain" in (v.imaging, v.clinical) and not v.has_report_denial,
        "uncertain",
        None,
    ),
    (
        "only_historical",
        lambda v: (v.is_past_told or v.code == "past") and not v.has_report_denial,
        "excluded",
        None,
    ),
    ("encounter_not_closed", lambda v: not v.is_closed, "uncertain", None),
    ("denied_by_report", lambda v: v.has_report_denial, "negative", None),
    ("denied_by_clinician", lambda v: v.clinical == "negative", "negative", None),
    ("nothing_found", lambda v: True, "negative", None),
)

MEANINGS: dict[str, str] = {
    "no_linked_encounter": "No encounter belongs to the film, and it has no report of its own.",
    "reports_contradict": "Reports of one kind speak for and against the finding.",
    "film_against_other_imaging": "The film's report affirms what other imaging denies.",
    "film_and_code_agree": "The film's report affirms it and a code confirms it.",
    "film_report": "The film's report affirms it.",
    "old_on_film_against_new": "The film shows an old fracture, another source tells of a new one.",
    "only_old": "The film shows nothing but an old fracture.",
    "film_doubt_confirmed": "The film's report suspects it, and another source confirms it.",
    "seen_on_other_imaging": "Other imaging shows it.",
    "code_against_report": "A code says so, a report on an image denies it.",
    "clinician_against_report": "A clinical note says so, a report on an image denies it.",
    "code_and_clinician_agree": "A code and a clinical note agree; no report speaks of it.",
    "code_against_clinician": "A code says so, a clinical note denies it.",
    "code_alone": "A code says so; no text speaks of it.",
    "clinician_contradicts_itself": "Clinical notes speak for and against it.",
    "clinician_alone": "A clinical note says so; neither code nor report does.",
    "only_old_elsewhere": "Text tells of an old fracture alone.",
    "subsequent_code_alone": "Only a code of follow-up care speaks of it.",
    "only_uncertain": "The film's report suspects it, and nothing confirms or settles it.",
    "only_uncertain_elsewhere": "Only other imaging or clinical text suspects it.",
    "only_historical": "It is told only as history.",
    "encounter_not_closed": "Nothing speaks for it, but the encounter is not closed long enough.",
    "denied_by_report": "A report on an image denies it.",
    "denied_by_clinician": "A clinical note denies it.",
    "nothing_found": "The encounter is closed, and nothing in it speaks of the finding.",
}


def combine(voices: Voices) -> Verdict:
    """The label of one finding on one image."""
    for reason, fits, label, tier in RULE:
        if fits(voices):
            return Verdict(label, reason, tier)
    raise AssertionError("the last row fits everything")


def merge_voices(voices: list[Voice]) -> Voice:
    """Several documents of one kind with one voice; for and against together are mixed."""
    said = set(voices) - {"none"}
    if "mixed" in said or {"positive", "negative"} <= said:
        return "mixed"
    for voice in ("positive", "uncertain", "old", "negative"):
        if voice in said:
            return voice
    return "none"
