"""The diagnosis codes of a warehouse, each with the reason why it counts for a finding or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from nlp_labeling.codes import NOT_RELATED, CodeVerdict, classify_code, describe_verdict
from nlp_labeling.definition import Definitions
from nlp_labeling.vocabulary import normalize_code
from warehouse_schema.errors import ArgumentError
from warehouse_schema.store import Store
from warehouse_schema.tables.records import DIAGNOSES

LISTING_SCHEMA = pa.schema(
    [
        ("vocabulary", pa.string()),
        ("diagnosis_code", pa.string()),
        ("n_rows", pa.int64()),
        ("n_principal", pa.int64()),
        ("finding", pa.string()),
        ("is_evidence", pa.bool_()),
        ("laterality", pa.string()),
        ("why", pa.string()),
    ]
)


def list_codes(*, store: Store, definitions: Definitions, branch: str | None = None) -> pa.Table:
    """Rows of ``LISTING_SCHEMA``: every fracture code in ``diagnoses``, and every unreadable one.

    Codes are counted over all spellings. Findings to which a code says the same share a row;
    those to which it has nothing to say have none.

    Args:
        store: The store.
        definitions: The findings to judge for.
        branch: Only codes under a branch (``807``) or in a range of branches (``800-829``).

    Raises:
        ArgumentError: ``branch`` is neither.
    """
    bounds = _bounds(branch)
    rows = store.read(DIAGNOSES, columns=["vocabulary", "diagnosis_code", "position"]).to_pylist()
    table = [
        line
        for code, counts in sorted(_counted(rows).items())
        if _is_within(code[1], bounds)
        for line in _lines(*code, counts, definitions)
    ]
    return pa.Table.from_pylist(table, schema=LISTING_SCHEMA)


def _counted(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], Counter[bool]]:
    counted: dict[tuple[str, str], Counter[bool]] = {}
    for row in rows:
        key = (row["vocabulary"], normalize_code(row["diagnosis_code"]))
        counted.setdefault(key, Counter())[row["position"] == 1] += 1
    return counted


def _lines(
    vocabulary: str, code: str, counts: Counter[bool], definitions: Definitions
) -> list[dict[str, Any]]:
    verdicts = [classify_code(code, vocabulary, definition) for definition in definitions]
    alike: dict[tuple[bool, str, str], list[CodeVerdict]] = {}
    for verdict in verdicts:
        if verdict.reason == NOT_RELATED:
            continue
        key = (verdict.is_evidence, verdict.laterality, describe_verdict(verdict))
        alike.setdefault(key, []).append(verdict)
    return [
        {
            "vocabulary": vocabulary,
            "diagnosis_code": code,
            "n_rows": counts.total(),
            "n_principal": counts[True],
            "finding": ", ".join(verdict.finding for verdict in said),
            "is_evidence": is_evidence,
            "laterality": laterality,
            "why": why,
        }
        for (is_evidence, laterality, why), said in alike.items()
    ]


def _bounds(branch: str | None) -> tuple[str, str] | None:
    if branch is None:
        return None
    low, _, high = branch.partition("-")
    low, high = normalize_code(low), normalize_code(high or low)
    if not (low.isalnum() and high.isalnum() and low[: len(high)] <= high):
        raise ArgumentError(
            f"BRANCH: got {branch!r}; give a branch such as 807 or S22.4, or a range such as "
            "800-829."
        )
    return low, high


def _is_within(code: str, bounds: tuple[str, str] | None) -> bool:
    return bounds is None or (bounds[0] <= code and code[: len(bounds[1])] <= bounds[1])
