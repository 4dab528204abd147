import os
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

import etl.films.dicom_header
import etl.films.image_ingest
from etl.films.dicom_header import UnusableFileError, open_dataset
from etl.films.film_pool import WorkerLimits, read_films
from etl.films.film_reading import FilmReading, ReadingOrder, read_film_file
from etl.films.image_ingest import IngestSummary, ingest_images
from etl.pseudonym import Pseudonymizer
from warehouse_schema.errors import ArgumentError, SourceError
from warehouse_schema.pixel_shards import read_film
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGE_PIXELS, IMAGES
from warehouse_schema.tables.records import IDENTITIES, IMAGE_SOURCES, NOTES, PATIENTS
from warehouse_schema.tables.runs import QUARANTINE

WriteFilm = Callable[..., Path]
Ingest = Callable[..., IngestSummary]
SMALL = np.random.default_rng(1).integers(0, 4096, (160, 130)).astype(np.uint16)


@pytest.fixture
def patients(store: Store, put: Callable[..., None], key: str) -> Pseudonymizer:
    """Patients p1 and p2 as extraction leaves them."""
    names = Pseudonymizer(key=key, source="small")
    ids = {name: names.pseudonym("patient", name) for name in ("p1", "p2")}
    put(
        PATIENTS,
        [
            {"patient_id": each, "source": "small", "is_over_89": False, "is_synthetic": False}
            for each in ids.values()
        ],
    )
    put(
        IDENTITIES,
        [
            {
                "kind": "patient",
                "pseudonym": each,
                "source": "small",
                "source_identifier": name,
                "date_shift_days": -10,
            }
            for name, each in ids.items()
        ],
    )
    return names


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read without workers, which is quicker; the workers have tests of their own."""

    def read_here(orders: Any, *, n_processes: int, cached_sha256: Any) -> Any:
        return (read_film_file(order, cached_sha256) for order in orders)

    monkeypatch.setattr(etl.films.image_ingest, "read_films", read_here)


@pytest.fixture
def ingest(store: Store, tmp_path: Path, key: str) -> Ingest:
    def run(**changes: Any) -> IngestSummary:
        arguments: dict[str, Any] = {
            "store": store,
            "folder": tmp_path / "dicom",
            "source": "small",
            "pseudonym_key": key,
            "size_px": 64,
            **changes,
        }
        return ingest_images(**arguments)

    return run


def test_films_become_images_with_cached_pixels(
    store: Store, write_film: WriteFilm, ingest: Ingest, patients: Pseudonymizer
) -> None:
    write_film("a.dcm", SMALL, AccessionNumber="ACC1")
    write_film("deep/b.dcm", SMALL, PatientID="p2", ViewPosition="LL", PatientAge="092Y")
    summary = ingest(n_processes=2)
    assert (summary.n_files, summary.n_images, summary.n_frontal, summary.n_quarantined) == (
        2, 2, 1, 0,
    )  # fmt: skip
    frontal, lateral = sorted(
        store.read(IMAGES).to_pylist(), key=lambda row: not row["is_frontal_chest"]
    )
    assert frontal["patient_id"] == patients.pseudonym("patient", "p1")
    assert frontal["accession_id"] == patients.pseudonym("accession", "ACC1")
    assert frontal["acquired_datetime"].isoformat() == "2015-02-25T12:00:00+00:00"
    assert frontal["study_year"] == 2015
    assert lateral["age_years"] == 90.0
    (pixels,) = store.read(IMAGE_PIXELS).to_pylist()
    film = read_film(store.home.cache, pixels["shard_name"], pixels["shard_row"])
    assert film.shape == (64, 64)
    assert film.max() > 0


def test_no_header_identifier_reaches_the_shareable_warehouse(
    store: Store, write_film: WriteFilm, ingest: Ingest, patients: Pseudonymizer, in_process: None
) -> None:
    write_film("Canary.dcm", SMALL, AccessionNumber="CanaryACC", SeriesDescription="Canary")
    write_film("Canary2.dcm", SMALL, PatientID="CanaryID")
    ingest()
    files = [path for path in store.home.warehouse.rglob("*") if path.is_file()]
    assert not [path for path in files if b"Canary" in path.read_bytes()]


def test_nothing_is_decoded_twice(
    store: Store, write_film: WriteFilm, ingest: Ingest, patients: Pseudonymizer, in_process: None
) -> None:
    write_film("a.dcm", SMALL)
    assert ingest().n_decoded == 1
    before = store.read(IMAGE_PIXELS)
    write_film("b.dcm", SMALL + 1)
    again = ingest()
    assert (again.n_decoded, again.n_frontal) == (1, 2)
    assert before.to_pylist()[0] in store.read(IMAGE_PIXELS).to_pylist()
    for shard in store.home.cache.glob("*.npy"):
        shard.unlink()
    assert ingest().n_decoded == 2
    assert ingest(size_px=96).n_decoded == 2


def test_the_tables_do_not_depend_on_the_number_of_processes(
    store: Store, write_film: WriteFilm, ingest: Ingest, patients: Pseudonymizer
) -> None:
    for number in range(6):
        write_film(f"{number}.dcm", SMALL + number)
    ingest(n_processes=1)
    one = store.read(IMAGE_PIXELS)
    for shard in store.home.cache.glob("*.npy"):
        shard.unlink()
    ingest(n_processes=2)
    assert store.read(IMAGE_PIXELS) == one


def test_what_cannot_be_used_is_quarantined_with_its_reason(
    *,
    store: Store,
    tmp_path: Path,
    write_film: WriteFilm,
    ingest: Ingest,
    patients: Pseudonymizer,
    in_process: None,
) -> None:
    good = write_film("good.dcm", SMALL)
    content = good.read_bytes()
    (tmp_path / "dicom" / "copy.dcm").write_bytes(content)
    (tmp_path / "dicom" / "cut.dcm").write_bytes(content[: len(content) // 2])
    (tmp_path / "dicom" / "notes.txt").write_text("no film")
    (tmp_path / "dicom" / "empty.dcm").write_bytes(b"")
    write_film("stranger.dcm", SMALL, PatientID="p9")
    write_film("nobody.dcm", SMALL, PatientID=None)
    write_film("other.dcm", SMALL + 1, SOPInstanceUID=open_dataset(content).SOPInstanceUID)
    write_film("huge.dcm", SMALL, Rows=60000, Columns=60000)
    summary = ingest()
    assert summary.n_images == 1
    assert summary.quarantine_reasons == {
        "not a DICOM file": 2,
        "a second file with the same UID": 1,
        "more than 64000000 pixels": 1,
        "no Patient ID": 1,
        "the patient is not in the patients table": 1,
        "the pixel data cannot be decoded": 1,
        "the same file again": 1,
    }
    assert store.read(QUARANTINE).num_rows == summary.n_quarantined == 8


def test_a_mended_file_leaves_the_quarantine(
    store: Store, write_film: WriteFilm, ingest: Ingest, put: Callable[..., None], in_process: None
) -> None:
    write_film("a.dcm", SMALL)
    assert ingest().n_quarantined == 1
    assert ingest(is_patient_required=False).n_images == 1
    assert store.read(QUARANTINE).num_rows == 0
    assert store.read(PATIENTS).num_rows == 1


@pytest.mark.parametrize("is_reported", [False, True])
def test_two_patients_with_one_accession_number(
    *,
    store: Store,
    write_film: WriteFilm,
    ingest: Ingest,
    patients: Pseudonymizer,
    put: Callable[..., None],
    in_process: None,
    is_reported: bool,
) -> None:
    """A report tells whose number it is; without one nobody can."""
    if is_reported:
        put(
            NOTES,
            [
                {
                    "note_id": "n",
                    "patient_id": patients.pseudonym("patient", "p1"),
                    "source": "small",
                    "note_type": "chest_film_report",
                    "note_series_id": "n",
                    "note_version": 1,
                    "status": "final",
                    "accession_id": patients.pseudonym("accession", "ACC"),
                    "note_datetime": datetime(2015, 1, 1, tzinfo=UTC),
                    "text": "",
                    "text_sha256": "",
                    "is_synthetic": False,
                }
            ],
        )
    write_film("a.dcm", SMALL, AccessionNumber="ACC")
    write_film("b.dcm", SMALL + 1, AccessionNumber="ACC", PatientID="p2")
    summary = ingest()
    expected = 1 if is_reported else 2
    assert summary.quarantine_reasons == {"two patients with one accession number": expected}
    assert summary.n_images == 2 - expected


def test_links_out_of_the_folder_are_not_followed(
    tmp_path: Path, write_film: WriteFilm, ingest: Ingest, patients: Pseudonymizer, in_process: None
) -> None:
    path = write_film("a.dcm", SMALL)
    outside = tmp_path / "outside.dcm"
    path.rename(outside)
    path.symlink_to(outside)
    write_film("b.dcm", SMALL + 1)
    assert ingest().n_files == 1


HOSTILE = (
    "../../../outside", "/etc/passwd", "..\\..\\x", "a\0../../b", "~root", "x;rm -rf *", "%2e%2e%2f"
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_identifiers_never_become_paths(
    *,
    store: Store,
    tmp_path: Path,
    write_film: WriteFilm,
    ingest: Ingest,
    in_process: None,
    text: str,
) -> None:
    """Whatever stands in identifiers: files are made under the home alone, named by hashes."""
    mark = "9" * len(text)
    names = ("PatientID", "AccessionNumber", "StudyInstanceUID", "SeriesInstanceUID", "StationName")
    path = write_film("a.dcm", SMALL, **dict.fromkeys(names, mark), SOPInstanceUID="1.2.3")
    content = path.read_bytes().replace(mark.encode(), text.encode())
    path.write_bytes(content.replace(b"\x08\x00\x18\x00UI\x06\x001.2.3\0",
                                     b"\x08\x00\x18\x00UI\x06\x00../../"))  # fmt: skip
    (path.parent / "loop").symlink_to(path.parent)
    (path.parent / "root").symlink_to("/")
    before = {each for each in tmp_path.rglob("*") if not each.is_relative_to(store.home.root)}
    assert ingest(is_patient_required=False).n_images == 1
    after = {each for each in tmp_path.rglob("*") if not each.is_relative_to(store.home.root)}
    assert after == before
    assert store.read(IMAGE_SOURCES)["sop_instance_uid"].to_pylist() == ["../../"]
    made = [each for each in store.home.root.rglob("*") if each.is_file()]
    assert not [each for each in made if "outside" in each.name or "passwd" in each.name]
    assert not [each for each in made if each.is_symlink()]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"folder": Path("/nowhere")}, SourceError, "no such folder"),
        ({"size_px": 7}, ArgumentError, "size_px is 7"),
        ({"n_processes": 0}, ArgumentError, "n_processes is 0"),
    ],
)
def test_arguments_are_checked_before_anything_is_read(
    ingest: Ingest,
    write_film: WriteFilm,
    changes: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    write_film("a.dcm", SMALL)
    with pytest.raises(error, match=message):
        ingest(**changes)


def test_a_deflated_file_that_grows_too_large_is_refused_before_it_is_inflated(
    write_film: WriteFilm, monkeypatch: pytest.MonkeyPatch, make_film: Callable[..., Any]
) -> None:
    monkeypatch.setattr(etl.films.dicom_header, "MAX_INFLATED_BYTES", 2**20)
    path = write_film("bomb.dcm", SMALL)
    content = path.read_bytes()
    end = 144 + int.from_bytes(content[140:144], "little")
    old = b"1.2.840.10008.1.2.1\0"
    assert content[:end].count(old) == 1
    deflater = zlib.compressobj(wbits=-15)
    body = deflater.compress(content[end:] + bytes(8 * 2**20)) + deflater.flush()
    uid = DeflatedExplicitVRLittleEndian.encode()
    header = content[:end].replace(
        (20).to_bytes(2, "little") + old, (22).to_bytes(2, "little") + uid
    )
    header = header[:140] + (end - 144 + 2).to_bytes(4, "little") + header[144:]
    with pytest.raises(UnusableFileError, match="inflates to more than"):
        open_dataset(header + body)


def test_readings_quote_no_header_in_warnings(
    write_film: WriteFilm, recwarn: pytest.WarningsRecorder, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_film("a.dcm", SMALL, SeriesDescription="Canary")
    content = path.read_bytes().replace(b"20150307", b"2015Cana")
    path.write_bytes(content)
    reading = read_film_file(ReadingOrder(path=path, size_px=64, time_zone="UTC"))
    assert isinstance(reading, FilmReading)
    assert reading.facts is not None
    assert reading.facts.acquired is None
    out, err = capfd.readouterr()
    assert "Cana" not in out + err + str([str(each.message) for each in recwarn])


def test_a_file_that_kills_its_worker_costs_itself_alone(
    tmp_path: Path, write_film: WriteFilm
) -> None:
    """A pipe that nobody writes to never ends; the time limit then ends the worker."""
    paths = [write_film(f"{number}.dcm", SMALL + number) for number in range(3)]
    os.mkfifo(tmp_path / "endless.dcm")
    paths.insert(1, tmp_path / "endless.dcm")
    orders = [ReadingOrder(path=path, size_px=64, time_zone="UTC") for path in paths]
    readings = list(read_films(orders, n_processes=2, limits=WorkerLimits(wall_seconds=2)))
    assert [reading.path for reading in readings] == paths
    assert [reading.fault for reading in readings] == [
        None,
        "decoding killed its worker or took more time than it may",
        None,
        None,
    ]


def test_a_film_stored_twice_is_cached_once(
    store: Store, write_film: WriteFilm, ingest: Ingest, patients: Pseudonymizer, in_process: None
) -> None:
    tags = {
        "StudyInstanceUID": "1.5",
        "AcquisitionDate": "20150307",
        "AcquisitionTime": "120001",
        "AccessionNumber": "ACC",
    }
    write_film("a.dcm", SMALL, **tags)
    write_film("b.dcm", SMALL + 9, SeriesDescription="CHEST PA EDGE ENHANCED", **tags)
    # Another study under the same accession number is another film.
    write_film("c.dcm", SMALL + 5, **{**tags, "StudyInstanceUID": "1.6", "AcquisitionTime": "1300"})
    summary = ingest()
    assert (summary.n_images, summary.n_frontal) == (3, 2)
    images = {row["image_id"]: row for row in store.read(IMAGES).to_pylist()}
    (copy,) = (row for row in images.values() if row["copy_of_image_id"] is not None)
    assert images[copy["copy_of_image_id"]]["is_frontal_chest"]
    assert copy["selection_reason"].startswith(
        "copy: the same exposure as another film, by time of acquisition; view PA"
    )
    assert copy["image_id"] not in store.read(IMAGE_PIXELS)["image_id"].to_pylist()
