"""Labels with their evidence, as the report shows them."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from evaluation.scored_run import ScoredRun
from warehouse_schema.store import Store
from warehouse_schema.tables.labels import IMAGE_LABELS, LABEL_EVIDENCE, NOTE_MENTIONS
from warehouse_schema.tables.records import DIAGNOSES, NOTES

_AROUND_CHARS = 90
_EVIDENCE_ROWS = 4
_EXAMPLE_KINDS: tuple[Callable[[dict[str, Any]], bool], ...] = (
    lambda row: row["label"] == "positive" and not row["is_conflict"],
    lambda row: row["label"] in {"positive", "uncertain"} and row["is_conflict"],
    lambda row: row["label"] == "negative",
    lambda row: row["label"] in {"uncertain", "excluded"} and not row["is_conflict"],
)


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
