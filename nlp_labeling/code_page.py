"""``docs/code_sets.md``: every official code that a definition takes in or keeps out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from nlp_labeling.code_tables import read_crosswalk, read_titles
from nlp_labeling.codes import (
    CodeVerdict,
    classify_code,
    describe_verdict,
    fracture_categories,
)
from nlp_labeling.crosswalk import OTHER_SYSTEM, find_missteps
from nlp_labeling.definition import Definition, load_definitions
from nlp_labeling.vocabulary import VOCABULARIES, normalize_code

_NAMES = {"ICD9CM": "ICD-9-CM", "ICD10CM": "ICD-10-CM", "ICD10": "ICD-10 (WHO)"}
_FAULTS = {
    "invented": "would become a fracture by",
    "lost": "would be lost as",
    "wound": "would be called open by",
}
_LISTED = 12
_SHOWN = 4


def code_page(folder: Path) -> str:
    """The page as Markdown; ``folder`` holds the official tables."""
    titles = {name: read_titles(folder, name) for name in VOCABULARIES if name != "ICD10"}
    parts = [
        "# Code sets",
        "Generated from `nlp_labeling/definitions` and the official tables by "
        "`python docs/generate.py`; do not edit. A code counts with the longest branch that holds "
        "it, written with or without dots, X padding and seventh character, in any case. In are "
        "initial and subsequent encounters; a sequela tells of the past; all else is out.",
        "The tables list billable codes. WHO ICD-10 has no such table: its branches stand with "
        "their optional fifth character. It has neither a seventh character nor sides; a row in "
        "ICD10 whose code ends in a letter is ICD-10-CM and is read so.",
    ]
    for definition in load_definitions():
        parts.append(f"## {definition.title}")
        for vocabulary in VOCABULARIES:
            leaves = titles.get(vocabulary) or _who_leaves(definition)
            parts.extend(_code_set(definition, vocabulary, leaves))
        parts.extend(_missteps(definition, folder, titles))
    parts.append("## Fractures of other bones")
    parts.append(
        "A fracture code in none of the branches above is told by its category and is out."
    )
    parts.append("\n".join(_categories()))
    return "\n\n".join(parts) + "\n"


def _who_leaves(definition: Definition) -> dict[str, str]:
    code_set = definition.codes["ICD10"]
    leaves = {entry.code: entry.title for entry in code_set.exclude}
    for entry in code_set.include:
        leaves[entry.code] = entry.title
        leaves[f"{entry.code}0"] = f"{entry.title}, closed"
        leaves[f"{entry.code}1"] = f"{entry.title}, open"
    return dict(sorted(leaves.items()))


def _code_set(definition: Definition, vocabulary: str, leaves: Mapping[str, str]) -> Iterator[str]:
    code_set = definition.codes[vocabulary]
    verdicts = {
        code: classify_code(code, vocabulary, definition)
        for code in leaves
        if code_set.branch(normalize_code(code)) is not None
    }
    inside = [code for code, verdict in verdicts.items() if verdict.status]
    yield f"### {definition.title}: {_NAMES[vocabulary]}, in ({len(inside)} codes)"
    yield "\n".join(
        [
            "| code | official title | encounter | wound | side | branch |",
            "|---|---|---|---|---|---|",
            *(_inside_row(code, leaves[code], verdicts[code]) for code in inside),
        ]
    )
    outside: dict[str, list[str]] = defaultdict(list)
    for code, verdict in verdicts.items():
        if not verdict.status:
            outside[verdict.branch].append(code)
    yield f"### {definition.title}: {_NAMES[vocabulary]}, neighbours kept out"
    rows = ["| code | official title | why |", "|---|---|---|"]
    for branch in sorted(outside):
        rows.extend(_outside_rows(outside[branch], leaves, verdicts))
    yield "\n".join(rows)


def _inside_row(code: str, title: str, verdict: CodeVerdict) -> str:
    cells = (verdict.status, verdict.wound, verdict.laterality, verdict.branch)
    return f"| {code} | {title} | {' | '.join(cells)} |"


def _outside_rows(
    codes: list[str], leaves: Mapping[str, str], verdicts: Mapping[str, CodeVerdict]
) -> Iterator[str]:
    if len(codes) <= _LISTED:
        yield from (f"| {c} | {leaves[c]} | {describe_verdict(verdicts[c])} |" for c in codes)
        return
    first, last = codes[0], codes[-1]
    yield (
        f"| {first} to {last} ({len(codes)} codes) | {leaves[first]} … {leaves[last]} "
        f"| {describe_verdict(verdicts[first])} |"
    )


def _missteps(
    definition: Definition, folder: Path, titles: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    yield f"### {definition.title}: where the general crosswalk (GEM) goes wrong"
    yield (
        "The code sets of the two revisions are a curated pair, each checked against its own "
        "table. A crosswalked row would err here:"
    )
    rows = ["| code | official title | by the crosswalk |", "|---|---|---|"]
    for vocabulary, other in OTHER_SYSTEM.items():
        grouped: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
        for step in find_missteps(read_crosswalk(folder, vocabulary), vocabulary, definition):
            grouped[step.fault, step.targets].append(step.source.code)
        for (fault, targets), codes in grouped.items():
            more = f" and {len(targets) - _SHOWN} more" if len(targets) > _SHOWN else ""
            listed = ", ".join(targets[:_SHOWN]) + more
            name = codes[0] if len(codes) == 1 else f"{codes[0]} … {codes[-1]} ({len(codes)} codes)"
            title = titles[vocabulary].get(codes[0], "")
            rows.append(f"| {name} | {title} | {_FAULTS[fault]} {listed} ({_NAMES[other]}) |")
    yield "\n".join(rows)


def _categories() -> Iterator[str]:
    yield "| vocabulary | category | bone |"
    yield "|---|---|---|"
    for vocabulary, bones in fracture_categories().items():
        for category, bone in bones.items():
            yield f"| {_NAMES[vocabulary]} | {category} | {bone} |"
