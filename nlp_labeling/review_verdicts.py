"""The file of a chart review: written blind, read back with the reviewers' verdicts."""

from __future__ import annotations

import csv
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nlp_labeling.review_sample import SampledLabel
from warehouse_schema.errors import ArgumentError, InputError

COLUMNS = ("image_id", "finding", "weight", "version", "n", "seed", "verdict", "comment")
VERDICTS = ("present", "absent", "uncertain")
_NEEDED = ("image_id", "finding", "version", "n", "seed", "verdict")
_FIRST_LINE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewFile:
    """A file's verdicts by image and finding ("" for none), and the design of its sample."""

    verdicts: Mapping[tuple[str, str], str]
    version: int
    n: int
    seed: int

    def first_line(self, known: Container[tuple[str, str]]) -> int:
        """Line of the first row that is not known."""
        return next(
            line for line, key in enumerate(self.verdicts, start=_FIRST_LINE) if key not in known
        )


def write_review_file(
    path: Path, sample: Sequence[SampledLabel], *, version: int, n: int, seed: int
) -> None:
    """Write a sample for reviewers: no label, no stratum, an empty verdict.

    Raises:
        ArgumentError: The file exists (it may hold verdicts), or cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for one in sample:
                writer.writerow([*one.key, f"{one.weight:.6g}", version, n, seed, "", ""])
    except FileExistsError:
        raise ArgumentError(
            f"FILE: {path} exists and may hold verdicts. Name a new file."
        ) from None
    except OSError as error:
        raise ArgumentError(
            f"FILE: cannot write {path} ({error.strerror}). Name a file in a folder you own."
        ) from None


def read_review_file(path: Path) -> ReviewFile:
    """Read verdicts back.

    Raises:
        InputError: The file cannot be read, lacks a column, mixes samples, repeats a row, or holds
            a verdict that is none; the line is named.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(
                    f"FILE: {path.name} lacks the column {', '.join(missing)}. Give the file that "
                    "`ribline review-sample` wrote, with the verdicts filled in."
                )
            rows = list(reader)
    except OSError as error:
        raise InputError(f"FILE: cannot read {path} ({error.strerror}).") from None
    except (UnicodeDecodeError, csv.Error):
        raise InputError(f"FILE: {path.name} is not a CSV file in UTF-8. Save it as one.") from None
    designs = {(row["version"], row["n"], row["seed"]) for row in rows}
    if len(designs) != 1:
        raise InputError(
            f"FILE: {path.name} holds rows of {len(designs)} samples; import each sample alone."
        )
    verdicts: dict[tuple[str, str], str] = {}
    for line, row in enumerate(rows, start=_FIRST_LINE):
        verdict = (row["verdict"] or "").strip().lower()
        if verdict not in ("", *VERDICTS):
            raise InputError(
                f"FILE: line {line} has an unknown verdict; allowed are {', '.join(VERDICTS)}, or "
                "nothing where the chart was not reviewed."
            )
        key = (row["image_id"], row["finding"])
        if key in verdicts:
            raise InputError(f"FILE: line {line} repeats an image and finding. Keep one of them.")
        verdicts[key] = verdict
    version, n, seed = (_integer(value) for value in designs.pop())
    return ReviewFile(verdicts=verdicts, version=version, n=n, seed=seed)


def _integer(value: str | None) -> int:
    if value is None or not value.isdigit():
        raise InputError(
            "FILE: version, n and seed must be the whole numbers that review-sample wrote."
        )
    return int(value)
