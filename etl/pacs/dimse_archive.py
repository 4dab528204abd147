"""A PACS through DIMSE: C-FIND to ask, C-GET or C-MOVE to fetch (DICOM PS3.4, annex C)."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ComprehensiveSRStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    SecondaryCaptureImageStorage,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from etl.pacs.archive import (
    INSTANCE_FIELDS,
    SERIES_FIELDS,
    STUDY_FIELDS,
    ArchiveAwayError,
    RefusedRequestError,
    Take,
    patiently,
)
from etl.pacs.storage_receiver import (
    STORAGE_CLASSES,
    TRANSFER_SYNTAXES,
    StorageReceiver,
    received_instance,
)

Retrieve = Literal["c-get", "c-move"]
CONNECT_SECONDS = 10
ANSWER_SECONDS = 120
RESULT_CLASSES = (
    SecondaryCaptureImageStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    ComprehensiveSRStorage,
)
PENDING = (0xFF00, 0xFF01)
SUCCESS = 0x0000
SOME_FAILED = 0xB000
UNKNOWN_DESTINATION = 0xA801
# Diagnostic of a rejected association (PS3.8, 9.3.4): called and calling AE title not recognised.
CALLED_UNKNOWN, CALLING_UNKNOWN = 7, 3


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """Certificates of DIMSE over TLS (PS3.15, annex B).

    Attributes:
        ca_file: Authority that signed the PACS's certificate; None takes the system's.
        certificate_file: Our own certificate, where the PACS asks for one.
        key_file: Its key.
    """

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    def client_context(self) -> ssl.SSLContext:
        """Context of connections that we open."""
        return self._filled(ssl.create_default_context(cafile=self.ca_file))

    def server_context(self) -> ssl.SSLContext:
        """Context of connections to our receiver; the PACS must show a certificate."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
        return self._filled(context)

    def _filled(self, context: ssl.SSLContext) -> ssl.SSLContext:
        if self.certificate_file is not None:
            context.load_cert_chain(self.certificate_file, self.key_file)
        return context


@dataclass(frozen=True, kw_only=True)
class DimseAddress:
    """Where a PACS offers DIMSE, and who we are to it.

    Attributes:
        host: Host name or address.
        port: Port.
        ae_title: Its AE title.
        own_ae_title: Ours, which the PACS must know.
        retrieve: How instances are fetched.
        receiver_host: Address on which our receiver listens for C-MOVE.
        receiver_port: Its port, which the PACS must know.
        tls: Certificates; None speaks without TLS.
    """

    host: str
    port: int
    ae_title: str
    own_ae_title: str = "RIBLINE"
    retrieve: Retrieve = "c-get"
    receiver_host: str = "127.0.0.1"
    receiver_port: int = 11112
    tls: TlsFiles | None = None


class DimseArchive:
    """A PACS through DIMSE; associations are opened when they are needed, and kept.

    Args:
        address: Where it is.

    Raises:
        ArchiveAwayError: The receiver's port is taken, or a certificate cannot be read.
    """

    def __init__(self, address: DimseAddress) -> None:
        self._address = address
        self._associations: dict[str, Association] = {}
        self._take: Take | None = None
        self._receiver: StorageReceiver | None = None
        try:
            self._tls = None if address.tls is None else address.tls.client_context()
            if address.retrieve == "c-move":
                self._receiver = StorageReceiver(
                    host=address.receiver_host,
                    port=address.receiver_port,
                    ae_title=address.own_ae_title,
                    tls=None if address.tls is None else address.tls.server_context(),
                )
        except (ssl.SSLError, FileNotFoundError, PermissionError):
            raise ArchiveAwayError(
                "pacs_certificate_file: a certificate or key of pacs_ca_file, "
                "pacs_certificate_file and pacs_key_file cannot be read."
            ) from None

    def ping(self) -> str:
        """C-ECHO."""
        status = patiently()(lambda: self._associate("echo").send_c_echo())
        if getattr(status, "Status", None) != SUCCESS:
            raise ArchiveAwayError(f"pacs_host: {self._place} does not answer to C-ECHO.")
        return f"{self._address.ae_title} at {self._place} answers to C-ECHO"

    def find_studies(self, **keys: str) -> list[Dataset]:
        """C-FIND at study level; see Archive."""
        return self._find("STUDY", STUDY_FIELDS, keys)

    def find_series(self, study_uid: str) -> list[Dataset]:
        """C-FIND at series level; see Archive."""
        return self._find("SERIES", SERIES_FIELDS, {"StudyInstanceUID": study_uid})

    def find_instances(self, study_uid: str, series_uid: str) -> list[Dataset]:
        """C-FIND at image level; see Archive."""
        keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid}
        return self._find("IMAGE", INSTANCE_FIELDS, keys)

    def fetch(
        self, study_uid: str, series_uid: str, instance_uids: Sequence[str], take: Take
    ) -> None:
        """C-GET or C-MOVE of a list of instances; see Archive."""
        keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid}
        identifier = _identifier("IMAGE", (), {**keys, "SOPInstanceUID": list(instance_uids)})
        request = self._get if self._receiver is None else self._move
        patiently()(request, identifier, frozenset(instance_uids), take)

    def store(self, datasets: Sequence[Dataset]) -> None:
        """C-STORE, one by one; see Archive."""
        for dataset in datasets:
            status = patiently()(lambda each=dataset: self._associate("store").send_c_store(each))
            code = getattr(status, "Status", None)
            # 0xBxxx: stored, with a warning (PS3.4, annex B.2.3).
            if code is None or (code != SUCCESS and code >> 12 != 0xB):
                self._forget()
                told = "nothing" if code is None else f"status 0x{code:04X}"
                raise RefusedRequestError(f"the PACS answered a C-STORE with {told}")

    def close(self) -> None:
        """Release the associations, and stop listening."""
        for association in self._associations.values():
            if association.is_established:
                association.release()
            _end(association)
        self._associations.clear()
        if self._receiver is not None:
            self._receiver.close()

    @property
    def _place(self) -> str:
        return f"{self._address.host}:{self._address.port}"

    def _find(self, level: str, fields: Sequence[str], keys: dict[str, Any]) -> list[Dataset]:
        return patiently()(self._find_once, _identifier(level, fields, keys))

    def _find_once(self, identifier: Dataset) -> list[Dataset]:
        model = StudyRootQueryRetrieveInformationModelFind
        answers = list(self._associate("find").send_c_find(identifier, model))
        self._check(answers[-1][0] if answers else Dataset(), "C-FIND")
        return [found for status, found in answers if found is not None]

    def _get(self, identifier: Dataset, expected: frozenset[str], take: Take) -> None:
        self._take = take
        try:
            model = StudyRootQueryRetrieveInformationModelGet
            answers = list(self._associate("get").send_c_get(identifier, model))
        finally:
            self._take = None
        self._check(answers[-1][0] if answers else Dataset(), "C-GET")

    def _move(self, identifier: Dataset, expected: frozenset[str], take: Take) -> None:
        assert self._receiver is not None
        with self._receiver.expecting(expected, take):
            model = StudyRootQueryRetrieveInformationModelMove
            association = self._associate("move")
            own_title = self._address.own_ae_title
            answers = list(association.send_c_move(identifier, own_title, model))
        self._check(answers[-1][0] if answers else Dataset(), "C-MOVE")

    def _store(self, event: evt.Event) -> int:
        """What C-GET sends on the association that asked for it."""
        if self._take is None:
            return 0xC000
        self._take(received_instance(event))
        return SUCCESS

    def _check(self, status: Dataset, service: str) -> None:
        """Raise what the last status of an exchange means."""
        code = getattr(status, "Status", None)
        if code is None:
            # The peer aborted, or said nothing in time: it may be gone altogether.
            self._forget()
            raise ArchiveAwayError(
                f"pacs_host: {self._place} broke off in the middle of a {service}.",
                is_transient=True,
            )
        if code == UNKNOWN_DESTINATION:
            raise ArchiveAwayError(
                f"pacs_own_ae_title: the PACS does not know {self._address.own_ae_title} as a "
                "destination of C-MOVE. Have AE title, host and pacs_receiver_port entered there."
            )
        if code not in (SUCCESS, SOME_FAILED):
            raise RefusedRequestError(f"the PACS ended a {service} with status 0x{code:04X}")

    def _associate(self, kind: str) -> Association:
        association = self._associations.get(kind)
        if association is None or not association.is_established:
            if association is not None:
                _end(association)
            association = self._associations[kind] = self._open(kind)
        return association

    def _forget(self) -> None:
        for association in self._associations.values():
            _end(association)
        self._associations.clear()

    def _open(self, kind: str) -> Association:
        entity = AE(ae_title=self._address.own_ae_title)
        entity.connection_timeout = entity.acse_timeout = CONNECT_SECONDS
        entity.dimse_timeout = entity.network_timeout = ANSWER_SECONDS
        models = {
            "echo": Verification,
            "find": StudyRootQueryRetrieveInformationModelFind,
            "get": StudyRootQueryRetrieveInformationModelGet,
            "move": StudyRootQueryRetrieveInformationModelMove,
        }
        contexts = (
            [build_context(each, ExplicitVRLittleEndian) for each in RESULT_CLASSES]
            if kind == "store"
            else [build_context(models[kind])]
        )
        roles: list[Any] = []
        handlers: list[Any] = []
        if kind == "get":
            # A context for each transfer syntax: the PACS then sends films as it stores them.
            contexts += [
                build_context(each, syntax)
                for each in STORAGE_CLASSES
                for syntax in TRANSFER_SYNTAXES
            ]
            roles = [build_role(each, scp_role=True) for each in STORAGE_CLASSES]
            handlers = [(evt.EVT_C_STORE, self._store)]
        association = entity.associate(
            self._address.host,
            self._address.port,
            contexts=contexts,
            ae_title=self._address.ae_title,
            ext_neg=roles,
            tls_args=None if self._tls is None else (self._tls, self._address.host),
            evt_handlers=handlers,
        )
        if not association.is_established:
            _end(association)
            raise self._no_association(association)
        return association

    def _no_association(self, association: Association) -> ArchiveAwayError:
        if not association.is_rejected:
            return self._no_answer()
        diagnostic = getattr(association.acceptor.primitive, "diagnostic", None)
        if diagnostic == CALLED_UNKNOWN:
            return ArchiveAwayError(
                f"pacs_ae_title: {self._place} is not called {self._address.ae_title}. Ask for its "
                "AE title."
            )
        if diagnostic == CALLING_UNKNOWN:
            return ArchiveAwayError(
                f"pacs_own_ae_title: {self._place} does not know {self._address.own_ae_title}. "
                "Have our AE title entered there."
            )
        return ArchiveAwayError(
            f"pacs_host: {self._place} rejects the association.", is_transient=True
        )

    def _no_answer(self) -> ArchiveAwayError:
        """Why nobody answered; pynetdicom keeps it to itself, so the connection is tried again."""
        try:
            connection = socket.create_connection(
                (self._address.host, self._address.port), timeout=CONNECT_SECONDS
            )
        except OSError:
            return ArchiveAwayError(
                f"pacs_host: {self._place} cannot be reached. Check pacs_host, pacs_port and the "
                "firewall; `ribline doctor` tries again.",
                is_transient=True,
            )
        with connection:
            reason = self._no_tls(connection, self._tls) if self._tls is not None else None
        if reason is not None:
            return ArchiveAwayError(reason)
        if self._tls is None:
            reason = "does not answer in DICOM. Check pacs_port; if it wants TLS, set pacs_is_tls."
        else:
            reason = (
                "ends the connection after TLS. It may ask for a certificate of ours: "
                "pacs_certificate_file and pacs_key_file."
            )
        return ArchiveAwayError(f"pacs_host: {self._place} {reason}", is_transient=True)

    def _no_tls(self, connection: socket.socket, tls: ssl.SSLContext) -> str | None:
        try:
            tls.wrap_socket(connection, server_hostname=self._address.host).close()
        except ssl.SSLCertVerificationError:
            return (
                f"pacs_host: {self._place} shows a certificate that is not trusted. Name the file "
                "of its authority with pacs_ca_file."
            )
        except OSError:
            return (
                f"pacs_host: {self._place} does not speak TLS. Check pacs_port, or leave "
                "pacs_is_tls out."
            )
        return None


def _end(association: Association) -> None:
    """Abort where it still stands, and close its socket, which a peer that dies leaves open."""
    if association.is_established:
        association.abort()
    connection = association.dul.socket
    if connection is not None and connection.socket is not None:
        connection.socket.close()


def _identifier(level: str, fields: Sequence[str], keys: dict[str, Any]) -> Dataset:
    dataset = Dataset()
    dataset.QueryRetrieveLevel = level
    for name in fields:
        setattr(dataset, name, [] if name.endswith("Sequence") else "")
    for name, value in keys.items():
        setattr(dataset, name, value)
    return dataset
