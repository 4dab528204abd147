"""What a DICOM file's header says, as far as Ribline needs it.

Reading is tolerant (a wrong value is as good as none) but bounded: size, inflation and pixel
counts are capped before anything is allocated.
"""

from __future__ import annotations

import os
import re
import zlib
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
class HeaderFacts:
    """One instance's header. Identifiers are as in the file: never log this object.

    Attributes:
        descriptions: Series-level descriptions in one upper-case line.
        study_description: Study Description, upper case.
        view_codes: (scheme, value) of View Code Sequence items.
        region_codes: (scheme, value) of Anatomic Region Sequence items.
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


def read_header(dataset: Dataset, *, zone: tzinfo = UTC) -> HeaderFacts:
    """Facts of a parsed data set.

    Args:
        dataset: Parsed file.
        zone: Zone of dates where Timezone Offset From UTC (0008,0201) is silent.

    Raises:
        UnusableFileError: No identifiers or no image, or more pixels than MAX_PIXELS.
    """
    sop_instance_uid = _text(dataset, "SOPInstanceUID")
    if sop_instance_uid is None:
        raise UnusableFileError("no SOP Instance UID")
    rows, columns, n_frames = check_size(dataset)
    acquired = _acquired(dataset, zone)
    row_spacing, column_spacing, spacing_origin = _spacing(dataset)
    return HeaderFacts(
        patient_identifier=_text(dataset, "PatientID"),
        sop_instance_uid=sop_instance_uid,
        study_uid=_text(dataset, "StudyInstanceUID") or sop_instance_uid,
        series_uid=_text(dataset, "SeriesInstanceUID") or sop_instance_uid,
        accession_number=_text(dataset, "AccessionNumber"),
        modality=(_text(dataset, "Modality") or "none").upper(),
        view_position=(_text(dataset, "ViewPosition") or "").upper(),
        body_part=(_text(dataset, "BodyPartExamined") or "").upper(),
        descriptions=" | ".join(
            text.upper() for tag in DESCRIPTION_TAGS if (text := _text(dataset, tag))
        ),
        study_description=(_text(dataset, "StudyDescription") or "").upper(),
        view_codes=_codes(dataset, "ViewCodeSequence"),
        region_codes=_codes(dataset, "AnatomicRegionSequence"),
        species=(_text(dataset, "PatientSpeciesDescription") or "").upper(),
        orientation=_orientation(dataset),
        presentation_intent=(_text(dataset, "PresentationIntentType") or "").upper(),
        photometric_interpretation=(_text(dataset, "PhotometricInterpretation") or "").upper(),
        manufacturer=_text(dataset, "Manufacturer"),
        sex_code=_sex(dataset),
        birth=_moment(_text(dataset, "PatientBirthDate"), "", UTC),
        acquired=acquired,
        study_year=_study_year(dataset, acquired),
        age_years=_age(dataset),
        rows_px=rows,
        columns_px=columns,
        n_frames=n_frames,
        n_samples=_integer(dataset, "SamplesPerPixel") or 1,
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
    rows, columns = _integer(dataset, "Rows"), _integer(dataset, "Columns")
    if rows is None or columns is None or min(rows, columns) < 1 or "PixelData" not in dataset:
        raise UnusableFileError("no image in the file")
    n_frames = max(_integer(dataset, "NumberOfFrames") or 1, 1)
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


def _text(dataset: Dataset, tag: str) -> str | None:
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


def _integer(dataset: Dataset, tag: str) -> int | None:
    try:
        return int(_value(dataset, tag))
    except (TypeError, ValueError, OverflowError):
        return None


def _codes(dataset: Dataset, tag: str) -> tuple[tuple[str, str], ...]:
    items = _value(dataset, tag)
    found = []
    for item in items if isinstance(items, pydicom.Sequence) else ():
        scheme, value = _text(item, "CodingSchemeDesignator"), _text(item, "CodeValue")
        if scheme and value:
            found.append((scheme.upper(), value))
    return tuple(found)


def _orientation(dataset: Dataset) -> tuple[str, ...]:
    value = _value(dataset, "PatientOrientation")
    if value is None or isinstance(value, str):
        return ()
    try:
        return tuple(str(part).strip().upper() for part in value)
    except TypeError:
        return ()


def _sex(dataset: Dataset) -> str | None:
    sex = (_text(dataset, "PatientSex") or "").upper()
    return sex if sex in {"F", "M", "O"} else None


def _acquired(dataset: Dataset, zone: tzinfo) -> datetime | None:
    zone = _offset(_text(dataset, "TimezoneOffsetFromUTC")) or zone
    combined = _text(dataset, "AcquisitionDateTime") or ""
    candidates = [(combined[:8], re.split(r"[+-]", combined[8:])[0])]
    for name in ("Acquisition", "Content", "Series", "Study"):
        date, time = _text(dataset, f"{name}Date"), _text(dataset, f"{name}Time")
        candidates.append((date or "", time or ""))
    for date, time in candidates:
        if (moment := _moment(date, time, zone)) is not None:
            return moment
    return None


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
    study = _moment(_text(dataset, "StudyDate"), "12", UTC)
    moment = study or acquired
    return None if moment is None else moment.year


def _age(dataset: Dataset) -> float | None:
    match = re.fullmatch(r"(\d{1,3})([DWMY])", _text(dataset, "PatientAge") or "")
    if match is None:
        return None
    return int(match[1]) / {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}[match[2]]


def _spacing(dataset: Dataset) -> tuple[float | None, float | None, str | None]:
    """Row and column spacing in mm and their origin (PS3.3 10.7.1)."""
    is_calibrated = _text(dataset, "PixelSpacingCalibrationType") in {"GEOMETRY", "FIDUCIAL"}
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
