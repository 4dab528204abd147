"""A night's links, mentions and labels after no change and after a few, against all anew.

One JSON object: seconds of the full run, of a night without changes and of one in which 0.1 % of
the notes changed, and their ratios to the full run; whether the result equals a full run. Targets:
a night without changes takes at most 10 s at 1,000,000 notes and 100,000 films, one with 0.1 %
changes at most 1 % of the full run and 10 s. Extraction and pixels are not part of it.

    python benchmarks/relabel_increment.py --json
    python benchmarks/relabel_increment.py --json --notes 1000000 --films 100000
"""

import argparse
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from etl.cohorts.linkage import LinkRule, link_images
from nlp_labeling.definition import load_definitions
from nlp_labeling.image_labels import label_images
from nlp_labeling.mining import mine_mentions
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables.imaging import IMAGE_LINKS, IMAGES
from warehouse_schema.tables.labels import IMAGE_LABELS, LABEL_EVIDENCE, NOTE_MENTIONS
from warehouse_schema.tables.records import DIAGNOSES, ENCOUNTERS, NOTES

START = datetime(2012, 1, 1, tzinfo=UTC)
AS_OF = datetime(2020, 1, 1, tzinfo=UTC)
CHANGED_SHARE = 0.001
DEFINITIONS = load_definitions()
BODIES = (
    "CHEST PA. The heart is normal in size. No pneumothorax. {} No pleural effusion.",
    "INDICATION: fall.\nFINDINGS: Lungs are clear. {}\nIMPRESSION: as above.",
    "Dx: chest contusion. {} Pain control, follow up at clinic in one week.",
    "胸部X光: 心臟大小正常。{} 無氣胸。",
)
STATEMENTS = (
    "Fractures of the left 4th to 6th ribs.",
    "No displaced rib fracture.",
    "No rib or clavicle fracture is seen.",
    "Old healed fracture of the right clavicle.",
    "Possible nondisplaced right 7th rib fracture.",
    "右側第5肋骨骨折。",
    "The ribs are intact.",
)
CODES = ("807.03", "810.02", "428.0", "486", "250.00", "401.9", "807.01", "518.0")


class Hospital:
    """Arrow tables of a hospital with a film, an encounter and ten notes to a patient."""

    def __init__(self, *, n_notes: int, n_films: int, seed: int) -> None:
        generator = np.random.default_rng(seed)
        self._generator = generator
        self._n_films = n_films
        film_days = generator.integers(0, 2500, n_films)
        self._films = np.array([START + timedelta(days=int(day)) for day in film_days])
        self._owner = generator.integers(0, n_films, n_notes)
        self._texts = [self._text() for _ in range(n_notes)]

    def publish(self, store: Store) -> None:
        """Write the records as an extraction would."""
        with store.commit(stage="extract") as commit:
            for table, columns in (
                (IMAGES, self._images()),
                (ENCOUNTERS, self._encounters()),
                (DIAGNOSES, self._diagnoses()),
                (NOTES, self._notes()),
            ):
                commit.replace(table, whole_table(table, columns))

    def change_notes(self, n_notes: int) -> None:
        """Write some notes anew."""
        for number in self._generator.integers(0, len(self._texts), n_notes).tolist():
            self._texts[number] = self._text()

    def _text(self) -> str:
        body, statement = (
            each[self._generator.integers(len(each))] for each in (BODIES, STATEMENTS)
        )
        return body.format(statement) + f" Ref {self._generator.integers(10**9)}."

    def _images(self) -> dict[str, Any]:
        names = [f"{k:07d}" for k in range(self._n_films)]
        return {
            "image_id": [f"i{name}" for name in names],
            "patient_id": [f"p{name}" for name in names],
            "accession_id": [f"a{name}" for name in names],
            "acquired_datetime": self._films,
            "is_frontal_chest": True,
        }

    def _encounters(self) -> dict[str, Any]:
        names = [f"{k:07d}" for k in range(self._n_films)]
        return {
            "encounter_id": [f"e{name}" for name in names],
            "patient_id": [f"p{name}" for name in names],
            "start_datetime": self._films - timedelta(hours=2),
            "end_datetime": self._films + timedelta(days=3),
        }

    def _diagnoses(self) -> dict[str, Any]:
        n = 4 * self._n_films
        codes = np.random.default_rng(0).integers(0, len(CODES), n)
        return {
            "diagnosis_id": [f"d{k:08d}" for k in range(n)],
            "patient_id": [f"p{k // 4:07d}" for k in range(n)],
            "encounter_id": [f"e{k // 4:07d}" for k in range(n)],
            "vocabulary": "ICD9CM",
            "diagnosis_code": [CODES[code] for code in codes.tolist()],
            "position": [k % 4 + 1 for k in range(n)],
            "recorded_datetime": np.repeat(self._films, 4) + timedelta(days=3),
        }

    def _notes(self) -> dict[str, Any]:
        owners = self._owner.tolist()
        return {
            "note_id": [f"n{k:08d}" for k in range(len(owners))],
            "patient_id": [f"p{owner:07d}" for owner in owners],
            "encounter_id": [f"e{owner:07d}" for owner in owners],
            "note_type": [
                "chest_film_report" if k % 3 == 0 else "physician" for k in range(len(owners))
            ],
            "note_series_id": [f"s{k:08d}" for k in range(len(owners))],
            "status": "final",
            "accession_id": [
                f"a{owner:07d}" if k % 3 == 0 else None for k, owner in enumerate(owners)
            ],
            "note_datetime": self._films[self._owner] + timedelta(hours=2),
            "text": self._texts,
            "text_sha256": [hashlib.sha256(text.encode()).hexdigest() for text in self._texts],
        }


def whole_table(table: Table, columns: dict[str, Any]) -> pa.Table:
    """Columns given, others filled: a scalar for all rows, null where that is allowed."""
    n_rows = len(next(iter(columns.values())))
    fillers: dict[str, Any] = {"string": "x", "int64": 1, "double": 1.0, "bool": False}
    arrays = []
    for field in table.schema:
        values = columns.get(field.name, None if field.nullable else fillers.get(str(field.type)))
        if values is None or isinstance(values, str | bool | int | float):
            arrays.append(pa.repeat(pa.scalar(values, field.type), n_rows))
        else:
            arrays.append(pa.array(list(values), field.type))
    return pa.table(arrays, schema=table.schema)


def relabel(store: Store) -> None:
    """The stages from records to labels."""
    link_images(store=store, rule=LinkRule(hours_before=48, hours_after=720))
    mine_mentions(store=store, definitions=DEFINITIONS)
    label_images(store=store, definitions=DEFINITIONS, as_of_datetime=AS_OF)


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(*, n_notes: int, n_films: int, seed: int) -> dict[str, Any]:
    """Figures of one hospital."""
    hospital = Hospital(n_notes=n_notes, n_films=n_films, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Home(Path(folder) / "home"))
        hospital.publish(store)
        full = seconds(lambda: relabel(store))
        unchanged = seconds(lambda: relabel(Store(store.home)))
        hospital.change_notes(round(n_notes * CHANGED_SHARE))
        hospital.publish(store)
        changed = seconds(lambda: relabel(Store(store.home)))
        fresh = Store(Home(Path(folder) / "fresh"))
        hospital.publish(fresh)
        relabel(fresh)
        is_equal = all(
            store.read(table).equals(fresh.read(table))
            for table in (IMAGE_LINKS, NOTE_MENTIONS, LABEL_EVIDENCE, IMAGE_LABELS)
        )
    return {
        "n_notes": n_notes,
        "n_films": n_films,
        "full_s": round(full, 2),
        "unchanged_s": round(unchanged, 2),
        "changed_s": round(changed, 2),
        "unchanged_share_of_full": round(unchanged / full, 4),
        "changed_share_of_full": round(changed / full, 4),
        "is_changed_within_target": changed <= 0.01 * full + 10,
        "is_equal_to_full": is_equal,
        "n_processes": 1,
        "load_average": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--notes", type=int, default=100_000, help="keyword-bearing notes")
    parser.add_argument("--films", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    figures = measure(n_notes=arguments.notes, n_films=arguments.films, seed=arguments.seed)
    print(
        json.dumps(figures)
        if arguments.json
        else "\n".join(f"{k}: {v}" for k, v in figures.items())
    )


if __name__ == "__main__":
    main()
