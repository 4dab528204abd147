"""Label definitions: one finding each, as data in ``definitions/*.toml``.

A definition holds the terms that make a mention, the diagnosis codes per vocabulary, the linkage
window and the evidence weights. The code below knows no finding by name.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from warehouse_schema.errors import ConfigurationError

DEFINITION_FOLDER = Path(__file__).parent / "definitions"
VOCABULARIES = ("ICD9CM", "ICD10CM", "ICD10")
CODE_STATUSES = ("initial", "subsequent", "sequela", "seventh_character")
EXCLUSION_REASONS = (
    "pathological",
    "birth",
    "sequela",
    "history",
    "rule_out",
    "aftercare",
    "stress",
    "resuscitation",
    "other_site",
    "unspecific",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodePrefix:
    """One branch of a vocabulary's hierarchy: ``code`` and all its descendants."""

    code: str
    status: str = ""
    wound: str = "unknown"
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeSet:
    """The codes of one vocabulary that mean the finding, and the look-alikes kept out.

    ``sides`` maps left, right and bilateral to a pattern over normalised codes.
    """

    include: tuple[CodePrefix, ...]
    exclude: tuple[CodePrefix, ...]
    sides: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Linkage:
    """Window around the study's start in which evidence counts, and how a film finds its stay.

    ``prefer`` orders the reasons for a stay, ``ties`` what settles a tie (etl.cohorts.linkage).
    """

    hours_before_study: int
    hours_after_study: int
    closed_days_before_negative: int
    prefer: tuple[str, ...]
    ties: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One finding: what it is called, how notes and codes say it, and when that counts."""

    name: str
    title: str
    version: str
    finding: tuple[str, ...]
    finding_weak: tuple[str, ...]
    site: tuple[str, ...]
    site_weak: tuple[str, ...]
    complete: tuple[str, ...]
    site_not_before: tuple[str, ...]
    is_normal_site_negative: bool
    is_numbered: bool
    codes: Mapping[str, CodeSet]
    linkage: Linkage
    weights: Mapping[str, float]


Definitions = tuple[Definition, ...]


def load_definitions(
    findings: Sequence[str] | None = None, *, folder: Path = DEFINITION_FOLDER
) -> Definitions:
    """The definitions named in ``findings`` (all for None) in order of name.

    Raises:
        ConfigurationError: a finding has no definition, or see ``read_definitions``.
    """
    return select_definitions(read_definitions(folder), findings)


@cache
def read_definitions(folder: Path) -> Definitions:
    """All definitions of a folder in order of name.

    Raises:
        ConfigurationError: a file is not TOML (line and column named), a definition lacks codes
            or terms, or two definitions claim one site term or one code.
    """
    definitions = tuple(
        sorted(
            (_definition(path, read_toml(path)) for path in sorted(folder.glob("*.toml"))),
            key=lambda definition: definition.name,
        )
    )
    if not definitions:
        raise ConfigurationError(f"No label definition in {folder.name}/; add one *.toml file.")
    _refuse_overlap(definitions)
    return definitions


def shared_linkage(definitions: Sequence[Definition]) -> Linkage:
    """The widest window of some definitions, and the order and ties that they share.

    Raises:
        ConfigurationError: they order stays differently; a film is linked once for all findings.
    """
    first, *others = (definition.linkage for definition in definitions)
    for other in others:
        if (other.prefer, other.ties) != (first.prefer, first.ties):
            raise ConfigurationError(
                "linkage: the definitions differ in prefer or ties, but a film is linked once for "
                "all findings. Give the same in each definition."
            )
    return Linkage(
        hours_before_study=max(each.hours_before_study for each in (first, *others)),
        hours_after_study=max(each.hours_after_study for each in (first, *others)),
        closed_days_before_negative=max(
            each.closed_days_before_negative for each in (first, *others)
        ),
        prefer=first.prefer,
        ties=first.ties,
    )


def select_definitions(
    definitions: Sequence[Definition], findings: Sequence[str] | None
) -> Definitions:
    """The definitions named in ``findings``; all of them for None.

    Raises:
        ConfigurationError: a finding has no definition.
    """
    if findings is None:
        return tuple(definitions)
    by_name = {definition.name: definition for definition in definitions}
    unknown = sorted(set(findings) - set(by_name))
    if unknown or not findings:
        raise ConfigurationError(
            f"findings: {', '.join(unknown) or 'empty'} has no definition; known are "
            f"{', '.join(sorted(by_name))}. Add nlp_labeling/definitions/NAME.toml for a new one."
        )
    return tuple(by_name[name] for name in sorted(set(findings)))


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dictionary; an error in it becomes one line with line and column."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path.name}: not valid TOML: {error}.") from error


def _definition(path: Path, raw: Mapping[str, Any]) -> Definition:
    try:
        terms, linkage = raw["terms"], raw["linkage"]
        definition = Definition(
            name=str(raw["name"]),
            title=str(raw["title"]),
            version=str(raw["version"]),
            finding=_strings(terms, "finding"),
            finding_weak=_strings(terms, "finding_weak"),
            site=_strings(terms, "site"),
            site_weak=_strings(terms, "site_weak"),
            complete=_strings(terms, "complete"),
            site_not_before=_strings(terms, "site_not_before"),
            is_normal_site_negative=bool(terms.get("normal", False)),
            is_numbered=bool(terms.get("numbered", False)),
            codes={name: _code_set(path, name, body) for name, body in raw["codes"].items()},
            linkage=Linkage(
                hours_before_study=int(linkage["hours_before_study"]),
                hours_after_study=int(linkage["hours_after_study"]),
                closed_days_before_negative=int(linkage["closed_days_before_negative"]),
                prefer=tuple(map(str, linkage["prefer"])),
                ties=tuple(map(str, linkage["ties"])),
            ),
            weights={key: float(value) for key, value in raw["weights"].items()},
        )
    except KeyError as error:
        raise ConfigurationError(f"{path.name}: {error.args[0]!r} is missing.") from error
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{path.name}: a value has the wrong type: {error}.") from error
    _check_definition(path, definition)
    return definition


def _strings(table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values = table.get(key, [])
    if not isinstance(values, list) or not all(isinstance(v, str) and v.strip() for v in values):
        raise ValueError(f"terms.{key} must be a list of non-empty strings")
    return tuple(value.strip().lower() for value in values)


def _code_set(path: Path, vocabulary: str, body: Mapping[str, Any]) -> CodeSet:
    if vocabulary not in VOCABULARIES:
        raise ConfigurationError(
            f"{path.name}: code vocabulary {vocabulary!r} is unknown; allowed are "
            f"{', '.join(VOCABULARIES)}."
        )
    include = tuple(CodePrefix(**entry) for entry in body.get("include", []))
    exclude = tuple(CodePrefix(**entry) for entry in body.get("exclude", []))
    for entry in include:
        if entry.status not in CODE_STATUSES:
            raise ConfigurationError(
                f"{path.name}: status {entry.status!r} of code {entry.code} is unknown; allowed "
                f"are {', '.join(CODE_STATUSES)}."
            )
    for entry in exclude:
        if entry.reason not in EXCLUSION_REASONS:
            raise ConfigurationError(
                f"{path.name}: reason {entry.reason!r} of code {entry.code} is unknown; allowed "
                f"are {', '.join(EXCLUSION_REASONS)}."
            )
    return CodeSet(include=include, exclude=exclude, sides=dict(body.get("sides", {})))


def _check_definition(path: Path, definition: Definition) -> None:
    if not any(code_set.include for code_set in definition.codes.values()):
        raise ConfigurationError(f"{path.name}: definition {definition.name} has no codes.")
    if not definition.complete and not (definition.finding and definition.site):
        raise ConfigurationError(
            f"{path.name}: definition {definition.name} has no terms; give finding and site terms, "
            "or complete terms."
        )


def _refuse_overlap(definitions: Sequence[Definition]) -> None:
    owners: dict[tuple[str, str], str] = {}
    for definition in definitions:
        claims = [("term", term) for term in (*definition.site, *definition.complete)]
        claims += [
            (vocabulary, entry.code.replace(".", "").upper())
            for vocabulary, code_set in definition.codes.items()
            for entry in code_set.include
        ]
        for claim in claims:
            owner = owners.setdefault(claim, definition.name)
            if owner != definition.name:
                raise ConfigurationError(
                    f"Definitions {owner} and {definition.name} overlap: both claim "
                    f"{claim[0]} {claim[1]!r}. Leave it to one of them."
                )
