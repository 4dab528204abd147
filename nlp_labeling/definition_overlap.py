"""Definitions that claim the same: refused, unless one of them says whom it shares with.

A site or complete term belongs to one definition, and so does a code: an included branch may stand
inside another definition's only where that one excludes it. Finding words ("fracture") and weak
sites are common property, but a word has one kind ("site", "finding" ...) in all definitions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from nlp_labeling.data_file import DataFile, Key
from nlp_labeling.definition_file import TERM_KINDS

if TYPE_CHECKING:
    from nlp_labeling.definition import CodePrefix, CodeSet, Definition

_OWNED = ("site", "complete")


def refuse_overlap(read: Sequence[tuple[DataFile, Definition]]) -> None:
    """Compare every two definitions.

    Raises:
        ConfigurationError: two have one name, or claim one term or code that neither says to share.
    """
    for (_, first), (file, second) in combinations(read, 2):
        if first.name == second.name:
            raise file.error(("name",), f"a definition {first.name} is there already; rename one.")
        for key, claim in _kind_clashes(first, second):
            raise file.error(key, f"{second.name} {claim} in {first.name}; give it one kind.")
        if first.name in second.shares_with or second.name in first.shares_with:
            continue
        for key, claim in (*_shared_terms(first, second), *_shared_codes(first, second)):
            raise file.error(
                key,
                f"definitions {first.name} and {second.name} overlap: both claim {claim}. Leave it "
                f'to one of them, or write shares_with = ["{first.name}"].',
            )


def _kind_clashes(first: Definition, second: Definition) -> Iterator[tuple[Key, str]]:
    kinds = {term: kind for kind in TERM_KINDS for term in getattr(first, kind)}
    for kind in TERM_KINDS:
        for order, term in enumerate(getattr(second, kind)):
            known = kinds.get(term, kind)
            if known != kind:
                yield ("terms", kind, order), f"has {term!r} as {kind}, but it is {known}"


def _shared_terms(first: Definition, second: Definition) -> Iterator[tuple[Key, str]]:
    for kind in _OWNED:
        owned = set(getattr(first, kind))
        for order, term in enumerate(getattr(second, kind)):
            if term in owned:
                yield ("terms", kind, order), f"the term {term!r}"


def _shared_codes(first: Definition, second: Definition) -> Iterator[tuple[Key, str]]:
    for vocabulary in first.codes.keys() & second.codes.keys():
        ours, theirs = first.codes[vocabulary], second.codes[vocabulary]
        for order, entry in enumerate(theirs.include):
            inner = _inside(entry, ours) or next(
                (other for other in ours.include if _inside(other, theirs) == entry), None
            )
            if inner is not None:
                key: Key = ("codes", vocabulary, "include", order)
                narrow = max(entry, inner, key=lambda one: len(one.plain))
                yield key, f"{vocabulary} {narrow.code}"


def _inside(entry: CodePrefix, code_set: CodeSet) -> CodePrefix | None:
    branch = code_set.branch(entry.plain)
    return branch if branch is not None and not branch.reason else None
