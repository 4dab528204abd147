"""Small copies of published layouts, made by the tests; films are gradients."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import etl.public_datasets.published_films

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read without workers, which is quicker; the pool has tests of its own."""

    def read_here(orders: Any, *, n_processes: int) -> Any:
        return (order.read() for order in orders)

    monkeypatch.setattr(etl.public_datasets.published_films, "read_films", read_here)


def write_table(path: Path, header: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Path:
    """A CSV table with a header, compressed where its name ends with .gz."""
    text = io.StringIO()
    writer = csv.DictWriter(text, header, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.fixture
def table() -> Write:
    return write_table


def write_picture(path: Path, seed: int = 0, dtype: Any = np.uint8) -> Path:
    """A PNG or JPEG of 96 x 80 pixels; another seed gives another picture."""
    grey = np.add.outer(np.arange(96), np.arange(80)) * 6 % (97 + seed)
    scale = 2000 // grey.max() if dtype == np.uint16 else 1
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), (grey * scale).astype(dtype))
    return path


@pytest.fixture
def picture() -> Write:
    return write_picture
