"""From linked records to evidence rows: which code or mention speaks for which image, and how."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from nlp_labeling.codes import NOT_RELATED, OTHER_SITE, CodeVerdict, classify_code
from nlp_labeling.combination import CodeVoice, Voice, merge_voices
from nlp_labeling.definition import Definition
from nlp_labeling.note_summary import decisive_mentions, is_counted, note_acuity, told_as_history
from nlp_labeling.sections import SILENT_SECTIONS

FILM, IMAGING, CLINICAL, CODE = (
    "chest_film_report",
    "other_imaging_report",
    "clinical_text",
    "code",
)
OWN_REPORT_HOURS = (-1, 48)
_SILENT_REASONS = frozenset([NOT_RELATED, OTHER_SITE, "unparsable"])
_WEIGHT_NAMES = {
    FILM: "chest_film_report",
    IMAGING: "other_imaging_report",
    CLINICAL: "clinical_note",
}


@dataclass(slots=True)
class Records:
    """The warehouse rows that labels are made from, grouped for look-up."""

    diagnoses_of: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    mentions_of: dict[tuple[str, str], list[dict[str, Any]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    verdicts: dict[tuple[str, str, str], CodeVerdict] = field(default_factory=dict)

    def verdict(self, code: str, vocabulary: str, definition: Definition) -> CodeVerdict:
        """``classify_code``, once for each code: a hospital uses few of them, often."""
        key = (definition.name, vocabulary, code)
        if key not in self.verdicts:
            self.verdicts[key] = classify_code(code, vocabulary, definition)
        return self.verdicts[key]

    @classmethod
    def group(
        cls, diagnoses: Iterable[dict[str, Any]], mentions: Iterable[dict[str, Any]]
    ) -> Records:
        """Diagnoses by encounter, mentions by patient and finding."""
        records = cls()
        for row in diagnoses:
            if row["encounter_id"] is not None:
                records.diagnoses_of[row["encounter_id"]].append(row)
        for row in mentions:
            records.mentions_of[row["patient_id"], row["finding"]].append(row)
        return records


@dataclass(frozen=True, slots=True)
class Gathered:
    """Evidence of one image and finding: rows, and one voice per kind of source."""

    rows: list[dict[str, Any]]
    film: Voice
    imaging: Voice
    clinical: Voice
    code: CodeVoice
    is_past_told: bool
    acuity: str


def gather_evidence(
    image: Mapping[str, Any],
    encounter_id: str | None,
    definition: Definition,
    records: Records,
    version: str,
) -> Gathered:
    """All evidence for one finding on one image.

    Counted are codes of the linked encounter, the film's own report, and notes of that encounter or
    of none, within the definition's window around the film. What lies outside is ``ignored``.
    """
    base = {"image_id": image["image_id"], "finding": definition.name, "definition_hash": version}
    code_rows, code = _codes(image, encounter_id, definition, records, base)
    mentions = _mentions(image, encounter_id, definition, records)
    rows = [*code_rows]
    by_note: dict[tuple[str, datetime, str], list[dict[str, Any]]] = defaultdict(list)
    for kind, why_ignored, mention in mentions:
        rows.append(_mention_row(base, kind, why_ignored, mention, definition))
        if not why_ignored:
            by_note[kind, mention["note_datetime"], mention["note_id"]].append(mention)
    voices: dict[str, list[Voice]] = {FILM: [], IMAGING: [], CLINICAL: []}
    for key in sorted(by_note):
        voices[key[0]].append(_note_voice(by_note[key]))
    return Gathered(
        rows=rows,
        film=merge_voices(voices[FILM]),
        imaging=merge_voices(voices[IMAGING]),
        clinical=_latest_voice(voices[CLINICAL]),
        code=code,
        is_past_told=any(told_as_history(m) for _, why, m in mentions if not why),
        acuity=_acuity(by_note, code),
    )


def _codes(
    image: Mapping[str, Any],
    encounter_id: str | None,
    definition: Definition,
    records: Records,
    base: Mapping[str, Any],
) -> tuple[list[dict[str, Any]], CodeVoice]:
    rows: list[dict[str, Any]] = []
    said: set[str] = set()
    for row in records.diagnoses_of.get(encounter_id or "", ()):
        verdict = records.verdict(row["diagnosis_code"], row["vocabulary"], definition)
        if verdict.reason in _SILENT_REASONS:
            continue
        moment = row["recorded_datetime"]
        if moment is not None and not _in_window(image, moment, definition):
            polarity, reason = "ignored", "recorded outside the window around the film"
        elif verdict.status == "sequela":
            polarity, reason = "old", "sequela of an earlier fracture"
            said.add("past")
        elif verdict.reason:
            polarity, reason = "ignored", f"{verdict.reason.replace('_', ' ')} code"
        else:
            polarity, reason = "positive", f"{verdict.status} encounter code"
            said.add(verdict.status)
        is_principal = row["position"] == 1
        rows.append(
            {
                **base,
                "evidence_id": _key(base, "code", row["diagnosis_id"]),
                "encounter_id": row["encounter_id"],
                "evidence_type": CODE,
                "diagnosis_id": row["diagnosis_id"],
                "mention_id": None,
                "polarity": polarity,
                "weight": definition.weights[
                    "code_principal" if is_principal else "code_secondary"
                ],
                "rule_id": f"{verdict.vocabulary}:{verdict.branch}",
                "reason": reason,
            }
        )
    order: tuple[CodeVoice, ...] = ("initial", "subsequent", "past")
    return rows, next((voice for voice in order if voice in said), "none")


def _mentions(
    image: Mapping[str, Any],
    encounter_id: str | None,
    definition: Definition,
    records: Records,
) -> list[tuple[str, str, dict[str, Any]]]:
    found: list[tuple[str, str, dict[str, Any]]] = []
    for mention in records.mentions_of.get((image["patient_id"], definition.name), ()):
        kind = evidence_type(image, mention)
        if kind != FILM:
            elsewhere = mention["encounter_id"]
            if elsewhere is not None and elsewhere != encounter_id:
                continue
            if not _in_window(image, mention["note_datetime"], definition):
                found.append((kind, "written outside the window around the film", mention))
                continue
        found.append((kind, "", mention))
    return found


def evidence_type(image: Mapping[str, Any], mention: Mapping[str, Any]) -> str:
    """Whether a mention stands in the film's own report, other imaging or clinical text."""
    accession, note_type = mention["accession_id"], mention["note_type"]
    if accession is not None and accession == image["accession_id"]:
        return IMAGING if note_type == "other_imaging_report" else FILM
    if note_type == "chest_film_report":
        is_unnumbered = accession is None or image["accession_id"] is None
        return FILM if is_unnumbered and _is_soon_after(image, mention) else IMAGING
    if note_type == "other_imaging_report" or accession is not None:
        return IMAGING
    return CLINICAL


def _is_soon_after(image: Mapping[str, Any], mention: Mapping[str, Any]) -> bool:
    if image["acquired_datetime"] is None:
        return False
    low, high = (timedelta(hours=hours) for hours in OWN_REPORT_HOURS)
    return bool(low <= mention["note_datetime"] - image["acquired_datetime"] <= high)


def _mention_row(
    base: Mapping[str, Any],
    kind: str,
    why_ignored: str,
    mention: Mapping[str, Any],
    definition: Definition,
) -> dict[str, Any]:
    polarity, reason = _polarity(mention)
    if why_ignored:
        polarity, reason = "ignored", why_ignored
    return {
        **base,
        "evidence_id": _key(base, "mention", mention["mention_id"]),
        "encounter_id": mention["encounter_id"],
        "evidence_type": kind,
        "diagnosis_id": None,
        "mention_id": mention["mention_id"],
        "polarity": polarity,
        "weight": definition.weights[_WEIGHT_NAMES[kind]],
        "rule_id": mention["cue_rule_id"] or mention["rule_id"],
        "reason": reason,
    }


def _polarity(mention: Mapping[str, Any]) -> tuple[str, str]:
    if mention["experiencer"] != "patient":
        return "ignored", "said of a relative"
    if mention["is_hypothetical"]:
        return "ignored", "said under a condition or as a question"
    if mention["section"] in SILENT_SECTIONS:
        return "ignored", f"stands in the section {mention['section']}"
    if mention["temporality"] == "historical":
        return "ignored", "told as history"
    if mention["assertion"] == "present":
        is_old = mention["acuity"] == "old"
        return ("old", "seen, but old") if is_old else ("positive", "said to be present")
    is_denied = mention["assertion"] == "absent"
    return ("negative", "denied") if is_denied else ("uncertain", "said to be uncertain")


def _note_voice(mentions: Sequence[Mapping[str, Any]]) -> Voice:
    assertion, chosen = decisive_mentions(mentions)
    if assertion == "present":
        return "old" if note_acuity(chosen) == "old" else "positive"
    voices: dict[str, Voice] = {"uncertain": "uncertain", "absent": "negative"}
    return voices.get(assertion, "none")


def _latest_voice(voices: Sequence[Voice]) -> Voice:
    """Clinical notes in order of time: a later positive corrects an earlier denial."""
    firm = [voice for voice in voices if voice in ("positive", "negative")]
    if firm and firm[-1] == "positive":
        return "positive"
    return merge_voices(list(voices))


def _acuity(by_note: Mapping[tuple[str, datetime, str], list[dict[str, Any]]], code: str) -> str:
    for kind in (FILM, IMAGING, CLINICAL):
        present = [
            mention
            for key, mentions in by_note.items()
            if key[0] == kind
            for mention in mentions
            if is_counted(mention) and mention["assertion"] == "present"
        ]
        acuity = note_acuity(present) if present else "unknown"
        if acuity not in ("unknown", "old"):
            return acuity
    return {"initial": "acute", "subsequent": "healing"}.get(code, "unknown")


def _in_window(image: Mapping[str, Any], moment: datetime, definition: Definition) -> bool:
    study = image["acquired_datetime"]
    if study is None:
        return True
    linkage = definition.linkage
    low = study - timedelta(hours=linkage.hours_before_study)
    return bool(low <= moment <= study + timedelta(hours=linkage.hours_after_study))


def _key(base: Mapping[str, Any], kind: str, source: str) -> str:
    text = f"{base['image_id']}|{base['finding']}|{kind}|{source}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]
