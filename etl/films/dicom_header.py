"""What a DICOM file's header says, as far as Ribline needs it.

Reading is tolerant (a wrong value is as good as none) but bounded: size, inflation and pixel
counts are capped before anything is allocated.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from io import BytesIO
from typing import Any

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_preamble
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian

MAX_FILE_BYTES = 512 * 2**20
# Twice the bytes of the largest image that is read.
MAX_INFLATED_BYTES = 256 * 2**20
TOO_LARGE = f"the file is larger than {MAX_FILE_BYTES >> 20} MiB"
MAX_PIXELS = 64 * 10**6
LONG_VALUE_BYTES = 2**20
DESCRIPTION_TAGS = (
    "SeriesDescription",
    "ProtocolName",
    "PerformedProcedureStepDescription",
    "AcquisitionDeviceProcessingDescription",
)
SYNTHETIC_TAGS = ("ImageComments", "InstitutionName", "Manufacturer", "StationName", "ImageType")


class UnusableFileError(ValueError):
    """A file that cannot be used; its text is the quarantine reason and quotes no data."""


@dataclass(frozen=True, kw_only=True)
class SeriesFacts:
    """What tells a frontal chest film from others, in a file or in an archive's answer to a query.

    Attributes:
        modality: Empty where it is not given.
        descriptions: Series-level descriptions in one upper-case line.
        study_description: Study Description, upper case.
        view_codes: (scheme, value) of View Code Sequence items.
        region_codes: (scheme, value) of Anatomic Region Sequence items.
    """

    modality: str
    view_position: str
    body_part: str
    descriptions: str
    study_description: str
    view_codes: tuple[tuple[str, str], ...]
    region_codes: tuple[tuple[str, str], ...]
    species: str
    orientation: tuple[str, ...]
    presentation_intent: str


@dataclass(frozen=True, kw_only=True)
class HeaderFacts(SeriesFacts):
    """One instance's header. Identifiers are as in the file: never log this object.

    Attributes:
        image_type: Values of Image Type (0008,0008), upper case.
        instance_number: Instance Number (0020,0013).
        irradiation_event_uid: Irradiation Event UID (0008,3010): one exposure, however stored.
        acquisition_text: Date and time of acquisition as written, by the acquisition's own tags.
        source_image_uids: SOP Instance UIDs of Source Image Sequence (0008,2112).
        acquired: UTC moment of acquisition, unshifted.
        study_year: Year of the study.
        age_years: Patient's Age (0010,1010).
        pixel_spacing_mm: Spacing between rows (PS3.3 10.7.1.3: the first value).
        column_spacing_mm: Spacing between columns.
        spacing_origin: detector (Imager Pixel Spacing), else calibrated or unstated (Pixel Spacing
            with or without a Calibration Type), else scanned (Nominal Scanned Pixel Spacing).
    """

    patient_identifier: str | None
    sop_instance_uid: str
    study_uid: str
    series_uid: str
    accession_number: str | None
    image_type: tuple[str, ...] = ()
    instance_number: int | None = None
    irradiation_event_uid: str | None = None
    acquisition_text: str | None = None
    source_image_uids: tuple[str, ...] = ()
    photometric_interpretation: str
    manufacturer: str | None
    sex_code: str | None
    birth: datetime | None
    acquired: datetime | None
    study_year: int | None
    age_years: float | None
    rows_px: int
    columns_px: int
    n_frames: int
    n_samples: int
    pixel_spacing_mm: float | None
    is_synthetic: bool
    column_spacing_mm: float | None = None
    spacing_origin: str | None = None


def open_dataset(content: bytes) -> Dataset:
    """Parse a file's content, pixel data unread by any decoder.

    Raises:
        UnusableFileError: Not DICOM, damaged, or too large.
    """
    if len(content) > MAX_FILE_BYTES:
        raise UnusableFileError(TOO_LARGE)
    try:
        return _parse(content)
    except UnusableFileError:
        raise
    except InvalidDicomError:
        raise UnusableFileError("not a DICOM file") from None
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - a damaged file may raise anything in the parser
        raise UnusableFileError("the DICOM header is damaged") from None


class _FileInMemory(BytesIO):
    """A file in memory that hands out long values, pixel data above all, without copying them."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._view = memoryview(content)

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < LONG_VALUE_BYTES:
            return super().read(size)
        value = self._view[self.tell() : self.tell() + size]
        self.seek(len(value), os.SEEK_CUR)
        return value  # type: ignore[return-value]


def _parse(content: bytes) -> Dataset:
    """pydicom's reading, except that a deflated data set is inflated here, where it is capped."""
    file = _FileInMemory(content)
    read_preamble(file, force=False)
    meta = FileMetaDataset(
        read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=_is_past_meta)
    )
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        file.seek(0)
        return pydicom.dcmread(file)
    inflated = BytesIO(_inflate(content[file.tell() :]))
    dataset = read_dataset(inflated, is_implicit_VR=False, is_little_endian=True)
    dataset.file_meta = meta
    return dataset


def _is_past_meta(tag: BaseTag, vr: str | None, length: int) -> bool:
    return tag.group != 2


def read_series_facts(dataset: Dataset) -> SeriesFacts:
    """Facts of a file's header, or of as much of it as an archive answers to a query."""
    return SeriesFacts(
        modality=(read_text(dataset, "Modality") or "").upper(),
        view_position=(read_text(dataset, "ViewPosition") or "").upper(),
        body_part=(read_text(dataset, "BodyPartExamined") or "").upper(),
        descriptions=" | ".join(
            text.upper() for tag in DESCRIPTION_TAGS if (text := read_text(dataset, tag))
        ),
        study_description=(read_text(dataset, "StudyDescription") or "").upper(),
        view_codes=_codes(dataset, "ViewCodeSequence"),
        region_codes=_codes(dataset, "AnatomicRegionSequence"),
        species=(read_text(dataset, "PatientSpeciesDescription") or "").upper(),
        orientation=_texts(dataset, "PatientOrientation"),
        presentation_intent=(read_text(dataset, "PresentationIntentType") or "").upper(),
    )


def read_header(dataset: Dataset, *, zone: tzinfo = UTC) -> HeaderFacts:
    """Facts of a parsed data set.

    Args:
        dataset: Parsed file.
        zone: Zone of dates where Timezone Offset From UTC (0008,0201) is silent.

    Raises:
        UnusableFileError: No identifiers or no image, or more pixels than MAX_PIXELS.
    """
    sop_instance_uid = read_text(dataset, "SOPInstanceUID")
    if sop_instance_uid is None:
        raise UnusableFileError("no SOP Instance UID")
    rows, columns, n_frames = check_size(dataset)
    acquired = _acquired(dataset, zone)
    row_spacing, column_spacing, spacing_origin = _spacing(dataset)
    return HeaderFacts(
        **vars(read_series_facts(dataset)),
        patient_identifier=read_text(dataset, "PatientID"),
        sop_instance_uid=sop_instance_uid,
        study_uid=read_text(dataset, "StudyInstanceUID") or sop_instance_uid,
        series_uid=read_text(dataset, "SeriesInstanceUID") or sop_instance_uid,
        accession_number=read_text(dataset, "AccessionNumber"),
        image_type=_texts(dataset, "ImageType"),
        instance_number=read_integer(dataset, "InstanceNumber"),
        irradiation_event_uid=read_text(dataset, "IrradiationEventUID"),
        acquisition_text=_acquisition_text(dataset),
        source_image_uids=tuple(
            uid
            for item in _items(dataset, "SourceImageSequence")
            if (uid := read_text(item, "ReferencedSOPInstanceUID"))
        ),
        photometric_interpretation=(read_text(dataset, "PhotometricInterpretation") or "").upper(),
        manufacturer=read_text(dataset, "Manufacturer"),
        sex_code=_sex(dataset),
        birth=_moment(read_text(dataset, "PatientBirthDate"), "", UTC),
        acquired=acquired,
        study_year=_study_year(dataset, acquired),
        age_years=_age(dataset),
        rows_px=rows,
        columns_px=columns,
        n_frames=n_frames,
        n_samples=read_integer(dataset, "SamplesPerPixel") or 1,
        pixel_spacing_mm=row_spacing,
        column_spacing_mm=column_spacing,
        spacing_origin=spacing_origin,
        is_synthetic=any(
            "SYNTHETIC" in str(dataset.get(tag, "")).upper() for tag in SYNTHETIC_TAGS
        ),
    )


def check_size(dataset: Dataset) -> tuple[int, int, int]:
    """Rows, columns and frames, before anything is allocated for them.

    Raises:
        UnusableFileError: No image, or more pixels than MAX_PIXELS.
    """
    rows, columns = read_integer(dataset, "Rows"), read_integer(dataset, "Columns")
    if rows is None or columns is None or min(rows, columns) < 1 or "PixelData" not in dataset:
        raise UnusableFileError("no image in the file")
    n_frames = max(read_integer(dataset, "NumberOfFrames") or 1, 1)
    if rows * columns * n_frames > MAX_PIXELS:
        raise UnusableFileError(f"more than {MAX_PIXELS} pixels")
    return rows, columns, n_frames


def _inflate(content: bytes) -> bytes:
    """Inflate a deflated data set (PS3.5 A.5), never beyond the cap.

    Raises:
        UnusableFileError: It would grow beyond MAX_INFLATED_BYTES.
        zlib.error: It is damaged.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(content, MAX_INFLATED_BYTES)
    if not inflater.eof and inflater.unconsumed_tail:
        raise UnusableFileError(f"inflates to more than {MAX_INFLATED_BYTES >> 20} MiB")
    if not inflater.eof:
        raise UnusableFileError("the deflated data are cut short")
    return inflated


def read_text(dataset: Dataset, tag: str) -> str | None:
    """A value as one line of text; None where it is missing, empty or wrong."""
    value = _value(dataset, tag)
    if value is None:
        return None
    text = re.sub(r"[\x00-\x1f]+", " ", str(value)).strip()
    return text or None


def _value(dataset: Dataset, tag: str) -> Any:
    try:
        return dataset.get(tag)
    except Exception:  # noqa: BLE001 - a wrong value is as good as none
        return None


def read_integer(dataset: Dataset, tag: str) -> int | None:
    """A value as a whole number; None where it is missing or wrong."""
    try:
        return int(_value(dataset, tag))
    except (TypeError, ValueError, OverflowError):
        return None


def _items(dataset: Dataset, tag: str) -> Iterable[Dataset]:
    items = _value(dataset, tag)
    return items if isinstance(items, pydicom.Sequence) else ()


def _codes(dataset: Dataset, tag: str) -> tuple[tuple[str, str], ...]:
    found = []
    for item in _items(dataset, tag):
        scheme, value = read_text(item, "CodingSchemeDesignator"), read_text(item, "CodeValue")
        if scheme and value:
            found.append((scheme.upper(), value))
    return tuple(found)


def _texts(dataset: Dataset, tag: str) -> tuple[str, ...]:
    value = _value(dataset, tag)
    if value is None or isinstance(value, str):
        return (value.strip().upper(),) if value else ()
    try:
        return tuple(str(part).strip().upper() for part in value)
    except TypeError:
        return ()


def _sex(dataset: Dataset) -> str | None:
    sex = (read_text(dataset, "PatientSex") or "").upper()
    return sex if sex in {"F", "M", "O"} else None


def _acquired(dataset: Dataset, zone: tzinfo) -> datetime | None:
    zone = _offset(read_text(dataset, "TimezoneOffsetFromUTC")) or zone
    combined = read_text(dataset, "AcquisitionDateTime") or ""
    candidates = [(combined[:8], re.split(r"[+-]", combined[8:])[0])]
    for name in ("Acquisition", "Content", "Series", "Study"):
        date, time = read_text(dataset, f"{name}Date"), read_text(dataset, f"{name}Time")
        candidates.append((date or "", time or ""))
    for date, time in candidates:
        if (moment := _moment(date, time, zone)) is not None:
            return moment
    return None


def _acquisition_text(dataset: Dataset) -> str | None:
    """Digits of the acquisition's own date and time, to the fraction given; no other tag's."""
    combined = read_text(dataset, "AcquisitionDateTime")
    if combined is None:
        date, time = read_text(dataset, "AcquisitionDate"), read_text(dataset, "AcquisitionTime")
        combined = f"{date}{time}" if date and time else ""
    whole, _, fraction = re.split(r"[+-]", combined)[0].partition(".")
    digits = re.sub(r"\D", "", whole)
    return f"{digits}.{fraction.rstrip('0')}" if len(digits) == 14 else None


def _moment(date: str | None, time: str, zone: tzinfo) -> datetime | None:
    day = re.fullmatch(r"(\d{4})[.-]?(\d\d)[.-]?(\d\d)", date or "")
    if day is None:
        return None
    digits = re.sub(r"\D", "", time.partition(".")[0]).ljust(6, "0")[:6]
    try:
        moment = datetime.strptime("".join(day.groups()) + digits, "%Y%m%d%H%M%S")  # noqa: DTZ007
    except ValueError:
        return None
    return moment.replace(tzinfo=zone).astimezone(UTC) if 1800 <= moment.year < 2400 else None


def _offset(text: str | None) -> tzinfo | None:
    match = re.fullmatch(r"([+-])(\d\d)([0-5]\d)", text or "")
    if match is None or int(match[2]) > 14:
        return None
    sign = -1 if match[1] == "-" else 1
    return timezone(sign * timedelta(hours=int(match[2]), minutes=int(match[3])))


def _study_year(dataset: Dataset, acquired: datetime | None) -> int | None:
    study = _moment(read_text(dataset, "StudyDate"), "12", UTC)
    moment = study or acquired
    return None if moment is None else moment.year


def _age(dataset: Dataset) -> float | None:
    match = re.fullmatch(r"(\d{1,3})([DWMY])", read_text(dataset, "PatientAge") or "")
    if match is None:
        return None
    return int(match[1]) / {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}[match[2]]


def _spacing(dataset: Dataset) -> tuple[float | None, float | None, str | None]:
    """Row and column spacing in mm and their origin (PS3.3 10.7.1)."""
    is_calibrated = read_text(dataset, "PixelSpacingCalibrationType") in {"GEOMETRY", "FIDUCIAL"}
    for tag, origin in (
        ("ImagerPixelSpacing", "detector"),
        ("PixelSpacing", "calibrated" if is_calibrated else "unstated"),
        ("NominalScannedPixelSpacing", "scanned"),
    ):
        try:
            row, column = (float(each) for each in _value(dataset, tag))
        except (TypeError, ValueError, OverflowError):
            continue
        if 0.01 <= row <= 10 and 0.01 <= column <= 10:
            return row, column, origin
    return None, None, None
