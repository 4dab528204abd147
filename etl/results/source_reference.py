"""What a result takes over from its source film: patient, study, and how the film is displayed.

The values are the source's own, decoded and written again in UTF-8 (ISO_IR 192), so that a name in
any character set stays what it is. A value that DICOM does not allow is left empty, except in what
says whose film it is: there the film gets no DICOM result.
"""

from __future__ import annotations

import warnings
from copy import deepcopy

import numpy as np
from pydicom import config
from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.uid import UID
from pydicom.valuerep import validate_value

from etl.films.dicom_header import UnusableFileError, open_dataset
from etl.films.film_pixels import is_inverted

UTF_8 = "ISO_IR 192"
# Without these a result could reach another patient's record, or nobody's.
IDENTIFYING = (
    *("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"),
)
# Type 2 in every result: present, and empty where the source has no value (PS3.3 C.7.1.1, C.7.2.1).
ALWAYS = (
    *("PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName"),
)
OFTEN = (
    *("IssuerOfPatientID", "PatientBirthTime", "PatientComments", "EthnicGroup"),
    *("StudyDescription", "PatientAge", "PatientSize", "PatientWeight", "AdditionalPatientHistory"),
    *("TimezoneOffsetFromUTC", "SeriesNumber", "InstanceNumber", "PatientOrientation"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "RescaleSlope", "RescaleIntercept"),
    *("RescaleType", "BurnedInAnnotation", "PatientSpeciesDescription"),
)
DISPLAY_TABLES = ("ModalityLUTSequence", "VOILUTSequence")
SEXES = ("F", "M", "O")


def source_reference(content: bytes, *, is_chest: bool = True) -> Dataset:
    """The header that results of a file refer to.

    Args:
        content: The file, which was read as a film before.
        is_chest: What the selection rule says of it.

    Returns:
        SOP Class, SOP Instance, Study and Series Instance UID, patient and study attributes,
        rows, columns, and the transforms by which the film is displayed; no pixels.

    Raises:
        UnusableFileError: It does not say whose film it is, in values that DICOM allows.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = open_dataset(content)
        source.decode()
        reference = Dataset()
        reference.SpecificCharacterSet = UTF_8
        for keyword in IDENTIFYING:
            if not _copy(source, reference, keyword):
                raise UnusableFileError(f"no DICOM result: {keyword} is missing or not allowed")
        for keyword in ALWAYS:
            if not _copy(source, reference, keyword):
                setattr(reference, keyword, None)
        if reference.PatientSex not in SEXES:
            reference.PatientSex = None
        for keyword in OFTEN:
            _copy(source, reference, keyword)
        for keyword in DISPLAY_TABLES:
            if isinstance(source.get(keyword), Sequence) and source[keyword].value:
                setattr(reference, keyword, [_table(item) for item in source[keyword].value])
        if is_chest:
            reference.BodyPartExamined = "CHEST"
        else:
            _copy(source, reference, "BodyPartExamined")
            if not _copy(source, reference, "Laterality"):
                reference.Laterality = None
        reference.Modality = str(source.get("Modality", ""))
        reference.Rows, reference.Columns = int(source.Rows), int(source.Columns)
        reference.SamplesPerPixel = 1
        reference.PhotometricInterpretation = str(source.PhotometricInterpretation)
        reference.PresentationLUTShape = "INVERSE" if is_inverted(source) else "IDENTITY"
        return reference


def name_body_part(reference: Dataset, result: Dataset) -> None:
    """Put the source's body part into an image or presentation state.

    The chest is no paired structure, so that no side is due; of another part it is, and may be
    unknown (PS3.3 C.7.3.1).
    """
    for keyword in ("BodyPartExamined", "Laterality"):
        if keyword in reference:
            setattr(result, keyword, reference[keyword].value)


def _table(item: Dataset) -> Dataset:
    """A look-up table with its data as words, however the source wrote them."""
    table = deepcopy(item)
    data = table.get("LUTData")
    if data is not None and not isinstance(data, bytes):
        words = np.asarray(data).astype("<u2").tobytes()
        table["LUTData"] = DataElement(table["LUTData"].tag, "OW", words)
    return table


def _copy(source: Dataset, reference: Dataset, keyword: str) -> bool:
    """Copy a value that is there and allowed; True where it was."""
    tag = tag_for_keyword(keyword)
    assert tag is not None
    try:
        value = source.get(keyword)
        values = list(value) if isinstance(value, MultiValue | list) else [value]
        texts = ["" if each is None else str(each) for each in values]
        if not "".join(texts).strip() or (len(texts) > 1 and dictionary_VM(tag) == "1"):
            return False
        vr = dictionary_VR(tag)
        for text in texts:
            validate_value(vr, text, config.RAISE)
        if vr == "UI" and not UID(texts[0]).is_valid:
            return False
        setattr(reference, keyword, texts if len(texts) > 1 else texts[0])
    except Exception:  # noqa: BLE001 - damaged values raise anything, and may quote themselves
        return False
    return True
