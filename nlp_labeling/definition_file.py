"""The form of a definition file, and what in one is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    field_validator,
)

from nlp_labeling.data_file import DataFile, Key
from nlp_labeling.vocabulary import is_parsable, normalize_code

TERM_KINDS = ("finding", "finding_weak", "site", "site_weak", "complete")
Name = Annotated[StrictStr, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Text = Annotated[StrictStr, Field(pattern=r"\S")]
Hours = Annotated[StrictInt, Field(ge=0)]
Weight = Annotated[StrictFloat, Field(ge=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Terms(_Section):
    """Words of a finding and its site; see ``definitions/rib_fracture.toml``."""

    finding: list[Text] = []
    finding_weak: list[Text] = []
    site: list[Text] = []
    site_weak: list[Text] = []
    complete: list[Text] = []
    site_not_before: list[Text] = []
    normal: StrictBool = False
    numbered: StrictBool = False


class IncludedBranch(_Section):
    """A branch of codes that mean the finding."""

    code: Text
    status: Literal["initial", "subsequent", "sequela", "seventh_character"]
    wound: Literal["closed", "open", "unknown", "fifth_character"] = "unknown"
    title: StrictStr = ""


class ExcludedBranch(_Section):
    """A branch of codes that do not, and why."""

    code: Text
    reason: Literal[
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
    ]
    title: StrictStr = ""


class Sides(_Section):
    """Patterns over normalised codes."""

    left: StrictStr | None = None
    right: StrictStr | None = None
    bilateral: StrictStr | None = None

    @field_validator("*")
    @classmethod
    def _is_pattern(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from None
        return value


class Codes(_Section):
    """The branches of one vocabulary."""

    include: list[IncludedBranch] = []
    exclude: list[ExcludedBranch] = []
    sides: Sides = Sides()


class Vocabularies(_Section):
    """The code sets; one at least."""

    icd9cm: Codes | None = Field(None, alias="ICD9CM")
    icd10cm: Codes | None = Field(None, alias="ICD10CM")
    icd10: Codes | None = Field(None, alias="ICD10")

    def given(self) -> dict[str, Codes]:
        """The code sets that are there, by vocabulary."""
        names = {"ICD9CM": self.icd9cm, "ICD10CM": self.icd10cm, "ICD10": self.icd10}
        return {name: codes for name, codes in names.items() if codes is not None}


Reason = Literal["accession", "contains", "window"]


class LinkageSection(_Section):
    """The window around the study, and the names of ``etl.cohorts.linkage`` that order stays."""

    hours_before_study: Hours
    hours_after_study: Hours
    closed_days_before_negative: Hours
    prefer: list[Reason]
    ties: list[Literal["nearest", "latest_start", "earliest_start"]]

    @field_validator("prefer")
    @classmethod
    def _names_each(cls, value: list[Reason]) -> list[Reason]:
        if sorted(value) != sorted(get_args(Reason)):
            raise ValueError(f"give {', '.join(get_args(Reason))}, each once")
        return value


class Weights(_Section):
    """How far one piece of evidence moves the score."""

    chest_film_report: Weight
    other_imaging_report: Weight
    clinical_note: Weight
    code_principal: Weight
    code_secondary: Weight


class DefinitionFile(_Section):
    """One finding."""

    name: Name
    title: Text
    version: Text
    shares_with: list[Name] = []
    terms: Terms
    codes: Vocabularies
    linkage: LinkageSection
    weights: Weights


def check_definition(file: DataFile, body: DefinitionFile) -> None:
    """Refuse a definition that could find nothing, or that contradicts itself.

    Raises:
        ConfigurationError: it has no codes or no terms, a code is none of its vocabulary or stands
            in two places, or a term is of two kinds.
    """
    sets = body.codes.given()
    if not any(code_set.include for code_set in sets.values()):
        raise file.error(("codes",), f"definition {body.name} has no codes; include a branch.")
    terms = body.terms
    if not terms.complete and not (terms.finding and terms.site):
        raise file.error(
            ("terms",),
            f"definition {body.name} has no terms; give finding and site terms, or complete terms.",
        )
    _check_terms(file, terms)
    for vocabulary, code_set in sets.items():
        _check_codes(file, vocabulary, code_set)


def _check_terms(file: DataFile, terms: Terms) -> None:
    kinds: dict[str, str] = {}
    for kind in TERM_KINDS:
        for order, term in enumerate(getattr(terms, kind)):
            known = kinds.setdefault(term.strip().lower(), kind)
            if known != kind:
                raise file.error(
                    ("terms", kind, order),
                    f"term {term!r} is in {known} and in {kind}; leave it in one.",
                )


def _check_codes(file: DataFile, vocabulary: str, code_set: Codes) -> None:
    places: dict[str, str] = {}
    sides: dict[str, Sequence[IncludedBranch | ExcludedBranch]] = {
        "include": code_set.include,
        "exclude": code_set.exclude,
    }
    for side, branches in sides.items():
        for order, branch in enumerate(branches):
            key: Key = ("codes", vocabulary, side, order, "code")
            if not is_parsable(branch.code, vocabulary):
                raise file.error(key, f"code {branch.code!r} is no code of {vocabulary}.")
            if places.setdefault(normalize_code(branch.code), side) != side:
                raise file.error(key, f"code {branch.code} is included and excluded.")
