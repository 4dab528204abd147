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

from etl.privacy.erased_films import (
    other_files,
    remove_files_that_name,
    remove_films,
    rewrite_shards,
)
from etl.privacy.opt_outs import write_opt_outs
from etl.privacy.patient_traces import JOURNAL, PatientTraces, find_traces, read_journal
from etl.privacy.trace_search import TraceSearch
from etl.pseudonym import Pseudonymizer
from warehouse_schema.commit import Commit
from warehouse_schema.erasure import ending_history, history_files, published_versions
from warehouse_schema.errors import ArgumentError, WarehouseError
from warehouse_schema.home_lock import no_files_written
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store
from warehouse_schema.tables import TABLES
from warehouse_schema.tables.imaging import IMAGE_PIXELS
from warehouse_schema.tables.labels import COHORT
from warehouse_schema.tables.records import PATIENTS
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
        n_rows_of_others: Rows of other patients in restricted/ that hold an identifier of a
            forgotten one, in a note's text or a file's path; they stand.
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
    n_rows_of_others: int = 0
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
        WarehouseError: A trace is left, and the message names the files; or another stage writes
            files in the home now.
    """
    names = Pseudonymizer(key=pseudonym_key, source=source)
    interrupted = read_journal(store.home.restricted)
    if not identifiers and not patient_ids and interrupted is None:
        raise ArgumentError(
            "forget-patient: nobody is named. Give a file with one patient identifier a line, "
            "'-' for standard input, or --pseudonym."
        )
    known = _known_patients(store, names, identifiers, patient_ids)
    if interrupted is not None:
        known |= interrupted.ids["patient_id"]
    _check_pseudonyms(patient_ids, known)
    if not known:
        return _keep_out(store, names, identifiers)
    with no_files_written(store.home):
        return _forget(
            store=store,
            names=names,
            identifiers=identifiers,
            patient_ids=patient_ids,
            interrupted=interrupted,
            progress=progress,
        )


def _forget(
    *,
    store: Store,
    names: Pseudonymizer,
    identifiers: Collection[str],
    patient_ids: Collection[str],
    interrupted: PatientTraces | None,
    progress: Progress,
) -> ForgettingSummary:
    """Remove patients who are in the home, while nobody else writes files in it."""
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
    n_searched, n_of_others = _prove(store, traces)
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
        n_rows_of_others=n_of_others,
        trained_runs=trained,
        unsure_runs=unsure,
        version=store.manifest().version,
    )


def _known_patients(
    store: Store,
    names: Pseudonymizer,
    identifiers: Collection[str],
    patient_ids: Collection[str],
) -> set[str]:
    """Pseudonyms of the patients named whom anything on disk names too."""
    current = set(store.read(PATIENTS, columns=["patient_id"])["patient_id"].to_pylist())
    known: set[str] = set()
    for each in (*identifiers, *patient_ids):
        identifier = {each} & set(identifiers)
        traces = find_traces(
            store=store,
            names=names,
            identifiers=identifier,
            patient_ids=set() if identifier else {each},
        )
        others = [values for name, values in traces.ids.items() if name != "patient_id"]
        if traces.ids["patient_id"] & current or traces.identifiers - identifier or any(others):
            known |= traces.ids["patient_id"]
    return known


def _check_pseudonyms(patient_ids: Collection[str], known: Collection[str]) -> None:
    n_unknown = len(set(patient_ids) - set(known))
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


def _prove(store: Store, traces: PatientTraces) -> tuple[int, int]:
    """Search every file of the home.

    Returns:
        How many files were searched, and how many rows of others in restricted/ name one of these.

    Raises:
        WarehouseError: Something is left.
    """
    every, pseudonyms = TraceSearch(traces.tokens()), TraceSearch(traces.pseudonyms())
    restricted = [table for table in TABLES.values() if table.area == "restricted"]
    n_of_others = sum(every.n_rows_with(store.read(table)) for table in restricted)
    # A number in another patient's note or path is that patient's row; a pseudonym never is.
    folders = {store.table_folder(table) for table in restricted}
    files = {*history_files(store), *other_files(store.home), *_machine_files(store)}
    left = [
        path
        for path in sorted(files)
        if every.is_named(path) or (pseudonyms if path.parent in folders else every).is_in(path)
    ]
    if left:
        listed = ", ".join(_shown(store.home.root, path) for path in left[:10])
        raise WarehouseError(
            f"forget-patient: {len(left)} files still name the patient: {listed}. Remove them "
            "and call forget-patient again, without arguments, to finish."
        )
    return len(files), n_of_others


def _machine_files(store: Store) -> Iterator[Path]:
    """Logs of tables and the cache: written by machines, searched all the same."""
    for table in TABLES.values():
        yield from (path for path in store.table_folder(table).rglob("*") if path.is_file())
    yield from (path for path in store.home.cache.rglob("*") if path.is_file())


def _shown(root: Path, path: Path) -> str:
    """Where a file lies; its own name may be what was looked for."""
    relative = path.relative_to(root)
    return f"{relative.parent}/*{relative.suffix}"
