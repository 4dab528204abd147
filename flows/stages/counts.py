"""A stage's summary as plain values that JSON can hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

Counts = dict[str, Any]


def counts(summary: object) -> Counts:
    """A stage's summary as plain values that JSON can hold."""
    if is_dataclass(summary) and not isinstance(summary, type):
        return _plain(asdict(summary))
    return {} if summary is None else {"n": summary}


def _plain(values: Mapping[Any, Any]) -> Counts:
    plain: Counts = {}
    for key, value in values.items():
        name = " ".join(map(str, key)) if isinstance(key, tuple) else str(key)
        if isinstance(value, Mapping):
            plain[name] = _plain(value)
        elif isinstance(value, list | tuple):
            plain[name] = list(value)
        else:
            plain[name] = str(value) if isinstance(value, Path) else value
    return plain


def flat_counts(counts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Counts in order, nested ones as ``outer: inner``; lists as their length."""
    for name, value in counts.items():
        label = f"{prefix}{str(name).removeprefix('n_').replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from flat_counts(value, f"{label}: ")
        elif isinstance(value, list | tuple):
            yield label, len(value)
        else:
            yield label, value
