"""The boxes as a DICOM grayscale softcopy presentation state (PS3.3 A.33.1), laid over the film."""

from __future__ import annotations

from collections.abc import Sequence

from highdicom import PresentationLUTTransformation
from highdicom.pr import (
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GrayscaleSoftcopyPresentationState,
    TextObject,
)
from highdicom.pr.enum import AnnotationUnitsValues, GraphicTypeValues, TextJustificationValues
from pydicom.dataset import Dataset

from etl.results.finding_codes import finding_name
from etl.results.map_regions import SourceRegion
from etl.results.result_identity import (
    ResultIdentity,
)
from etl.results.source_reference import name_body_part
from etl.results.structured_report import box_outline

KIND = "presentation state"
# Height of a label over its box, as a share of the film's rows.
LABEL_SHARE = 0.03


def build_presentation_state(
    reference: Dataset, *, regions: Sequence[SourceRegion], identity: ResultIdentity
) -> GrayscaleSoftcopyPresentationState:
    """The presentation state of one film; one graphic layer a finding that has boxes.

    Args:
        reference: The source film, as ``source_reference`` gives it.
        regions: Boxes in source pixels; without any the state shows the film alone.
        identity: Who made it.
    """
    findings = list(dict.fromkeys(each.finding for each in regions))
    layers = {
        finding: GraphicLayer(
            layer_name=finding.upper().replace(" ", "_")[:16],
            order=number,
            description=f"{finding_name(finding)}, research use only"[:64],
        )
        for number, finding in enumerate(findings, start=1)
    }
    annotations = [
        GraphicAnnotation(
            referenced_images=[reference],
            graphic_layer=layer,
            graphic_objects=[
                _outline(each, number, identity)
                for number, each in enumerate(regions, start=1)
                if each.finding == finding
            ],
            text_objects=[_label(each, reference) for each in regions if each.finding == finding],
        )
        for finding, layer in layers.items()
    ]
    state = GrayscaleSoftcopyPresentationState(
        referenced_images=[reference],
        **identity.instance_arguments(KIND, "Ribline boxes, research use only"),
        content_label="RIBLINE",
        content_description=f"Ribline run {identity.run.run_id}"[:64],
        graphic_annotations=annotations or None,
        graphic_layers=list(layers.values()) or None,
        presentation_lut_transformation=PresentationLUTTransformation(
            presentation_lut_shape=reference.PresentationLUTShape
        ),
    )
    name_body_part(reference, state)
    return state


def _outline(region: SourceRegion, number: int, identity: ResultIdentity) -> GraphicObject:
    return GraphicObject(
        graphic_type=GraphicTypeValues.POLYLINE,
        graphic_data=box_outline(region),
        units=AnnotationUnitsValues.PIXEL,
        tracking_id=f"{finding_name(region.finding)} {number}",
        tracking_uid=identity.uid(f"region {number}"),
    )


def _label(region: SourceRegion, reference: Dataset) -> TextObject:
    """Finding and score above the box, or below it where there is no room above."""
    height = LABEL_SHARE * reference.Rows
    top = region.y_px - height
    if top < 0:
        top = min(region.y_px + region.height_px, reference.Rows - height)
    width = max(region.width_px, 8 * height)
    left = max(0.0, min(region.x_px, reference.Columns - width))
    return TextObject(
        text_value=f"{finding_name(region.finding)} {region.score:.2f}",
        units=AnnotationUnitsValues.PIXEL,
        bounding_box=(left, top, min(left + width, float(reference.Columns)), top + height),
        text_justification=TextJustificationValues.LEFT,
    )
