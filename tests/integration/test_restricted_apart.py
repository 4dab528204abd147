"""restricted/ can lie elsewhere: training and asking need nothing of it; a new key, a new home."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from etl.cohorts.cohort import build_cohort
from etl.cohorts.linkage import LinkRule, link_images
from etl.films.image_ingest import ingest_images
from etl.records.extraction import extract_records
from etl.records.patient_rows import MAX_AGE_YEARS
from etl.synthetic_hospital.hospital import write_hospital
from evaluation.evaluate import evaluate_run
from evaluation.report.page import write_report
from nlp_labeling.definition import load_definitions
from nlp_labeling.image_labels import label_images
from nlp_labeling.keywords import keyword_pattern
from nlp_labeling.mining import mine_mentions
from training.prediction import predict_run
from training.recipe import recipe
from training.train import train_run
from warehouse_schema.home import Home
from warehouse_schema.pixel_shards import read_film
from warehouse_schema.query import run_query
from warehouse_schema.store import Store
from warehouse_schema.tables import TABLES
from warehouse_schema.tables.imaging import ANNOTATIONS, IMAGE_PIXELS, IMAGES
from warehouse_schema.tables.labels import IMAGE_LABELS
from warehouse_schema.tables.records import ENCOUNTERS, PATIENTS

SITE = "synthetic_hospital"
DEFINITIONS = load_definitions(("rib_fracture",))
KEYS = ("the first key, long enough", "the second key, long enough")
N_PATIENTS = 30


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hospital") / "h"
    write_hospital(folder=folder, n_patients=N_PATIENTS, seed=1)
    return folder


@pytest.fixture(scope="module")
def homes(hospital: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Store]:
    """The same hospital in two homes, each under its own key."""
    return [label_hospital(hospital, tmp_path_factory.mktemp("home") / "home", key) for key in KEYS]


def label_hospital(hospital: Path, home: Path, key: str) -> Store:
    store = Store(Home(home))
    extract_records(
        store=store,
        database_url=f"sqlite:///{hospital}/hospital.sqlite",
        site_mapping=SITE,
        keyword_pattern=keyword_pattern(DEFINITIONS),
        pseudonym_key=key,
    )
    dicom = hospital / "dicom"
    ingest_images(store=store, folder=dicom, source=SITE, pseudonym_key=key, size_px=64)
    link_images(store=store, rule=LinkRule(hours_before=24, hours_after=720))
    mine_mentions(store=store, definitions=DEFINITIONS)
    now = datetime(2017, 1, 1, tzinfo=UTC)
    label_images(store=store, definitions=DEFINITIONS, as_of_datetime=now)
    return store


def box_half_of_the_positives(store: Store) -> None:
    where = {"label": "positive", "finding": "rib_fracture"}
    positive = store.read(IMAGE_LABELS, where=where)["image_id"].to_pylist()
    rows = [
        {
            "annotation_id": f"B-{number}",
            "image_id": image_id,
            "finding": "rib_fracture",
            "x_px": 50.0,
            "y_px": 50.0,
            "width_px": 120.0,
            "height_px": 90.0,
            "reader_id": None,
            "tool": "coco",
            "status": "drawn",
            "annotated_datetime": None,
            "is_clipped": False,
        }
        for number, image_id in enumerate(positive)
        if number % 2
    ]
    names = set(ANNOTATIONS.schema.names)
    filled = [{name: row.get(name) for name in names} for row in rows]
    with store.commit(stage="test") as commit:
        commit.replace(ANNOTATIONS, pa.Table.from_pylist(filled, schema=ANNOTATIONS.schema))


def test_training_and_asking_need_nothing_of_restricted(homes: list[Store], tmp_path: Path) -> None:
    store = homes[0]
    box_half_of_the_positives(store)
    restricted = store.home.restricted
    apart = restricted.rename(restricted.with_name("elsewhere"))
    try:
        store = Store(store.home)
        build_cohort(store=store, findings=["rib_fracture"], seed=0, n_folds=3)
        overrides: dict[str, Any] = {"image_size_px": 64, "crop_px": 64, "batch_size": 4}
        tiny = recipe("demo", n_epochs=1, n_cpu_threads=1, findings=("rib_fracture",), **overrides)
        run_id = train_run(store=store, recipe=tiny, method="supervised", fold=0, seed=0)
        assert predict_run(store=store, run_id=run_id) > 0
        evaluate_run(store=store, run_id=run_id, n_bootstrap=100)
        write_report(store=store, run_ids=[run_id], output_path=tmp_path / "report.html")
        for name, table in TABLES.items():
            if table.area == "warehouse":
                run_query(store, f'SELECT count(*) FROM "{name}"')
        assert run_query(store, "SELECT * FROM leaderboard").num_rows
        assert list(store.home.restricted.iterdir()) == [], "nothing was put there either"
    finally:
        store.home.restricted.rmdir()
        apart.rename(store.home.restricted)


def test_a_new_key_makes_an_unrelated_home_with_the_same_medicine(homes: list[Store]) -> None:
    old, new = homes
    for name, table in TABLES.items():
        columns = [c.name for c in table.columns if c.name.endswith("_id") and c.name != "rule_id"]
        for column in set(columns) - {"cue_rule_id", "labelling_id", "run_id", "definition_id"}:
            before = set(old.read(table)[column].to_pylist()) - {None}
            after = set(new.read(table)[column].to_pylist()) - {None}
            assert not before & after, f"{name}.{column}"
    assert labels(old) == labels(new)
    assert films(old) == films(new)
    assert stays(old) == stays(new)
    assert starts(old) != starts(new), "dates are shifted anew"


def labels(store: Store) -> list[Any]:
    rows = store.read(IMAGE_LABELS).to_pylist()
    return sorted((row["label"], row["reason"], row["score"]) for row in rows)


def films(store: Store) -> list[str]:
    return sorted(store.read(IMAGE_PIXELS)["pixel_sha256"].to_pylist())


def starts(store: Store) -> list[datetime]:
    return sorted(store.read(ENCOUNTERS)["start_datetime"].to_pylist())


def stays(store: Store) -> list[Any]:
    """Every interval of every patient, whose names and dates aside."""
    events: dict[str, list[datetime]] = {}
    for row in store.read(ENCOUNTERS).to_pylist():
        events.setdefault(row["patient_id"], []).append(row["start_datetime"])
        events[row["patient_id"]].append(row["end_datetime"] or row["start_datetime"])
    for row in store.read(IMAGES).to_pylist():
        events.setdefault(row["patient_id"], []).append(row["acquired_datetime"])
    return sorted(
        [(moment - min(moments)).total_seconds() for moment in sorted(moments)]
        for moments in events.values()
    )


def test_no_age_over_89_stands_anywhere(homes: list[Store]) -> None:
    """Every table: a birth date that gives one, and every column of ages."""
    store = homes[0]
    patients = {row["patient_id"]: row for row in store.read(PATIENTS).to_pylist()}
    assert sum(row["is_over_89"] for row in patients.values()) >= 3
    ages = [c.name for t in TABLES.values() for c in t.columns if "age" in c.name.split("_")]
    assert ages == ["age_years"], "a new column of ages: group those over 89 there too"
    births = [c.name for t in TABLES.values() for c in t.columns if "birth" in c.name]
    assert births == ["birth_datetime"]
    for image in store.read(IMAGES).to_pylist():
        patient = patients[image["patient_id"]]
        if patient["is_over_89"]:
            assert patient["birth_datetime"] is None
            assert image["age_years"] == MAX_AGE_YEARS + 1
        assert image["age_years"] is None or image["age_years"] <= MAX_AGE_YEARS + 1


def test_films_are_read_back_where_the_tables_say(homes: list[Store]) -> None:
    for store in homes:
        for row in store.read(IMAGE_PIXELS).to_pylist():
            film = read_film(store.home.cache, row["shard_name"], row["shard_row"])
            assert film.shape == (64, 64)
            assert np.asarray(film).any()
