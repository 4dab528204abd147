"""Opt-out: takes patients out of everything that a home holds, its past included.

Order, so that a killed process leaves nothing half: what is to be removed is written to a journal;
shards and tables are written anew and published by one manifest, and the history before it ends;
then films, maps, reports and spooled files go, a search proves that nothing is left, and the
journal is removed. A second call does whatever is missing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from etl.erased_films import other_files, remove_files_that_name, remove_films, rewrite_shards
from etl.opt_outs import write_opt_outs
from etl.patient_traces import JOURNAL, PatientTraces, find_traces, read_journal
from etl.pseudonym import Pseudonymizer
from etl.trace_search import TraceSearch
from warehouse_schema.commit import Commit
from warehouse_schema.erasure import ending_history, history_files, published_versions
from warehouse_schema.errors import ArgumentError, WarehouseError
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store
from warehouse_schema.tables import TABLES
from warehouse_schema.tables.imaging import IMAGE_PIXELS, IMAGES
from warehouse_schema.tables.labels import COHORT
from warehouse_schema.tables.records import NOTES, PATIENTS
from warehouse_schema.tables.runs import LINEAGE, TRAINING_RUNS

STAGE = "forget-patient"
TRAINED_ON = ("train", "validation")


@dataclass(frozen=True, kw_only=True)
class ForgettingSummary:
    """What was removed and what was not.

    Attributes:
        n_patients: Patients named who were in the home.
        n_opted_out: Identifiers on the opt-out list because of this call, known here or not.
        removed_rows: Rows removed from each table.
        n_films: Films taken out of the cache.
        n_files: Score maps, reports, spooled films and other files changed or removed.
        n_files_searched: Files searched afterwards, without a trace.
        n_unsearchable: Identifiers too short, or standing for something of another patient too, so
            that a search proves nothing; their rows are removed all the same.
        n_notes_of_others: Notes of other patients whose text holds an identifier of a forgotten
            one; they stand.
        trained_runs: Runs whose checkpoint was trained or chosen on a film of the patients.
        unsure_runs: Runs of which that is not known: an earlier erasure ended their history, or
            they are unfinished.
        version: First version that can be read now.
    """

    n_patients: int
    n_opted_out: int
    removed_rows: Mapping[str, int] = field(default_factory=dict)
    n_films: int = 0
    n_files: int = 0
    n_files_searched: int = 0
    n_unsearchable: int = 0
    n_notes_of_others: int = 0
    trained_runs: tuple[str, ...] = ()
    unsure_runs: tuple[str, ...] = ()
    version: int = 0


def forget_patients(
    *,
    store: Store,
    source: str,
    pseudonym_key: bytes | str,
    identifiers: Collection[str] = (),
    patient_ids: Collection[str] = (),
    progress: Progress = SILENT,
) -> ForgettingSummary:
    """Remove patients from tables and their history, cache, runs and restricted/, and prove it.

    Rows of everybody else stay as they are, but for image_pixels, where films may lie in another
    shard. Checkpoints are listed, not changed. With neither identifiers nor pseudonyms an
    interrupted call is finished.

    Args:
        store: The store.
        source: Site mapping that the identifiers are of.
        pseudonym_key: The key that the records were extracted with.
        identifiers: Patient identifiers of the source; unknown ones are kept out in future.
        patient_ids: Pseudonyms, of any source.
        progress: Listener.

    Raises:
        ArgumentError: Nobody is named, or a pseudonym is not known.
        WarehouseError: A trace is left; the message names the files.
    """
    names = Pseudonymizer(key=pseudonym_key, source=source)
    interrupted = read_journal(store.home.restricted)
    if not identifiers and not patient_ids and interrupted is None:
        raise ArgumentError(
            "forget-patient: nobody is named. Give a file with one patient identifier a line, "
            "'-' for standard input, or --pseudonym."
        )
    _check_pseudonyms(store, patient_ids, interrupted)
    is_here = bool(patient_ids) or interrupted is not None
    if not is_here and not _is_known(store, names, identifiers):
        return _keep_out(store, names, identifiers)
    progress.start(STAGE, 4)
    with ending_history(store, stage=STAGE) as commit:
        traces = interrupted or PatientTraces()
        traces.add(
            find_traces(store=store, names=names, identifiers=identifiers, patient_ids=patient_ids)
        )
        traces.write_journal(store.home.restricted)
        trained, unsure = _runs_that_saw(store, traces)
        progress.advance()
        removed = _rewrite_tables(store, commit, traces)
    progress.advance()
    search = TraceSearch(traces.tokens())
    n_files = remove_films(store)
    n_files += remove_files_that_name(store.home, search, traces.identifiers)
    progress.advance()
    n_searched, n_notes = _prove(store, search)
    (store.home.restricted / JOURNAL).unlink()
    progress.advance()
    progress.finish()
    return ForgettingSummary(
        n_patients=removed.get(PATIENTS.name, 0),
        n_opted_out=sum(map(len, traces.opt_out_ids.values())),
        removed_rows=removed,
        n_films=removed.get(IMAGE_PIXELS.name, 0),
        n_files=n_files,
        n_files_searched=n_searched,
        n_unsearchable=search.n_too_short + len(traces.ambiguous),
        n_notes_of_others=n_notes,
        trained_runs=trained,
        unsure_runs=unsure,
        version=store.manifest().version,
    )


def _is_known(store: Store, names: Pseudonymizer, identifiers: Collection[str]) -> bool:
    """True where anything on disk names one of the patients."""
    if not identifiers:
        return False
    traces = find_traces(store=store, names=names, identifiers=identifiers)
    patients = set(store.read(PATIENTS, columns=["patient_id"])["patient_id"].to_pylist())
    return bool(
        traces.identifiers - set(identifiers)
        or any(values for name, values in traces.ids.items() if name != "patient_id")
        or traces.ids["patient_id"] & patients
    )


def _check_pseudonyms(
    store: Store, patient_ids: Collection[str], interrupted: PatientTraces | None
) -> None:
    known = set(store.read(PATIENTS, columns=["patient_id"])["patient_id"].to_pylist())
    known |= set(store.read(IMAGES, columns=["patient_id"])["patient_id"].to_pylist())
    known |= set() if interrupted is None else interrupted.ids["patient_id"]
    n_unknown = len(set(patient_ids) - known)
    if n_unknown:
        raise ArgumentError(
            f"--pseudonym: {n_unknown} of {len(patient_ids)} are not in this home. Give a "
            "patient_id of the table patients, or the source's identifier in a file."
        )


def _keep_out(
    store: Store, names: Pseudonymizer, identifiers: Collection[str]
) -> ForgettingSummary:
    """Put patients who are not in the home on the opt-out list; nothing else changes."""
    ids = {names.pseudonym("opt_out", each) for each in identifiers}
    with store.commit(stage=STAGE) as commit:
        write_opt_outs(commit, ids, names.source)
    return ForgettingSummary(n_patients=0, n_opted_out=len(ids), version=store.manifest().version)


def _rewrite_tables(store: Store, commit: Commit, traces: PatientTraces) -> dict[str, int]:
    """Every table without the patients; returns how many rows each lost."""
    removed = {}
    for name in store.manifest().tables:
        table = TABLES[name]
        rows = store.read(table)
        kept = traces.of_others(table, rows)
        if kept.num_rows < rows.num_rows:
            removed[name] = rows.num_rows - kept.num_rows
        if table is IMAGE_PIXELS:
            kept = rewrite_shards(store.home.cache, kept)
        commit.replace(table, kept)
    for source, ids in traces.opt_out_ids.items():
        write_opt_outs(commit, ids, source)
    return removed


def _runs_that_saw(store: Store, traces: PatientTraces) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Runs trained or chosen on a film of the patients, and those of which it is not known."""
    runs = store.read(TRAINING_RUNS, columns=["run_id", "fold"]).to_pylist()
    used = store.read(
        LINEAGE,
        columns=["run_id", "input_version"],
        where={"stage": "train", "input_table": COHORT.name},
    )
    cohort_of = dict(
        zip(used["run_id"].to_pylist(), used["input_version"].to_pylist(), strict=True)
    )
    manifests = {
        manifest.tables[COHORT.name].delta_version: manifest.tables[COHORT.name]
        for manifest in published_versions(store, COHORT.name)
    }
    saw: list[str] = []
    unsure = {path.name for path in store.home.runs.iterdir() if path.is_dir()}
    unsure -= {run["run_id"] for run in runs}
    for run in runs:
        version = manifests.get(cohort_of.get(run["run_id"], -1))
        if version is None:
            unsure.add(run["run_id"])
            continue
        where = {"fold": run["fold"], "split": TRAINED_ON}
        films = store.read_version(COHORT, version, ["image_id", "patient_id"], where)
        is_theirs = pc.is_in(
            films["patient_id"], value_set=pa.array(sorted(traces.ids["patient_id"]), pa.string())
        )
        if pc.any(is_theirs, min_count=0).as_py():
            saw.append(run["run_id"])
    return tuple(sorted(saw)), tuple(sorted(unsure))


def _prove(store: Store, search: TraceSearch) -> tuple[int, int]:
    """Search every file of the home.

    Returns:
        How many files were searched, and how many notes of other patients name one of these.

    Raises:
        WarehouseError: Something is left.
    """
    notes = store.read(NOTES, columns=["text"])
    texts = notes["text"].to_pylist()
    n_notes = sum(
        bool(search.columns_with(pa.table({"text": pa.array([text], pa.string())})))
        for text in (texts if search.columns_with(notes) else [])
    )
    files = {*history_files(store), *other_files(store.home), *_machine_files(store)}
    left = [path for path in sorted(files) if _is_left(store, search, path)]
    if left:
        listed = ", ".join(_shown(store.home.root, path) for path in left[:10])
        raise WarehouseError(
            f"forget-patient: {len(left)} files still name the patient: {listed}. Remove them "
            "and call forget-patient again, without arguments, to finish."
        )
    return len(files), n_notes


def _is_left(store: Store, search: TraceSearch, path: Path) -> bool:
    if path.parent == store.table_folder(NOTES):
        rows = store.read(NOTES)
        return bool(search.columns_with(rows.drop_columns(["text"])))
    return search.is_named(path) or search.is_in(path)


def _machine_files(store: Store) -> Iterator[Path]:
    """Logs of tables and the cache: written by machines, searched all the same."""
    for table in TABLES.values():
        yield from (path for path in store.table_folder(table).rglob("*") if path.is_file())
    yield from (path for path in store.home.cache.rglob("*") if path.is_file())


def _shown(root: Path, path: Path) -> str:
    """Where a file lies; its own name may be what was looked for."""
    relative = path.relative_to(root)
    return f"{relative.parent}/*{relative.suffix}"
