"""DICOM results of a run to the PACS, as they lie in restricted/results/."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom

from etl.pacs.archive import RefusedRequestError
from etl.pacs.pacs_ingest import Address, open_archive
from etl.privacy.value_loggers import silent_value_loggers
from warehouse_schema.progress import SILENT, Progress

STAGE = "to-pacs"


@dataclass(frozen=True, kw_only=True)
class DeliverySummary:
    """What one delivery did.

    Attributes:
        n_sent: Objects that the PACS took.
        n_films: Films that have all of theirs there now.
        faults: Why a film's objects were not taken, by its place in the list, from 1.
    """

    n_sent: int
    n_films: int
    faults: dict[int, str]


def deliver_results(
    *, address: Address, films: Sequence[Sequence[Path]], progress: Progress = SILENT
) -> DeliverySummary:
    """Store films' DICOM results in the PACS. One that is there already is sent again, unchanged.

    Args:
        address: The PACS.
        films: The files of each film.
        progress: Listener.

    Raises:
        ArchiveAwayError: The PACS cannot be reached or does not let us in; what it took stays.
    """
    n_sent, faults = 0, {}
    progress.start(STAGE, len(films))
    with silent_value_loggers(), warnings.catch_warnings(), open_archive(address) as archive:
        warnings.simplefilter("ignore")
        for number, paths in enumerate(films, start=1):
            try:
                archive.store([pydicom.dcmread(path) for path in paths])
                n_sent += len(paths)
            except RefusedRequestError as error:
                faults[number] = str(error)
            progress.advance()
    progress.finish()
    return DeliverySummary(n_sent=n_sent, n_films=len(films) - len(faults), faults=faults)
