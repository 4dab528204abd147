"""One study out of the PACS: list, choose by the selection rule, fetch what is missing, verify."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pydicom.dataset import Dataset

from etl.films.dicom_header import (
    UnusableFileError,
    open_dataset,
    read_integer,
    read_series_facts,
    read_text,
)
from etl.films.film_selection import refusal_before_fetch
from etl.pacs.archive import Archive, ReceivedInstance, RefusedRequestError
from etl.pacs.ledger import Ledger
from etl.pacs.pace import Pace
from etl.pacs.part10 import join_part10
from etl.pacs.spool import Spool
from etl.pacs.storage_receiver import STORAGE_CLASSES
from etl.pacs.worklist import Query
from etl.pseudonym import Pseudonymizer

# Instances to a request: what a crash or a lost connection can cost again.
INSTANCES_PER_REQUEST = 8


@dataclass(frozen=True, kw_only=True)
class _Listing:
    """What the PACS lists of a study: (series, instance) UIDs worth fetching."""

    wanted: list[tuple[str, str]]
    n_series: int
    n_refused: int
    shortfalls: list[str]


@dataclass(kw_only=True)
class StudyCounts:
    """What the studies of one run came to."""

    n_studies: int = 0
    n_studies_incomplete: int = 0
    n_studies_unchanged: int = 0
    n_series_refused: int = 0
    n_instances_fetched: int = 0
    n_instances_held: int = 0


class StudyPull:
    """Pulls studies, one at a time.

    Args:
        archive: The PACS.
        spool: Where files go.
        ledger: The books.
        names: Pseudonyms of the source.
        pace: Waits before instances are asked for.
        held_images: Images that the warehouse has read, and whose film is cached where they have
            one; they are not fetched again.
        is_every_series: True fetches all CR and DX series, not only those that the rule leaves.
        clock: The time.
    """

    def __init__(
        self,
        *,
        archive: Archive,
        spool: Spool,
        ledger: Ledger,
        names: Pseudonymizer,
        pace: Pace,
        held_images: Collection[str],
        is_every_series: bool,
        clock: Callable[[], datetime],
    ) -> None:
        self._archive = archive
        self._spool = spool
        self._ledger = ledger
        self._names = names
        self._pace = pace
        self._held = held_images
        self._is_every_series = is_every_series
        self._clock = clock
        self._faults: dict[str, str] = {}
        self._disk_error: OSError | None = None
        self.counts = StudyCounts()

    def pull(self, study: Dataset, query: Query) -> None:
        """Bring one study up to date.

        Args:
            study: The PACS's answer at study level.
            query: The question that it answers.

        Raises:
            ArchiveAwayError: The PACS is gone; what arrived before stays.
            OSError: The spool cannot be written.
        """
        uid = read_text(study, "StudyInstanceUID")
        if uid is None:
            self._ledger.set_aside(query.pseudonym, "the PACS lists a study without a UID")
            return
        study_id = self._names.pseudonym("study", uid)
        self._ledger.examine(study_id)
        self.counts.n_studies += 1
        if self._is_unchanged(study, study_id):
            self.counts.n_studies_unchanged += 1
            return
        self._faults.clear()
        try:
            listing = self._list(study, uid)
            self._fetch(uid, study_id, query, self._missing(listing.wanted))
            faults = [*listing.shortfalls, *self._faults.values()]
        except RefusedRequestError as error:
            listing = _Listing(wanted=[], n_series=0, n_refused=0, shortfalls=[])
            faults = [str(error)]
        self._record(study, uid, query, listing, faults)

    def _is_unchanged(self, study: Dataset, study_id: str) -> bool:
        """True where nothing was added since the study was complete, and nothing was lost."""
        known = self._ledger.studies.get(study_id)
        n_announced = read_integer(study, "NumberOfStudyRelatedInstances")
        return (
            known is not None
            and known["state"] == "complete"
            and n_announced is not None
            and known["n_announced"] == n_announced
            and all(self._is_here(each) for each in self._ledger.instances_of(study_id))
        )

    def _is_here(self, image_id: str) -> bool:
        return image_id in self._held or self._spool.has(image_id)

    def _list(self, study: Dataset, study_uid: str) -> _Listing:
        wanted: list[tuple[str, str]] = []
        shortfalls = []
        n_refused = 0
        listed = self._archive.find_series(study_uid)
        for series in listed:
            series_uid = read_text(series, "SeriesInstanceUID")
            if series_uid is None or self._is_refused([study, series], is_series=True):
                n_refused += 1
                continue
            instances = self._archive.find_instances(study_uid, series_uid)
            n_announced = read_integer(series, "NumberOfSeriesRelatedInstances")
            if n_announced is not None and n_announced > len(instances):
                shortfalls.append("the PACS announces more instances of a series than it lists")
            for instance in instances:
                instance_uid = read_text(instance, "SOPInstanceUID")
                if instance_uid and not self._is_refused(
                    [study, series, instance], is_series=False
                ):
                    wanted.append((series_uid, instance_uid))
        self.counts.n_series_refused += n_refused
        return _Listing(
            wanted=wanted, n_series=len(listed), n_refused=n_refused, shortfalls=shortfalls
        )

    def _is_refused(self, answers: Sequence[Dataset], *, is_series: bool) -> bool:
        """Apply the selection rule to the answers at study, series and instance level."""
        joined = Dataset()
        for answer in answers:
            joined.update(answer)
        sop_class = read_text(joined, "SOPClassUID")
        if sop_class is not None and sop_class not in STORAGE_CLASSES:
            return True
        facts = read_series_facts(joined)
        if is_series:
            # Some archives answer for a series with a tag of its first instance.
            facts = replace(facts, view_position="", view_codes=(), orientation=())
        if self._is_every_series:
            facts = read_series_facts(_modality_alone(facts.modality))
        return refusal_before_fetch(facts) is not None

    def _missing(self, wanted: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
        """Instance UIDs that are not here, by series."""
        missing: dict[str, list[str]] = {}
        for series_uid, instance_uid in wanted:
            if self._is_here(self._names.pseudonym("image", instance_uid)):
                self.counts.n_instances_held += 1
            else:
                missing.setdefault(series_uid, []).append(instance_uid)
        return missing

    def _fetch(
        self, study_uid: str, study_id: str, query: Query, missing: dict[str, list[str]]
    ) -> None:
        for series_uid, instance_uids in missing.items():
            for start in range(0, len(instance_uids), INSTANCES_PER_REQUEST):
                chunk = instance_uids[start : start + INSTANCES_PER_REQUEST]
                self._pace.wait(len(chunk))

                def take(instance: ReceivedInstance, chunk: Sequence[str] = chunk) -> None:
                    self._take(instance, chunk, study_uid, study_id, query)

                try:
                    self._archive.fetch(study_uid, series_uid, chunk, take)
                except RefusedRequestError as error:
                    self._faults["request"] = str(error)
                if self._disk_error is not None:
                    raise self._disk_error

    def _take(
        self,
        instance: ReceivedInstance,
        expected: Collection[str],
        study_uid: str,
        study_id: str,
        query: Query,
    ) -> None:
        """Verify one instance as it arrives, and write it to the spool."""
        image_id = self._names.pseudonym("image", instance.sop_instance_uid)
        content = join_part10(instance)
        fault = _fault(instance, content, expected, study_uid, query.patient_identifiers)
        if fault is not None:
            self._faults[image_id] = fault
            return
        if self._is_here(image_id):
            return
        try:
            file_sha256 = self._spool.write(image_id, content)
        except OSError as error:
            # Raised again by the thread that pulls; a receiver's thread would swallow it.
            self._disk_error = error
            raise
        self.counts.n_instances_fetched += 1
        self._ledger.record_instance(
            image_id=image_id,
            study_id=study_id,
            patient_id=query.patient_id,
            sop_instance_uid=instance.sop_instance_uid,
            file_sha256=file_sha256,
            n_bytes=len(content),
            arrived=self._clock(),
        )

    def _record(
        self,
        study: Dataset,
        study_uid: str,
        query: Query,
        listing: _Listing,
        faults: Sequence[str],
    ) -> None:
        study_id = self._names.pseudonym("study", study_uid)
        image_ids = [self._names.pseudonym("image", uid) for _, uid in listing.wanted]
        n_arrived = sum(self._is_here(each) for each in image_ids)
        reasons = list(dict.fromkeys(faults))
        if n_arrived < len(image_ids):
            reasons.append(f"{n_arrived} of {len(image_ids)} instances arrived")
        for reason in reasons:
            self._ledger.set_aside(study_id, reason)
        self.counts.n_studies_incomplete += bool(reasons)
        self._ledger.record_study(
            {
                "study_id": study_id,
                "source": self._names.source,
                "patient_id": query.patient_id,
                "study_uid": study_uid,
                "pulled_datetime": self._clock(),
                "n_announced": read_integer(study, "NumberOfStudyRelatedInstances"),
                "n_series": listing.n_series,
                "n_series_refused": listing.n_refused,
                "n_wanted": len(image_ids),
                "n_arrived": n_arrived,
                "state": "incomplete" if reasons else "complete",
            }
        )


def _modality_alone(modality: str) -> Dataset:
    dataset = Dataset()
    dataset.Modality = modality
    return dataset


def _fault(
    instance: ReceivedInstance,
    content: bytes,
    expected: Collection[str],
    study_uid: str,
    patient_identifiers: Collection[str],
) -> str | None:
    """Why an instance is not what was asked for."""
    if instance.sop_instance_uid not in expected:
        return "the PACS sent an instance that was not asked for"
    try:
        dataset = open_dataset(content)
    except UnusableFileError as error:
        return str(error)
    if read_text(dataset, "SOPInstanceUID") != instance.sop_instance_uid:
        return "the instance is not the one that it was sent as"
    if read_text(dataset, "StudyInstanceUID") != study_uid:
        return "the instance is of another study than the PACS says"
    if read_text(dataset, "PatientID") not in patient_identifiers:
        return "the instance is of another patient than the PACS says"
    return None
