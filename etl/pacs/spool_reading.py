"""From the spool into the warehouse: verify, ingest like any folder, keep or remove."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from etl.films.dicom_header import UnusableFileError, open_dataset, read_text
from etl.films.image_ingest import IngestSummary
from etl.films.pixel_cache import cached_pixel_rows
from etl.pacs.ledger import Ledger
from etl.pacs.spool import Spool
from etl.pseudonym import Pseudonymizer
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGES
from warehouse_schema.tables.records import IDENTITIES, IMAGE_SOURCES

Ingest = Callable[[set[str]], IngestSummary]


@dataclass(kw_only=True)
class ReadingCounts:
    """What ingest made of the spool's files, over all batches of a run."""

    n_images: int = 0
    n_frontal: int = 0
    n_decoded: int = 0
    n_quarantined: int = 0
    quarantine_reasons: Mapping[str, int] = field(default_factory=dict)

    def add(self, summary: IngestSummary) -> None:
        """Count one batch."""
        self.n_images += summary.n_images
        self.n_frontal += summary.n_frontal
        self.n_decoded += summary.n_decoded
        self.n_quarantined += summary.n_quarantined
        reasons = Counter(self.quarantine_reasons) + Counter(summary.quarantine_reasons)
        self.quarantine_reasons = dict(reasons.most_common())


class SpoolReading:
    """Reads what arrived, once.

    Args:
        store: The store.
        spool: Where files lie.
        ledger: The books.
        names: Pseudonyms of the source.
        size_px: Side of the cached films, for what counts as read.
        is_kept: True leaves files in the spool after they were read.
        ingest: Reads files of the spool, given their names.
    """

    def __init__(
        self,
        *,
        store: Store,
        spool: Spool,
        ledger: Ledger,
        names: Pseudonymizer,
        size_px: int,
        is_kept: bool,
        ingest: Ingest,
    ) -> None:
        self._store = store
        self._spool = spool
        self._ledger = ledger
        self._names = names
        self._is_kept = is_kept
        self._ingest = ingest
        self._tried: set[str] = set()
        self.held_images = _held_images(store, names.source, size_px)
        self.counts = ReadingCounts()

    def recover(self, now: datetime) -> None:
        """Catch the books up with files that an interrupted run left."""
        patients = _patients_by_identifier(self._store, self._names.source)
        for image_id in self._spool.image_ids():
            known = self._ledger.instances.get(image_id)
            if known is None:
                self._adopt(image_id, patients, now)
            elif known["state"] == "dropped" and image_id in self.held_images:
                self._spool.remove(image_id)

    def n_waiting(self) -> int:
        """Files that the next ``read`` will look at."""
        return len(self._waiting())

    def read(self) -> None:
        """Ingest the files that wait; those that were set aside stay for the next run."""
        self._ledger.save()
        intact = [each for each in self._waiting() if self._is_intact(each)]
        self._tried.update(intact)
        if not intact:
            self._ledger.save()
            return
        self.counts.add(self._ingest({self._spool.path(each).name for each in intact}))
        columns = ["image_id"]
        sources = self._store.read(IMAGE_SOURCES, columns=columns, where={"image_id": intact})
        read = sources["image_id"].to_pylist()
        self.held_images.update(read)
        self._ledger.change_state(read, "kept" if self._is_kept else "dropped")
        self._ledger.save()
        if not self._is_kept:
            for image_id in read:
                self._spool.remove(image_id)

    def _waiting(self) -> list[str]:
        return [
            each
            for each in self._spool.image_ids()
            if each in self._ledger.instances
            and each not in self.held_images
            and each not in self._tried
        ]

    def _is_intact(self, image_id: str) -> bool:
        """Compare a file with its hash on arrival; one that changed is fetched again."""
        row = self._ledger.instances[image_id]
        if (
            hashlib.sha256(self._spool.path(image_id).read_bytes()).hexdigest()
            == (row["file_sha256"])
        ):
            return True
        self._ledger.set_aside(row["study_id"], "a file changed in the spool after it arrived")
        self._spool.remove(image_id)
        return False

    def _adopt(self, image_id: str, patients: Mapping[str, str], now: datetime) -> None:
        """Enter a file that the books do not know; one of another source is left alone."""
        content = self._spool.path(image_id).read_bytes()
        try:
            dataset = open_dataset(content)
        except UnusableFileError:
            self._spool.remove(image_id)
            return
        uid = read_text(dataset, "SOPInstanceUID") or ""
        patient_id = patients.get(read_text(dataset, "PatientID") or "")
        if self._names.pseudonym("image", uid) != image_id or patient_id is None:
            return
        study_uid = read_text(dataset, "StudyInstanceUID") or uid
        self._ledger.record_instance(
            image_id=image_id,
            study_id=self._names.pseudonym("study", study_uid),
            patient_id=patient_id,
            sop_instance_uid=uid,
            file_sha256=hashlib.sha256(content).hexdigest(),
            n_bytes=len(content),
            arrived=now,
        )


def _held_images(store: Store, source: str, size_px: int) -> set[str]:
    """Images of the source that need no file: not frontal, or cached at this size."""
    cached = {row["image_id"] for row in cached_pixel_rows(store, size_px).values()}
    columns = ["image_id", "is_frontal_chest"]
    images = store.read(IMAGES, columns=columns, where={"source": source}).to_pylist()
    return {
        row["image_id"]
        for row in images
        if not row["is_frontal_chest"] or row["image_id"] in cached
    }


def _patients_by_identifier(store: Store, source: str) -> dict[str, str]:
    kinds = ["patient", "imaging_patient"]
    rows = store.read(IDENTITIES, where={"source": source, "kind": kinds}).to_pylist()
    return {row["source_identifier"]: row["pseudonym"] for row in rows}
