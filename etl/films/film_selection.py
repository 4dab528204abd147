"""Which instances are frontal chest films: a rule on tags, then an image check.

The rule, in order; the first line that applies decides, and its text is kept with the image:

1. The species is human; the modality is CR or DX; one monochrome frame, at least 128 pixels a side.
2. The file is made for presentation, and the patient stands upright in it (Patient Orientation).
3. The view is AP or PA: View Position, else View Code Sequence, else the series' descriptions.
4. The body part is the chest: Body Part Examined, else Anatomic Region Sequence, else the series'
   or the study's descriptions. Lateral, oblique, rib, clavicle, abdomen ... series are refused
   even where the other tags say chest.
5. Where view or body part stays unknown, etl.films.frontal_check looks at the film.
6. Of films that store one exposure more than once, one stands: etl.films.film_copies.

Reasons are made of the terms below and never quote a description, which may hold names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from etl.films.dicom_header import HeaderFacts, SeriesFacts
from etl.films.frontal_check import MIN_SCORE, FrontalCheck

MODALITIES = ("CR", "DX")
MIN_SIDE_PX = 128
FRONTAL_VIEWS = ("AP", "PA")
# CID 4010 of DICOM PS3.16, in SNOMED CT and its older SRT codes.
FRONTAL_VIEW_CODES = {
    ("SCT", "399348003"): "AP",
    ("SRT", "R-10206"): "AP",
    ("SNM3", "R-10206"): "AP",
    ("SCT", "272479007"): "PA",
    ("SRT", "R-10214"): "PA",
    ("SNM3", "R-10214"): "PA",
}
CHEST_BODY_PARTS = ("CHEST", "THORAX", "LUNG")
CHEST_REGION_CODES = (
    ("SCT", "51185008"),
    ("SCT", "816094009"),
    ("SRT", "T-D3000"),
    ("SNM3", "T-D3000"),
)
CHEST_TERMS = re.compile(r"\b(CHEST|THORAX|CXR)\b|胸部|胸腔")
REFUSED_TERMS = re.compile(
    r"\b(LATERAL|LAT|DECUB\w*|OBLIQUE|LORDOTIC|RIBS?|CLAVICLES?|ABDOMEN|KUB|SHOULDER|STERNUM"
    r"|SPINE|PELVIS|SCAPULA|NECK|SKULL)\b"
)
FRONTAL_TERMS = re.compile(r"\b(AP|PA)\b")
ANIMAL_TERMS = re.compile(
    r"\b(CANINE|DOG|FELINE|CAT|EQUINE|HORSE|BOVINE|AVIAN|RABBIT|FERRET|PORCINE|VETERINARY)\b"
)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What the rule says of one instance.

    Attributes:
        is_frontal_chest: The decision; None where only the image can tell.
        reason: Why, in the rule's own words.
        view_position: AP or PA as found by the rule, where it was found.
        frontal_check_score: Confidence of the image check, 0 to 1, where it was asked.
    """

    is_frontal_chest: bool | None
    reason: str
    view_position: str | None = None
    frontal_check_score: float | None = None


def refusal_before_fetch(facts: SeriesFacts) -> str | None:
    """Why a series or instance that an archive describes is not worth fetching, by the same rule.

    An archive answers with some of the tags only; what it leaves out refuses nothing.
    """
    return (
        _species_fault(facts)
        or (_modality_fault(facts) if facts.modality else None)
        or _intent_fault(facts)
        or _orientation_fault(facts)
        or _series_fault(facts)
        or _view_fault(facts)
        or _part_fault(facts)
    )


def select_by_tags(facts: HeaderFacts) -> Selection:
    """Apply the rule's tags to one header."""
    fault = (
        _species_fault(facts)
        or _modality_fault(facts)
        or _image_fault(facts)
        or _intent_fault(facts)
        or _orientation_fault(facts)
        or _series_fault(facts)
        or _view_fault(facts)
        or _part_fault(facts)
    )
    if fault is not None:
        return Selection(is_frontal_chest=False, reason=fault)
    view, view_origin = _view(facts)
    is_chest, part_origin = _is_chest(facts)
    if view is None or is_chest is None:
        silent = " and ".join(
            name for name, known in (("view", view), ("body part", is_chest)) if known is None
        )
        return Selection(
            is_frontal_chest=None, reason=f"tags are silent on {silent}", view_position=view
        )
    reason = f"view {view} ({view_origin}), chest ({part_origin})"
    return Selection(is_frontal_chest=True, reason=reason, view_position=view)


def select_by_image(selection: Selection, check: FrontalCheck) -> Selection:
    """Decide what the tags left open, with the check's score in the reason."""
    numbers = f"score {check.score:.2f}, at least {MIN_SCORE}"
    verdict = "looks frontal" if check.is_frontal else "does not look frontal"
    return Selection(
        is_frontal_chest=check.is_frontal,
        reason=f"{selection.reason}; image check {verdict} ({numbers})",
        view_position=selection.view_position,
        frontal_check_score=check.score,
    )


def _species_fault(facts: SeriesFacts) -> str | None:
    if facts.species and "HOMO" not in facts.species and "HUMAN" not in facts.species:
        return "veterinary: Patient Species Description is not human"
    found = ANIMAL_TERMS.search(f"{facts.descriptions} | {facts.study_description}")
    return f"veterinary: a description says {found[0]}" if found else None


def _modality_fault(facts: SeriesFacts) -> str | None:
    if facts.modality in MODALITIES:
        return None
    return f"modality: {_code(facts.modality or 'NONE')} is not {' or '.join(MODALITIES)}"


def _image_fault(facts: HeaderFacts) -> str | None:
    if facts.n_frames != 1 or facts.n_samples != 1:
        return "image: not a single monochrome frame"
    if not facts.photometric_interpretation.startswith("MONOCHROME"):
        return "image: not monochrome"
    if min(facts.rows_px, facts.columns_px) < MIN_SIDE_PX:
        return f"image: {facts.rows_px} x {facts.columns_px} is below {MIN_SIDE_PX} pixels a side"
    return None


def _intent_fault(facts: SeriesFacts) -> str | None:
    if facts.presentation_intent == "FOR PROCESSING":
        return "image: for processing, not for presentation"
    return None


def _orientation_fault(facts: SeriesFacts) -> str | None:
    """The second value tells where the columns run; F (to the feet) is upright."""
    if len(facts.orientation) == 2 and facts.orientation[1][:1] in set("HLRAP"):
        return "orientation: Patient Orientation says the film is not upright"
    return None


def _series_fault(facts: SeriesFacts) -> str | None:
    found = REFUSED_TERMS.search(facts.descriptions)
    if found is None:
        return None
    # "CHEST PA AND LAT" names the whole study on each of its films: the view tags then decide.
    if FRONTAL_TERMS.search(facts.descriptions) and found[0] in {"LAT", "LATERAL"}:
        return None
    return f"series: a description says {found[0]}"


def _view_fault(facts: SeriesFacts) -> str | None:
    view, origin = _view(facts)
    is_refused = view is not None and view not in FRONTAL_VIEWS
    return f"view: not AP or PA ({origin})" if is_refused else None


def _part_fault(facts: SeriesFacts) -> str | None:
    is_chest, origin = _is_chest(facts)
    return f"body part: not the chest ({origin})" if is_chest is False else None


def _view(facts: SeriesFacts) -> tuple[str | None, str]:
    if facts.view_position:
        return facts.view_position, "View Position"
    for code in facts.view_codes:
        return FRONTAL_VIEW_CODES.get(code, "other"), "View Code Sequence"
    terms = set(FRONTAL_TERMS.findall(facts.descriptions))
    if len(terms) == 1 and not REFUSED_TERMS.search(facts.descriptions):
        return terms.pop(), "series description"
    return None, ""


def _is_chest(facts: SeriesFacts) -> tuple[bool | None, str]:
    if facts.body_part:
        is_chest = any(part in facts.body_part for part in CHEST_BODY_PARTS)
        return is_chest, "Body Part Examined"
    for code in facts.region_codes:
        return code in CHEST_REGION_CODES, "Anatomic Region Sequence"
    for text, origin in (
        (facts.descriptions, "series description"),
        (facts.study_description, "study description"),
    ):
        if CHEST_TERMS.search(text):
            return True, origin
    return None, ""


def _code(text: str) -> str:
    """A code string as it may be shown; anything else could be free text."""
    return text if re.fullmatch(r"[A-Z]{2,8}", text) else "(unreadable)"
