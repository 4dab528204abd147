"""The official tables of diagnosis codes in a folder: titles and the GEM crosswalk."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path

_TITLES = {"ICD9CM": "CMS32_DESC_LONG_DX.txt.gz", "ICD10CM": "icd10cm-codes-2024.txt.gz"}
_CROSSWALKS = {"ICD9CM": "icd9toicd10cmgem.csv.gz", "ICD10CM": "icd10cmtoicd9gem.csv.gz"}


def read_titles(folder: Path, vocabulary: str) -> dict[str, str]:
    """Official title of every billable code (CMS version 32 for ICD-9-CM, CDC 2024 for ICD-10-CM).

    Codes are normalised, in order.
    """
    with gzip.open(folder / _TITLES[vocabulary], "rt", encoding="latin-1") as lines:
        pairs = (line.split(maxsplit=1) for line in lines)
        return dict(sorted((code, title.strip()) for code, title in pairs))


def read_crosswalk(folder: Path, vocabulary: str) -> Iterator[tuple[str, str]]:
    """Pairs of CMS's General Equivalence Mappings from a vocabulary to the other one."""
    with gzip.open(folder / _CROSSWALKS[vocabulary], "rt", newline="") as lines:
        for row in csv.reader(lines):
            if row[0] not in ("icd9cm", "icd10cm"):
                yield row[0], row[1]
