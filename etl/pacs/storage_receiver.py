"""Our own storage: what the PACS sends to us during a C-GET or, by an association of its own, a
C-MOVE (DICOM PS3.4, annex B). Nothing is taken that was not asked for."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pydicom.uid import (
    AllTransferSyntaxes,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
)
from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import C_STORE

from etl.films.dicom_header import MAX_FILE_BYTES
from etl.pacs.archive import ArchiveAwayError, ReceivedInstance, Take

# What films of CR and DX are stored as; scanned and converted films are secondary captures.
STORAGE_CLASSES = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
)
NOT_FOR_FILMS = ("MPEG", "HEVC", "SMPTE", "JPIP", "Part 2")
# With STORAGE_CLASSES, at most the 128 presentation contexts of one association.
TRANSFER_SYNTAXES = tuple(
    uid for uid in AllTransferSyntaxes if not any(word in uid.name for word in NOT_FOR_FILMS)
)
SUCCESS, REFUSED, TOO_LARGE = 0x0000, 0x0124, 0xA700


def received_instance(event: evt.Event) -> ReceivedInstance:
    """The instance of a C-STORE request, its data set as it came."""
    request = event.request
    assert isinstance(request, C_STORE)
    return ReceivedInstance(
        sop_class_uid=str(request.AffectedSOPClassUID),
        sop_instance_uid=str(request.AffectedSOPInstanceUID),
        transfer_syntax_uid=str(event.context.transfer_syntax),
        data_set=event.encoded_dataset(include_meta=False),
    )


class StorageReceiver:
    """Listens for what a C-MOVE sends.

    Args:
        host: Address to listen on.
        port: Port to listen on.
        ae_title: Our AE title; a caller must call us by it.
        tls: Context of incoming connections, or None.

    Raises:
        ArchiveAwayError: Address or port cannot be listened on.
    """

    def __init__(self, *, host: str, port: int, ae_title: str, tls: ssl.SSLContext | None) -> None:
        self._lock = threading.Lock()
        self._expected: set[str] = set()
        self._take: Take | None = None
        entity = AE(ae_title=ae_title)
        entity.require_called_aet = True
        for each in STORAGE_CLASSES:
            entity.add_supported_context(each, list(TRANSFER_SYNTAXES))
        try:
            self._server = entity.start_server(
                (host, port),
                block=False,
                ssl_context=tls,
                evt_handlers=[(evt.EVT_C_STORE, self._store)],
            )
        except OSError as error:
            raise ArchiveAwayError(
                f"pacs_receiver_port: cannot listen on {host}:{port} ({error.strerror}). Choose "
                "an address of this machine and a free port, and have them entered at the PACS."
            ) from None

    @contextmanager
    def expecting(self, instance_uids: frozenset[str], take: Take) -> Iterator[None]:
        """Take these instances while the block lasts; everything else is refused."""
        with self._lock:
            self._expected, self._take = set(instance_uids), take
        try:
            yield
        finally:
            with self._lock:
                self._expected, self._take = set(), None

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()

    def _store(self, event: evt.Event) -> int:
        with self._lock:
            instance = received_instance(event)
            if self._take is None or instance.sop_instance_uid not in self._expected:
                return REFUSED
            if len(instance.data_set) > MAX_FILE_BYTES:
                return TOO_LARGE
            self._take(instance)
            return SUCCESS
