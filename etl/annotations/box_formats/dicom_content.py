"""What structured reports and presentation states have in common: content date, people, images."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from pydicom.dataset import Dataset

NO_IMAGE_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.88.",  # structured reports
    "1.2.840.10008.5.1.4.1.1.11.",  # presentation states
    "1.2.840.10008.5.1.4.1.1.104.",  # encapsulated documents
)


def content_moment(dataset: Dataset) -> datetime | None:
    """Content, else presentation creation, date and time, taken as UTC where no offset is given."""
    for prefix in ("Content", "PresentationCreation"):
        date, time = (str(dataset.get(f"{prefix}{part}", "")) for part in ("Date", "Time"))
        if date:
            offset = str(dataset.get("TimezoneOffsetFromUTC", "")) or "+0000"
            digits = time.partition(".")[0].ljust(6, "0")
            try:
                found = datetime.strptime(f"{date}{digits}{offset}", "%Y%m%d%H%M%S%z")
            except ValueError:
                continue
            return found.astimezone(UTC)
    return None


def person(dataset: Dataset, sequence: str) -> str | None:
    """Name of the first person of a sequence such as Verifying Observer Sequence."""
    for item in dataset.get(sequence) or ():
        for tag in ("VerifyingObserverName", "PersonName"):
            if name := str(item.get(tag, "")).strip():
                return name
    return None


def referenced_images(dataset: Dataset) -> Iterator[str]:
    """SOP Instance UIDs of the images that it was made on, each once.

    Current Requested Procedure Evidence Sequence (0040,A375) of reports, Referenced Series
    Sequence (0008,1115) of presentation states.
    """
    series = [
        item
        for study in dataset.get("CurrentRequestedProcedureEvidenceSequence") or ()
        for item in study.get("ReferencedSeriesSequence") or ()
    ] + list(dataset.get("ReferencedSeriesSequence") or ())
    seen: set[str] = set()
    for item in series:
        references = [
            *(item.get("ReferencedSOPSequence") or ()),
            *(item.get("ReferencedImageSequence") or ()),
        ]
        for reference in references:
            uid = str(reference.get("ReferencedSOPInstanceUID", ""))
            is_image = not str(reference.get("ReferencedSOPClassUID", "")).startswith(
                NO_IMAGE_CLASSES
            )
            if uid and is_image and uid not in seen:
                seen.add(uid)
                yield uid
