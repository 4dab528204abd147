"""The text of imaging reports."""

from __future__ import annotations

from collections.abc import Mapping

from etl.synthetic_hospital.film_request import FINDINGS
from etl.synthetic_hospital.note_writer import NoteWriter
from etl.synthetic_hospital.visits import ImagingOrder

_SAID_IN_IMPRESSION = ("present", "uncertain", "healing")
_VIEWS = {"PA": ("PA", "P-A", "PA erect"), "AP": ("AP", "AP supine", "portable AP")}


def chest_film_report(writer: NoteWriter, order: ImagingOrder, readings: Mapping[str, str]) -> str:
    """A chest film's report. readings by finding: see EpisodeBelief."""
    language = "en" if writer.happens(0.8) else "zh"
    views = _VIEWS[order.projections[0]]
    view = views[int(writer.rng.random() * len(views))]
    writer.context = {**writer.context, "view": view}
    findings = _fracture_sentences(writer, readings, language)
    is_any = any(reading not in ("absent", "none") for reading in readings.values())
    body = [*findings, *_other_sentences(writer, language, is_any_fracture=is_any)]
    sentences = [_capital(body[int(place)]) for place in writer.rng.permutation(len(body))]
    impression = [_capital(one) for one in _impression(writer, readings, language)]
    return _laid_out(writer, language, sentences, impression)


def other_imaging_report(
    writer: NoteWriter, order: ImagingOrder, readings: Mapping[str, str]
) -> str:
    """A report on a chest CT or an abdominal film."""
    if order.exam_code == "KUB":
        lines = [writer.line("abdomen_title_en"), writer.line("abdomen_body_en")]
        return "\n".join([*lines, writer.line("impression_clear_en")])
    sentences = _fracture_sentences(writer, readings, "en")
    sentences += [writer.line("ct_body_en") for _ in range(2)]
    sentences = [_capital(one) for one in sentences]
    lines = [writer.line("ct_title_en"), writer.line("findings_heading_en"), *sentences]
    impression = _impression(writer, readings, "en")
    return "\n".join([*lines, writer.line("impression_heading_en"), *_numbered(impression)])


def addendum_text(writer: NoteWriter, findings: list[str]) -> str:
    """An addendum that reports fractures which the first reading missed."""
    said = [writer.fracture(finding, "present", "report_en", "addendum") for finding in findings]
    return " ".join([writer.line("addendum_opening_en"), *said])


def _fracture_sentences(
    writer: NoteWriter, readings: Mapping[str, str], language: str
) -> list[str]:
    style = f"report_{language}"
    absent = [finding for finding in FINDINGS if readings[finding] == "absent"]
    sentences = [
        writer.fracture(finding, readings[finding], style, "findings")
        for finding in FINDINGS
        if readings[finding] not in ("absent", "none")
    ]
    if len(absent) == len(FINDINGS) and writer.happens(0.12):
        for finding in absent:
            writer.remember(finding, "absent", "findings")
        return [writer.line(f"both_absent_{style}")]
    return sentences + [
        writer.fracture(finding, "absent", style, "findings")
        for finding in absent
        if writer.happens(writer.quality.film_absent_named)
    ]


def _other_sentences(writer: NoteWriter, language: str, *, is_any_fracture: bool) -> list[str]:
    is_trauma = writer.visit.is_trauma
    lungs = "lungs_clear"
    if is_trauma and writer.happens(0.22 if is_any_fracture else 0.08):
        lungs = "lungs_injured"
    elif not is_trauma and writer.happens(0.4):
        lungs = "lungs_ill"
    sentences = [writer.line(f"{lungs}_{language}"), writer.line(f"heart_{language}")]
    if not is_any_fracture and writer.happens(0.3):
        sentences.append(writer.line(f"bones_intact_{language}"))
    if writer.happens(0.2):
        sentences.append(writer.line(f"bones_other_{language}"))
    if language == "en" and writer.happens(0.1):
        sentences.append(writer.line("devices_en"))
    return sentences


def _impression(writer: NoteWriter, readings: Mapping[str, str], language: str) -> list[str]:
    said = []
    for finding in FINDINGS:
        if readings[finding] in _SAID_IN_IMPRESSION and writer.happens(0.85):
            style = f"report_{language}"
            said.append(writer.fracture(finding, readings[finding], style, "impression"))
    if not said:
        is_clear = all(reading in ("absent", "none") for reading in readings.values())
        said.append(writer.line(f"impression_{'clear' if is_clear else 'above'}_{language}"))
    if writer.happens(0.25):
        said.append(writer.line(f"suggestion_{language}"))
    return said


def _indication(writer: NoteWriter, language: str) -> str:
    if not writer.visit.is_trauma:
        return writer.line(f"indication_other_{language}")
    if writer.happens(writer.quality.indication_suspects):
        finding = FINDINGS[0] if writer.happens(0.75) else FINDINGS[1]
        writer.remember(finding, "uncertain", "indication")
        short = finding.removesuffix("_fracture")
        return writer.line(f"indication_suspicion_{short}_{language}")
    return writer.line(f"indication_trauma_{language}")


def _laid_out(
    writer: NoteWriter, language: str, sentences: list[str], impression: list[str]
) -> str:
    """The parts under headings, as bullets without headings, or as running text."""
    lines = [writer.line(f"chest_title_{language}")]
    layout = float(writer.rng.random())
    separator = " " if language == "en" else ""
    if layout < 0.6:
        heading = writer.line(f"indication_heading_{language}")
        lines.append(f"{heading} {_indication(writer, language)}")
        if language == "en" and writer.happens(0.3):
            lines.append(writer.line("technique_line_en"))
        if language == "en" and writer.happens(0.3):
            lines.append(writer.line("comparison_line_en"))
        lines.append(writer.line(f"findings_heading_{language}"))
        lines += [f"- {one}" for one in sentences] if layout < 0.2 else [separator.join(sentences)]
        lines.append(writer.line(f"impression_heading_{language}"))
        lines += _numbered(impression)
    elif layout < 0.8:
        lines += _numbered(sentences)
    else:
        lines.append(separator.join([*sentences, *impression]))
    signature = writer.line("signature_en")
    return "\n".join([*lines, signature] if signature else lines)


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _numbered(sentences: list[str]) -> list[str]:
    if len(sentences) < 2:
        return sentences
    return [f"{number}. {sentence}" for number, sentence in enumerate(sentences, 1)]
