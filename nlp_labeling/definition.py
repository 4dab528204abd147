"""Label definitions: one finding each, as data in ``definitions/*.toml``.

A definition holds the terms that make a mention, the diagnosis codes per vocabulary, the linkage
window and the evidence weights. The code below knows no finding by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nlp_labeling.data_file import DataFile, list_files, read_file
from nlp_labeling.definition_file import (
    DefinitionFile,
    ExcludedBranch,
    IncludedBranch,
    Terms,
    check_definition,
)
from nlp_labeling.definition_overlap import refuse_overlap
from nlp_labeling.rule import RuleSet, parse_rules
from nlp_labeling.vocabulary import normalize_code
from warehouse_schema.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class CodePrefix:
    """One branch of a vocabulary's hierarchy: ``code`` and all its descendants.

    ``plain`` is the code normalised. ``status`` or ``wound`` may be a rule for reading them off the
    code: ``seventh_character`` (ICD-10-CM) and ``fifth_character`` (WHO ICD-10: 0 closed, 1 open).
    ``title`` is the official one where no table of the vocabulary is at hand.
    """

    code: str
    plain: str
    status: str = ""
    wound: str = "unknown"
    reason: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeSet:
    """The codes of one vocabulary that mean the finding, and the look-alikes kept out.

    ``sides`` maps left, right and bilateral to a pattern over normalised codes.
    """

    include: tuple[CodePrefix, ...]
    exclude: tuple[CodePrefix, ...]
    sides: Mapping[str, str]

    def branch(self, plain: str) -> CodePrefix | None:
        """The longest branch that holds a normalised code."""
        entries = [e for e in (*self.exclude, *self.include) if plain.startswith(e.plain)]
        return max(entries, key=lambda entry: len(entry.plain), default=None)


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
    shares_with: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Definitions(Sequence[Definition]):
    """Some findings in order of name, the rules their notes are read with, and the hash of both.

    ``definition_hash`` is the SHA-256 over all definition and rule files in force, those of other
    findings included; it stands in every mention, evidence and label row.
    """

    chosen: tuple[Definition, ...]
    rules: RuleSet
    definition_hash: str

    @property
    def findings(self) -> tuple[str, ...]:
        """The names of the definitions."""
        return tuple(definition.name for definition in self.chosen)

    def only(self, findings: Sequence[str] | None) -> Definitions:
        """The definitions named in ``findings``; all of them for None.

        Raises:
            ConfigurationError: a finding has no definition.
        """
        if findings is None:
            return self
        by_name = {definition.name: definition for definition in self.chosen}
        unknown = sorted(set(findings) - by_name.keys())
        if unknown or not findings:
            raise ConfigurationError(
                f"findings: {', '.join(unknown) or 'empty'} has no definition; known are "
                f"{', '.join(sorted(by_name))}. A new one is a file definitions/NAME.toml in the "
                "rules_folder."
            )
        chosen = tuple(by_name[name] for name in sorted(set(findings)))
        return Definitions(chosen, self.rules, self.definition_hash)

    def __getitem__(self, index: int) -> Definition:  # type: ignore[override]
        """One definition by its place."""
        return self.chosen[index]

    def __iter__(self) -> Iterator[Definition]:
        """All of them."""
        return iter(self.chosen)

    def __len__(self) -> int:
        """Number of findings."""
        return len(self.chosen)

    def __eq__(self, other: object) -> bool:
        """Equal where files and findings are."""
        return isinstance(other, Definitions) and self._key() == other._key()

    def __hash__(self) -> int:
        """By files and findings."""
        return hash(self._key())

    def _key(self) -> tuple[str, tuple[str, ...]]:
        return self.definition_hash, self.findings


def load_definitions(
    findings: Sequence[str] | None = None, *, folder: Path | None = None
) -> Definitions:
    """The definitions named in ``findings`` (all for None) in order of name, with the rules.

    Args:
        findings: Names of findings.
        folder: A hospital's own folder with ``definitions/*.toml`` and ``rules/*.toml``. They are
            added to the shipped ones; a file takes the place of the shipped one of its name.

    Raises:
        ConfigurationError: a finding has no definition; a file is not TOML or holds a key or value
            that is not allowed (line and column named); a definition lacks codes or terms; or two
            definitions claim one term or one code.
    """
    return _read(folder).only(findings)


@cache
def _read(folder: Path | None) -> Definitions:
    definition_files = [read_file(path) for path in list_files("definitions", folder)]
    rule_files = [read_file(path) for path in list_files("rules", folder)]
    read = [(file, _definition(file)) for file in definition_files]
    refuse_overlap(read)
    return Definitions(
        tuple(sorted((definition for _, definition in read), key=lambda one: one.name)),
        parse_rules(rule_files),
        files_hash([*definition_files, *rule_files]),
    )


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


def files_hash(files: Sequence[DataFile]) -> str:
    """SHA-256 over names and bytes of files, whatever their line ends."""
    digest = hashlib.sha256()
    for file in files:
        body = file.content.replace(b"\r\n", b"\n")
        digest.update(f"{file.name}\0{len(body)}\0".encode())
        digest.update(body)
    return digest.hexdigest()


def _definition(file: DataFile) -> Definition:
    body = file.checked(DefinitionFile)
    check_definition(file, body)
    terms = body.terms
    return Definition(
        name=body.name,
        title=body.title,
        version=body.version,
        finding=_terms(terms, "finding"),
        finding_weak=_terms(terms, "finding_weak"),
        site=_terms(terms, "site"),
        site_weak=_terms(terms, "site_weak"),
        complete=_terms(terms, "complete"),
        site_not_before=_terms(terms, "site_not_before"),
        is_normal_site_negative=terms.normal,
        is_numbered=terms.numbered,
        codes={
            vocabulary: CodeSet(
                include=tuple(_prefix(entry) for entry in code_set.include),
                exclude=tuple(_prefix(entry) for entry in code_set.exclude),
                sides=code_set.sides.model_dump(exclude_none=True),
            )
            for vocabulary, code_set in body.codes.given().items()
        },
        linkage=Linkage(
            hours_before_study=body.linkage.hours_before_study,
            hours_after_study=body.linkage.hours_after_study,
            closed_days_before_negative=body.linkage.closed_days_before_negative,
            prefer=tuple(body.linkage.prefer),
            ties=tuple(body.linkage.ties),
        ),
        weights=body.weights.model_dump(),
        shares_with=tuple(body.shares_with),
    )


def _prefix(entry: IncludedBranch | ExcludedBranch) -> CodePrefix:
    return CodePrefix(plain=normalize_code(entry.code), **entry.model_dump())


def _terms(terms: Terms, name: str) -> tuple[str, ...]:
    return tuple(term.strip().lower() for term in getattr(terms, name))
