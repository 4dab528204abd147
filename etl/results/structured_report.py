"""The result as a DICOM structured report: Measurement Report, TID 1500 (PS3.16).

One measurement group (TID 1501) a finding with the film's score, and one planar region of interest
(TID 1410) a box with its score.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    ImageRegion,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    TrackingIdentifier,
)
from highdicom.sr.enum import GraphicTypeValues
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from etl.results.finding_codes import PRIVATE_SCHEME, finding_code, finding_name, private_code
from etl.results.map_regions import SourceRegion, is_reached
from etl.results.result_identity import (
    ALGORITHM,
    MANUFACTURER,
    MODEL_NAME,
    RESEARCH,
    ResultIdentity,
)
from warehouse_schema.film_scores import OperatingPoint

KIND = "report"
CHEST_FILM = CodedConcept(value="399208008", scheme_designator="SCT", meaning="Plain chest X-ray")
DECIMALS = 6


def build_report(
    reference: Dataset,
    *,
    scores: Mapping[str, float],
    regions: Sequence[SourceRegion],
    operating_point: OperatingPoint,
    identity: ResultIdentity,
) -> ComprehensiveSR:
    """The structured report of one film.

    Args:
        reference: The source film, as ``source_reference`` gives it.
        scores: Score of the film by finding.
        regions: Boxes in source pixels.
        operating_point: The thresholds.
        identity: Who made it.
    """
    groups: list[
        MeasurementsAndQualitativeEvaluations | PlanarROIMeasurementsAndQualitativeEvaluations
    ] = [
        *(_film_group(reference, identity, operating_point, each, scores[each]) for each in scores),
        *_region_groups(reference, identity, regions),
    ]
    report = MeasurementReport(
        observation_context=_context(identity),
        procedure_reported=CHEST_FILM,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    return ComprehensiveSR(
        evidence=[reference],
        content=report,
        **identity.instance_arguments(KIND, "Ribline scores and boxes, research use only"),
        is_complete=True,
        is_final=False,
        is_verified=False,
        coding_schemes=[
            CodingSchemeIdentificationItem(
                designator=PRIVATE_SCHEME, name="Ribline", responsible_organization=MANUFACTURER
            )
        ],
        content_date=identity.written.date(),
        content_time=identity.written.time(),
    )


def _context(identity: ResultIdentity) -> ObservationContext:
    return ObservationContext(
        observer_device_context=ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
                uid=identity.names.uid(f"device {identity.run.checkpoint_sha256}"),
                name=identity.run.run_id,
                manufacturer_name=MANUFACTURER,
                model_name=MODEL_NAME,
                serial_number=identity.serial_number,
            ),
        )
    )


def _algorithm(identity: ResultIdentity) -> AlgorithmIdentification:
    return AlgorithmIdentification(
        name=ALGORITHM,
        version=identity.code_version,
        parameters=[f"run {identity.run.run_id}", f"method {identity.run.method}", RESEARCH],
        manufacturer=MANUFACTURER,
    )


def _score(score: float) -> Measurement:
    return Measurement(
        name=codes.SCT.Score,
        value=round(score, DECIMALS),
        unit=codes.UCUM.NoUnits,
    )


def _film_group(
    reference: Dataset,
    identity: ResultIdentity,
    operating_point: OperatingPoint,
    finding: str,
    score: float,
) -> MeasurementsAndQualitativeEvaluations:
    threshold = operating_point.thresholds.get(finding)
    evaluations = []
    if threshold is not None:
        is_called = is_reached(score, threshold)
        evaluations.append(
            QualitativeEvaluation(
                name=private_code("ABOVETHRESHOLD", "At or above the operating threshold"),
                value=codes.SCT.Yes if is_called else codes.SCT.No,
            )
        )
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=identity.uid(f"film {finding}"), identifier=f"{finding_name(finding)}, whole film"
        ),
        finding_type=finding_code(finding),
        algorithm_id=_algorithm(identity),
        measurements=[_score(score)],
        qualitative_evaluations=evaluations or None,
        source_images=[
            SourceImageForMeasurementGroup(
                referenced_sop_class_uid=reference.SOPClassUID,
                referenced_sop_instance_uid=reference.SOPInstanceUID,
            )
        ],
    )


def _region_groups(
    reference: Dataset, identity: ResultIdentity, regions: Sequence[SourceRegion]
) -> Iterator[PlanarROIMeasurementsAndQualitativeEvaluations]:
    source = SourceImageForRegion(
        referenced_sop_class_uid=reference.SOPClassUID,
        referenced_sop_instance_uid=reference.SOPInstanceUID,
    )
    for number, region in enumerate(regions, start=1):
        yield PlanarROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=TrackingIdentifier(
                uid=identity.uid(f"region {number}"),
                identifier=f"{finding_name(region.finding)} {number}",
            ),
            referenced_region=ImageRegion(
                graphic_type=GraphicTypeValues.POLYLINE,
                graphic_data=box_outline(region),
                source_image=source,
            ),
            finding_type=finding_code(region.finding),
            algorithm_id=_algorithm(identity),
            measurements=[_score(region.score)],
        )


def box_outline(region: SourceRegion) -> np.ndarray:
    """Corners (5, 2) of a box, column and row, closed; (0, 0) is the outer corner of the first
    pixel (PS3.3 C.10.5.1.2 and C.18.6.1.2)."""
    left, top = region.x_px, region.y_px
    right, bottom = left + region.width_px, top + region.height_px
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    return np.array(corners, dtype=np.float32)
