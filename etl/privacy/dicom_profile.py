"""A data set de-identified by the Basic Application Level Confidentiality Profile.

DICOM PS3.15 Annex E, Table E.1-1, with the Retain Longitudinal Temporal Information Modified Dates
Option: the film's own dates move by the patient's shift, times of day stay. The table is that of
dicom-anonymizer (edition 2026c). Its engine is not used: it acts on the top level alone, draws
UIDs at random and keeps dates that it should remove as dummies.

The profile names attributes; a real archive fills others too. So beyond it, at every level of
nesting: private and repeating groups go, and of the attributes that the table does not name all
that can hold free text, persons, dates or opaque bytes, but for a short list.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

EDITION = "dicomfields_2026c"
STANDARD_UIDS = "1.2.840.10008."
DUMMY_TEXT = "REMOVED"
DUMMY_DATE = "19000101"
DUMMY_TIME = "000000"
# The strictest action that still leaves a conformant film where the table offers a choice.
ACTIONS = {
    "D_TAGS": "D",
    "Z_TAGS": "Z",
    "X_TAGS": "X",
    "U_TAGS": "U",
    "Z_D_TAGS": "D",
    "X_Z_TAGS": "Z",
    "X_D_TAGS": "D",
    "X_Z_D_TAGS": "D",
    "X_Z_U_STAR_TAGS": "X",
}
# Dates and times of the film itself; the option moves them, all other dates follow the profile.
FILM_DATES = frozenset(
    tag_for_keyword(f"{name}{part}")
    for name in ("Study", "Series", "Acquisition", "Content", "InstanceCreation")
    for part in ("Date", "Time")
) | {tag_for_keyword("AcquisitionDateTime"), tag_for_keyword("TimezoneOffsetFromUTC")}
TEXT_VRS = frozenset({"AE", "AS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "UN"})
DATE_VRS = frozenset({"DA", "DT", "TM"})
BYTE_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW"})
KEPT = frozenset(
    tag_for_keyword(name)
    for name in (
        *("SpecificCharacterSet", "PixelData", "LUTData", "RescaleType", "ModalityLUTType"),
        *("Manufacturer", "ManufacturerModelName", "SoftwareVersions"),
        *("CodeValue", "CodingSchemeDesignator", "CodingSchemeVersion", "CodeMeaning"),
    )
)
# What the values of short code strings and numbers may look like; anything else is text.
SHAPES = {
    "CS": re.compile(r"[A-Z0-9_ ]{0,16}"),
    "DS": re.compile(r" *[-+0-9.eE]{0,16} *"),
    "IS": re.compile(r" *[-+0-9]{0,12} *"),
    "TM": re.compile(r"[0-9]{2}(?:[0-9]{2}){0,2}(?:\.[0-9]{1,6})? *|"),
}
OFFSET = re.compile(r"[+-][0-9]{4}")
# Schemes whose codes and meanings are the scheme's own words (PS3.16 section 8).
CODE_SCHEMES = frozenset({"SCT", "SRT", "SNM3", "DCM", "UCUM", "RADLEX", "LN", "FMA"})
METHOD_CODES = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
)
METHOD = "PS3.15 Annex E basic profile (2026c), dates shifted"


@dataclass(frozen=True, kw_only=True)
class Replacements:
    """What stands in a film instead of its patient's identity.

    Attributes:
        patient_id: Pseudonym, in Patient ID and Patient's Name.
        shift_days: Days added to the film's dates.
        uid: Gives the UID in place of one of the source's.
    """

    patient_id: str
    shift_days: int
    uid: Callable[[str], str]


def deidentify(dataset: Dataset, replacements: Replacements) -> None:
    """De-identify a film in place; pixel data are left as they are.

    Args:
        dataset: Parsed file with its file meta information.
        replacements: Pseudonym, date shift and UIDs of its patient.
    """
    _clean(dataset, replacements)
    dataset.PatientID = replacements.patient_id
    dataset.PatientName = replacements.patient_id
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = METHOD
    dataset.DeidentificationMethodCodeSequence = Sequence([_code(*each) for each in METHOD_CODES])
    dataset.LongitudinalTemporalInformationModified = "MODIFIED"
    dataset.preamble = b"\0" * 128


def profile_action(tag: int) -> str | None:
    """Action of the basic profile for an attribute (X, Z, D or U); None where it has none."""
    return _table().get(tag)


@cache
def _table() -> dict[int, str]:
    database = dicom_anonymization_database_selector(EDITION)
    table = {
        group << 16 | element: action
        for category, action in ACTIONS.items()
        for group, element, *mask in database[category]
        if not mask
    }
    # X/Z, and optional in films, where an empty sequence is not allowed.
    return table | {tag_for_keyword("ReferencedStudySequence"): "X"}


def _clean(dataset: Dataset, replacements: Replacements) -> None:
    for tag in sorted(dataset.keys()):
        is_repeating = tag.group & 0xFF00 in (0x5000, 0x6000)
        if tag.is_private or is_repeating or tag.element == 0:
            del dataset[tag]
            continue
        try:
            element = dataset[tag]
            is_kept = _clean_element(element, replacements)
        except Exception:  # noqa: BLE001 - a value that cannot be read cannot be cleaned
            is_kept = False
        if not is_kept:
            del dataset[tag]


def _clean_element(element: DataElement, replacements: Replacements) -> bool:
    """Clean one element in place; False where it must go."""
    action = profile_action(element.tag)
    if element.tag in FILM_DATES:
        return _shift(element, replacements.shift_days)
    if action == "X":
        return False
    if element.VR == "SQ":
        return _clean_sequence(element, action, replacements)
    if action == "Z":
        element.value = ""
    elif action == "D":
        return _replace(element, replacements)
    elif element.VR == "UI":
        _replace_uids(element, replacements)
    else:
        return _is_harmless(element)
    return True


def _clean_sequence(element: DataElement, action: str | None, replacements: Replacements) -> bool:
    if action == "Z":
        element.value = Sequence()
    for item in element.value:
        _clean(item, replacements)
        _clean_code(item)
    # Where the profile wants a dummy, a cleaned item would still be the source's.
    return action != "D"


def _is_harmless(element: DataElement) -> bool:
    if element.tag in KEPT:
        return True
    if element.VR in TEXT_VRS | DATE_VRS | BYTE_VRS:
        return False
    shape = SHAPES.get(element.VR)
    return shape is None or all(shape.fullmatch(str(each)) for each in _values(element))


def _replace(element: DataElement, replacements: Replacements) -> bool:
    dummies = {"DA": DUMMY_DATE, "DT": DUMMY_DATE, "TM": DUMMY_TIME, "AS": "000Y"}
    if element.VR == "UI":
        _replace_uids(element, replacements)
    elif element.VR in TEXT_VRS | {"CS"} and element.VR != "UN":
        element.value = dummies.get(element.VR, DUMMY_TEXT)
    elif element.VR in dummies:
        element.value = dummies[element.VR]
    else:
        return False
    return True


def _replace_uids(element: DataElement, replacements: Replacements) -> None:
    """Replace instance UIDs; those that the standard itself defines say what, not who."""
    values = [str(each) for each in _values(element)]
    new = [each if each.startswith(STANDARD_UIDS) else replacements.uid(each) for each in values]
    element.value = "" if not new else UID(new[0]) if len(new) == 1 else [UID(each) for each in new]


def _shift(element: DataElement, shift_days: int) -> bool:
    text = str(element.value or "").strip()
    if element.VR in {"TM", "SH"}:
        return bool((SHAPES["TM"] if element.VR == "TM" else OFFSET).fullmatch(text))
    if not text:
        return True
    day = datetime.strptime(text[:8], "%Y%m%d") + timedelta(days=shift_days)  # noqa: DTZ007
    rest = text[8:]
    if not re.fullmatch(r"(?:[0-9]{2,6}(?:\.[0-9]{1,6})?)?(?:[+-][0-9]{4})?", rest):
        return False
    element.value = day.strftime("%Y%m%d") + rest
    return True


def _clean_code(item: Dataset) -> None:
    """Codes and words of a local scheme may be anybody's."""
    is_known = str(item.get("CodingSchemeDesignator", "")).strip().upper() in CODE_SCHEMES
    for name in ("CodeValue", "CodeMeaning"):
        if name in item and not is_known:
            setattr(item, name, DUMMY_TEXT)


def _values(element: DataElement) -> list[object]:
    value = element.value
    if value is None or value == "":
        return []
    is_many = not isinstance(value, str | bytes) and hasattr(value, "__iter__")
    return list(value) if is_many else [value]


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item
