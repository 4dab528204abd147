"""Nights killed at random points, against undisturbed ones.

    python killed_nights.py FOLDER FIRST_SEED END_SEED [RESULTS]

Each seed is a changing hospital of two nights. Each night is begun by processes that are killed
(SIGKILL) after a random time, N_KILLS of them, and is then left to end. A night that was over
before its kill does not count: it is taken back and killed earlier. Prints one JSON object a seed;
a seed that stands in RESULTS already is skipped, so that a range can be resumed.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from changing_hospital import ChangingHospital, changing_site
from small_hospital import blank

from etl.cohorts.linkage import LinkRule, link_images
from etl.records.extraction import extract_records
from nlp_labeling.definition import load_definitions
from nlp_labeling.image_labels import label_images
from nlp_labeling.keywords import keyword_pattern
from nlp_labeling.mining import mine_mentions
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables import TABLES
from warehouse_schema.tables.imaging import IMAGES
from warehouse_schema.tables.records import ENCOUNTERS
from warehouse_schema.verification import verify

N_KILLS = 5
N_NIGHTS = 2
N_PATIENTS = 30
N_CHANGES = 30
NOW = datetime(2015, 1, 1, tzinfo=UTC)
SITE = changing_site(with_cursor={"patient", "visit", "diagnosis", "note"}, has_diagnosis_key=True)
DEFINITIONS = load_definitions(["rib_fracture"])
# Differ from run to run, or name the versions that were read.
LEFT_OUT = {"lineage", "committed_runs"}
UNSTABLE = {"labelling_id"}


def night(home: Path, url: str) -> None:
    """From the hospital's rows to labels, as the nightly sequence does it."""
    store = Store(Home(home))
    extract_records(
        store=store,
        database_url=url,
        site_mapping=SITE,
        keyword_pattern=keyword_pattern(DEFINITIONS),
        pseudonym_key="0123456789abcdef",
    )
    with store.commit(stage="ingest-images") as commit:
        films = [film(row) for row in commit.read(ENCOUNTERS).to_pylist()]
        commit.upsert(IMAGES, pa.Table.from_pylist(films, schema=IMAGES.schema))
    link_images(store=store, rule=LinkRule(hours_before=48, hours_after=72))
    mine_mentions(store=store, definitions=DEFINITIONS)
    label_images(store=store, definitions=DEFINITIONS, as_of_datetime=NOW)


def film(encounter: dict[str, Any]) -> dict[str, Any]:
    return blank(
        IMAGES,
        image_id=f"i-{encounter['encounter_id']}",
        patient_id=encounter["patient_id"],
        source=encounter["source"],
        acquired_datetime=encounter["start_datetime"],
        is_frontal_chest=True,
    )


def content(home: Path) -> dict[str, list[str]]:
    """Every row of every table, but for what may differ."""
    store = Store(Home(home))
    assert verify(store).damages == ()
    rows = {}
    for name, table in TABLES.items():
        if name not in LEFT_OUT:
            kept = [c for c in table.schema.names if c not in {*table.volatile_columns, *UNSTABLE}]
            rows[name] = sorted(map(str, store.read(table).select(kept).to_pylist()))
    return rows


def in_child(function: Any, *arguments: Any, kill_after_s: float | None = None) -> bool:
    """Run in a forked process; returns True where it ended by itself, and well."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            function(*arguments)
            status = 0
        finally:
            os._exit(status)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if kill_after_s is None and status:
        raise SystemExit("a night that nobody disturbed has failed")
    return status == 0


def compare(killed: Path, undisturbed: Path, night_number: int) -> None:
    found, expected = content(killed), content(undisturbed)
    for name, rows in expected.items():
        if found[name] != rows:
            n_lost, n_more = len(set(rows) - set(found[name])), len(set(found[name]) - set(rows))
            print(f"night {night_number}, {name}: {n_lost} lost, {n_more} more", file=sys.stderr)
            raise SystemExit(1)
    assert any(expected["image_labels"]), "a hospital without labels proves nothing"


def kill_nights(home: Path, url: str, draw: random.Random, duration_s: float) -> int:
    """Begin one night until N_KILLS processes were killed in it; returns how many were."""
    before = home.with_name("before")
    if home.exists():
        shutil.copytree(home, before)
    n_killed = 0
    while n_killed < N_KILLS:
        after_s = draw.uniform(0, duration_s)
        if in_child(night, home, url, kill_after_s=after_s):
            duration_s = after_s
            shutil.rmtree(home)
            if before.exists():
                shutil.copytree(before, home)
        else:
            n_killed += 1
    shutil.rmtree(before, ignore_errors=True)
    return n_killed


def live_through(folder: Path, seed: int) -> dict[str, Any]:
    """Two nights of one seed; returns what happened."""
    draw = random.Random(seed)
    folder.mkdir(parents=True)
    hospital = ChangingHospital(folder / "hospital.sqlite", random.Random(seed))
    hospital.build(N_PATIENTS)
    killed, undisturbed = folder / "killed", folder / "undisturbed"
    n_killed, resumed_s = 0, 0.0
    for number in range(N_NIGHTS):
        if number:
            hospital.work(N_CHANGES)
        begun = time.monotonic()
        in_child(night, undisturbed, hospital.url)
        duration = time.monotonic() - begun
        n_killed += kill_nights(killed, hospital.url, draw, duration)
        begun = time.monotonic()
        in_child(night, killed, hospital.url)
        resumed_s = max(resumed_s, time.monotonic() - begun)
        in_child(compare, killed, undisturbed, number)
    shutil.rmtree(folder)
    return {"seed": seed, "n_killed": n_killed, "resumed_s": round(resumed_s, 2)}


def main() -> None:
    """Live through a range of seeds."""
    folder, first, end, *rest = sys.argv[1:]
    results = Path(rest[0]) if rest else Path(folder) / "results.jsonl"
    lines = results.read_text().splitlines() if results.exists() else []
    done = {json.loads(line)["seed"] for line in lines}
    for seed in range(int(first), int(end)):
        if seed not in done:
            line = json.dumps(live_through(Path(folder) / f"seed-{seed}", seed))
            with results.open("a") as file:
                file.write(line + "\n")
            print(line, flush=True)


if __name__ == "__main__":
    main()
