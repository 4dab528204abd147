"""Films out of the PACS into images and the pixel cache, a batch of studies at a time.

For each question of the worklist: list the patient's studies, fetch what is missing into the
spool, verify. After every batch the spool is read by the same ingest as a folder, and what was read
is kept or removed. A crash at any point costs at most the request that was under way: files in the
spool are complete, and found again.
"""

from __future__ import annotations

import functools
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from etl.films.image_ingest import ingest_images
from etl.pacs.archive import Archive
from etl.pacs.dicomweb_archive import DicomWebAddress, DicomWebArchive
from etl.pacs.dimse_archive import DimseAddress, DimseArchive
from etl.pacs.ledger import Ledger
from etl.pacs.pace import Clock, Pace, PullHours
from etl.pacs.pull_run import PullRun
from etl.pacs.spool import Spool
from etl.pacs.spool_reading import SpoolReading
from etl.pacs.study_pull import StudyPull
from etl.pacs.worklist import PullBy, Query, plan_queries
from etl.pseudonym import Pseudonymizer
from etl.records.site_mapping import find_time_zone
from warehouse_schema.errors import ArgumentError
from warehouse_schema.home_lock import writes_files
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store

Address = DicomWebAddress | DimseAddress
# They write identifiers into their messages.
TALKATIVE = ("pynetdicom", "dicomweb_client", "urllib3", "pydicom")


@dataclass(frozen=True, kw_only=True)
class PullRule:
    """What is pulled, when and how fast.

    Attributes:
        pull_by: patients, accessions or cohort; see ``plan_queries``.
        is_every_series: True fetches every CR and DX series, not only what the selection rule
            leaves of them.
        instances_per_second: Rate limit; None for none.
        hours: Hours in which studies are begun, as ``22:00-06:00`` in the site's time zone; None
            for all day.
        is_kept: True leaves the files in the spool after they were read.
    """

    pull_by: PullBy = "patients"
    is_every_series: bool = False
    instances_per_second: float | None = None
    hours: str | None = None
    is_kept: bool = False


@dataclass(frozen=True, kw_only=True)
class PacsSummary:
    """What one pull did.

    Attributes:
        n_queries: Questions that were put to the PACS.
        n_queries_remaining: Questions left for the next run, because the hours were over.
        n_studies: Studies it answered with.
        n_studies_unchanged: Those that had been pulled, and have not grown.
        n_studies_incomplete: Those of which something is missing; the next run tries again.
        n_series_refused: Series that the selection rule refused before any pixel.
        n_instances_fetched: Instances fetched now.
        n_instances_held: Wanted instances that were here already.
        n_pull_faults: Quarantine rows of the pull.
        n_images: Readable instances among the files read now.
        n_frontal: Frontal chest films among them.
        n_decoded: Films decoded now.
        n_quarantined: Files that ingest set aside; they stay in the spool.
        quarantine_reasons: How many for each reason, pull and ingest together.
    """

    n_queries: int
    n_queries_remaining: int
    n_studies: int
    n_studies_unchanged: int
    n_studies_incomplete: int
    n_series_refused: int
    n_instances_fetched: int
    n_instances_held: int
    n_pull_faults: int
    n_images: int
    n_frontal: int
    n_decoded: int
    n_quarantined: int
    quarantine_reasons: Mapping[str, int] = field(default_factory=dict)


def utc_now() -> datetime:
    """The clock of a real run."""
    return datetime.now(UTC)


@writes_files
def ingest_from_pacs(
    *,
    store: Store,
    address: Address,
    rule: PullRule,
    source: str,
    pseudonym_key: bytes | str,
    size_px: int,
    n_processes: int = 1,
    time_zone: str = "UTC",
    progress: Progress = SILENT,
    clock: Clock = utc_now,
) -> PacsSummary:
    """Pull the films of the warehouse's patients, and read them.

    Args:
        store: The store; extraction has filled patients, notes and identities.
        address: The PACS.
        rule: What is pulled, when and how fast.
        source: Site mapping whose patients these are.
        pseudonym_key: The key that the records were extracted with.
        size_px: Side of the square cached film.
        n_processes: Worker processes of ingest.
        time_zone: IANA zone of the hours, and of dates without an offset.
        progress: Listener.
        clock: The time, in UTC.

    Raises:
        ArchiveAwayError: The PACS cannot be reached or does not let us in; what had arrived was
            read, and the next run goes on from there.
        ArgumentError: A value of the rule is not allowed, or there is nobody to ask for.
        SourceError: Another pull is running.
    """
    names = Pseudonymizer(key=pseudonym_key, source=source)
    is_open = _opening_hours(rule, time_zone, clock)
    queries = _plan(store, source, rule)
    ingest = functools.partial(
        ingest_images,
        store=store,
        folder=store.home.pacs_spool,
        source=source,
        pseudonym_key=pseudonym_key,
        size_px=size_px,
        n_processes=n_processes,
        time_zone=time_zone,
        progress=progress,
    )
    spool, ledger = Spool(store.home), Ledger(store, source)
    with (
        _quiet(),
        spool.opened(),
        Pace(rule.instances_per_second) as pace,
        open_archive(address) as archive,
    ):
        reading = SpoolReading(
            store=store,
            spool=spool,
            ledger=ledger,
            names=names,
            size_px=size_px,
            is_kept=rule.is_kept,
            ingest=lambda file_names: ingest(file_names=file_names),
        )
        reading.recover(clock())
        pull = StudyPull(
            archive=archive,
            spool=spool,
            ledger=ledger,
            names=names,
            pace=pace,
            held_images=reading.held_images,
            is_every_series=rule.is_every_series,
            clock=clock,
        )
        run = PullRun(archive=archive, ledger=ledger, reading=reading, pull=pull, clock=clock)
        run.go(queries, is_open=is_open, progress=progress)
    return _summary(ledger, reading, pull, n_asked=run.n_asked, n_queries=len(queries))


def _plan(store: Store, source: str, rule: PullRule) -> list[Query]:
    """The questions to ask; there must be some."""
    queries = plan_queries(store=store, source=source, pull_by=rule.pull_by)
    if not queries:
        raise ArgumentError(
            f"pacs_pull_by is {rule.pull_by!r}, and the warehouse knows none of {source} to ask "
            "for. Run `ribline extract` first."
        )
    return queries


def _opening_hours(rule: PullRule, time_zone: str, clock: Clock) -> Callable[[], bool]:
    """Whether studies may be begun now."""
    zone = find_time_zone(time_zone)
    hours = None if rule.hours is None else PullHours.parse(rule.hours)
    return lambda: hours is None or hours.contain(clock().astimezone(zone))


def _summary(
    ledger: Ledger, reading: SpoolReading, pull: StudyPull, *, n_asked: int, n_queries: int
) -> PacsSummary:
    counts = {**asdict(pull.counts), **asdict(reading.counts)}
    counts["quarantine_reasons"] = dict(
        Counter(ledger.quarantine.reasons) + Counter(reading.counts.quarantine_reasons)
    )
    return PacsSummary(
        n_queries=n_asked,
        n_queries_remaining=n_queries - n_asked,
        n_pull_faults=len(ledger.quarantine),
        **counts,
    )


@contextmanager
def open_archive(address: Address) -> Iterator[Archive]:
    """The PACS at an address, closed at the end of the block.

    Raises:
        ArchiveAwayError: It cannot be spoken to as the address says.
    """
    archive: Archive = (
        DicomWebArchive(address) if isinstance(address, DicomWebAddress) else DimseArchive(address)
    )
    try:
        yield archive
    finally:
        archive.close()


def ping_archive(address: Address) -> str:
    """Ask a PACS for a sign of life.

    Raises:
        ArchiveAwayError: There is none.
    """
    with _quiet(), open_archive(address) as archive:
        return archive.ping()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries from quoting identifiers in logs and warnings."""
    loggers = [logging.getLogger(name) for name in TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=rf"({'|'.join(TALKATIVE)})(\.|$)")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
