"""Which films are one exposure stored more than once, and which of them stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from etl.films.dicom_header import read_header
from etl.films.film_copies import StoredFilm, find_copies

MakeFilm = Callable[..., Dataset]
TAKEN: dict[str, Any] = {"AcquisitionDate": "20150307", "AcquisitionTime": "120001.25"}
LARGE = np.zeros((170, 130), np.uint16)


def _source(uid: str) -> list[Dataset]:
    item = Dataset()
    item.ReferencedSOPInstanceUID = uid
    return [item]


# Tags of two films of one study, and which is a copy of the other: None where they are two.
CASES: list[tuple[str, dict[str, Any], dict[str, Any], str | None, str]] = [
    ("same time", TAKEN, TAKEN, "b", "time of acquisition"),
    ("same time, other zeros", TAKEN, {**TAKEN, "AcquisitionTime": "120001.2500"}, "b", "time"),
    ("combined tag", TAKEN, {"AcquisitionDateTime": "20150307120001.25+0800"}, "b", "time"),
    ("a second later", TAKEN, {**TAKEN, "AcquisitionTime": "120002.25"}, None, ""),
    ("time of the study alone", {}, {}, None, ""),
    ("other view", TAKEN, {**TAKEN, "ViewPosition": "AP"}, None, ""),
    ("edges enhanced", {**TAKEN, "SeriesDescription": "CHEST PA EDGE"}, TAKEN, "a", "time"),
    ("for tubes", {**TAKEN, "ProtocolName": "Tube and line"}, TAKEN, "a", "time"),
    ("secondary", {**TAKEN, "ImageType": ["DERIVED", "SECONDARY"]}, TAKEN, "a", "time"),
    ("original", TAKEN, {**TAKEN, "ImageType": ["ORIGINAL", "PRIMARY"]}, "a", "time"),
    ("more pixels", TAKEN, {**TAKEN, "pixels": LARGE}, "a", "time"),
    (
        "instance number",
        {**TAKEN, "InstanceNumber": 2},
        {**TAKEN, "InstanceNumber": 1},
        "a",
        "time",
    ),
    (
        "same exposure by its UID",
        {"IrradiationEventUID": "1.2.3"},
        {"IrradiationEventUID": "1.2.3"},
        "b",
        "Irradiation Event UID",
    ),
    (
        "two exposures by their UIDs",
        {**TAKEN, "IrradiationEventUID": "1.2.3"},
        {**TAKEN, "IrradiationEventUID": "1.2.4"},
        None,
        "",
    ),
    ("made from it", {}, {"SourceImageSequence": _source("1.1")}, "b", "Source Image Sequence"),
]


def _film(make_film: MakeFilm, name: str, tags: dict[str, Any], **scope: Any) -> StoredFilm:
    uid = {"a": "1.1", "b": "1.2", "c": "1.3"}[name]
    facts = read_header(make_film(SOPInstanceUID=uid, **tags))
    values = {"patient_id": "P", "study_id": "ST", "accession_id": None, **scope}
    return StoredFilm(image_id=name, view=facts.view_position or None, facts=facts, **values)


@pytest.mark.parametrize(
    ("first", "second", "copy", "evidence"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_one_film_of_an_exposure_stands(
    *,
    make_film: MakeFilm,
    first: dict[str, Any],
    second: dict[str, Any],
    copy: str | None,
    evidence: str,
) -> None:
    films = [_film(make_film, "a", first), _film(make_film, "b", second)]
    found = find_copies(films)
    assert set(found) == ({copy} if copy else set())
    assert found == find_copies(reversed(films))
    for kept, how in found.values():
        assert kept == {"a": "b", "b": "a"}[copy or ""]
        assert how.startswith(evidence)


def test_copies_are_told_across_the_studies_of_one_accession_number(make_film: MakeFilm) -> None:
    """A workstation that sends a film again makes a study of its own of it."""
    scopes = [{"study_id": "S1", "accession_id": "A"}, {"study_id": "S2", "accession_id": "A"}]
    one, two = (
        _film(make_film, name, TAKEN, **scope) for name, scope in zip("ab", scopes, strict=True)
    )
    assert find_copies([one, two]) == {"b": ("a", "time of acquisition")}
    other = _film(make_film, "b", TAKEN, study_id="S2", accession_id="B")
    assert find_copies([one, other]) == {}
    stranger = _film(make_film, "b", TAKEN, patient_id="Q")
    assert find_copies([_film(make_film, "a", TAKEN), stranger]) == {}


def test_several_copies_have_one_film_that_stands(make_film: MakeFilm) -> None:
    films = [_film(make_film, name, TAKEN) for name in "cab"]
    assert {copy: kept for copy, (kept, _) in find_copies(films).items()} == {"b": "a", "c": "a"}
