"""`ribline predict FILE...`, `export-model` and `model-card`, as a user meets them."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pydicom
import pytest
from orthanc_server import AE_TITLE, PASSWORD, USER, OrthancServer
from pydicom.dataset import Dataset
from small_hospital import blank

from etl.pacs.dicomweb_archive import DicomWebAddress
from etl.pacs.pacs_ingest import open_archive
from etl.synthetic_hospital.hospital import write_hospital
from evaluation.evaluate import evaluate_run
from training.prediction import predict_run
from training.recipe import recipe
from training.train import train_run
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGES
from warehouse_schema.tables.labels import COHORT
from warehouse_schema.tables.results import FILM_RESULTS
from warehouse_schema.tables.runs import QUARANTINE

KEY = "0123456789abcdef"
DICOM = ("presentation_state.dcm", "report.dcm", "secondary_capture.dcm")
SETTINGS = f"""
home = "home"
size_px = 64
n_processes = 1
pacs_user = "{USER}"
pacs_password_file = "password"
pacs_host = "127.0.0.1"
pacs_ae_title = "{AE_TITLE}"
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A home with a run of one epoch on fabricated films, evaluated; to be copied."""
    path = Path(__file__).parents[1] / "unit" / "training" / "fabricated_films.py"
    spec = importlib.util.spec_from_file_location("films_of_predict_files", path)
    assert spec is not None
    assert spec.loader is not None
    films = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = films
    spec.loader.exec_module(films)
    folder = tmp_path_factory.mktemp("trained") / "home"
    store = films.fabricate(folder, films.plan_cohort())
    image_ids = store.read(COHORT)["image_id"].to_pylist()
    images = [blank(IMAGES, image_id=each, is_frontal_chest=True) for each in image_ids]
    with store.commit(stage="fabricate") as commit:
        commit.replace(IMAGES, pa.Table.from_pylist(images, schema=IMAGES.schema))
    changes = {"image_size_px": 64, "crop_px": None, "batch_size": 8, "batch_mix": "natural"}
    settings = recipe("demo", **changes, n_epochs=1, passes_per_epoch=1, n_cpu_threads=1)
    run_id = train_run(store=store, recipe=settings, method="supervised", fold=0, seed=0)
    predict_run(store=store, run_id=run_id)
    evaluate_run(store=store, run_id=run_id, n_bootstrap=100)
    return folder, run_id


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hospital") / "hospital"
    write_hospital(folder=folder, n_patients=4, seed=1)
    return folder / "dicom"


@pytest.fixture
def home(
    tmp_path: Path, trained: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, ribline
) -> Path:
    shutil.copytree(trained[0], tmp_path / "home")
    (tmp_path / "ribline.toml").write_text(SETTINGS)
    (tmp_path / "password").write_text(PASSWORD + "\n")
    (tmp_path / "password").chmod(0o600)
    monkeypatch.setenv("RIBLINE_PSEUDONYM_KEY", KEY)
    return tmp_path / "home"


def results(home: Path) -> list[str]:
    """Names of all result files, without the pseudonym."""
    return sorted(
        path.name.partition("_")[2] for path in (home / "restricted" / "results").rglob("*_*")
    )


def is_frontal(film: Dataset) -> bool:
    return film.get("ViewPosition") in {"AP", "PA"}


def test_films_are_scored_and_the_rest_is_listed(
    ribline, home: Path, hospital: Path, trained: tuple[Path, str], tmp_path: Path
) -> None:
    (tmp_path / "Wang_Mei-Ling.dcm").write_text("no DICOM")
    done = ribline("predict", hospital, "Wang_Mei-Ling.dcm", "away.dcm")
    assert done.code == 0, done.err
    store = Store(Home(home))
    n_films = len(set(store.read(FILM_RESULTS)["image_id"].to_pylist()))
    n_files = len(list(hospital.rglob("*.dcm"))) + 2
    assert n_films >= 4
    assert f"{n_films} of {n_files} files scored by {trained[1]}" in done.out
    assert "not a DICOM file" in done.out
    assert "there is no such file" in done.out
    assert str(home / "restricted" / "results" / trained[1]) in done.out
    assert results(home) == sorted((*DICOM, "overlay.png", "result.json") * n_films)
    first = pydicom.dcmread(next(hospital.rglob("*.dcm")))
    for word in ("Wang", str(first.PatientName), str(first.PatientID), first.SOPInstanceUID):
        assert word not in done.out + done.err
    assert store.read(QUARANTINE, where={"stage": "predict-files"}).num_rows == n_files - n_films
    again = ribline("predict", hospital)
    assert again.out.count("unchanged") == n_films


def test_without_files_the_cohort_is_scored_as_before(ribline, home: Path) -> None:
    done = ribline("predict")
    assert done.code == 0, done.err
    assert "films scored" in done.out
    assert not (home / "restricted" / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("x.dcm",), 4, "none of 1 could be scored: there is no such file"),
        ((".",), 4, "none of"),
        (("x.dcm", "--run", "nobody"), 8, "there is no run nobody"),
        (("--any-view",), 2, "--any-view goes with FILES or --studies"),
        (("--to-pacs",), 2, "--to-pacs goes with FILES or --studies"),
        (("x.dcm", "--studies", "-"), 2, "give either FILES or --studies"),
        (("--studies", "away.txt"), 2, "--studies: cannot be read"),
    ],
)
def test_refusals(ribline, home: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    done = ribline("predict", *arguments)
    assert message in " ".join(done.err.split())
    assert "Traceback" not in done.err
    assert done.code == code


def test_a_key_is_needed(ribline, home: Path, hospital: Path) -> None:
    done = ribline("predict", hospital, RIBLINE_PSEUDONYM_KEY="")
    assert done.code == 2
    assert "pseudonym_key is not set" in done.err


def test_model_card_and_exported_model(
    ribline, home: Path, trained: tuple[Path, str], tmp_path: Path
) -> None:
    card = ribline("model-card")
    assert card.code == 0, card.err
    assert (home / "runs" / trained[1] / "model_card.html").is_file()
    nothing = ribline("export-model")
    assert nothing.code == 2
    assert "give --to FILE.onnx, or --check FILE.onnx" in nothing.err
    (tmp_path / "x.onnx").write_bytes(b"x")
    strange = ribline("export-model", "--check", "x.onnx")
    assert strange.code == 9
    assert "no export of this warehouse" in strange.err


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory, hospital: Path) -> Iterator[OrthancServer]:
    server = OrthancServer(tmp_path_factory.mktemp("orthanc"))
    server.start()
    try:
        server.store(sorted(hospital.rglob("*.dcm")))
        yield server
    finally:
        server.stop()


def series_of(server: OrthancServer) -> Callable[[str], list[str]]:
    address = DicomWebAddress(url=server.url, user=USER, password=PASSWORD)

    def find(study_uid: str) -> list[str]:
        with open_archive(address) as archive:
            return sorted(str(each.Modality) for each in archive.find_series(study_uid))

    return find


@pytest.mark.parametrize("route", ["dicomweb", "dimse"])
def test_a_study_comes_from_the_pacs_and_its_results_go_there(
    ribline, home: Path, hospital: Path, orthanc: OrthancServer, route: str
) -> None:
    tmp_path = home.parent
    films = [pydicom.dcmread(path) for path in sorted(hospital.rglob("*.dcm"))]
    frontal = [film for film in films if is_frontal(film)]
    film = frontal[0 if route == "dicomweb" else -1]
    named = film.StudyInstanceUID if route == "dicomweb" else film.AccessionNumber
    (tmp_path / "studies.txt").write_text(f"{named}\n1.2.3.4\n")
    addresses = {"RIBLINE_PACS_URL": orthanc.url, "RIBLINE_PACS_PORT": str(orthanc.dicom_port)}
    before = series_of(orthanc)(film.StudyInstanceUID)
    done = ribline("predict", "--studies", "studies.txt", "--pacs", route, "--to-pacs", **addresses)
    assert done.code == 0, done.err
    assert "study 2: the PACS knows no such study" in done.out
    n_films = sum(each.StudyInstanceUID == film.StudyInstanceUID for each in frontal)
    assert f"{3 * n_films} DICOM objects of {n_films} films stored in the PACS" in done.out
    after = series_of(orthanc)(film.StudyInstanceUID)
    assert sorted(after) == sorted([*before, *("OT", "PR", "SR") * n_films])
    assert not list((home / "restricted").glob(".pulled-*"))
    again = ribline(
        "predict", "--studies", "studies.txt", "--pacs", route, "--to-pacs", **addresses
    )
    assert "unchanged" in again.out
    assert series_of(orthanc)(film.StudyInstanceUID) == after, "the same objects, not others"
    (tmp_path / "studies.txt").write_text("1.2.3.4\n")
    nothing = ribline("predict", "--studies", "studies.txt", "--pacs", route, **addresses)
    assert nothing.code == 4


def test_a_pacs_that_is_away(ribline, home: Path, hospital: Path) -> None:
    film = next(path for path in hospital.rglob("*.dcm") if is_frontal(pydicom.dcmread(path)))
    away = ribline("predict", film, "--pacs", "dimse", "--to-pacs", RIBLINE_PACS_PORT="1")
    assert away.code == 3
    assert "cannot be reached" in away.err
    assert "1 of 1 files scored" in away.out
