"""Ages over 89 are one group: who is in it stays in it, and has no birth date."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from warehouse_schema.commit import Commit
from warehouse_schema.tables.records import PATIENTS


def known_over_89(commit: Commit, source: str) -> set[str]:
    """Patients of a source who were over 89 when the warehouse was last written."""
    where = {"source": source, "is_over_89": True}
    return set(commit.read(PATIENTS, columns=["patient_id"], where=where)["patient_id"].to_pylist())


def without_birth(patients: pa.Table, over_89: Collection[str]) -> pa.Table:
    """Rows of patients, those named here over 89 and without a birth date."""
    is_over = pc.is_in(patients["patient_id"], value_set=pa.array(sorted(over_89), pa.string()))
    births = patients["birth_datetime"]
    values = {
        "birth_datetime": pc.if_else(is_over, pa.scalar(None, births.type), births),
        "is_over_89": pc.or_(is_over, patients["is_over_89"]),
    }
    columns = [values.get(name, patients[name]) for name in PATIENTS.schema.names]
    return pa.table(columns, schema=PATIENTS.schema)
