"""MIMIC as the hospital: MIMIC-IV records and notes with MIMIC-CXR films and reports.

Two commits: the records first, because films look for their patients, then the films. Linking,
mining, labelling and the cohort then run as for any hospital. The layouts are in ``mimic_tables``,
the rules in ``mimic_records`` and ``mimic_films``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from etl.pseudonym import Pseudonymizer
from etl.public_datasets.mimic_films import CxrTree, read_films, study_moments
from etl.public_datasets.mimic_records import MimicRecords
from etl.public_datasets.mimic_tables import MIMIC_CXR, MIMIC_IV, SOURCE
from etl.public_datasets.published_films import PublishedFilm, PublishedImages
from etl.public_datasets.published_import import STAGE
from etl.quarantine import QuarantineList
from warehouse_schema.errors import InputError
from warehouse_schema.home_lock import writes_files
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables.records import DIAGNOSES, ENCOUNTERS, IDENTITIES, NOTES, PATIENTS


@dataclass(frozen=True, kw_only=True)
class MimicSummary:
    """What one import found.

    Attributes:
        n_patients: Patients with a film in the folder.
        n_encounters: Their encounters.
        n_diagnoses: Their diagnosis rows.
        n_notes_read: Notes and reports that the keyword pattern was tried on.
        n_notes: Notes kept because it matched.
        n_reports_twice: Radiology notes left out because MIMIC-CXR has them with their study.
        n_rows_of_others: Rows of patients without a film, in all tables; not kept.
        n_images: Readable films.
        n_frontal: Frontal chest films, which are cached.
        n_decoded: Films decoded now; the others were cached already.
        n_quarantined: Rows and files set aside.
        quarantine_reasons: How many for each reason.
    """

    n_patients: int
    n_encounters: int
    n_diagnoses: int
    n_notes_read: int
    n_notes: int
    n_reports_twice: int
    n_rows_of_others: int
    n_images: int
    n_frontal: int
    n_decoded: int
    n_quarantined: int
    quarantine_reasons: Mapping[str, int] = field(default_factory=dict)


@writes_files
def import_mimic(
    *,
    store: Store,
    folder: Path,
    keyword_pattern: str,
    size_px: int,
    pseudonym_key: bytes | str,
    n_processes: int = 1,
    progress: Progress = SILENT,
) -> MimicSummary:
    """Import the patients who have films: their records, matched notes, films and reports.

    Args:
        store: The store.
        folder: Folder that holds the projects as downloaded, up to three levels down.
        keyword_pattern: RE2 pattern; only notes in which it is found are kept.
        size_px: Side of the square cached film.
        pseudonym_key: Secret of the pseudonyms, at least 16 bytes.
        n_processes: Worker processes; the tables do not depend on it.
        progress: Listener.

    Raises:
        InputError: A table, the films or the reports are missing, or a table has other columns.
        ConfigurationError: The pattern or key is malformed.
    """
    tree = CxrTree(folder)
    films, n_malformed = read_films(folder, tree)
    names = Pseudonymizer(key=pseudonym_key, source=SOURCE)
    quarantine = QuarantineList(stage=STAGE, source=SOURCE)
    for number in range(n_malformed):
        quarantine.add(f"film row {number + 1}", "an identifier of the film is malformed")
    present = [film for film in films if film.path is not None and film.path.is_file()]
    moments = study_moments(present)
    _require_reports(tree, moments)
    records = MimicRecords(
        folder=folder,
        names=names,
        quarantine=quarantine,
        film_patients={film.patient for film in present},
        keyword_pattern=keyword_pattern,
        progress=progress,
    )
    progress.start(f"{STAGE}: records", None)
    records.read(tree, moments)
    progress.finish()
    tables = records.tables()
    _publish_records(store, records, tables, quarantine, keyword_pattern)
    images = _read_images(
        store=store,
        films=films,
        names=names,
        quarantine=quarantine,
        size_px=size_px,
        shift_days=records.shift_days,
        n_processes=n_processes,
        progress=progress,
    )
    return MimicSummary(
        n_patients=tables[PATIENTS].num_rows,
        n_encounters=tables[ENCOUNTERS].num_rows,
        n_diagnoses=tables[DIAGNOSES].num_rows,
        n_notes_read=records.n_notes_read,
        n_notes=tables[NOTES].num_rows,
        n_reports_twice=records.n_reports_twice,
        n_rows_of_others=records.n_rows_of_others,
        n_images=len(images.images),
        n_frontal=sum(image["is_frontal_chest"] for image in images.images.values()),
        n_decoded=images.n_decoded,
        n_quarantined=len(quarantine),
        quarantine_reasons=quarantine.reasons,
    )


def _require_reports(tree: CxrTree, studies: Iterable[tuple[str, str]]) -> None:
    if not any(tree.report(*study) is not None for study in studies):
        raise InputError(
            "files/pNN/pNNNNNNNN/sNNNNNNNN.txt: no film in the folder given has its report. They "
            f"belong to {MIMIC_CXR.title}, mimic-cxr-reports.zip ({MIMIC_CXR.page}). Unpack it "
            "into the folder."
        )


def _publish_records(
    store: Store,
    records: MimicRecords,
    tables: Mapping[Table, pa.Table],
    quarantine: QuarantineList,
    keyword_pattern: str,
) -> None:
    if not tables[PATIENTS].num_rows:
        raise InputError(
            "hosp/patients.csv.gz holds no patient who has a film in the folder given. Nothing was "
            f"written; take the files of {MIMIC_IV.title} and {MIMIC_CXR.title} as published."
        )
    configuration = {"source": SOURCE, "keyword_pattern": keyword_pattern}
    with store.commit(stage=STAGE, configuration=configuration) as commit:
        for table, rows in tables.items():
            commit.replace(table, rows, where={"source": SOURCE})
        commit.upsert(IDENTITIES, _identities(records))
        quarantine.replace_in(commit)


def _identities(records: MimicRecords) -> pa.Table:
    """The id map. The shift is from about true years, as the labels' clock is shifted alike."""
    reader = records.reader
    entries = [
        *(
            ("patient", each.patient_id, name, each.shift_days)
            for name, each in reader.patients.items()
        ),
        *(("encounter", each.encounter_id, name, None) for name, each in reader.encounters.items()),
        *(("note", pseudonym, name, None) for pseudonym, name in reader.notes.items()),
        *(("accession", pseudonym, name, None) for pseudonym, name in reader.accessions.items()),
    ]
    columns = ("kind", "pseudonym", "source_identifier", "date_shift_days")
    rows = [{**dict(zip(columns, entry, strict=True)), "source": SOURCE} for entry in entries]
    return pa.Table.from_pylist(rows, schema=IDENTITIES.schema)


def _read_images(
    *,
    store: Store,
    films: list[PublishedFilm],
    names: Pseudonymizer,
    quarantine: QuarantineList,
    size_px: int,
    shift_days: Mapping[str, int],
    n_processes: int,
    progress: Progress,
) -> PublishedImages:
    images = PublishedImages(
        store=store,
        names=names,
        quarantine=quarantine,
        size_px=size_px,
        is_patient_required=True,
        shift_days=shift_days,
    )
    progress.start(f"{STAGE}: films", len(films))
    images.read(films, n_processes=n_processes, progress=progress)
    progress.finish()
    with store.commit(stage=STAGE, configuration={"source": SOURCE, "size_px": size_px}) as commit:
        commit.uses(PATIENTS, NOTES)
        images.write(commit)
        quarantine.replace_in(commit)
    return images
