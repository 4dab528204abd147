"""The questions of one run, in order: ask, pull what is answered, stop when the hours are over."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydicom.dataset import Dataset

from etl.films.dicom_header import read_text
from etl.pacs.archive import Archive, ArchiveAwayError, RefusedRequestError
from etl.pacs.ledger import STAGE, Ledger
from etl.pacs.pace import Clock
from etl.pacs.spool_reading import SpoolReading
from etl.pacs.study_pull import StudyPull
from etl.pacs.worklist import Query
from warehouse_schema.progress import Progress

FILES_PER_BATCH = 512
QUERIES_PER_SAVE = 50


class PullRun:
    """One run through the worklist.

    Args:
        archive: The PACS.
        ledger: The books.
        reading: Reads the spool after every batch.
        pull: Pulls one study.
        clock: The time, in UTC.
    """

    def __init__(
        self,
        *,
        archive: Archive,
        ledger: Ledger,
        reading: SpoolReading,
        pull: StudyPull,
        clock: Clock,
    ) -> None:
        self._archive = archive
        self._ledger = ledger
        self._reading = reading
        self._pull = pull
        self._clock = clock
        self.n_asked = 0

    def go(
        self, queries: Sequence[Query], *, is_open: Callable[[], bool], progress: Progress
    ) -> None:
        """Ask the questions until the hours are over; what arrived is read in any case.

        Args:
            queries: Questions in order.
            is_open: True while studies may be begun.
            progress: Listener.

        Raises:
            ArchiveAwayError: The PACS is gone.
        """
        progress.start(STAGE, len(queries))
        try:
            for query in queries:
                if not self._ask(query, is_open):
                    break
                self.n_asked += 1
                progress.advance()
                if self._reading.n_waiting() >= FILES_PER_BATCH:
                    self._reading.read()
                    progress.start(STAGE, len(queries) - self.n_asked)
                elif self.n_asked % QUERIES_PER_SAVE == 0:
                    self._ledger.save()
        except ArchiveAwayError as error:
            progress.finish()
            self._reading.read()
            if not self.n_asked:
                raise
            raise ArchiveAwayError(
                f"{error} {self.n_asked} of {len(queries)} questions were answered; what arrived "
                "is kept, and the next run goes on from there."
            ) from None
        progress.finish()
        self._reading.read()

    def _ask(self, query: Query, is_open: Callable[[], bool]) -> bool:
        """Put one question and pull its studies; False where the hours were over before its end."""
        if not is_open():
            return False
        self._ledger.examine(query.pseudonym)
        if query.is_unsafe:
            self._ledger.set_aside(query.pseudonym, "the identifier holds a wildcard of DICOM")
            return True
        try:
            answers = self._archive.find_studies(**query.keys)
        except RefusedRequestError as error:
            self._ledger.set_aside(query.pseudonym, str(error))
            return True
        studies = [each for each in answers if self._is_answer(each, query)]
        for study in studies:
            if not is_open():
                return False
            self._pull.pull(study, query)
        self._ledger.record_query(
            {
                "kind": query.kind,
                "pseudonym": query.pseudonym,
                "source": self._ledger.source,
                "patient_id": query.patient_id,
                "asked_datetime": self._clock(),
                "n_studies": len(studies),
            }
        )
        return True

    def _is_answer(self, study: Dataset, query: Query) -> bool:
        """True where the study has the identifier asked for, and is the patient's."""
        tag, identifier = next(iter(query.keys.items()))
        if read_text(study, tag) != identifier:
            self._ledger.set_aside(query.pseudonym, "the PACS answers with what was not asked for")
            return False
        if read_text(study, "PatientID") not in query.patient_identifiers:
            self._ledger.set_aside(query.pseudonym, "a study of another patient answers to it")
            return False
        return True
