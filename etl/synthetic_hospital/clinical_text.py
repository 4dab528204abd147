"""The text of triage, emergency, discharge, clinic and nursing notes."""

from __future__ import annotations

from collections.abc import Mapping

from etl.synthetic_hospital.conditions import load_injuries
from etl.synthetic_hospital.film_request import FINDINGS
from etl.synthetic_hospital.note_writer import NoteWriter


def triage_text(writer: NoteWriter) -> str:
    """The triage nurse's note: the patient's words, before any film."""
    lines = [writer.line("triage_body")]
    suspicion = 0.12 if writer.truth.acute else 0.03
    for finding in FINDINGS:
        if writer.happens(suspicion if finding == FINDINGS[0] else suspicion / 3):
            writer.remember(finding, "uncertain", "triage")
            lines.append(writer.line(f"triage_suspicion_{finding.removesuffix('_fracture')}"))
    return "".join(lines) if writer.happens(0.5) else "\n".join(lines)


def physician_text(
    writer: NoteWriter, readings: Mapping[str, str], is_known: Mapping[str, bool]
) -> str:
    """The emergency physician's note, in English and Chinese mixed or in Chinese."""
    language = "mx" if writer.happens(0.75) else "zh"
    lines = [writer.line(f"physician_opening_{language}")]
    if writer.happens(0.3):
        lines.append(writer.line("comorbidity_mx"))
    lines += _background(writer)
    lines.append(writer.line(f"physician_exam_{language}"))
    diagnoses = []
    for finding in FINDINGS:
        kind = _physician_view(writer, finding, readings[finding], is_known=is_known[finding])
        if kind is not None:
            said = writer.fracture(finding, kind, f"clinical_{language}", "assessment")
            diagnoses.append(said)
    diagnoses += _injuries(writer, "en" if language == "mx" else "zh")
    lines.append(writer.line(f"physician_impression_heading_{language}"))
    lines += [f"{number}. {said}" for number, said in enumerate(diagnoses, 1)] or ["1. trauma"]
    lines.append(writer.line(f"physician_plan_{language}"))
    if writer.happens(writer.quality.hypothetical_told):
        finding = FINDINGS[0] if writer.happens(0.8) else FINDINGS[1]
        lines.append(writer.fracture(finding, "hypothetical", "clinical_mx", "plan"))
    return "\n".join(lines) if writer.happens(0.8) else " ".join(lines)


def discharge_text(writer: NoteWriter, is_known: Mapping[str, bool]) -> str:
    """The discharge summary."""
    lines = [writer.line("discharge_opening_en"), writer.line("discharge_diagnosis_heading_en")]
    diagnoses = []
    for finding in FINDINGS:
        if is_known[finding] and writer.happens(writer.quality.discharge_states):
            diagnoses.append(writer.fracture(finding, "present", "clinical_en", "diagnosis"))
        elif writer.visit.states[finding] == "old" and writer.happens(0.3):
            diagnoses.append(writer.fracture(finding, "old", "clinical_en", "diagnosis"))
    diagnoses += _injuries(writer, "en")
    lines += [f"{number}. {said}" for number, said in enumerate(diagnoses or ["Trauma"], 1)]
    lines.append(writer.line("discharge_history_en"))
    lines += _background(writer)
    lines.append(writer.line("discharge_course_en"))
    for finding in FINDINGS:
        is_broken = writer.visit.states[finding] != "none"
        if not is_broken and writer.happens(0.08):
            lines.append(writer.fracture(finding, "absent", "clinical_en", "course") + ".")
    lines.append(writer.line("discharge_plan_en"))
    return "\n".join(lines)


def clinic_text(writer: NoteWriter, is_known: Mapping[str, bool]) -> str:
    """A follow-up visit's note."""
    language = "mx" if writer.happens(0.7) else "zh"
    lines = [writer.line("clinic_opening_mx")]
    said = [
        writer.fracture(finding, "healing", f"clinical_{language}", "assessment")
        for finding in FINDINGS
        if writer.visit.states[finding] == "healing" and is_known[finding]
    ]
    said += _injuries(writer, "en" if language == "mx" else "zh")
    lines += [f"A: {one}" for one in said]
    lines.append(writer.line("clinic_plan_mx"))
    return "\n".join(lines)


def unrelated_text(writer: NoteWriter, is_known: Mapping[str, bool]) -> str:
    """A note of a visit that has nothing to do with the trauma."""
    lines = [writer.line("unrelated_note")]
    for finding in FINDINGS:
        is_old = writer.visit.states[finding] == "old"
        is_told = is_old and (writer.truth.old_of(finding) or is_known[finding])
        if is_told and writer.happens(writer.quality.history_told):
            lines.append(writer.fracture(finding, "history", "clinical_mx", "history"))
    if writer.happens(writer.quality.distractor_told):
        lines.append(writer.line("distractor_mx"))
    return "\n".join(lines)


def nurse_text(writer: NoteWriter) -> str:
    """A nursing note: no word on fractures."""
    return writer.line("nurse_note")


def _physician_view(
    writer: NoteWriter, finding: str, reading: str, *, is_known: bool
) -> str | None:
    quality, chance = writer.quality, float(writer.rng.random())
    if is_known:
        if chance < quality.physician_states:
            return "present"
        return "uncertain" if chance < quality.physician_states + quality.physician_hedges else None
    if reading == "uncertain":
        return "uncertain" if chance < 0.7 else None
    if writer.visit.states[finding] == "old":
        return "old" if chance < 0.3 and reading == "old" else None
    if chance < quality.physician_doubts:
        return "uncertain"
    is_named = chance < quality.physician_doubts + quality.physician_names_absent
    return "absent" if is_named else None


def _background(writer: NoteWriter) -> list[str]:
    quality, lines = writer.quality, []
    for finding in FINDINGS:
        is_old = bool(writer.truth.old_of(finding))
        if writer.happens(quality.history_told if is_old else quality.history_false / 2):
            lines.append(writer.fracture(finding, "history", "clinical_mx", "history"))
    if writer.happens(quality.family_told):
        finding = FINDINGS[0] if writer.happens(0.7) else FINDINGS[1]
        lines.append(writer.fracture(finding, "family", "clinical_mx", "history"))
    if writer.happens(quality.distractor_told):
        lines.append(writer.line("distractor_mx"))
    return lines


def _injuries(writer: NoteWriter, language: str) -> list[str]:
    injuries = load_injuries()
    return [injuries[name].called(writer.rng, language) for name in writer.truth.injuries]
