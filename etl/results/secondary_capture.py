"""The drawn result as a DICOM secondary capture (PS3.3 A.8.1), which every viewer shows."""

from __future__ import annotations

import numpy as np
from highdicom.sc import SCImage
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from etl.results.result_identity import (
    RESEARCH,
    ResultIdentity,
)
from etl.results.source_reference import name_body_part

KIND = "secondary capture"
UNKNOWN_ORIENTATION = ("L", "F")


def build_secondary_capture(
    reference: Dataset, picture: NDArray[np.uint8], *, identity: ResultIdentity
) -> SCImage:
    """The picture as an image of the same study.

    Args:
        reference: The source film, as ``source_reference`` gives it.
        picture: (rows, columns, 3) uint8, RGB.
        identity: Who made it.
    """
    image = SCImage.from_ref_dataset(
        reference,
        pixel_array=picture,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=UNKNOWN_ORIENTATION,
        **identity.instance_arguments(KIND, "Ribline heat map, research use only"),
        content_date=identity.written.date(),
        content_time=identity.written.time(),
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    # Type 2C; of a film that does not say how it lies, nobody knows it (PS3.3 C.7.6.1.1.1).
    image.PatientOrientation = reference.get("PatientOrientation")
    name_body_part(reference, image)
    image.BurnedInAnnotation = reference.get("BurnedInAnnotation") or "NO"
    image.DerivationDescription = f"Score map and boxes of run {identity.run.run_id}. {RESEARCH}"
    source = Dataset()
    source.ReferencedSOPClassUID = reference.SOPClassUID
    source.ReferencedSOPInstanceUID = reference.SOPInstanceUID
    purpose = codes.DCM.SourceImageForImageProcessingOperation
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = purpose.value, purpose.scheme_designator
    item.CodeMeaning = purpose.meaning
    source.PurposeOfReferenceCodeSequence = [item]
    image.SourceImageSequence = [source]
    return image
