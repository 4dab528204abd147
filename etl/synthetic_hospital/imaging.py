"""Which DICOM instances the archive holds, planned before a film is rendered."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from etl.synthetic_hospital.film import FilmRequest
from etl.synthetic_hospital.people import Person
from etl.synthetic_hospital.record_quality import RecordQuality
from etl.synthetic_hospital.visits import ImagingOrder, Visit

# Rows and columns of the detectors, in pixels; portrait and landscape.
_SIZES_PX = ((512, 512), (560, 464), (464, 560), (448, 448), (640, 528), (528, 640))


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """One machine of the hospital and how it stores films."""

    manufacturer: str
    model: str
    station: str
    modality: str
    bits_stored: int
    photometric: str
    has_window: bool = True
    has_view_position: bool = True


SCANNERS = (
    Scanner(manufacturer="Formosa Imaging SYNTHETIC", model="CR-85", station="CR1", modality="CR",
            bits_stored=12, photometric="MONOCHROME1"),
    Scanner(manufacturer="Formosa Imaging SYNTHETIC", model="CR-90", station="CR2", modality="CR",
            bits_stored=12, photometric="MONOCHROME2"),
    Scanner(manufacturer="Jade Medical SYNTHETIC", model="DX 3000", station="DX1", modality="DX",
            bits_stored=14, photometric="MONOCHROME2"),
    Scanner(manufacturer="Jade Medical SYNTHETIC", model="DX 3000N", station="DX2", modality="DX",
            bits_stored=14, photometric="MONOCHROME1"),
    Scanner(manufacturer="Camphor Systems SYNTHETIC", model="Flat-15", station="DX3",
            modality="DX", bits_stored=15, photometric="MONOCHROME2", has_window=False),
    Scanner(manufacturer="Camphor Systems SYNTHETIC", model="Mobile-13", station="DX4",
            modality="DX", bits_stored=13, photometric="MONOCHROME2", has_view_position=False),
)  # fmt: skip
# The scanners take 15, 25, 25, 10, 15 and 10 % of the films; summed up, the last left out.
_SCANNER_BOUNDS = np.cumsum((0.15, 0.25, 0.25, 0.1, 0.15))


@dataclass(frozen=True, kw_only=True)
class PlannedInstance:
    """One film to be rendered and stored; file_name is relative to the dicom folder."""

    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    file_name: str
    accession_no: str
    visit_no: str
    chart_no: str
    person: Person
    instance_number: int
    acquired_at: datetime
    film: FilmRequest
    scanner: Scanner
    is_rle: bool

    @property
    def is_frontal(self) -> bool:
        """True for a posteroanterior or anteroposterior chest film."""
        return self.film.projection in ("PA", "AP")


def plan_instances(
    *, seed: int, patient_index: int, person: Person, visit: Visit, quality: RecordQuality
) -> list[PlannedInstance]:
    """The instances of a visit's orders, drawn apart from the records: each can stand alone."""
    planned: list[PlannedInstance] = []
    for order in visit.orders:
        if order.has_images:
            planned += _order_instances(
                seed=seed,
                patient_index=patient_index,
                person=person,
                visit=visit,
                order=order,
                quality=quality,
            )
    return planned


def instance_uid(*parts: object) -> str:
    """A UID under the UUID root 2.25 (PS3.5, B.2), by the parts alone."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def _order_instances(
    *,
    seed: int,
    patient_index: int,
    person: Person,
    visit: Visit,
    order: ImagingOrder,
    quality: RecordQuality,
) -> list[PlannedInstance]:
    key = int(order.accession_no[-2:])
    rng = np.random.default_rng([seed, patient_index, 20, key])
    scanner = SCANNERS[int(np.searchsorted(_SCANNER_BOUNDS, rng.random(), side="right"))]
    rows_px, columns_px = _SIZES_PX[int(rng.integers(len(_SIZES_PX)))]
    is_unknown = rng.random() < quality.image_unknown_patient
    chart_no = f"T{patient_index:07d}" if is_unknown else person.chart_no
    study_uid = instance_uid("study", seed, order.accession_no)
    instances = []
    for number, projection in enumerate(order.projections, 1):
        sop_uid = instance_uid("instance", seed, order.accession_no, number)
        film = FilmRequest(
            seed=int(rng.integers(2**62)),
            sex_code=person.sex_code,
            age_years=person.age_years(order.performed_at.date()),
            projection=projection,
            rows_px=rows_px,
            columns_px=columns_px,
            fractures=order.shown,
        )
        instances.append(
            PlannedInstance(
                sop_instance_uid=sop_uid,
                series_instance_uid=instance_uid("series", seed, order.accession_no, number),
                study_instance_uid=study_uid,
                file_name=f"{order.performed_at.year}/{study_uid}/{sop_uid}.dcm",
                accession_no=order.accession_no,
                visit_no=visit.visit_no,
                chart_no=chart_no,
                person=person,
                instance_number=number,
                acquired_at=order.performed_at,
                film=film,
                scanner=scanner,
                is_rle=bool(rng.random() < 0.02),
            )
        )
    return instances
