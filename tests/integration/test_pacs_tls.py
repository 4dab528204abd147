"""A real PACS behind TLS: an authority of the hospital's own, client certificates, tokens."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from certificates import Certificate, make_authority, make_certificate
from orthanc_server import AE_TITLE, OWN_AE_TITLE, PASSWORD, USER, OrthancServer

from etl.films.image_ingest import ingest_images
from etl.pacs.archive import ArchiveAwayError
from etl.pacs.dicomweb_archive import DicomWebAddress
from etl.pacs.dimse_archive import DimseAddress, TlsFiles
from etl.pacs.pacs_ingest import Address, PullRule, ingest_from_pacs, open_archive, ping_archive
from etl.records.extraction import extract_records
from etl.synthetic_hospital.hospital import write_hospital
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGE_PIXELS

KEY = "0123456789abcdef"
SOURCE = "synthetic_hospital"
SIZE_PX = 64
TOKEN = "a-token-of-the-hospital"


@dataclass(frozen=True)
class Site:
    """A hospital, its authority, and Orthanc with and without TLS."""

    hospital: Path
    authority: Certificate
    stranger: Certificate
    ours: Certificate
    secure: OrthancServer
    plain: OrthancServer


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("tls")
    write_hospital(folder=folder / "hospital", n_patients=4, seed=2)
    authority, stranger = (make_authority(folder, name) for name in ("authority", "stranger"))
    theirs, ours = (make_certificate(folder, name, authority) for name in ("pacs", "ribline"))
    trusts = ssl.create_default_context(cafile=authority.certificate_file)
    trusts.load_cert_chain(ours.certificate_file, ours.key_file)
    (folder / "secure").mkdir()
    (folder / "plain").mkdir()
    secure = OrthancServer(
        folder / "secure",
        tls=trusts,
        DicomTlsEnabled=True,
        DicomTlsCertificate=str(theirs.certificate_file),
        DicomTlsPrivateKey=str(theirs.key_file),
        DicomTlsTrustedCertificates=str(authority.certificate_file),
        DicomTlsRemoteCertificateRequired=True,
    )
    secure.change(
        DicomModalities={
            "ribline": {
                "AET": OWN_AE_TITLE,
                "Host": "127.0.0.1",
                "Port": secure.receiver_port,
                "UseDicomTls": True,
            }
        }
    )
    plain = OrthancServer(folder / "plain")
    try:
        for server in (secure, plain):
            server.start()
            server.store(sorted((folder / "hospital" / "dicom").rglob("*.dcm")))
        yield Site(folder / "hospital", authority, stranger, ours, secure, plain)
    finally:
        secure.stop()
        plain.stop()


@pytest.fixture
def guarded(site: Site) -> Iterator[str]:
    """The plain Orthanc's DICOMweb behind https, as hospitals put it behind a reverse proxy.

    Orthanc 1.10's own https ends with a segmentation fault on Debian 12.
    """
    handler = _gate(f"http://127.0.0.1:{site.plain.http_port}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    folder = site.authority.certificate_file.parent
    context.load_cert_chain(folder / "pacs.pem", folder / "pacs.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}/dicom-web"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _gate(root: str) -> type[BaseHTTPRequestHandler]:
    """Passes requests on to Orthanc where they bear the token or its own user and password."""
    basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Gate(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") not in (f"Bearer {TOKEN}", f"Basic {basic}"):
                self.send_response(401)
                self.end_headers()
                return
            request = urllib.request.Request(root + self.path)
            request.add_header("Authorization", f"Basic {basic}")
            request.add_header("Accept", self.headers.get("Accept", "*/*"))
            try:
                answer = urllib.request.urlopen(request, timeout=30)
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                body = answer.read()
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers["Content-Type"])
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

    return Gate


def addresses(site: Site, guarded: str) -> dict[str, Address]:
    """Every route over TLS."""
    tls = TlsFiles(
        ca_file=site.authority.certificate_file,
        certificate_file=site.ours.certificate_file,
        key_file=site.ours.key_file,
    )
    dimse = DimseAddress(
        host="127.0.0.1",
        port=site.secure.dicom_port,
        ae_title=AE_TITLE,
        own_ae_title=OWN_AE_TITLE,
        receiver_port=site.secure.receiver_port,
        tls=tls,
    )
    ca_file = site.authority.certificate_file
    return {
        "https": DicomWebAddress(url=guarded, user=USER, password=PASSWORD, ca_file=ca_file),
        "token": DicomWebAddress(url=guarded, token=TOKEN, ca_file=ca_file),
        "c-get": dimse,
        "c-move": replace(dimse, retrieve="c-move"),
    }


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Callable[[], Store]:
    """Makes homes in which the records are extracted."""

    def make() -> Store:
        store = Store(Home(tmp_path_factory.mktemp("home") / "home"))
        extract_records(
            store=store,
            database_url=f"sqlite:///{site.hospital / 'hospital.sqlite'}",
            site_mapping=SOURCE,
            keyword_pattern="fracture",
            pseudonym_key=KEY,
        )
        return store

    return make


@pytest.fixture(scope="module")
def films(site: Site, extracted: Callable[[], Store]) -> set[tuple[str, str]]:
    """Image and hash of the films that a folder gives."""
    store = extracted()
    ingest_images(
        store=store,
        folder=site.hospital / "dicom",
        source=SOURCE,
        pseudonym_key=KEY,
        size_px=SIZE_PX,
    )
    return cached(store)


def cached(store: Store) -> set[tuple[str, str]]:
    rows = store.read(IMAGE_PIXELS, columns=["image_id", "pixel_sha256"]).to_pylist()
    return {(row["image_id"], row["pixel_sha256"]) for row in rows}


@pytest.mark.parametrize("route", ["https", "token", "c-get", "c-move"])
def test_every_route_over_tls_gives_the_folders_films(
    site: Site,
    guarded: str,
    extracted: Callable[[], Store],
    films: set[tuple[str, str]],
    route: str,
) -> None:
    store = extracted()
    summary = ingest_from_pacs(
        store=store,
        address=addresses(site, guarded)[route],
        rule=PullRule(is_every_series=True),
        source=SOURCE,
        pseudonym_key=KEY,
        size_px=SIZE_PX,
    )
    assert summary.n_studies_incomplete == summary.n_pull_faults == 0
    assert cached(store) == films != set()


def _mistakes(site: Site, guarded: str) -> dict[str, tuple[Address, str]]:
    right = addresses(site, guarded)
    https, token, dimse = right["https"], right["token"], right["c-get"]
    assert isinstance(https, DicomWebAddress)
    assert isinstance(token, DicomWebAddress)
    assert isinstance(dimse, DimseAddress)
    assert dimse.tls is not None
    strangers = site.stranger.certificate_file
    missing = replace(dimse.tls, certificate_file=None, key_file=None)
    untrusted = "certificate that is not trusted.*pacs_ca_file"
    plain_web = site.plain.url.replace("http:", "https:")
    secure_web = guarded.replace("https:", "http:")
    return {
        "https, no authority": (replace(https, ca_file=None), untrusted),
        "https, wrong authority": (replace(https, ca_file=strangers), untrusted),
        "https, no such file": (replace(https, ca_file=strangers.with_name("x")), "pacs_ca_file"),
        "https, plain port": (replace(https, url=plain_web), "does not speak TLS"),
        "http, TLS port": (replace(https, url=secure_web), "cannot be reached|not DICOMweb"),
        "https, wrong password": (replace(https, password="wrong"), "refuses user and password"),
        "wrong token": (replace(token, token="wrong"), "or the token.*RIBLINE_PACS_TOKEN"),
        "no token": (replace(token, token=None), "or the token.*RIBLINE_PACS_TOKEN"),
        "DIMSE, wrong authority": (
            replace(dimse, tls=replace(dimse.tls, ca_file=strangers)),
            "certificate that is not trusted.*pacs_ca_file",
        ),
        "DIMSE, no certificate of ours": (
            replace(dimse, tls=missing),
            "pacs_certificate_file",
        ),
        "DIMSE, no such file": (
            replace(dimse, tls=replace(dimse.tls, ca_file=strangers.with_name("x"))),
            "cannot be read",
        ),
        "DIMSE over TLS, plain port": (
            replace(dimse, port=site.plain.dicom_port),
            "does not speak TLS.*pacs_is_tls",
        ),
        "plain DIMSE, TLS port": (replace(dimse, tls=None), "pacs_is_tls"),
    }


MISTAKES = (
    "https, no authority", "https, wrong authority", "https, no such file", "https, plain port",
    "http, TLS port", "https, wrong password", "wrong token", "no token",
    "DIMSE, wrong authority", "DIMSE, no certificate of ours", "DIMSE, no such file",
    "DIMSE over TLS, plain port", "plain DIMSE, TLS port",
)  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_names_the_setting(
    site: Site, guarded: str, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    monkeypatch.setattr("etl.pacs.archive.WAIT_SECONDS", 0.01)
    monkeypatch.setattr("etl.pacs.dimse_archive.CONNECT_SECONDS", 2)
    address, message = _mistakes(site, guarded)[mistake]
    with pytest.raises(ArchiveAwayError, match=message) as caught:
        ping_archive(address)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("pacs_")
    assert TOKEN not in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_the_receiver_takes_no_films_from_a_stranger(site: Site, guarded: str) -> None:
    """Who sends to our receiver must show a certificate of the authority; nothing else is heard."""
    address = addresses(site, guarded)["c-move"]
    assert isinstance(address, DimseAddress)
    unknown = ssl.create_default_context(cafile=site.authority.certificate_file)
    with open_archive(address):
        where = ("127.0.0.1", address.receiver_port)
        with (
            socket.create_connection(where, timeout=10) as connection,
            unknown.wrap_socket(connection, server_hostname="127.0.0.1") as secure,
            pytest.raises((ssl.SSLError, ConnectionError)),
        ):
            # With TLS 1.3 the refusal comes with the first answer.
            secure.sendall(b"a stranger")
            if not secure.recv(1):
                raise ConnectionResetError
