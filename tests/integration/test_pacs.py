"""A real Orthanc, fed by the synthetic hospital: every route gives the folder's tables."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pydicom
import pytest
from orthanc_server import AE_TITLE, OWN_AE_TITLE, PASSWORD, USER, OrthancServer, free_ports
from pacs_pull import (
    EVERY_SERIES,
    KEY,
    SOURCE,
    ZONE,
    addresses,
    content,
    from_folder,
    pull,
)

from etl.pacs.archive import ArchiveAwayError
from etl.pacs.dicomweb_archive import DicomWebAddress
from etl.pacs.dimse_archive import DimseAddress
from etl.pacs.pacs_ingest import (
    Address,
    PullRule,
    open_archive,
    ping_archive,
)
from etl.pseudonym import Pseudonymizer
from etl.records.extraction import extract_records
from etl.synthetic_hospital.hospital import write_hospital
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGE_PIXELS, IMAGES
from warehouse_schema.tables.labels import COHORT
from warehouse_schema.tables.pacs import PACS_INSTANCES, PACS_QUERIES, PACS_STUDIES
from warehouse_schema.tables.records import IDENTITIES, IMAGE_SOURCES
from warehouse_schema.tables.runs import QUARANTINE

ROOT = Path(__file__).parents[2]
TABLES = (IMAGES, IMAGE_PIXELS, IMAGE_SOURCES, IDENTITIES, QUARANTINE)
# A PACS writes its own file meta information, and files lie under other names in another order.
OF_THE_FILE = {"source_sha256", "shard_name", "shard_row"}
MakeHome = Callable[[], Store]


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hospital") / "hospital"
    write_hospital(folder=folder, n_patients=12, seed=3)
    # A folder may hold films of patients whom the records do not know; no PACS is asked for them.
    for film in pq.read_table(folder / "truth" / "images.parquet").to_pylist():
        if film["is_unknown_patient"]:
            (path,) = (folder / "dicom").rglob(f"{film['sop_instance_uid']}.dcm")
            path.unlink()
    return folder


@pytest.fixture(scope="module")
def films(hospital: Path) -> list[Path]:
    return sorted((hospital / "dicom").rglob("*.dcm"))


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory, films: list[Path]) -> Iterator[OrthancServer]:
    server = OrthancServer(tmp_path_factory.mktemp("orthanc"))
    server.start()
    try:
        assert server.store(films) == len(films)
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory, hospital: Path) -> Path:
    home = tmp_path_factory.mktemp("extracted") / "home"
    extract_records(
        store=Store(Home(home)),
        database_url=f"sqlite:///{hospital / 'hospital.sqlite'}",
        site_mapping=SOURCE,
        keyword_pattern="(?i)fracture|clavicle|rib",
        pseudonym_key=KEY,
    )
    return home


@pytest.fixture
def make_home(tmp_path: Path, extracted: Path) -> MakeHome:
    """Homes in which the records are extracted, and no film is read."""

    def make() -> Store:
        home = tmp_path / f"home{len(list(tmp_path.iterdir()))}"
        shutil.copytree(extracted, home)
        return Store(Home(home))

    return make


@pytest.fixture(scope="module")
def folder_store(
    tmp_path_factory: pytest.TempPathFactory, extracted: Path, hospital: Path
) -> Store:
    home = tmp_path_factory.mktemp("folder") / "home"
    shutil.copytree(extracted, home)
    store = Store(Home(home))
    from_folder(store, hospital / "dicom")
    return store


@pytest.mark.parametrize("route", ["dicomweb", "c-get", "c-move"])
def test_every_route_gives_the_tables_of_the_folder(
    *,
    orthanc: OrthancServer,
    make_home: MakeHome,
    folder_store: Store,
    films: list[Path],
    route: str,
) -> None:
    store = make_home()
    summary = pull(store, addresses(orthanc)[route])
    assert summary.n_instances_fetched == len(films)
    assert summary.n_studies_incomplete == summary.n_pull_faults == 0
    for table in TABLES:
        assert content(store, table, OF_THE_FILE) == content(folder_store, table, OF_THE_FILE)
    assert store.read(IMAGE_SOURCES).num_rows == len(films)
    assert not list(store.home.pacs_spool.glob("*.dcm"))
    assert store.home.pacs_spool.stat().st_mode & 0o077 == 0
    assert set(store.read(PACS_INSTANCES)["state"].to_pylist()) == {"dropped"}
    again = pull(store, addresses(orthanc)[route])
    assert (again.n_instances_fetched, again.n_studies_unchanged) == (0, again.n_studies)


def test_the_routes_give_the_same_bytes(
    orthanc: OrthancServer, make_home: MakeHome, films: list[Path]
) -> None:
    stores = [make_home() for _ in range(3)]
    rule = replace(EVERY_SERIES, is_kept=True)
    for store, address in zip(stores, addresses(orthanc).values(), strict=True):
        pull(store, address, rule)
    first = {path.name: path.read_bytes() for path in stores[0].home.pacs_spool.glob("*.dcm")}
    assert len(first) == len(films)
    for store in stores[1:]:
        for table in (*TABLES, PACS_STUDIES, PACS_INSTANCES, PACS_QUERIES):
            assert content(store, table, set()) == content(stores[0], table, set())
        for name, data in first.items():
            assert (store.home.pacs_spool / name).read_bytes() == data
    originals = {pydicom.dcmread(path).SOPInstanceUID: pydicom.dcmread(path) for path in films}
    for path in stores[0].home.pacs_spool.glob("*.dcm"):
        pulled = pydicom.dcmread(path)
        original = originals[pulled.SOPInstanceUID]
        assert pulled == original
        assert pulled.file_meta.TransferSyntaxUID == original.file_meta.TransferSyntaxUID


def test_the_selection_rule_refuses_series_before_any_pixel(
    orthanc: OrthancServer, make_home: MakeHome, folder_store: Store
) -> None:
    store = make_home()
    summary = pull(store, addresses(orthanc)["dicomweb"], PullRule())
    frontal = {"is_frontal_chest": True}
    expected = folder_store.read(IMAGES, where=frontal)["image_id"].to_pylist()
    assert 0 < len(expected) < folder_store.read(IMAGES).num_rows
    assert store.read(IMAGES, where=frontal)["image_id"].to_pylist() == expected
    assert summary.n_instances_fetched == summary.n_images == len(expected)
    assert summary.n_series_refused == folder_store.read(IMAGES).num_rows - len(expected)


def test_accession_numbers_of_matched_notes_can_be_asked_for(
    orthanc: OrthancServer, make_home: MakeHome, folder_store: Store
) -> None:
    store = make_home()
    summary = pull(store, addresses(orthanc)["c-get"], PullRule(pull_by="accessions"))
    assert 0 < summary.n_studies <= summary.n_queries
    accessions = set(store.read(IMAGES)["accession_id"].to_pylist())
    assert accessions <= set(store.read(PACS_QUERIES)["pseudonym"].to_pylist())
    assert store.read(IMAGES).num_rows < folder_store.read(IMAGES).num_rows


def test_the_studies_of_the_cohort_can_be_asked_for(
    orthanc: OrthancServer, make_home: MakeHome
) -> None:
    """Their films come back where the cache was lost, and no others."""
    store = make_home()
    address = addresses(orthanc)["c-get"]
    pull(store, address, PullRule())
    image = store.read(IMAGES, where={"is_frontal_chest": True}).to_pylist()[0]
    row = {
        "fold": 0,
        "image_id": image["image_id"],
        "patient_id": image["patient_id"],
        "subset": "N",
        "split": "train",
        "source": SOURCE,
    }
    with store.commit(stage="test") as commit:
        commit.replace(COHORT, pa.Table.from_pylist([row], schema=COHORT.schema))
    for shard in store.home.cache.glob("*.npy"):
        shard.unlink()
    summary = pull(store, address, PullRule(pull_by="cohort"))
    assert (summary.n_queries, summary.n_studies) == (1, 1)
    assert summary.n_instances_fetched == summary.n_decoded == 1


def test_an_instance_is_fetched_again_only_where_its_film_is_lost(
    orthanc: OrthancServer, make_home: MakeHome
) -> None:
    store = make_home()
    address = addresses(orthanc)["dicomweb"]
    first = pull(store, address, PullRule())
    for shard in store.home.cache.glob("*.npy"):
        shard.unlink()
    again = pull(store, address, PullRule())
    assert again.n_instances_fetched == again.n_decoded == first.n_instances_fetched


@pytest.mark.parametrize("route", ["dicomweb", "c-get", "c-move"])
def test_a_pacs_that_goes_away_midway_is_resumed(
    *, tmp_path: Path, make_home: MakeHome, films: list[Path], route: str
) -> None:
    folder = tmp_path / "orthanc"
    folder.mkdir()
    server = OrthancServer(folder)
    server.start()
    try:
        server.store(films)
        store = make_home()
        ticks = iter(range(10**6))

        def clock() -> datetime:
            # The clock is looked at for every study: a place to cut the power.
            if next(ticks) == 12:
                server.stop()
            return datetime(2026, 1, 1, tzinfo=UTC)

        with pytest.raises(ArchiveAwayError, match=r"questions were answered; what arrived"):
            pull(store, addresses(server)[route], clock=clock)
        n_first = store.read(PACS_INSTANCES).num_rows
        assert 0 < n_first < len(films)
        assert store.read(IMAGES).num_rows == n_first
        server.start()
        summary = pull(store, addresses(server)[route])
        assert summary.n_instances_fetched == len(films) - n_first
        assert store.read(IMAGES).num_rows == len(films)
        assert summary.n_studies_incomplete == 0
        assert store.read(QUARANTINE, where={"stage": "pull-images"}).num_rows == 0
    finally:
        server.stop()


KILLED = """
import os, signal, sys
from pathlib import Path
import etl.pacs.spool
from etl.pacs.dicomweb_archive import DicomWebAddress
from etl.pacs.pacs_ingest import PullRule, ingest_from_pacs
from warehouse_schema.home import Home
from warehouse_schema.store import Store

write = etl.pacs.spool.Spool.write
n_left = [int(sys.argv[3])]

def write_and_die(self, image_id, content):
    if not n_left[0]:
        self.path(image_id).with_suffix(".part").write_bytes(content[:100])
        os.kill(os.getpid(), signal.SIGKILL)
    n_left[0] -= 1
    return write(self, image_id, content)

etl.pacs.spool.Spool.write = write_and_die
ingest_from_pacs(
    store=Store(Home(Path(sys.argv[1]))),
    address=DicomWebAddress(url=sys.argv[2], user="{user}", password="{password}"),
    rule=PullRule(is_every_series=True), source="{source}", pseudonym_key="{key}", size_px=64,
    time_zone="{zone}",
)
"""


def test_a_killed_pull_is_resumed_with_nothing_fetched_twice(
    *,
    orthanc: OrthancServer,
    make_home: MakeHome,
    folder_store: Store,
    films: list[Path],
) -> None:
    store = make_home()
    script = KILLED.format(user=USER, password=PASSWORD, source=SOURCE, key=KEY, zone=ZONE)
    n_written = 5
    killed = subprocess.run(
        [sys.executable, "-c", script, store.home.root, orthanc.url, str(n_written)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert len(list(store.home.pacs_spool.glob("*.dcm"))) == n_written
    assert store.read(PACS_INSTANCES).num_rows == 0
    summary = pull(store, addresses(orthanc)["dicomweb"])
    assert summary.n_instances_fetched == len(films) - n_written
    for table in TABLES:
        assert content(store, table, OF_THE_FILE) == content(folder_store, table, OF_THE_FILE)
    assert not list(store.home.pacs_spool.glob("*.part"))


def test_a_file_that_changes_in_the_spool_is_set_aside_and_fetched_again(
    orthanc: OrthancServer, make_home: MakeHome, monkeypatch: pytest.MonkeyPatch, films: list[Path]
) -> None:
    import etl.pacs.spool

    store = make_home()
    write = etl.pacs.spool.Spool.write
    spoilt: list[str] = []

    def write_and_spoil(self: etl.pacs.spool.Spool, image_id: str, data: bytes) -> str:
        sha256 = write(self, image_id, data)
        if not spoilt:
            spoilt.append(image_id)
            self.path(image_id).write_bytes(data[:-2] + b"xx")
        return sha256

    monkeypatch.setattr(etl.pacs.spool.Spool, "write", write_and_spoil)
    address = addresses(orthanc)["dicomweb"]
    first = pull(store, address)
    assert first.quarantine_reasons == {"a file changed in the spool after it arrived": 1}
    assert first.n_images == len(films) - 1
    again = pull(store, address)
    assert (again.n_instances_fetched, again.n_images, again.n_pull_faults) == (1, 1, 0)
    assert store.read(QUARANTINE, where={"stage": "pull-images"}).num_rows == 0


def test_a_study_that_grows_is_looked_into_again(
    tmp_path: Path, make_home: MakeHome, films: list[Path]
) -> None:
    folder = tmp_path / "orthanc"
    folder.mkdir()
    server = OrthancServer(folder)
    server.start()
    try:
        store = make_home()
        server.store(films[:-1])
        pull(store, addresses(server)["c-get"])
        later = pydicom.dcmread(films[0])
        later.SOPInstanceUID = later.file_meta.MediaStorageSOPInstanceUID = "2.25.1234567"
        later.InstanceNumber = 2
        later.save_as(tmp_path / "later.dcm")
        server.store([films[-1], tmp_path / "later.dcm"])
        summary = pull(store, addresses(server)["c-get"])
        assert summary.n_instances_fetched == 2
        study_id = Pseudonymizer(key=KEY, source=SOURCE).pseudonym("study", later.StudyInstanceUID)
        (study,) = store.read(PACS_STUDIES, where={"study_id": study_id}).to_pylist()
        assert study["n_announced"] == study["n_wanted"] == study["n_arrived"]
    finally:
        server.stop()


def test_outside_the_hours_the_pull_stops_between_studies_and_says_what_remains(
    orthanc: OrthancServer, make_home: MakeHome
) -> None:
    store = make_home()
    rule = PullRule(is_every_series=True, hours="22:00-06:00")
    # 21:58 UTC is 05:58 in Taipei; the clock moves by ten seconds whenever it is looked at.
    start, ticks = datetime(2026, 1, 1, 21, 58, tzinfo=UTC), iter(range(10**6))

    def clock() -> datetime:
        return start + timedelta(seconds=10) * next(ticks)

    address = addresses(orthanc)["dicomweb"]
    summary = pull(store, address, rule, clock=clock)
    assert summary.n_queries_remaining > 0
    assert 0 < summary.n_images == summary.n_instances_fetched
    asked = store.read(PACS_QUERIES)["pseudonym"].to_pylist()
    assert len(asked) == summary.n_queries
    # The next night begins with those that were not asked.
    night = datetime(2026, 1, 2, 15, tzinfo=UTC)
    rest = pull(store, address, rule, clock=lambda: night)
    assert rest.n_queries_remaining == 0
    assert rest.n_studies_unchanged == summary.n_studies
    noon = pull(store, address, rule, clock=lambda: datetime(2026, 1, 2, 4, tzinfo=UTC))
    assert (noon.n_queries, noon.n_studies) == (0, 0)


def test_the_rate_limit_holds(orthanc: OrthancServer, make_home: MakeHome) -> None:
    started = time.monotonic()
    rule = PullRule(is_every_series=True, instances_per_second=20)
    summary = pull(make_home(), addresses(orthanc)["c-get"], rule)
    assert time.monotonic() - started >= (summary.n_instances_fetched - 1) / 20


def _wrong(server: OrthancServer) -> dict[str, tuple[Address, str]]:
    right = addresses(server)
    web, get = right["dicomweb"], right["c-get"]
    assert isinstance(web, DicomWebAddress)
    assert isinstance(get, DimseAddress)
    (port,) = free_ports(1)
    return {
        "password": (replace(web, password="wrong"), "refuses user and password"),
        "url": (replace(web, url=f"http://127.0.0.1:{port}/dicom-web"), "cannot be reached"),
        "ae title": (replace(get, ae_title="WRONG"), "is not called WRONG"),
        "port": (replace(get, port=port), "cannot be reached"),
        "receiver": (
            replace(get, retrieve="c-move", receiver_port=server.http_port),
            "cannot listen on",
        ),
    }


@pytest.mark.parametrize("mistake", ["password", "url", "ae title", "port", "receiver"])
def test_a_mistake_in_the_settings_is_one_clear_line(
    orthanc: OrthancServer, make_home: MakeHome, mistake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etl.pacs.archive.WAIT_SECONDS", 0.01)
    address, message = _wrong(orthanc)[mistake]
    for call in (lambda: pull(make_home(), address), lambda: ping_archive(address)):
        with pytest.raises(ArchiveAwayError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith("pacs_")


@pytest.mark.parametrize("route", ["dicomweb", "c-get"])
def test_a_sign_of_life(orthanc: OrthancServer, route: str) -> None:
    assert "answers" in ping_archive(addresses(orthanc)[route])


def test_nothing_is_taken_that_was_not_asked_for(orthanc: OrthancServer, films: list[Path]) -> None:
    """A PACS (or anybody else) that sends to our receiver by itself is refused."""
    address = addresses(orthanc)["c-move"]
    with open_archive(address):
        command = ["storescu", "-aet", AE_TITLE, "-aec", OWN_AE_TITLE, "127.0.0.1"]
        sent = subprocess.run(
            [*command, str(orthanc.receiver_port), films[0]],
            capture_output=True,
            timeout=30,
            check=False,
        )
    assert sent.returncode != 0 or b"0124" in sent.stdout + sent.stderr
