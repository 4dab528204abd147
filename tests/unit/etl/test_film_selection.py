from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from etl.films.dicom_header import read_header, read_series_facts
from etl.films.film_selection import refusal_before_fetch, select_by_image, select_by_tags
from etl.films.frontal_check import FrontalCheck, check_frontal
from etl.synthetic_hospital.film import FilmRequest, render_film

MakeFilm = Callable[..., Dataset]


def _code(scheme: str, value: str) -> list[Dataset]:
    item = Dataset()
    item.CodingSchemeDesignator, item.CodeValue = scheme, value
    return [item]


CASES: list[tuple[dict[str, Any], bool | None, str]] = [
    ({}, True, "view PA (View Position), chest (Body Part Examined)"),
    ({"ViewPosition": "AP"}, True, "view AP"),
    ({"BodyPartExamined": "THORAX"}, True, "chest"),
    ({"ViewPosition": "LL"}, False, "view: not AP or PA (View Position)"),
    ({"BodyPartExamined": "ABDOMEN"}, False, "body part: not the chest"),
    ({"Modality": "CT"}, False, "modality: CT is not CR or DX"),
    ({"ViewPosition": None}, None, "tags are silent on view"),
    ({"BodyPartExamined": None}, None, "tags are silent on body part"),
    ({"ViewPosition": None, "ViewCodeSequence": _code("SRT", "R-10206")}, True, "view AP"),
    ({"ViewPosition": None, "ViewCodeSequence": _code("SCT", "399198007")}, False, "View Code"),
    ({"BodyPartExamined": None, "AnatomicRegionSequence": _code("SCT", "51185008")}, True, "chest"),
    ({"BodyPartExamined": None, "AnatomicRegionSequence": _code("SCT", "113197003")}, False, "Reg"),
    ({"BodyPartExamined": None, "SeriesDescription": "Chest PA"}, True, "series description"),
    ({"BodyPartExamined": None, "StudyDescription": "胸部X光"}, True, "study description"),
    ({"ViewPosition": None, "SeriesDescription": "Chest AP portable"}, True, "series description"),
    ({"SeriesDescription": "Chest PA and Lat"}, True, "View Position"),
    ({"ViewPosition": None, "SeriesDescription": "Chest PA and Lat"}, None, "silent on view"),
    ({"SeriesDescription": "Chest Lateral"}, False, "a description says LATERAL"),
    ({"SeriesDescription": "Ribs AP"}, False, "a description says RIBS"),
    ({"ProtocolName": "Clavicle"}, False, "a description says CLAVICLE"),
    ({"AcquisitionDeviceProcessingDescription": "CANINE THORAX"}, False, "veterinary"),
    ({"PatientSpeciesDescription": "Felis catus"}, False, "veterinary"),
    ({"PatientSpeciesDescription": "Homo sapiens"}, True, "view PA"),
    ({"PatientOrientation": ["L", "F"]}, True, "view PA"),
    ({"PatientOrientation": ["R", "H"]}, False, "not upright"),
    ({"PresentationIntentType": "FOR PROCESSING"}, False, "for processing"),
    ({"NumberOfFrames": 2}, False, "single monochrome frame"),
    ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, False, "single monochrome frame"),
]


@pytest.mark.parametrize(("tags", "decision", "reason"), CASES)
def test_the_rule_decides_by_tags(
    make_film: MakeFilm, tags: dict[str, Any], decision: bool | None, reason: str
) -> None:
    selection = select_by_tags(read_header(make_film(**tags)))
    assert selection.is_frontal_chest is decision
    assert reason in selection.reason


def test_small_images_are_refused(make_film: MakeFilm) -> None:
    selection = select_by_tags(read_header(make_film(np.zeros((32, 32), np.uint16))))
    assert selection.reason == "image: 32 x 32 is below 128 pixels a side"


def test_reasons_never_quote_a_description(make_film: MakeFilm) -> None:
    tags = {"SeriesDescription": "Lateral for Mrs Canary", "Modality": "CANARY SMITH"}
    for name, value in tags.items():
        reason = select_by_tags(read_header(make_film(**{name: value}))).reason
        assert "CANARY" not in reason.upper()


def test_an_image_decides_where_tags_are_silent(make_film: MakeFilm) -> None:
    selection = select_by_tags(read_header(make_film(ViewPosition=None)))
    yes = select_by_image(selection, FrontalCheck(score=0.9))
    no = select_by_image(selection, FrontalCheck(score=0.2))
    assert (yes.is_frontal_chest, no.is_frontal_chest) == (True, False)
    assert "score 0.90, at least 0.5" in yes.reason
    assert (yes.frontal_check_score, selection.frontal_check_score) == (0.9, None)


def _chest() -> np.ndarray:
    """A synthetic frontal film, bones bright."""
    request = FilmRequest(
        seed=3, sex_code="M", age_years=48, projection="PA", rows_px=200, columns_px=180
    )
    pixels = render_film(request).pixels.astype(float)
    return (pixels / pixels.max() * 255).astype(np.uint8)


def test_the_check_passes_a_chest_and_refuses_it_upside_down_or_inverted() -> None:
    chest = _chest()
    assert check_frontal(chest).is_frontal
    for other in (chest[::-1], 255 - chest, np.rot90(chest), np.rot90(chest, 3)):
        assert not check_frontal(np.ascontiguousarray(other)).is_frontal


def test_the_check_hardly_sees_exposure() -> None:
    chest = _chest()
    dark = (255 * (chest / 255) ** 2).astype(np.uint8)
    assert check_frontal(dark).score == pytest.approx(check_frontal(chest).score, abs=0.03)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({}, None),
        ({"Modality": "DX"}, None),
        ({"Modality": "CT"}, "modality: CT is not CR or DX"),
        ({"SeriesDescription": "Chest PA"}, None),
        ({"SeriesDescription": "Chest lateral"}, "series: a description says LATERAL"),
        ({"BodyPartExamined": "ABDOMEN"}, "body part: not the chest (Body Part Examined)"),
        ({"ViewPosition": "LL"}, "view: not AP or PA (View Position)"),
        (
            {"PresentationIntentType": "FOR PROCESSING"},
            "image: for processing, not for presentation",
        ),
    ],
)
def test_an_archives_answer_is_refused_by_what_it_says_alone(
    answer: dict[str, str], reason: str | None
) -> None:
    dataset = Dataset()
    for name, value in answer.items():
        setattr(dataset, name, value)
    assert refusal_before_fetch(read_series_facts(dataset)) == reason
