"""Films of named studies out of the PACS, for scoring: fetched, checked, scored, removed.

Nothing here enters the books of `ribline ingest-images`: a film that is scored joins no cohort.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import UID

from etl.films.dicom_header import (
    UnusableFileError,
    open_dataset,
    read_series_facts,
    read_text,
)
from etl.films.film_selection import refusal_before_fetch
from etl.pacs.archive import Archive, ReceivedInstance, RefusedRequestError
from etl.pacs.pacs_ingest import Address, open_archive
from etl.pacs.part10 import join_part10
from etl.pacs.storage_receiver import STORAGE_CLASSES
from etl.privacy.value_loggers import silent_value_loggers
from etl.pseudonym import Pseudonymizer
from warehouse_schema.errors import ArgumentError, InputError
from warehouse_schema.home import Home

# In a query these match other identifiers too, or part it in two (PS3.4, C.2.2.2.4).
WILDCARDS = frozenset("*?\\")
UNKNOWN = "the PACS knows no such study"


@dataclass(frozen=True, kw_only=True)
class PulledStudies:
    """Films of studies, for as long as they are needed.

    Attributes:
        paths: Their files.
        faults: What went wrong with a study, by its place in the list, from 1.
    """

    paths: list[Path] = field(default_factory=list)
    faults: Mapping[int, str] = field(default_factory=dict)


@contextmanager
def pulled_studies(
    *,
    home: Home,
    address: Address,
    identifiers: Sequence[str],
    source: str,
    pseudonym_key: bytes | str,
    is_any_view: bool = False,
) -> Iterator[PulledStudies]:
    """Fetch the films of studies into a folder of restricted/, removed at the end of the block.

    Args:
        home: The home folder.
        address: The PACS.
        identifiers: Study Instance UIDs (they hold a point) or accession numbers.
        source: Site mapping whose patients these are.
        pseudonym_key: The key of its pseudonyms, which name the files.
        is_any_view: True fetches series too that the selection rule refuses.

    Raises:
        ArgumentError: Nothing is named, or an identifier would match others.
        ArchiveAwayError: The PACS cannot be reached or does not let us in.
        InputError: No study gave a film.
    """
    if not identifiers:
        raise ArgumentError("--studies: it names no study. Write one identifier a line.")
    n_unsafe = sum(bool(WILDCARDS & set(each)) for each in identifiers)
    if n_unsafe:
        raise ArgumentError(
            f"--studies: {n_unsafe} of {len(identifiers)} lines hold *, ? or \\, which match other "
            "studies too. Give whole identifiers."
        )
    names = Pseudonymizer(key=pseudonym_key, source=source)
    with (
        silent_value_loggers(),
        tempfile.TemporaryDirectory(prefix=".pulled-", dir=home.restricted) as folder,
    ):
        pull = _Pull(Path(folder), names, is_any_view)
        with open_archive(address) as archive:
            for number, identifier in enumerate(identifiers, start=1):
                pull.study(archive, number, identifier)
        if not pull.paths:
            told = "; ".join(dict.fromkeys(pull.faults.values()))
            raise InputError(f"--studies: none of {len(identifiers)} gave a film: {told}.")
        yield PulledStudies(paths=sorted(pull.paths), faults=pull.faults)


class _Pull:
    def __init__(self, folder: Path, names: Pseudonymizer, is_any_view: bool) -> None:
        self._folder = folder
        self._names = names
        self._is_any_view = is_any_view
        self.paths: list[Path] = []
        self.faults: dict[int, str] = {}

    def study(self, archive: Archive, number: int, identifier: str) -> None:
        """Fetch the films of one study, or of all with one accession number."""
        key = "StudyInstanceUID" if "." in identifier else "AccessionNumber"
        if key == "StudyInstanceUID" and not UID(identifier).is_valid:
            self.faults[number] = "not a Study Instance UID"
            return
        n_before = len(self.paths)
        fault = UNKNOWN
        try:
            for study in archive.find_studies(**{key: identifier}):
                # An archive that ignores the key would answer with everything it has.
                if read_text(study, key) == identifier:
                    fault = "it has no film that the selection rule takes"
                    self._films(archive, number, study)
        except RefusedRequestError as error:
            fault = str(error)
            self.faults[number] = fault
        if len(self.paths) == n_before:
            self.faults.setdefault(number, fault)

    def _films(self, archive: Archive, number: int, study: Dataset) -> None:
        study_uid = read_text(study, "StudyInstanceUID")
        if study_uid is None:
            return
        for series in archive.find_series(study_uid):
            series_uid = read_text(series, "SeriesInstanceUID")
            if series_uid is None or self._is_refused(series):
                continue
            wanted = [
                uid
                for instance in archive.find_instances(study_uid, series_uid)
                if (uid := read_text(instance, "SOPInstanceUID")) and not self._is_refused(instance)
            ]

            def take(instance: ReceivedInstance, wanted: Sequence[str] = tuple(wanted)) -> None:
                if instance.sop_instance_uid in wanted:
                    self._take(number, instance, study_uid)

            if wanted:
                archive.fetch(study_uid, series_uid, wanted, take)

    def _is_refused(self, answer: Dataset) -> bool:
        sop_class = read_text(answer, "SOPClassUID")
        if sop_class is not None and sop_class not in STORAGE_CLASSES:
            return True
        facts = read_series_facts(answer)
        return not self._is_any_view and refusal_before_fetch(facts) is not None

    def _take(self, number: int, instance: ReceivedInstance, study_uid: str) -> None:
        """Check that an instance is what it was sent as, and keep it."""
        content = join_part10(instance)
        try:
            dataset = open_dataset(content)
        except UnusableFileError as error:
            self.faults[number] = str(error)
            return
        if (
            read_text(dataset, "SOPInstanceUID") != instance.sop_instance_uid
            or read_text(dataset, "StudyInstanceUID") != study_uid
        ):
            self.faults[number] = "an instance is not the one that it was sent as"
            return
        image_id = self._names.pseudonym("image", instance.sop_instance_uid)
        path = self._folder / f"{image_id}.dcm"
        path.write_bytes(content)
        if path not in self.paths:
            self.paths.append(path)
