"""Negation and history on the NegEx / ConText corpus, by the component that labels fractures.

Run: ``python benchmarks/negex_corpus.py FILE [--json]``. FILE is a tab-separated file of number,
condition, sentence, negation, temporality, experiencer. "Possible" was not annotated there:
uncertain mentions count as affirmed. Targets: negation F1 0.95, accuracy 0.97.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nlp_labeling.context import ContextRules
from nlp_labeling.note_text import fold_note
from nlp_labeling.rule import load_rules
from nlp_labeling.sections import Segmenter


@dataclass(frozen=True)
class Row:
    """One annotated condition in one sentence."""

    number: str
    condition: str
    sentence: str
    is_negated: bool
    is_historical: bool


@dataclass
class Counts:
    """A two-by-two table."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0

    def add(self, *, predicted: bool, actual: bool) -> None:
        """Count one mention."""
        name = ("tp" if actual else "fp") if predicted else ("fn" if actual else "tn")
        setattr(self, name, getattr(self, name) + 1)

    def figures(self) -> dict[str, float]:
        """Precision, recall, F1 and accuracy."""
        total = self.tp + self.fp + self.fn + self.tn
        precision = self.tp / max(1, self.tp + self.fp)
        recall = self.tp / max(1, self.tp + self.fn)
        return {
            "precision": round(precision, 4),
            "recall": round(recall, 4),
            "f1": round(2 * self.tp / max(1, 2 * self.tp + self.fp + self.fn), 4),
            "accuracy": round((self.tp + self.tn) / max(1, total), 4),
            "n_positive": self.tp + self.fn,
            "n_mentions": total,
        }


def rows_of(file: Path) -> Iterator[Row]:
    """The annotated rows of a file; a header line is passed over."""
    with file.open(encoding="utf-8", errors="replace", newline="") as lines:
        for record in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            if len(record) < 5 or not record[0].strip().isdigit():
                continue
            yield Row(
                record[0],
                record[1],
                record[2],
                record[3].strip().lower().startswith("neg"),
                record[4].strip().lower().startswith("hist"),
            )


class Reader:
    """Places conditions in sentences and asks the context component about them."""

    def __init__(self) -> None:
        rules = load_rules()
        self._context = ContextRules(rules)
        self._segmenter = Segmenter(rules)

    def read(self, row: Row) -> tuple[bool, bool]:
        """Whether the condition of a row is negated, and whether it is historical."""
        text = fold_note(row.sentence).folded
        start, end = place(row)
        for sentence in self._segmenter.sentences(text):
            if sentence.start <= start < sentence.end:
                body = text[sentence.start : sentence.end]
                low, high = start - sentence.start, min(end, sentence.end) - sentence.start
                cues = self._context.cues(body)
                verdict = self._context.assess(body, low, high, cues)
                is_past = verdict.temporality == "historical" or sentence.section == "history"
                return verdict.assertion == "absent", is_past
        return False, False


def place(row: Row) -> tuple[int, int]:
    """Where the condition stands: as upper case in the sentence, else in any case."""
    words = r"\s+".join(re.escape(word) for word in row.condition.split())
    for pattern, flags in ((words.upper(), 0), (words, re.IGNORECASE)):
        match = None
        try:
            match = re.search(pattern.replace(r"\S+", r"\s+"), row.sentence, flags)
        except re.error:
            continue
        if match:
            return match.span()
    return 0, len(row.sentence)


def measure(file: Path) -> dict[str, object]:
    """All figures of a file."""
    reader = Reader()
    negation, history = Counts(), Counts()
    begin = time.perf_counter()
    for row in rows_of(file):
        is_negated, is_historical = reader.read(row)
        negation.add(predicted=is_negated, actual=row.is_negated)
        history.add(predicted=is_historical, actual=row.is_historical)
    seconds = time.perf_counter() - begin
    figures = negation.figures()
    return {
        "benchmark": "negex_corpus",
        "negation": figures,
        "historical": history.figures(),
        "reaches_targets": figures["f1"] >= 0.95 and figures["accuracy"] >= 0.97,
        "mentions_per_second": round(figures["n_mentions"] / max(seconds, 1e-9)),
    }


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--errors", action="store_true", help="list rows read wrongly")
    options = parser.parse_args()
    if not options.file.is_file():
        print(f"There is no file {options.file.name}.", file=sys.stderr)
        return 4
    if options.errors:
        reader = Reader()
        for row in rows_of(options.file):
            is_negated, is_historical = reader.read(row)
            if is_negated != row.is_negated:
                kind = "missed" if row.is_negated else "false"
                print(f"negation {kind}\t{row.number}\t{row.condition}\t{row.sentence[-300:]}")
            if is_historical != row.is_historical:
                kind = "missed" if row.is_historical else "false"
                print(f"history {kind}\t{row.number}\t{row.condition}\t{row.sentence[-200:]}")
        return 0
    figures = measure(options.file)
    if options.json:
        print(json.dumps(figures))
    else:
        print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
