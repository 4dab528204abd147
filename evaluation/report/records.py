"""The report's stories: cohort flow, patients, label evidence, likely label errors, lineage."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evaluation.scored_run import ScoredRun
from warehouse_schema.query import run_query
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGES
from warehouse_schema.tables.labels import (
    COHORT_FLOW,
    IMAGE_LABELS,
    LABEL_EVIDENCE,
    NOTE_MENTIONS,
)
from warehouse_schema.tables.records import DIAGNOSES, NOTES
from warehouse_schema.tables.runs import LINEAGE

_AROUND_CHARS = 90
_QUEUE_ROWS = 8
_EVIDENCE_ROWS = 4
_EXAMPLE_KINDS: tuple[Callable[[dict[str, Any]], bool], ...] = (
    lambda row: row["label"] == "positive" and not row["is_conflict"],
    lambda row: row["label"] in {"positive", "uncertain"} and row["is_conflict"],
    lambda row: row["label"] == "negative",
    lambda row: row["label"] in {"uncertain", "excluded"} and not row["is_conflict"],
)


@dataclass
class FlowStep:
    """One step of the cohort flow: what is kept, and what was dropped by reason."""

    step: str
    n_kept: int = 0
    dropped: list[tuple[str, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Excerpt:
    """A piece of a note around a mention; shown for SYNTHETIC notes only."""

    before: str
    mention: str
    after: str


@dataclass(frozen=True)
class Evidence:
    """One reason for or against a label, as the report shows it."""

    kind: str
    polarity: str
    rule_id: str
    reason: str
    place: str
    excerpt: Excerpt | None


@dataclass(frozen=True)
class LabelExample:
    """A label with its evidence."""

    image_id: str
    finding: str
    label: str
    reason: str
    is_conflict: bool
    evidence: list[Evidence]


def is_synthetic(store: Store, at: int | None) -> bool:
    """True where any image is of the synthetic hospital."""
    rows = store.read(IMAGES, columns=["image_id"], where={"is_synthetic": True}, at=at)
    return bool(rows.num_rows)


def cohort_flow(store: Store, at: int | None) -> list[FlowStep]:
    """Steps of the cohort flow in order."""
    steps: dict[int, FlowStep] = {}
    for row in store.read(COHORT_FLOW, at=at).to_pylist():
        step = steps.setdefault(row["step_number"], FlowStep(row["step"]))
        step.n_kept = max(step.n_kept, row["n_kept"])
        if row["n_dropped"]:
            step.dropped.append((row["reason"], row["n_dropped"]))
    return [steps[number] for number in sorted(steps)]


def patient_table(store: Store, run: ScoredRun) -> dict[str, Any]:
    """Characteristics of the fold's patients: a header and rows of text."""
    details = {row["image_id"]: row for row in store.read(IMAGES, at=run.version).to_pylist()}
    groups = {
        "Train": [image for image in run.cohort.values() if image.split == "train"],
        "Validation": [image for image in run.cohort.values() if image.split == "validation"],
        "Test": [image for image in run.cohort.values() if image.split == "test"],
        "All": list(run.cohort.values()),
    }
    rows: list[tuple[str, list[str]]] = [
        ("Patients", [str(len({image.patient_id for image in g})) for g in groups.values()]),
        ("Films", [str(len(g)) for g in groups.values()]),
    ]
    for subset, told in (
        ("R", "R: positive, boxed"),
        ("P", "P: positive, not boxed"),
        ("N", "N: negative"),
    ):
        rows.append(
            (told, [str(sum(image.subset == subset for image in g)) for g in groups.values()])
        )
    chosen = [[details.get(image.image_id, {}) for image in g] for g in groups.values()]
    rows.append(("Age, median (quartiles)", [_quartiles(group) for group in chosen]))
    rows.append(("Women", [_share(group, "sex_code", "F") for group in chosen]))
    rows.append(("AP view", [_share(group, "view_position_code", "AP") for group in chosen]))
    return {"columns": list(groups), "rows": rows}


def _quartiles(rows: list[dict[str, Any]]) -> str:
    ages = [row["age_years"] for row in rows if row.get("age_years") is not None]
    if not ages:
        return "–"
    low, middle, high = np.quantile(ages, [0.25, 0.5, 0.75])
    return f"{middle:.0f} ({low:.0f}–{high:.0f})"


def _share(rows: list[dict[str, Any]], name: str, value: str) -> str:
    known = [row[name] for row in rows if row.get(name) is not None]
    return f"{100 * known.count(value) / len(known):.0f} %" if known else "–"


def label_counts(store: Store, run: ScoredRun) -> dict[str, Counter[str]]:
    """Number of cohort films by label, for each finding."""
    counts: dict[str, Counter[str]] = {finding: Counter() for finding in run.findings}
    for (image_id, finding), label in run.labels.items():
        if image_id in run.cohort:
            counts[finding][label] += 1
    return counts


def label_examples(store: Store, run: ScoredRun, finding: str) -> list[LabelExample]:
    """Labels with their evidence: agreement, conflict, and a negative in spite of a keyword.

    The first image of each kind by image id is taken, the one with most evidence types first.
    Note text is read only for mentions and notes marked SYNTHETIC.
    """
    evidence: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in store.read(LABEL_EVIDENCE, where={"finding": finding}, at=run.version).to_pylist():
        evidence[row["image_id"]].append(row)
    labels = store.read(IMAGE_LABELS, where={"finding": finding}, at=run.version).to_pylist()
    with_evidence = [row for row in labels if evidence[row["image_id"]]]
    kinds = {row["image_id"]: _kinds(evidence[row["image_id"]]) for row in with_evidence}
    with_evidence.sort(key=lambda row: (-len(kinds[row["image_id"]]), row["image_id"]))
    chosen = []
    for is_wanted in _EXAMPLE_KINDS:
        row = next((row for row in with_evidence if is_wanted(row)), None)
        if row is not None:
            chosen.append(row)
    shown = {row["image_id"]: _most_telling(evidence[row["image_id"]]) for row in chosen}
    mentions = _mentions(store, run, [row for rows in shown.values() for row in rows])
    texts = _synthetic_texts(store, run, mentions)
    codes = _codes(store, run, [row for rows in shown.values() for row in rows])
    return [
        LabelExample(
            row["image_id"],
            finding,
            row["label"],
            row["reason"],
            row["is_conflict"],
            [_shown(item, mentions, texts, codes) for item in shown[row["image_id"]]],
        )
        for row in chosen
    ]


def _kinds(rows: list[dict[str, Any]]) -> set[str]:
    return {row["evidence_type"] for row in rows}


def _most_telling(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (-row["weight"], row["evidence_id"]))[:_EVIDENCE_ROWS]


def _mentions(
    store: Store, run: ScoredRun, evidence: list[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    ids = sorted({row["mention_id"] for row in evidence if row["mention_id"]})
    if not ids:
        return {}
    rows = store.read(NOTE_MENTIONS, where={"mention_id": ids}, at=run.version).to_pylist()
    return {row["mention_id"]: row for row in rows}


def _synthetic_texts(
    store: Store, run: ScoredRun, mentions: dict[str, dict[str, Any]]
) -> dict[str, str]:
    """Text of SYNTHETIC notes alone; a real note's text is never read here.

    A warehouse that was given away without restricted/ has none.
    """
    ids = sorted({row["note_id"] for row in mentions.values() if row["is_synthetic"]})
    if not ids or not store.table_folder(NOTES).is_dir():
        return {}
    where = {"note_id": ids, "is_synthetic": True}
    rows = store.read(NOTES, columns=["note_id", "text"], where=where, at=run.version)
    return {row["note_id"]: row["text"] for row in rows.to_pylist()}


def _codes(store: Store, run: ScoredRun, evidence: list[dict[str, Any]]) -> dict[str, str]:
    ids = sorted({row["diagnosis_id"] for row in evidence if row["diagnosis_id"]})
    if not ids:
        return {}
    rows = store.read(DIAGNOSES, where={"diagnosis_id": ids}, at=run.version).to_pylist()
    return {row["diagnosis_id"]: f"{row['vocabulary']} {row['diagnosis_code']}" for row in rows}


def _shown(
    row: dict[str, Any],
    mentions: dict[str, dict[str, Any]],
    texts: dict[str, str],
    codes: dict[str, str],
) -> Evidence:
    mention = mentions.get(row["mention_id"] or "")
    place, excerpt = codes.get(row["diagnosis_id"] or "", ""), None
    if mention is not None:
        start, end = mention["start_char"], mention["end_char"]
        place = f"{mention['section']}, characters {start} to {end}"
        text = texts.get(mention["note_id"])
        if text is not None:
            excerpt = _excerpt(text, start, end)
    return Evidence(
        row["evidence_type"].replace("_", " "),
        row["polarity"],
        row["rule_id"],
        row["reason"],
        place,
        excerpt,
    )


def _excerpt(text: str, start: int, end: int) -> Excerpt:
    first, last = max(0, start - _AROUND_CHARS), min(len(text), end + _AROUND_CHARS)
    before = ("… " if first else "") + text[first:start].lstrip()
    after = text[end:last].rstrip() + (" …" if last < len(text) else "")
    return Excerpt(before, text[start:end], after)


def label_error_queue(store: Store, run_id: str, at: int | None) -> list[dict[str, Any]]:
    """Top of the view ``label_error_queue`` for each finding of a run."""
    quoted = run_id.replace("'", "''")
    sql = (
        "SELECT finding, rank, image_id, label, score FROM label_error_queue "  # noqa: S608
        f"WHERE run_id = '{quoted}' AND rank <= {_QUEUE_ROWS} ORDER BY finding, rank, image_id"
    )
    rows: list[dict[str, Any]] = run_query(store, sql, at=at).to_pylist()
    return rows


def lineage_rows(store: Store, run_ids: list[str], at: int | None) -> list[dict[str, Any]]:
    """The newest commit of every stage: what it read, with which code and configuration.

    Training and evaluation stages are those of the reported runs.
    """
    newest: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    for row in store.read(LINEAGE, at=at).to_pylist():
        if row["run_id"] is None or row["run_id"] in run_ids:
            rows = newest.setdefault((row["stage"], row["run_id"]), [])
            if rows and rows[0]["commit_version"] < row["commit_version"]:
                rows.clear()
            if not rows or rows[0]["commit_version"] == row["commit_version"]:
                rows.append(row)
    return [
        {
            "commit_version": rows[0]["commit_version"],
            "stage": rows[0]["stage"],
            "run_id": rows[0]["run_id"] or "",
            "inputs": ", ".join(
                f"{row['input_table']}\u00a0{row['input_version']}"
                for row in rows
                if row["input_version"] >= 0
            ),
            "code_version": rows[0]["code_version"],
            "configuration_hash": rows[0]["configuration_hash"][:12],
        }
        for rows in sorted(newest.values(), key=lambda rows: int(rows[0]["commit_version"]))
    ]
