"""Files to results: each is read, scored and written by itself; what cannot be used is listed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from etl.films.film_pool import read_films
from etl.films.film_reading import FilmReading
from etl.privacy.opt_outs import OptOuts
from etl.pseudonym import Pseudonymizer
from etl.quarantine import QuarantineList
from etl.records.site_mapping import find_time_zone
from etl.results.clinical_film import ClinicalOrder, ClinicalReading, square_film_of
from etl.results.film_result import DICOM_NAMES, FilmResult, find_boxes, result_files
from etl.results.result_folder import ResultFolder
from warehouse_schema.code_version import code_version
from warehouse_schema.errors import InputError
from warehouse_schema.film_scores import OperatingPoint, ScoreFilm, ScoringRun
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store
from warehouse_schema.tables.evaluation import EVALUATION_REPORTS
from warehouse_schema.tables.results import FILM_RESULTS
from warehouse_schema.tables.runs import TRAINING_RUNS

STAGE = "predict-files"
ABSENT = "there is no such file"
OPTED_OUT = "the patient has opted out"


@dataclass(frozen=True, kw_only=True)
class FileOutcome:
    """What became of one file.

    Attributes:
        number: Its place among the files, from 1; names and paths stay out of sight.
        image_id: Pseudonym; None where the file is no film.
        reason: Why it was not scored, or why it has no DICOM result; None where all is well.
        scores: Score by finding; empty where it was not scored.
        n_regions: Boxes; None without maps or thresholds.
        is_unchanged: True where the same result was here already.
        dicom_paths: Its DICOM results.
    """

    number: int
    image_id: str | None = None
    reason: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    n_regions: int | None = None
    is_unchanged: bool = False
    dicom_paths: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ResultSummary:
    """What one call did.

    Attributes:
        folder: Where the results lie.
        outcomes: One a file, in order.
        run: The run that scored them.
        operating_point: The thresholds.
    """

    folder: Path
    outcomes: tuple[FileOutcome, ...]
    run: ScoringRun
    operating_point: OperatingPoint

    @property
    def n_scored(self) -> int:
        """Files with scores."""
        return sum(bool(each.scores) for each in self.outcomes)

    @property
    def notes(self) -> list[str]:
        """What the results lack for the run's sake."""
        run_id, thresholds = self.run.run_id, self.operating_point.thresholds
        if not self.run.has_maps:
            return [f"scores only: maps of method {self.run.method} cannot be compared."]
        missing = [finding for finding, value in thresholds.items() if value is None]
        if missing:
            return [
                f"no boxes of {', '.join(missing)}: run {run_id} has no {self.operating_point.name}"
                f" threshold stored. Run `ribline evaluate --run {run_id}`."
            ]
        return []


def local_now() -> datetime:
    """The clock of a real run, in UTC."""
    return datetime.now(UTC)


def write_film_results(
    *,
    store: Store,
    paths: Sequence[Path],
    score: ScoreFilm,
    run: ScoringRun,
    operating_point: OperatingPoint,
    source: str,
    pseudonym_key: bytes | str,
    size_px: int,
    time_zone: str = "UTC",
    is_any_view: bool = False,
    n_processes: int = 1,
    progress: Progress = SILENT,
    clock: Callable[[], datetime] = local_now,
) -> ResultSummary:
    """Score DICOM files and write their results under ``restricted/results/RUN/``.

    Args:
        store: The store.
        paths: Files, and folders of files.
        score: Scores one film.
        run: The run that does.
        operating_point: Its thresholds.
        source: Site mapping whose patients these are.
        pseudonym_key: The key of its pseudonyms.
        size_px: Side of the square film, as films are cached at this site.
        time_zone: IANA zone of dates without an offset, and of the results' own.
        is_any_view: True scores films that the selection rule refuses too.
        n_processes: Worker processes that read.
        progress: Listener.
        clock: The time, in UTC.

    Raises:
        InputError: There is no file at all, or none of them could be scored.
        WarehouseError: The results cannot be written.
    """
    listed = list(_list_paths(paths))
    if not listed:
        raise InputError("FILES: the folder holds no file. Give DICOM files, or a folder of them.")
    writing = _Writing(
        store=store,
        names=Pseudonymizer(key=pseudonym_key, source=source),
        score=score,
        run=run,
        operating_point=operating_point,
        now=lambda: clock().astimezone(find_time_zone(time_zone)),
        is_any_view=is_any_view,
    )
    orders = (
        ClinicalOrder(path=path, size_px=size_px, time_zone=time_zone, is_any_view=is_any_view)
        for path in listed
    )
    progress.start(STAGE, len(listed))
    readings = read_films(orders, n_processes=min(n_processes, len(listed)))
    for number, reading in enumerate(readings, start=1):
        writing.take_up(number, reading)
        progress.advance()
    progress.finish()
    writing.publish(is_any_view)
    if not any(each.scores for each in writing.outcomes):
        raise InputError(_nothing_scored(writing.outcomes))
    return ResultSummary(
        folder=writing.folder.path,
        outcomes=tuple(writing.outcomes),
        run=run,
        operating_point=operating_point,
    )


def _nothing_scored(outcomes: Sequence[FileOutcome]) -> str:
    told = "; ".join(dict.fromkeys(each.reason for each in outcomes if each.reason))
    return (
        f"FILES: none of {len(outcomes)} could be scored: {told}. Give frontal chest films; "
        "--any-view scores what the selection rule refuses."
    )


def _list_paths(paths: Sequence[Path]) -> Iterator[Path]:
    """Files as given, and those of folders in order; links are not followed out of a folder."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        root = path.resolve()
        found = [Path(parent, name) for parent, _, names in os.walk(root) for name in names]
        yield from sorted(
            each for each in found if each.resolve().is_relative_to(root) and each.is_file()
        )


class _Writing:
    """Takes up readings one by one."""

    def __init__(
        self,
        *,
        store: Store,
        names: Pseudonymizer,
        score: ScoreFilm,
        run: ScoringRun,
        operating_point: OperatingPoint,
        now: Callable[[], datetime],
        is_any_view: bool,
    ) -> None:
        self._store = store
        self._names = names
        self._score = score
        self._run = run
        self._operating_point = operating_point
        self._now = now
        self._is_any_view = is_any_view
        self._opt_outs = OptOuts(store, names)
        self._rows: dict[tuple[str, str], dict[str, Any]] = {}
        self._seen_keys: set[str] = set()
        self._image_ids: set[str] = set()
        self.folder = ResultFolder(store.home, run.run_id)
        self.quarantine = QuarantineList(stage=STAGE, source=names.source)
        self.outcomes: list[FileOutcome] = []

    def take_up(self, number: int, reading: FilmReading) -> None:
        """Score a film and write its files, or note why not."""
        reason = self._refusal(reading)
        if reason is not None:
            key = reading.source_sha256[:16] or self._names.pseudonym("row", str(reading.path))
            self._seen_keys.add(key)
            if reason != OPTED_OUT:
                self.quarantine.add(key, reason)
            self.outcomes.append(FileOutcome(number=number, reason=reason))
            return
        assert isinstance(reading, ClinicalReading)
        self._seen_keys.add(reading.source_sha256[:16])
        self.outcomes.append(self._scored(number, reading))

    def _refusal(self, reading: FilmReading) -> str | None:
        fault = reading.fault if reading.path.exists() else ABSENT
        facts = reading.facts
        if fault is None and facts is None:
            fault = "no header"
        if fault is not None or facts is None:
            return fault
        reason = None
        if facts.patient_identifier is None:
            reason = "no Patient ID"
        elif self._opt_outs.holds(facts.patient_identifier):
            reason = OPTED_OUT
        elif reading.film is None:
            assert reading.selection is not None
            reason = f"not a frontal chest film: {reading.selection.reason}"
        elif self._image_id(reading) in self._image_ids:
            reason = "a second file with the same UID"
        return reason

    def _image_id(self, reading: FilmReading) -> str:
        assert reading.facts is not None
        return self._names.pseudonym("image", reading.facts.sop_instance_uid)

    def _scored(self, number: int, reading: ClinicalReading) -> FileOutcome:
        scores = self._score(square_film_of(reading))
        result = FilmResult(
            image_id=self._image_id(reading),
            reading=reading,
            scores=scores,
            regions=find_boxes(reading, scores, self._operating_point),
            operating_point=self._operating_point,
            run=self._run,
            code_version=code_version(),
        )
        self._image_ids.add(result.image_id)
        earlier = self.folder.read(result.image_id, result.digest)
        reason = self._write(result) if earlier is None else earlier["fault"]
        if reason is not None:
            self.quarantine.add(reading.source_sha256[:16], reason)
        self._add_rows(result)
        return FileOutcome(
            number=number,
            image_id=result.image_id,
            reason=reason,
            scores=scores.scores,
            n_regions=None if result.regions is None else len(result.regions),
            is_unchanged=earlier is not None,
            dicom_paths=tuple(
                path
                for name in DICOM_NAMES
                if (path := self.folder.file(result.image_id, name)).is_file()
            ),
        )

    def _write(self, result: FilmResult) -> str | None:
        """Write the film's files; returns why it has no DICOM result."""
        try:
            content = result.reading.path.read_bytes()
        except OSError:
            content = b""
        is_same = hashlib.sha256(content).hexdigest() == result.reading.source_sha256
        now = self._now()
        files, reason = result_files(
            result, content if is_same else b"", names=self._names, written=now
        )
        self.folder.write(result.image_id, files, result.summary(now) | {"fault": reason})
        return reason

    def _add_rows(self, result: FilmResult) -> None:
        facts, selection = result.reading.facts, result.reading.selection
        assert facts is not None
        assert facts.patient_identifier is not None
        assert selection is not None
        for finding, value in result.scores.scores.items():
            threshold = self._operating_point.thresholds.get(finding)
            regions = result.regions if threshold is not None else None
            self._rows[result.image_id, finding] = {
                "run_id": self._run.run_id,
                "image_id": result.image_id,
                "finding": finding,
                "patient_id": self._names.pseudonym("patient", facts.patient_identifier),
                "source": self._names.source,
                "source_sha256": result.reading.source_sha256,
                "score": value,
                "operating_point": self._operating_point.name,
                "threshold": threshold,
                "n_regions": None
                if regions is None
                else sum(each.finding == finding for each in regions),
                "selection_reason": selection.reason,
                "written_datetime": self._now(),
            }

    def publish(self, is_any_view: bool) -> None:
        """Put the rows and what was set aside into the warehouse."""
        rows = pa.Table.from_pylist(list(self._rows.values()), schema=FILM_RESULTS.schema)
        configuration = {"run_id": self._run.run_id, "is_any_view": is_any_view}
        with self._store.commit(
            stage=STAGE, configuration=configuration, run_id=self._run.run_id
        ) as commit:
            commit.uses(TRAINING_RUNS, EVALUATION_REPORTS)
            commit.upsert(FILM_RESULTS, rows)
            self.quarantine.replace_in(commit, seen_keys=self._seen_keys)
