"""The pull's own books: what was asked, announced and received, kept in the restricted tables.

The spool is the journal: a file that is there has arrived, whether the books know it or not. The
books are written every some studies, and caught up from the spool after a crash.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pyarrow as pa

from etl.quarantine import QuarantineList
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables.pacs import PACS_INSTANCES, PACS_QUERIES, PACS_STUDIES

STAGE = "pull-images"
Row = dict[str, Any]


class Ledger:
    """Rows of one source, in memory, with those that are not written yet.

    Args:
        store: The store.
        source: Site mapping.
    """

    def __init__(self, store: Store, source: str) -> None:
        self._store = store
        self.source = source
        where = {"source": source}
        self.studies: dict[str, Row] = {
            row["study_id"]: row for row in store.read(PACS_STUDIES, where=where).to_pylist()
        }
        self.instances: dict[str, Row] = {
            row["image_id"]: row for row in store.read(PACS_INSTANCES, where=where).to_pylist()
        }
        self._by_study: dict[str, list[str]] = defaultdict(list)
        for image_id, row in self.instances.items():
            self._by_study[row["study_id"]].append(image_id)
        self._changed: dict[str, dict[Any, Row]] = {}
        self.quarantine = QuarantineList(stage=STAGE, source=source)
        self._examined: set[str] = set()

    def examine(self, key: str) -> None:
        """Say that a query or study is looked into now: its earlier quarantine rows go."""
        self._examined.add(key)

    def set_aside(self, key: str, reason: str) -> None:
        """A quarantine row of something examined in this run."""
        self._examined.add(key)
        self.quarantine.add(key, reason)

    def record_query(self, row: Row) -> None:
        """A question that was answered."""
        self._change(PACS_QUERIES, (row["kind"], row["pseudonym"]), row)

    def record_study(self, row: Row) -> None:
        """A study that was looked into."""
        self.studies[row["study_id"]] = row
        self._change(PACS_STUDIES, row["study_id"], row)

    def record_instance(
        self,
        *,
        image_id: str,
        study_id: str,
        patient_id: str,
        sop_instance_uid: str,
        file_sha256: str,
        n_bytes: int,
        arrived: datetime,
    ) -> None:
        """An instance whose file is in the spool."""
        row = {
            "image_id": image_id,
            "source": self.source,
            "patient_id": patient_id,
            "study_id": study_id,
            "sop_instance_uid": sop_instance_uid,
            "file_sha256": file_sha256,
            "n_bytes": n_bytes,
            "arrived_datetime": arrived,
            "state": "spooled",
        }
        if image_id not in self.instances:
            self._by_study[study_id].append(image_id)
        self.instances[image_id] = row
        self._change(PACS_INSTANCES, image_id, row)

    def change_state(self, image_ids: Iterable[str], state: str) -> None:
        """What became of instances after they were read."""
        for image_id in image_ids:
            row = self.instances[image_id] = {**self.instances[image_id], "state": state}
            self._change(PACS_INSTANCES, image_id, row)

    def instances_of(self, study_id: str) -> list[str]:
        """Instances of a study that have arrived at some time."""
        return self._by_study.get(study_id, [])

    def save(self) -> None:
        """Write what has changed, in one commit."""
        if not self._changed and not self._examined:
            return
        with self._store.commit(stage=STAGE, configuration={"source": self.source}) as commit:
            for table in (PACS_QUERIES, PACS_STUDIES, PACS_INSTANCES):
                rows = list(self._changed.get(table.name, {}).values())
                if rows:
                    commit.upsert(table, pa.Table.from_pylist(rows, schema=table.schema))
            self.quarantine.replace_in(commit, seen_keys=self._examined)
        self._changed.clear()

    def _change(self, table: Table, key: object, row: Row) -> None:
        self._changed.setdefault(table.name, {})[key] = row
