"""What every route into a PACS can do, and how it fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydicom.dataset import Dataset
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from warehouse_schema.errors import SourceError

STUDY_FIELDS = (
    "StudyInstanceUID",
    "PatientID",
    "AccessionNumber",
    "StudyDescription",
    "NumberOfStudyRelatedInstances",
)
SERIES_FIELDS = (
    "SeriesInstanceUID",
    "Modality",
    "SeriesDescription",
    "ProtocolName",
    "PerformedProcedureStepDescription",
    "BodyPartExamined",
    "NumberOfSeriesRelatedInstances",
)
INSTANCE_FIELDS = (
    "SOPInstanceUID",
    "SOPClassUID",
    "ViewPosition",
    "ViewCodeSequence",
    "AnatomicRegionSequence",
    "PatientOrientation",
    "PresentationIntentType",
)
N_ATTEMPTS = 3
WAIT_SECONDS = 1.0


class ArchiveAwayError(SourceError):
    """The PACS cannot be reached, or does not let us in.

    Args:
        message: One line with the setting to look at.
        is_transient: True where trying again soon may help.
    """

    def __init__(self, message: str, *, is_transient: bool = False) -> None:
        super().__init__(message)
        self.is_transient = is_transient


class RefusedRequestError(Exception):
    """One request failed at a PACS that is there; its text is a quarantine reason.

    Args:
        reason: What failed, without identifiers.
        is_transient: True where trying again soon may help.
    """

    def __init__(self, reason: str, *, is_transient: bool = False) -> None:
        super().__init__(reason)
        self.is_transient = is_transient


@dataclass(frozen=True, kw_only=True)
class ReceivedInstance:
    """One instance as a PACS sent it, the same by every route.

    Attributes:
        sop_class_uid: SOP Class UID of the transfer.
        sop_instance_uid: SOP Instance UID of the transfer.
        transfer_syntax_uid: How the data set is encoded.
        data_set: The encoded data set, without preamble and file meta information.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_set: bytes


Take = Callable[[ReceivedInstance], None]


class Archive(Protocol):
    """A PACS. Every method raises ArchiveAwayError, and RefusedRequestError where it says so."""

    def ping(self) -> str:
        """Ask for a sign of life; returns a short description of who answered."""

    def find_studies(self, **keys: str) -> list[Dataset]:
        """Studies by PatientID, AccessionNumber or StudyInstanceUID, with STUDY_FIELDS.

        Raises:
            RefusedRequestError: The PACS answered with an error.
        """

    def find_series(self, study_uid: str) -> list[Dataset]:
        """Series of a study, with SERIES_FIELDS.

        Raises:
            RefusedRequestError: The PACS answered with an error.
        """

    def find_instances(self, study_uid: str, series_uid: str) -> list[Dataset]:
        """Instances of a series, with INSTANCE_FIELDS as far as the PACS knows them.

        Raises:
            RefusedRequestError: The PACS answered with an error.
        """

    def fetch(
        self, study_uid: str, series_uid: str, instance_uids: Sequence[str], take: Take
    ) -> None:
        """Fetch instances; each is handed to ``take`` as it arrives, in any order.

        Raises:
            RefusedRequestError: The PACS sent less than was asked for, or an error.
        """

    def store(self, datasets: Sequence[Dataset]) -> None:
        """Store results; with file meta information, in Explicit VR Little Endian.

        Raises:
            RefusedRequestError: The PACS did not take all of them.
        """

    def close(self) -> None:
        """Give connections and ports back."""


def patiently() -> Retrying:
    """Three attempts at a call, one and two seconds apart, where trying again may help."""
    return Retrying(
        retry=retry_if_exception(lambda error: getattr(error, "is_transient", False)),
        stop=stop_after_attempt(N_ATTEMPTS),
        wait=wait_exponential(multiplier=WAIT_SECONDS),
        reraise=True,
    )
