"""Stores a rendered film as a DICOM file with the headers a hospital's archive would send."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    RLELossless,
)

from etl.synthetic_hospital.database import HOSPITAL_NAME
from etl.synthetic_hospital.film import Film
from etl.synthetic_hospital.imaging import PlannedInstance, instance_uid

IMPLEMENTATION_CLASS_UID = UID(instance_uid("ribline synthetic hospital"))
_FILM_BITS = 12
_VIEW_POSITION = {"PA": "PA", "AP": "AP", "LATERAL": "LL", "ABDOMEN": "AP"}
_SERIES_NAME = {
    "PA": "Chest PA",
    "AP": "Chest AP portable",
    "LATERAL": "Chest lateral",
    "ABDOMEN": "Abdomen supine",
}
# SNOMED CT codes of CID 4010 (DX View): postero-anterior, antero-posterior, left lateral.
_VIEW_CODES = {
    "PA": ("272479007", "postero-anterior"),
    "AP": ("399348003", "antero-posterior"),
    "LATERAL": ("399173006", "left lateral"),
    "ABDOMEN": ("399348003", "antero-posterior"),
}


def write_instance(path: Path, planned: PlannedInstance, film: Film) -> None:
    """Writes one film: PS3.10 file, explicit VR little endian or RLE; the same bytes each time."""
    dataset = Dataset()
    dataset.file_meta = _file_meta(planned)
    _add_patient(dataset, planned)
    _add_study(dataset, planned)
    _add_view(dataset, planned)
    _add_pixels(dataset, planned, film)
    if planned.is_rle:
        dataset.compress(RLELossless, generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def stored_values(
    pixels: npt.NDArray[np.uint16], *, bits_stored: int, photometric: str
) -> npt.NDArray[np.uint16]:
    """The (rows, columns) values in the file; in MONOCHROME1 the brightest bone is the lowest."""
    scaled = pixels.astype(np.uint16) << np.uint16(bits_stored - _FILM_BITS)
    if photometric == "MONOCHROME1":
        return (np.uint16(2**bits_stored - 1) - scaled).astype(np.uint16)
    return scaled


def _file_meta(planned: PlannedInstance) -> FileMetaDataset:
    meta = FileMetaDataset()
    is_dx = planned.scanner.modality == "DX"
    meta.MediaStorageSOPClassUID = (
        DigitalXRayImageStorageForPresentation if is_dx else ComputedRadiographyImageStorage
    )
    meta.MediaStorageSOPInstanceUID = UID(planned.sop_instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = "SYNTHETIC_1"
    return meta


def _add_patient(dataset: Dataset, planned: PlannedInstance) -> None:
    person = planned.person
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = person.name_dicom
    dataset.PatientID = planned.chart_no
    dataset.IssuerOfPatientID = "SYNTHETIC"
    dataset.PatientBirthDate = person.birth_date.strftime("%Y%m%d")
    dataset.PatientSex = person.sex_code
    dataset.PatientAge = f"{planned.film.age_years:03d}Y"
    dataset.PatientAddress = person.address
    dataset.PatientTelephoneNumbers = person.phone


def _add_study(dataset: Dataset, planned: PlannedInstance) -> None:
    meta, scanner, at = dataset.file_meta, planned.scanner, planned.acquired_at
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = planned.sop_instance_uid
    dataset.StudyInstanceUID = planned.study_instance_uid
    dataset.SeriesInstanceUID = planned.series_instance_uid
    dataset.AccessionNumber = planned.accession_no
    dataset.StudyID = planned.accession_no[-8:]
    dataset.SeriesNumber = planned.instance_number
    dataset.InstanceNumber = 1
    dataset.Modality = scanner.modality
    dataset.Manufacturer = scanner.manufacturer
    dataset.ManufacturerModelName = scanner.model
    dataset.StationName = scanner.station
    dataset.InstitutionName = HOSPITAL_NAME
    dataset.ReferringPhysicianName = "Doctor^Synthetic"
    dataset.ImageComments = "SYNTHETIC: rendered, no patient"
    dataset.StudyDate = dataset.SeriesDate = at.strftime("%Y%m%d")
    dataset.AcquisitionDate = dataset.ContentDate = at.strftime("%Y%m%d")
    dataset.StudyTime = at.strftime("%H%M%S")
    acquired = (at + timedelta(seconds=40 * planned.instance_number)).strftime("%H%M%S")
    dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = acquired
    dataset.TimezoneOffsetFromUTC = "+0800"
    if scanner.modality == "DX":
        dataset.PresentationIntentType = "FOR PRESENTATION"


def _add_view(dataset: Dataset, planned: PlannedInstance) -> None:
    projection = planned.film.projection
    is_abdomen = projection == "ABDOMEN"
    dataset.BodyPartExamined = "ABDOMEN" if is_abdomen else "CHEST"
    dataset.StudyDescription = "SYNTHETIC " + ("Abdomen" if is_abdomen else "Chest X-ray")
    dataset.SeriesDescription = f"SYNTHETIC {_SERIES_NAME[projection]}"
    if planned.scanner.has_view_position:
        dataset.ViewPosition = _VIEW_POSITION[projection]
    if planned.scanner.modality == "DX":
        view = Dataset()
        view.CodeValue, view.CodeMeaning = _VIEW_CODES[projection]
        view.CodingSchemeDesignator = "SCT"
        dataset.ViewCodeSequence = Sequence([view])
        dataset.PatientOrientation = ["A", "F"] if projection == "LATERAL" else ["L", "F"]
    dataset.BurnedInAnnotation = "NO"


def _add_pixels(dataset: Dataset, planned: PlannedInstance, film: Film) -> None:
    scanner = planned.scanner
    values = stored_values(
        film.pixels, bits_stored=scanner.bits_stored, photometric=scanner.photometric
    )
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = scanner.photometric
    dataset.Rows, dataset.Columns = values.shape
    dataset.BitsAllocated = 16
    dataset.BitsStored = scanner.bits_stored
    dataset.HighBit = scanner.bits_stored - 1
    dataset.PixelRepresentation = 0
    spacing = [f"{film.pixel_spacing_mm:.5f}"] * 2
    if scanner.modality == "DX":
        dataset.ImagerPixelSpacing = spacing
        dataset.PresentationLUTShape = (
            "INVERSE" if scanner.photometric == "MONOCHROME1" else "IDENTITY"
        )
        dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"
        dataset.PixelIntensityRelationship = "LOG"
        dataset.PixelIntensityRelationshipSign = -1
    else:
        dataset.PixelSpacing = spacing
    if scanner.has_window:
        low, high = (float(one) for one in np.percentile(values, (0.1, 99.9)))
        dataset.WindowCenter = f"{(low + high) / 2:.1f}"
        dataset.WindowWidth = f"{max(high - low, 1.0):.1f}"
    dataset.PixelData = values.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
