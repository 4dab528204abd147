"""A home with three people in every table, in shards, maps, a report and a spool, and a past."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from small_hospital import blank

from etl.privacy.patient_traces import owner_column
from etl.pseudonym import Pseudonymizer
from warehouse_schema.home import Home
from warehouse_schema.pixel_shards import write_array
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables import TABLES
from warehouse_schema.tables.imaging import IMAGE_PIXELS
from warehouse_schema.tables.labels import COHORT
from warehouse_schema.tables.records import OPT_OUTS
from warehouse_schema.tables.runs import PREDICTIONS, TRAINING_RUNS

KEY = "0123456789abcdef0123456789abcdef"
NAMES = Pseudonymizer(key=KEY, source="site")
PEOPLE = ("MRN-700001", "MRN-700002", "MRN-700003")
GONE = PEOPLE[1]
SIZE = 8
# Ids of a person's rows, by column: kind of pseudonym and what the source calls it.
KINDS = {
    "patient_id": ("patient", "{0}"),
    "encounter_id": ("encounter", "V-{0}"),
    "note_id": ("note", "note:T-{0}"),
    "image_id": ("image", "1.2.999.{0}.7"),
    "study_id": ("study", "1.2.999.{0}.5"),
    "series_id": ("series", "1.2.999.{0}.6"),
    "accession_id": ("accession", "ACC-{0}"),
    "diagnosis_id": ("diagnosis", "D-{0}"),
    "mention_id": ("row", "M-{0}"),
    "evidence_id": ("row", "E-{0}"),
    "annotation_id": ("row", "B-{0}"),
    "reading_id": ("row", "R-{0}"),
    "consensus_id": ("row", "C-{0}"),
    "annotation_id_a": ("row", "BA-{0}"),
    "annotation_id_b": ("row", "BB-{0}"),
    "note_series_id": ("note_series", "S-{0}"),
}


def source_identifier(column: str, person: str) -> str:
    return KINDS[column][1].format(person.removeprefix("MRN-") if "{0}.7" in column else person)


def pseudonym(column: str, person: str) -> str:
    return NAMES.pseudonym(KINDS[column][0], source_identifier(column, person))


def row_of(table: Table, person: str, **values: Any) -> dict[str, Any]:
    """A row of a table that belongs to a person; whatever could name the person does."""
    named = {c.name: pseudonym(c.name, person) for c in table.columns if c.name in KINDS}
    free = {
        "text": f"Seen by Dr X. {person} fell; rib fracture.",
        "sop_instance_uid": source_identifier("image_id", person),
        "file_path": f"/archive/{person}/film.dcm",
        "source_sha256": NAMES.pseudonym("row", f"file {person}") + "0" * 40,
    }
    chosen = {c.name: free[c.name] for c in table.columns if c.name in free}
    return blank(table, **{**named, **chosen, **values})


def write(store: Store, rows: dict[str, list[dict[str, Any]]]) -> None:
    with store.commit(stage="test") as commit:
        for name, values in rows.items():
            schema = TABLES[name].schema
            commit.replace(TABLES[name], pa.Table.from_pylist(values, schema=schema))


def fill(home: Path) -> Store:
    """Three people in every table, in shards, maps, a report and a spool, and a past."""
    store = Store(Home(home))
    films = np.stack([np.full((SIZE, SIZE), 10 + n, np.uint8) for n in range(3)])
    shard = "films-transform-0123456789abcdef.npy"
    write_array(store.home.cache / shard, films)
    maps = store.home.runs / "run-1" / "maps"
    maps.mkdir(parents=True)
    for picture in ("pseudo_labels/epoch-0001.png", "tensorboard/pictures/events.out.tfevents.1"):
        path = maps.parent / picture
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a film")
    write_array(maps / "m.npy", np.stack([np.full((4, 4), 7 + n, np.uint16) for n in range(3)]))
    special: dict[str, Callable[[int], dict[str, Any]]] = {
        "image_pixels": lambda n: {
            "shard_name": shard,
            "shard_row": n,
            "transform_hash": "transform",
            "size_px": SIZE,
        },
        "predictions": lambda n: {
            "run_id": "run-1",
            "map_path": "runs/run-1/maps/m.npy",
            "map_row": n,
        },
        "source_rows": lambda n: {"key_hash": n},
        "pacs_queries": lambda n: {"pseudonym": pseudonym("patient_id", PEOPLE[n])},
        "cohort": lambda n: {"fold": 0, "split": ("test", "train", "test")[n]},
    }
    rows = {
        table.name: [
            row_of(table, person, **special.get(table.name, lambda _: {})(number))
            for number, person in enumerate(PEOPLE)
        ]
        for table in TABLES.values()
        if owner_column(table) is not None
    }
    rows["identities"] = [
        {
            "kind": kind,
            "pseudonym": pseudonym(column, person),
            "source": "site",
            "source_identifier": source_identifier(column, person),
            "date_shift_days": -3 if column == "patient_id" else None,
        }
        for column, (kind, _) in KINDS.items()
        for person in PEOPLE
        if kind not in {"row", "diagnosis", "note_series"}
    ]
    rows["quarantine"] = [
        {"stage": "extract", "source": "site", "key": key, "reason": "birth date"}
        for person in PEOPLE
        for key in (
            f"patients/{pseudonym('patient_id', person)}",
            f"notes/{NAMES.pseudonym('row', f'T-{person}')}#2",
        )
    ]
    write(store, {"predictions": [row_of(PREDICTIONS, GONE, run_id="old", image_id="I-old")]})
    write(store, rows)
    with store.commit(stage="train", run_id="run-1") as commit:
        commit.uses(COHORT)
        run = blank(TRAINING_RUNS, run_id="run-1", fold=0, checkpoint_path="runs/run-1/best-1")
        commit.upsert(TRAINING_RUNS, pa.Table.from_pylist([run], schema=TRAINING_RUNS.schema))
    leave_files(store.home)
    return store


def leave_files(home: Home) -> None:
    (home.runs / "run-1" / "best-00000001.json").write_text('{"state": {"size": 700002}}')
    (home.runs / "unfinished").mkdir()
    (home.root / "report.html").write_text(f"<code>{pseudonym('image_id', GONE)}</code>")
    (home.runs / "run-1" / "report.html").write_text(f"<p>{pseudonym('image_id', PEOPLE[0])}</p>")
    (home.restricted / "spool").mkdir()
    (home.restricted / "spool" / "film").write_bytes(b"\0" * 128 + b"DICM " + GONE.encode())
    (home.restricted / "spool" / f"{pseudonym('image_id', GONE)}.part").write_bytes(b"half")
    (home.cache / "films-x.journal.json").write_text(json.dumps([pseudonym("image_id", GONE)]))
    (home.restricted / "pseudonym.key").write_text(KEY)
    # What processes that died left behind.
    (home.cache / ".films.npy.draft-1").write_bytes(b"half a film")
    write_array(home.cache / "films-orphan.npy", np.ones((1, SIZE, SIZE), np.uint8))


def contents(store: Store) -> dict[str, list[dict[str, Any]]]:
    return {name: store.read(table).to_pylist() for name, table in TABLES.items()}


def of_the_others(tables: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """What must stay: rows that name nobody who is gone; where films lie is told apart."""
    traces = [pseudonym(column, GONE) for column in KINDS] + [f"'{GONE}", "I-old"]
    traces += [NAMES.pseudonym("row", f"T-{GONE}")]
    kept = {
        name: [row for row in rows if not any(each in str(row) for each in traces)]
        for name, rows in tables.items()
        if name != OPT_OUTS.name
    }
    kept["lineage"] = [row for row in kept["lineage"] if row["stage"] != "forget-patient"]
    kept[IMAGE_PIXELS.name] = [
        {k: v for k, v in row.items() if k not in {"shard_name", "shard_row"}}
        for row in kept[IMAGE_PIXELS.name]
    ]
    return kept


def bytes_left(home: Home) -> list[str]:
    """Files in which the person stands: another search than the one under test."""
    traces = [pseudonym(column, GONE) for column in KINDS]
    traces += [source_identifier(column, GONE) for column in KINDS] + ["I-old"]
    found = []
    for path in sorted(home.root.rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content = str(pq.read_table(path).to_pylist()).encode()
        if any(each.encode() in content for each in traces):
            found.append(str(path.relative_to(home.root)))
    return found
