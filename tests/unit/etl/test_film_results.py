"""Single films to pictures and DICOM objects, with a score function that needs no network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import highdicom
import numpy as np
import pydicom
import pytest

from etl.privacy.forgetting import forget_patients
from etl.privacy.opt_outs import write_opt_outs
from etl.pseudonym import Pseudonymizer
from etl.results.film_results import ResultSummary, write_film_results
from warehouse_schema.errors import InputError, WarehouseError
from warehouse_schema.film_scores import FilmScores, OperatingPoint, ScoringRun, SquareFilm
from warehouse_schema.store import Store
from warehouse_schema.tables.results import FILM_RESULTS
from warehouse_schema.tables.runs import QUARANTINE

RUN = ScoringRun(
    run_id="aals-0-1-abcdef01",
    method="aals",
    findings=("rib_fracture", "clavicle_fracture"),
    code_version="0.1.0",
    checkpoint_sha256="ab" * 32,
    has_maps=True,
)
POINT = OperatingPoint(name="youden", thresholds={"rib_fracture": 0.5, "clavicle_fracture": 0.4})
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
NAMES = {
    "overlay.png",
    "secondary_capture.dcm",
    "presentation_state.dcm",
    "report.dcm",
    "result.json",
}
MAP_PX = 32


def score(film: SquareFilm) -> FilmScores:
    """A rib fracture in a fixed place of the square, and no clavicle fracture."""
    ribs = np.zeros((MAP_PX, MAP_PX), dtype=np.uint16)
    ribs[10:16, 12:20] = 60000
    ribs[12, 14] = 65535
    clavicles = np.full((MAP_PX, MAP_PX), 100, dtype=np.uint16)
    return FilmScores(
        scores={"rib_fracture": 1.0, "clavicle_fracture": 100 / 65535},
        maps={"rib_fracture": ribs, "clavicle_fracture": clavicles},
    )


@pytest.fixture
def predict(store: Store, key: str) -> Callable[..., ResultSummary]:
    def predict(paths: Sequence[Path], **changes: Any) -> ResultSummary:
        arguments: dict[str, Any] = {
            "score": score,
            "run": RUN,
            "operating_point": POINT,
            "source": "small",
            "pseudonym_key": key,
            "size_px": 64,
            "clock": lambda: NOW,
        }
        return write_film_results(store=store, paths=paths, **{**arguments, **changes})

    return predict


def verified(path: Path) -> list[str]:
    """Errors that dciodvfy finds."""
    if shutil.which("dciodvfy") is None:
        if os.environ.get("CI"):
            pytest.fail("dicom3tools is not installed: make system-packages")
        pytest.skip("dicom3tools is not installed")
    done = subprocess.run(
        ["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False
    )
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]


def files_of(summary: ResultSummary, number: int = 1) -> dict[str, Path]:
    image_id = summary.outcomes[number - 1].image_id
    assert image_id is not None
    return {
        path.name.removeprefix(f"{image_id}_"): path
        for path in summary.folder.glob(f"{image_id}_*")
    }


def test_a_film_gives_a_picture_three_dicom_objects_and_a_summary(
    write_film: Callable[..., Path], predict: Callable[..., ResultSummary], store: Store
) -> None:
    path = write_film("Canary_Name.dcm", AccessionNumber="ACC7", ViewPosition="AP")
    summary = predict([path])
    files = files_of(summary)
    assert set(files) == NAMES
    assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o600}
    assert summary.folder.stat().st_mode & 0o777 == 0o700
    source = pydicom.dcmread(path)
    series = set()
    for name in ("secondary_capture.dcm", "presentation_state.dcm", "report.dcm"):
        assert verified(files[name]) == []
        result = pydicom.dcmread(files[name])
        for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "AccessionNumber"):
            assert result[keyword].value == source[keyword].value
        assert result.StudyDate == "20150307"
        assert result.SOPInstanceUID.is_valid
        series.add(result.SeriesInstanceUID)
        assert source.SOPInstanceUID in str(result)
    assert len(series | {source.SeriesInstanceUID}) == 4
    picture = cv2.imread(str(files["overlay.png"]))
    capture = pydicom.dcmread(files["secondary_capture.dcm"])
    assert np.array_equal(capture.pixel_array, picture[..., ::-1])
    told = json.loads(files["result.json"].read_text())
    assert "Canary" not in str(told)
    assert [each["is_positive"] for each in told["findings"]] == [True, False]


def test_the_box_is_the_same_in_every_object(
    write_film: Callable[..., Path], predict: Callable[..., ResultSummary]
) -> None:
    path = write_film("film.dcm", np.zeros((160, 131), dtype=np.uint16) + 7)
    files = files_of(predict([path]))
    (region,) = json.loads(files["result.json"].read_text())["findings"][0]["regions"]
    # 160 rows to 64 pixels: a map pixel is 5 source pixels; 52 columns stand behind 6 of padding.
    assert (region["y_px"], region["height_px"]) == (50.0, 30.0)
    assert (region["x_px"], region["width_px"]) == (pytest.approx(45.0), pytest.approx(40.0))
    assert region["score"] == 1.0
    state = pydicom.dcmread(files["presentation_state.dcm"])
    (annotation,) = state.GraphicAnnotationSequence
    corners = np.array(annotation.GraphicObjectSequence[0].GraphicData).reshape(-1, 2)
    assert annotation.TextObjectSequence[0].UnformattedTextValue == "Rib fracture 1.00"
    report = highdicom.sr.srread(files["report.dcm"])
    (roi,) = report.content.get_planar_roi_measurement_groups()
    outline = roi.roi.value
    for points in (corners, outline):
        assert points.min(axis=0) == pytest.approx((45.0, 50.0))
        assert points.max(axis=0) == pytest.approx((85.0, 80.0))
    assert roi.roi.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == str(
        pydicom.dcmread(path).SOPInstanceUID
    )
    assert [m.value for m in roi.get_measurements()] == [1.0]
    whole = report.content.get_image_measurement_groups()
    assert [group.get_measurements()[0].value for group in whole] == [1.0, 0.001526]
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"


@pytest.mark.parametrize(
    ("tags", "shape"),
    [
        ({"PhotometricInterpretation": "MONOCHROME1"}, "INVERSE"),
        ({"PhotometricInterpretation": "MONOCHROME2"}, "IDENTITY"),
    ],
)
def test_a_presentation_state_keeps_bones_bright(
    write_film: Callable[..., Path],
    predict: Callable[..., ResultSummary],
    tags: dict[str, str],
    shape: str,
) -> None:
    path = write_film("film.dcm", **tags, WindowCenter=2000, WindowWidth=3000)
    state = pydicom.dcmread(files_of(predict([path]))["presentation_state.dcm"])
    assert state.PresentationLUTShape == shape
    assert float(state.SoftcopyVOILUTSequence[0].WindowCenter) == 2000


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("GB18030", "王^小明"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        ("ISO_IR 144", "Люк^Иван"),
        ("ISO_IR 100", "Äneas^Rüdiger"),
        ("ISO_IR 192", "예시^이름"),
    ],
)
def test_a_name_in_any_script_stays_what_it_is(
    write_film: Callable[..., Path],
    predict: Callable[..., ResultSummary],
    charset: str | list[str],
    name: str,
) -> None:
    path = write_film("film.dcm", SpecificCharacterSet=charset, PatientName=name)
    files = files_of(predict([path]))
    for each in ("secondary_capture.dcm", "presentation_state.dcm", "report.dcm"):
        assert str(pydicom.dcmread(files[each]).PatientName) == name
        assert verified(files[each]) == []


def test_odd_values_are_left_empty_and_lost_identity_is_refused(
    write_film: Callable[..., Path], predict: Callable[..., ResultSummary]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        odd = write_film("odd.dcm", StudyID="A" * 40, PatientSex="X", ReferringPhysicianName="ward")
        lost = write_film("lost.dcm", StudyInstanceUID="1.2.x")
    (outcome,) = predict([odd]).outcomes
    assert outcome.reason is None
    report = pydicom.dcmread(files_of(predict([odd]))["report.dcm"])
    assert (report.StudyID, report.PatientSex) == ("", "")
    summary = predict([lost])
    assert summary.outcomes[0].reason == (
        "no DICOM result: StudyInstanceUID is missing or not allowed"
    )
    assert set(files_of(summary)) == {"overlay.png", "result.json"}
    again = predict([lost])
    assert again.outcomes[0].is_unchanged
    assert again.outcomes[0].reason == summary.outcomes[0].reason


def test_the_same_result_is_left_as_it_is_and_another_one_replaces_it(
    write_film: Callable[..., Path], predict: Callable[..., ResultSummary]
) -> None:
    path = write_film("film.dcm")
    first = files_of(predict([path]))
    before = {name: (each.stat().st_mtime_ns, each.read_bytes()) for name, each in first.items()}
    later = lambda: NOW.replace(year=2027)  # noqa: E731
    assert predict([path], clock=later).outcomes[0].is_unchanged
    assert {
        name: (each.stat().st_mtime_ns, each.read_bytes()) for name, each in first.items()
    } == before
    uid = pydicom.dcmread(first["report.dcm"]).SOPInstanceUID
    stricter = OperatingPoint(name="specificity_90", thresholds=dict.fromkeys(RUN.findings, 0.99))
    (outcome,) = predict([path], operating_point=stricter).outcomes
    assert not outcome.is_unchanged
    assert outcome.n_regions == 0, "one pixel is no region"
    assert pydicom.dcmread(first["report.dcm"]).SOPInstanceUID != uid
    first["overlay.png"].unlink()
    assert not predict([path], operating_point=stricter).outcomes[0].is_unchanged


def test_what_cannot_be_scored_is_listed_and_the_rest_goes_on(
    write_film: Callable[..., Path],
    predict: Callable[..., ResultSummary],
    store: Store,
    tmp_path: Path,
) -> None:
    good = write_film("good.dcm")
    lateral = write_film("lateral.dcm", ViewPosition="LL")
    text = tmp_path / "dicom" / "notes.txt"
    text.write_text("Canary^Name")
    torn = tmp_path / "dicom" / "torn.dcm"
    torn.write_bytes(good.read_bytes()[:-2000])
    nobody = write_film("nobody.dcm", PatientID=None)
    twin = shutil.copy(good, tmp_path / "dicom" / "twin.dcm")
    paths = [text, good, lateral, torn, nobody, Path(twin), tmp_path / "away.dcm"]
    summary = predict(paths)
    reasons = [each.reason for each in summary.outcomes]
    assert reasons[1] is None
    assert reasons[0] == "not a DICOM file"
    assert reasons[2] == "not a frontal chest film: view: not AP or PA (View Position)"
    assert reasons[3] is not None
    assert reasons[4:] == [
        "no Patient ID",
        "a second file with the same UID",
        "there is no such file",
    ]
    assert summary.n_scored == 1
    rows = store.read(QUARANTINE, where={"stage": "predict-files"}).to_pylist()
    assert len(rows) == 6
    assert "Canary" not in str(rows)
    scored = store.read(FILM_RESULTS).to_pylist()
    assert [row["finding"] for row in scored] == ["clavicle_fracture", "rib_fracture"]
    assert [row["n_regions"] for row in scored] == [0, 1]
    folder = predict([tmp_path / "dicom"])
    assert folder.n_scored == 1
    assert len(folder.outcomes) == 6


def test_nothing_to_score_is_an_error_with_its_reasons(
    write_film: Callable[..., Path], predict: Callable[..., ResultSummary], tmp_path: Path
) -> None:
    lateral = write_film("lateral.dcm", ViewPosition="LL")
    with pytest.raises(InputError, match="none of 1 could be scored: not a frontal chest film"):
        predict([lateral])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no file"):
        predict([tmp_path / "empty"])


def test_any_view_scores_what_the_rule_refuses_and_nothing_without_a_picture(
    write_film: Callable[..., Path], predict: Callable[..., ResultSummary]
) -> None:
    shoulder = write_film(
        "shoulder.dcm", BodyPartExamined="SHOULDER", Laterality="L", ViewPosition="LL"
    )
    colour = write_film("colour.dcm", PhotometricInterpretation="RGB", SamplesPerPixel=3)
    summary = predict([shoulder, colour], is_any_view=True)
    assert [bool(each.scores) for each in summary.outcomes] == [True, False]
    files = files_of(summary)
    for name in ("secondary_capture.dcm", "presentation_state.dcm", "report.dcm"):
        assert verified(files[name]) == []
    state = pydicom.dcmread(files["presentation_state.dcm"])
    assert (state.BodyPartExamined, state.Laterality) == ("SHOULDER", "L")


def test_a_run_without_maps_gives_scores_alone(
    write_film: Callable[..., Path], predict: Callable[..., ResultSummary]
) -> None:
    def score_alone(film: SquareFilm) -> FilmScores:
        return FilmScores(scores=score(film).scores, maps=None)

    run = ScoringRun(**{**vars(RUN), "method": "chexnet", "has_maps": False})
    summary = predict([write_film("film.dcm")], score=score_alone, run=run)
    files = files_of(summary)
    assert set(files) == {"report.dcm", "result.json"}
    assert verified(files["report.dcm"]) == []
    assert summary.outcomes[0].n_regions is None
    assert summary.notes == ["scores only: maps of method chexnet cannot be compared."]


def test_a_run_without_thresholds_gives_maps_without_boxes(
    write_film: Callable[..., Path], predict: Callable[..., ResultSummary]
) -> None:
    none = OperatingPoint(name="youden", thresholds=dict.fromkeys(RUN.findings))
    summary = predict([write_film("film.dcm")], operating_point=none)
    assert set(files_of(summary)) == NAMES - {"presentation_state.dcm"}
    assert "ribline evaluate --run" in summary.notes[0]


def test_opted_out_patients_are_passed_over_and_forgotten_ones_leave_nothing(
    write_film: Callable[..., Path],
    predict: Callable[..., ResultSummary],
    store: Store,
    key: str,
) -> None:
    stays = write_film("stays.dcm", PatientID="p-stays", PatientName="Stays^Here")
    goes = write_film("goes.dcm", PatientID="p-goes-away", PatientName="Goes^Away")
    summary = predict([stays, goes])
    kept = [path for path in summary.folder.iterdir() if path in files_of(summary, 1).values()]
    forget_patients(store=store, source="small", pseudonym_key=key, identifiers=["p-goes-away"])
    assert sorted(summary.folder.iterdir()) == sorted(kept)
    assert set(store.read(FILM_RESULTS)["image_id"].to_pylist()) == {summary.outcomes[0].image_id}
    again = predict([stays, goes])
    assert again.outcomes[1].reason == "the patient has opted out"
    assert again.outcomes[1].image_id is None
    names = Pseudonymizer(key=key, source="small")
    with store.commit(stage="test") as commit:
        write_opt_outs(commit, {names.pseudonym("opt_out", "p-stays")}, "small")
    with pytest.raises(InputError, match="opted out"):
        predict([stays])


def test_a_folder_that_cannot_be_written_to_is_a_message(
    write_film: Callable[..., Path],
    predict: Callable[..., ResultSummary],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("etl.results.result_folder.write_named", full)
    with pytest.raises(WarehouseError, match="No space left on device"):
        predict([write_film("film.dcm")])


REAL = (
    ("RG1_J2KI.dcm", {}),
    ("nih_dx_implicitLE.dcm", {}),
    ("highdicom_dx_mono1_dog_thorax.dcm", {"is_any_view": True}),
)


@pytest.mark.parametrize(("name", "changes"), REAL)
def test_real_films(
    predict: Callable[..., ResultSummary], name: str, changes: dict[str, Any]
) -> None:
    data = os.environ.get("RIBLINE_SHARED_DATA")
    if data is None:
        pytest.skip("RIBLINE_SHARED_DATA is not set")
    summary = predict([Path(data, "dicom_real", name)], **changes)
    files = files_of(summary)
    assert set(files) == NAMES
    for each in ("secondary_capture.dcm", "presentation_state.dcm", "report.dcm"):
        assert verified(files[each]) == []
