"""A forgotten patient leaves nothing, the others keep everything, a kill changes nothing."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from forgotten_home import (
    GONE,
    KEY,
    NAMES,
    PEOPLE,
    bytes_left,
    contents,
    fill,
    of_the_others,
    pseudonym,
    row_of,
    write,
)

from etl.privacy import erased_films, forgetting
from etl.privacy.forgetting import ForgettingSummary, forget_patients
from etl.privacy.patient_traces import JOURNAL, owner_column
from warehouse_schema import commit as commit_module
from warehouse_schema import erasure
from warehouse_schema.errors import ArgumentError, WarehouseError
from warehouse_schema.home import Home
from warehouse_schema.home_lock import writes_files
from warehouse_schema.pixel_shards import open_array, read_film
from warehouse_schema.query import run_query
from warehouse_schema.store import Store
from warehouse_schema.tables import TABLES
from warehouse_schema.tables.imaging import IMAGE_PIXELS
from warehouse_schema.tables.pacs import PACS_QUERIES
from warehouse_schema.tables.records import IDENTITIES, NOTES, OPT_OUTS, PATIENTS
from warehouse_schema.tables.runs import QUARANTINE

# Tables without anybody's rows: counts, curves, settings, lineage, hashes of who opted out.
NOBODYS = {
    *("committed_runs", "model_exports"),
    *("label_quality", "cohort_flow", "training_runs", "training_epochs", "evaluation_reports"),
    *("roc_points", "froc_points", "lesion_froc_points", "subgroup_metrics", "fold_summaries"),
    *("calibration_points", "calibration_maps"),
    *("run_comparisons", "reader_agreement", "lineage", "opt_outs"),
}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("filled") / "home").home.root


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Store:
    shutil.copytree(filled, tmp_path / "home")
    return Store(Home(tmp_path / "home"))


def forget(store: Store, *people: str, **rest: Any) -> ForgettingSummary:
    return forget_patients(
        store=store, source="site", pseudonym_key=KEY, identifiers=people, **rest
    )


def check_forgotten(store: Store, before: dict[str, list[dict[str, Any]]]) -> None:
    assert bytes_left(store.home) == []
    assert of_the_others(contents(store)) == of_the_others(before)
    for row in store.read(IMAGE_PIXELS).to_pylist():
        film = read_film(store.home.cache, row["shard_name"], row["shard_row"])
        person = next(p for p in PEOPLE if pseudonym("image_id", p) == row["image_id"])
        assert (film == 10 + PEOPLE.index(person)).all()
    assert sum(len(open_array(path)) for path in store.home.cache.iterdir()) == 2
    assert not (store.home.restricted / JOURNAL).exists()


def test_every_table_says_whose_its_rows_are() -> None:
    assert {n for n, t in TABLES.items() if owner_column(t) is None} - {
        IDENTITIES.name,
        QUARANTINE.name,
    } == NOBODYS, "a new table needs an owner column, or a line here: it names no person"


def test_nothing_is_left_and_everybody_else_is_untouched(store: Store) -> None:
    before = contents(store)
    assert "warehouse/predictions" in str(bytes_left(store.home))
    summary = forget(store, GONE)
    check_forgotten(store, before)
    assert summary.n_patients == summary.n_films == summary.n_opted_out == 1
    with_rows = {name for name, t in TABLES.items() if owner_column(t)} | {"identities"}
    assert set(summary.removed_rows) == with_rows | {"quarantine"}
    assert not (store.home.root / "report.html").exists()
    assert (store.home.runs / "run-1" / "report.html").exists()
    assert list((store.home.restricted / "spool").iterdir()) == []
    assert summary.n_unsearchable == 0
    for pictures in ("pseudo_labels", "tensorboard/pictures"):
        assert list((store.home.runs / "run-1" / pictures).iterdir()) == []
    maps = open_array(store.home.runs / "run-1" / "maps" / "m.npy")
    assert maps[:, 0, 0].tolist() == [7, 0, 9]


def test_checkpoints_that_saw_the_patient_are_named(store: Store) -> None:
    summary = forget(store, GONE)
    assert summary.trained_runs == ("run-1",)
    assert summary.unsure_runs == ("unfinished",)
    again = forget(Store(store.home), PEOPLE[0])
    assert again.trained_runs == ()
    assert again.unsure_runs == ("run-1", "unfinished"), "its cohort's history has ended"


def test_time_travel_ends_and_says_when(store: Store) -> None:
    forget(store, GONE)
    today = datetime.now(UTC).date().isoformat()
    for at in (1, "2", "2001-01-01T00:00"):
        with pytest.raises(WarehouseError, match=f"ended on {today}.*a patient was erased"):
            run_query(store, "SELECT * FROM patients", at=at)
    first = store.manifest().version
    write(store, {"patients": [row_of(PATIENTS, PEOPLE[0])]})
    assert store.read(PATIENTS, at=first).num_rows == 2
    assert store.read(PATIENTS).num_rows == 1
    assert DeltaTable(str(store.table_folder(PATIENTS))).to_pyarrow_table().num_rows == 1


def test_a_stage_that_had_read_the_patient_is_refused(store: Store) -> None:
    stage = Store(store.home)
    held = stage.read(PATIENTS)
    forget(store, GONE)
    with pytest.raises(WarehouseError, match="run it again"), stage.commit(stage="x") as commit:
        commit.replace(PATIENTS, held)
    with pytest.raises(WarehouseError, match="run it again"):
        stage.read_version(PATIENTS, _old_version(held))
    write(store, {"patients": [row_of(PATIENTS, PEOPLE[0])]})


def _old_version(held: pa.Table) -> Any:
    from warehouse_schema.manifest import TableVersion

    return TableVersion(delta_version=0, n_rows=held.num_rows, files={"gone.parquet": "0"})


def test_it_is_refused_while_a_stage_writes_files(store: Store) -> None:
    """What that stage writes could name the patient after the search."""
    outcomes = []

    @writes_files
    def stage(*, store: Store) -> None:
        with pytest.raises(WarehouseError, match="writes files in this home") as refused:
            forget(store, GONE)
        outcomes.append(refused.value)

    before = contents(store)
    stage(store=store)
    assert len(outcomes) == 1
    assert contents(store) == before
    assert forget(store, GONE).n_patients == 1


@pytest.mark.parametrize("named", ["pseudonym", "imaging"])
def test_a_patient_is_found_by_pseudonym_and_by_the_films_number(store: Store, named: str) -> None:
    if named == "pseudonym":
        summary = forget(store, patient_ids=[pseudonym("patient_id", GONE)])
    else:
        rows = store.read(IDENTITIES).to_pylist()
        other = {"kind": "imaging_patient", "pseudonym": pseudonym("patient_id", GONE)}
        rows.append({**rows[0], **other, "source_identifier": "FILM-NUMBER-9"})
        write(store, {"identities": rows})
        summary = forget(store, "FILM-NUMBER-9")
        assert summary.n_opted_out == 2
    assert bytes_left(store.home) == []
    known = store.read(OPT_OUTS)["opt_out_id"].to_pylist()
    assert NAMES.pseudonym("opt_out", GONE) in known


def test_an_unknown_patient_is_kept_out_and_history_stays(store: Store) -> None:
    summary = forget(store, "MRN-999999")
    assert (summary.n_patients, summary.n_opted_out) == (0, 1)
    assert store.read(PATIENTS, at=2).num_rows == 3
    with pytest.raises(ArgumentError, match="1 of 1 are not in this home"):
        forget(store, patient_ids=["P-unknown"])
    with pytest.raises(ArgumentError, match="nobody is named"):
        forget(store)


def test_what_another_patient_shares_stays(store: Store) -> None:
    """A report under a wrong accession number, and a visit with the patient's own number."""
    notes = store.read(NOTES).to_pylist()
    for note in notes:
        note["accession_id"] = pseudonym("accession_id", GONE)
    notes[0]["text"] += f" Mother of {GONE}."
    identities = store.read(IDENTITIES).to_pylist()
    identities[0]["source_identifier"] = GONE
    write(store, {"notes": notes, "identities": identities})
    summary = forget(store, GONE)
    assert store.read(NOTES).num_rows == 2
    left = store.read(IDENTITIES)["pseudonym"].to_pylist()
    assert pseudonym("accession_id", GONE) in left
    assert summary.n_unsearchable == 1
    assert summary.n_rows_of_others == 0, "an ambiguous number is not looked for"


def test_a_film_that_was_filed_under_the_wrong_name_stays_with_its_owner(store: Store) -> None:
    """The newest version gives the film, its visit and its file to another patient."""
    moved = {
        name: [
            {**row, "patient_id": pseudonym("patient_id", PEOPLE[0])}
            if row["patient_id"] == pseudonym("patient_id", GONE)
            else row
            for row in store.read(table).to_pylist()
        ]
        for name, table in TABLES.items()
        if owner_column(table) == "patient_id" and table not in (PATIENTS, PACS_QUERIES)
    }
    write(store, moved)
    before = store.read(TABLES["image_labels"])
    summary = forget(store, GONE)
    assert summary.n_rows_of_others > 0, "paths and numbers with the wrong name in them"
    assert store.read(TABLES["image_labels"]).equals(before)
    assert store.read(TABLES["encounters"]).num_rows == 3
    assert store.read(PATIENTS).num_rows == 2
    left = str(contents(store))
    assert pseudonym("patient_id", GONE) not in left
    assert pseudonym("image_id", GONE) in left


def test_a_note_of_another_that_names_the_patient_is_counted(store: Store) -> None:
    notes = store.read(NOTES).to_pylist()
    notes[0]["text"] += f" Mother of {GONE}."
    write(store, {"notes": notes})
    assert forget(store, GONE).n_rows_of_others == 1


def test_a_trace_that_cannot_be_removed_is_an_error(store: Store) -> None:
    log = store.home.runs / "run-1" / "events.out.tfevents.1"
    log.write_bytes(b"\0\1" + pseudonym("image_id", GONE).encode() + b"\0")
    with pytest.raises(WarehouseError, match=r"1 files still name .*runs/run-1/\*") as caught:
        forget(store, GONE)
    assert pseudonym("image_id", GONE) not in str(caught.value)
    log.unlink()
    assert forget(store).n_files_searched > 10
    assert bytes_left(store.home) == []


INTERRUPTIONS = {
    "before the tables": (forgetting, "_rewrite_tables"),
    "between two shards": (erased_films, "write_array"),
    "before publishing": (commit_module, "publish_manifest"),
    "before history ends": (erasure, "start_history"),
    "while history goes": (erasure, "_remove_table_history"),
    "before films go": (forgetting, "remove_films"),
    "before reports go": (forgetting, "remove_files_that_name"),
    "before the proof": (forgetting, "_prove"),
}


@pytest.mark.parametrize("moment", INTERRUPTIONS)
def test_a_second_call_finishes_what_was_interrupted(
    store: Store, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    before = contents(store)
    with monkeypatch.context() as patch:
        patch.setattr(*INTERRUPTIONS[moment], _interrupt)
        with pytest.raises(KeyboardInterrupt):
            forget(store, GONE)
    seen = contents(Store(store.home))
    is_new = len(seen["patients"]) == 2
    assert is_new == (moment not in list(INTERRUPTIONS)[:3])
    assert of_the_others(seen) == of_the_others(before)
    assert is_new or seen == before, "a reader saw half"
    for row in seen["image_pixels"]:
        read_film(store.home.cache, row["shard_name"], row["shard_row"])
    second = Store(store.home)
    forget(second, GONE) if moment == "before the proof" else forget(second)
    check_forgotten(second, before)


def test_a_reader_sees_before_or_after_and_never_between(store: Store) -> None:
    sql = "SELECT (SELECT count(*) FROM patients), (SELECT count(*) FROM images), "
    sql += "(SELECT count(*) FROM predictions), (SELECT count(*) FROM image_pixels)"
    seen: list[tuple[int, ...] | str] = []
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            try:
                seen.append(tuple(run_query(Store(store.home), sql).to_pylist()[0].values()))
            except WarehouseError as error:
                seen.append(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    forget(store, GONE)
    is_over.set()
    reader.join()
    told = {each for each in seen if isinstance(each, str)}
    assert set(seen) - told <= {(3, 3, 3, 3), (2, 2, 2, 2)}
    assert all("run it again" in each for each in told)


def _interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_after_kill_9_a_second_call_finishes(store: Store) -> None:
    before = contents(store)
    code = (
        "import os, signal, sys; from pathlib import Path; from etl.privacy import forgetting\n"
        "from warehouse_schema import erasure\n"
        "from warehouse_schema.home import Home; from warehouse_schema.store import Store\n"
        "erasure.start_history = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
        "forgetting.forget_patients(store=Store(Home(Path(sys.argv[1]))), source='site', "
        "pseudonym_key=sys.argv[2], identifiers=[sys.argv[3]])"
    )
    arguments = [sys.executable, "-c", code, str(store.home.root), KEY, GONE]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    journal = store.home.restricted / JOURNAL
    assert journal.stat().st_mode & 0o777 == 0o600
    assert GONE in json.loads(journal.read_text())["identifiers"]
    second = Store(store.home)
    forget(second)
    check_forgotten(second, before)


@pytest.mark.soak
@pytest.mark.parametrize("number", range(60))
def test_a_kill_at_any_file_operation(store: Store, number: int) -> None:
    """The process dies at the first, fourth, seventh ... rename, removal or sync of a file."""
    before = contents(store)
    code = (
        "import os, signal, sys; from pathlib import Path; from etl.privacy import forgetting\n"
        "from warehouse_schema.home import Home; from warehouse_schema.store import Store\n"
        "store, left = Store(Home(Path(sys.argv[1]))), [3 * int(sys.argv[4])]\n"
        "def watch(event, arguments):\n"
        "    if event in ('os.rename', 'os.remove', 'os.link') or (\n"
        "        event == 'open' and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT\n"
        "    ):\n"
        "        left[0] -= 1\n"
        "        if left[0] < 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.addaudithook(watch)\n"
        "forgetting.forget_patients(store=store, source='site', pseudonym_key=sys.argv[2], "
        "identifiers=[sys.argv[3]])"
    )
    arguments = [sys.executable, "-c", code, str(store.home.root), KEY, GONE, str(number)]
    done = subprocess.run(arguments, check=False).returncode
    assert done in {0, -signal.SIGKILL}
    seen = contents(Store(store.home))
    assert of_the_others(seen) == of_the_others(before)
    assert len(seen["patients"]) == len(seen["image_pixels"]) in {2, 3}, "a reader saw half"
    second = Store(store.home)
    forget(second, GONE)
    check_forgotten(second, before)
