"""A PACS through DICOMweb: QIDO-RS to ask, WADO-RS to fetch (DICOM PS3.18)."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset

from etl.films.dicom_header import MAX_FILE_BYTES
from etl.pacs.archive import (
    INSTANCE_FIELDS,
    SERIES_FIELDS,
    STUDY_FIELDS,
    ArchiveAwayError,
    ReceivedInstance,
    RefusedRequestError,
    Take,
    patiently,
)
from etl.pacs.part10 import split_part10

# As it is stored: a PACS that transcodes on the way may lose grey levels.
ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
TIMEOUT_SECONDS = (10, 120)
BUSY_CODES = (408, 429, 502, 503, 504)
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class DicomWebAddress:
    """Where a PACS offers DICOMweb, and how it lets us in.

    Attributes:
        url: Base URL, https outside a test.
        user: User of basic authentication.
        password: Its password.
        token: Bearer token, instead of a user.
        ca_file: Certificates of the authority that signed the server's.
    """

    url: str
    user: str | None = None
    password: str | None = None
    token: str | None = None
    ca_file: Path | None = None


class _Client(DICOMwebClient):
    """The client, with instances as the bytes that were sent: a parsed copy has another hash."""

    def iter_instance_bytes(self, url: str) -> Iterator[bytes]:
        """Parts of a Retrieve Instance answer, refused as soon as one is too large."""
        response = self._http_get(url, headers={"Accept": ACCEPT}, stream=True)
        size = int(response.headers.get("Content-Length", 0))
        if size > MAX_FILE_BYTES:
            response.close()
            raise RefusedRequestError("an instance is too large")
        if response.headers["Content-Type"].startswith("application/dicom"):
            # Not what the standard says, and what some servers send.
            yield response.content
            return
        for part in self._decode_multipart_message(response, stream=True):
            yield bytes(part)


class DicomWebArchive:
    """A PACS through DICOMweb.

    Args:
        address: Where it is.

    Raises:
        ArchiveAwayError: The URL is malformed, or the certificates cannot be read.
    """

    def __init__(self, address: DicomWebAddress) -> None:
        self._address = address
        self._session = requests.Session()
        # Proxies and .netrc of the account are not the hospital's to be guessed.
        self._session.trust_env = False
        if address.user is not None:
            self._session.auth = (address.user, address.password or "")
        if address.token is not None:
            self._session.headers["Authorization"] = f"Bearer {address.token}"
        if address.ca_file is not None:
            _check_certificates(address.ca_file)
            self._session.verify = str(address.ca_file)
        try:
            self._client = _Client(address.url, session=self._session, timeout=TIMEOUT_SECONDS)
        except ValueError:
            raise ArchiveAwayError(
                "pacs_url is not a URL. Give the base of the PACS's DICOMweb services, for "
                "example https://pacs.example/dicom-web."
            ) from None
        # Retries are made in one place, with one limit, for every route.
        self._client.set_http_retry_params(retry=False)

    def ping(self) -> str:
        """Ask for one study."""
        self._ask(lambda: self._client.search_for_studies(limit=1))
        return f"DICOMweb at {self._place} answers"

    def find_studies(self, **keys: str) -> list[Dataset]:
        """Studies by key; see Archive."""
        return self._find(
            lambda: self._client.search_for_studies(search_filters=keys, fields=list(STUDY_FIELDS))
        )

    def find_series(self, study_uid: str) -> list[Dataset]:
        """Series of a study; see Archive."""
        return self._find(
            lambda: self._client.search_for_series(study_uid, fields=list(SERIES_FIELDS))
        )

    def find_instances(self, study_uid: str, series_uid: str) -> list[Dataset]:
        """Instances of a series; see Archive."""
        fields = list(INSTANCE_FIELDS)
        return self._find(
            lambda: self._client.search_for_instances(study_uid, series_uid, fields=fields)
        )

    def fetch(
        self, study_uid: str, series_uid: str, instance_uids: Sequence[str], take: Take
    ) -> None:
        """Retrieve Instance, one by one; see Archive."""
        for uid in instance_uids:
            take(self._retrieve(study_uid, series_uid, uid))

    def store(self, datasets: Sequence[Dataset]) -> None:
        """Store Instances (STOW-RS); see Archive."""
        answer = self._ask(lambda: self._client.store_instances(list(datasets)))
        if answer.get("FailedSOPSequence"):
            raise RefusedRequestError("the PACS did not take every result")

    def close(self) -> None:
        """Close the session's connections."""
        self._session.close()

    @property
    def _place(self) -> str:
        parts = urlsplit(self._address.url)
        # Without a user that somebody wrote into it.
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def _retrieve(self, study_uid: str, series_uid: str, instance_uid: str) -> ReceivedInstance:
        url = (
            f"{self._address.url.rstrip('/')}/studies/{study_uid}/series/{series_uid}"
            f"/instances/{instance_uid}"
        )
        parts = self._ask(lambda: list(self._client.iter_instance_bytes(url)))
        if len(parts) != 1 or len(parts[0]) > MAX_FILE_BYTES:
            raise RefusedRequestError("the PACS sent no instance, or more than one, for one UID")
        return split_part10(parts[0])

    def _find(self, search: Callable[[], list[dict[str, Any]]]) -> list[Dataset]:
        return [_dataset(answer) for answer in self._ask(search)]

    def _ask(self, call: Callable[[], R]) -> R:
        answer: R = patiently()(self._ask_once, call)
        return answer

    def _ask_once(self, call: Callable[[], R]) -> R:
        """One request; its errors quote a URL with identifiers, and are told anew."""
        try:
            return call()
        except requests.HTTPError as error:
            code = 0 if error.response is None else error.response.status_code
            raise self._http_error(code) from None
        except requests.exceptions.SSLError as error:
            # requests tells the two apart in its text alone.
            if "CERTIFICATE_VERIFY_FAILED" not in str(error):
                raise ArchiveAwayError(
                    f"pacs_url: {self._place} does not speak TLS. Check the port, or write http."
                ) from None
            raise ArchiveAwayError(
                f"pacs_url: {self._place} shows a certificate that is not trusted. Name the file "
                "of its authority with pacs_ca_file."
            ) from None
        except (requests.ConnectionError, requests.Timeout):
            raise ArchiveAwayError(
                f"pacs_url: {self._place} cannot be reached. Check the address and the firewall; "
                "`ribline doctor` tries again.",
                is_transient=True,
            ) from None
        except (requests.RequestException, ValueError, KeyError):
            raise RefusedRequestError("the PACS's answer is not DICOMweb") from None

    def _http_error(self, code: int) -> Exception:
        if code in (401, 403):
            return ArchiveAwayError(
                f"pacs_user: {self._place} refuses user and password, or the token (HTTP {code}). "
                "Check pacs_user with RIBLINE_PACS_PASSWORD, or RIBLINE_PACS_TOKEN."
            )
        return RefusedRequestError(
            f"the PACS answered HTTP {code}", is_transient=code in BUSY_CODES
        )


def _check_certificates(path: Path) -> None:
    try:
        ssl.create_default_context(cafile=path)
    except OSError:
        raise ArchiveAwayError(
            f"pacs_ca_file: {path} cannot be read, or holds no certificate in PEM format."
        ) from None


def _dataset(answer: Mapping[str, Any]) -> Dataset:
    """One answer in the DICOM JSON model; an element with a wrong value is left out."""
    dataset = Dataset()
    for tag, element in answer.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dataset.update(Dataset.from_json({tag: element}))
        except Exception:  # noqa: BLE001, S112 - a wrong value is as good as none
            continue
    return dataset
