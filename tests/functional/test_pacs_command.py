"""`ribline ingest-images --from` and `ribline doctor` against a real Orthanc."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from orthanc_server import AE_TITLE, PASSWORD, USER, OrthancServer

from etl.synthetic_hospital.hospital import write_hospital

KEY = "0123456789abcdef"


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hospital") / "hospital"
    write_hospital(folder=folder, n_patients=4, seed=1)
    return folder


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory, hospital: Path) -> Iterator[OrthancServer]:
    server = OrthancServer(tmp_path_factory.mktemp("orthanc"))
    server.start()
    try:
        server.store(sorted((hospital / "dicom").rglob("*.dcm")))
        yield server
    finally:
        server.stop()


@pytest.fixture
def settings(tmp_path: Path, hospital: Path, orthanc: OrthancServer) -> dict[str, str]:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    (tmp_path / "password").chmod(0o600)
    (tmp_path / "ribline.toml").write_text(
        f"""
        database_url = "sqlite:///{hospital / "hospital.sqlite"}"
        size_px = 64
        n_processes = 1
        pacs_url = "{orthanc.url}"
        pacs_user = "{USER}"
        pacs_password_file = "password"
        pacs_host = "127.0.0.1"
        pacs_port = {orthanc.dicom_port}
        pacs_ae_title = "{AE_TITLE}"
        """
    )
    return {"RIBLINE_PSEUDONYM_KEY": KEY}


def test_films_come_from_the_pacs_that_is_named(ribline, settings: dict[str, str]) -> None:  # type: ignore[no-untyped-def]
    assert ribline("extract", **settings).code == 0
    either = ribline("ingest-images", **settings)
    assert either.code == 2
    assert "dicomweb or dimse. Set image_source, or give --from" in either.err
    web = ribline("ingest-images", "--from", "dicomweb", **settings)
    assert web.code == 0, web.err
    assert "instances fetched" in web.out
    assert PASSWORD not in web.out + web.err
    again = ribline("ingest-images", "--from", "dimse", **settings)
    assert again.code == 0, again.err
    fetched = next(line for line in again.out.splitlines() if "instances fetched" in line)
    assert fetched.split()[-1] == "0"


def test_the_doctor_asks_the_pacs_for_a_sign_of_life(ribline, settings: dict[str, str]) -> None:  # type: ignore[no-untyped-def]
    healthy = ribline("doctor", **{**settings, "RIBLINE_IMAGE_SOURCE": "dicomweb"})
    assert "/dicom-web answers" in healthy.out
    assert f"{AE_TITLE} at 127.0.0.1" in healthy.out
    assert PASSWORD not in healthy.out
    wrong = ribline("doctor", **settings, RIBLINE_PACS_PASSWORD="wrong")
    assert "refuses user and password" in wrong.out
    assert wrong.code != 0
