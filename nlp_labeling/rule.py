"""Context, section and anatomy rules: versioned data in ``rules/*.toml``, examples beside each.

A phrase may hold alternatives ``(a|b)`` and optional parts ``[c]``; both are written out when the
rules are read. ``<year>`` and ``<n>`` stand for numbers, ``<end>`` for the end of a clause. A rule
without positive and negative examples is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from nlp_labeling.data_file import SHIPPED, DataFile, list_files, read_file

CONTEXT_CATEGORIES = (
    "pseudo",
    "affirmed",
    "uncertain",
    "historical",
    "family",
    "hypothetical",
    "negated",
    "terminator",
)
ACUITY_CATEGORIES = ("age_unknown", "acute", "healing", "old")
OTHER_CATEGORIES = (
    "displaced",
    "nondisplaced",
    "other_site",
    "excluded_modifier",
    "normal_site",
    "section",
)
CATEGORIES = CONTEXT_CATEGORIES + ACUITY_CATEGORIES + OTHER_CATEGORIES
DIRECTIONS = ("forward", "backward", "both")
END_MARK = "<end>"
_PLACEHOLDERS = {
    "<year>": r"(?:19|20)\d\d",
    "<n>": r"\d{1,3}",
    END_MARK: r"(?=\s*(?:[.,;)!。]|\Z))",
}
_MARK = re.compile(r"<\w+>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One cue, heading or anatomy list.

    ``max_words`` bounds the scope in words (0: to the clause's end); ``stops_at`` names characters
    or words that end this rule's scope on top of the terminators; ``ignores`` names terminators
    that do not end it, or a category that it overrides. ``path`` and ``order`` tell the file and
    the place in it, from 0.
    """

    id: str
    category: str
    direction: str
    phrases: tuple[str, ...]
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    max_words: int = 0
    stops_at: tuple[str, ...] = ()
    section: str = ""
    ignores: frozenset[str] = frozenset()
    is_weak: bool = False
    why: str = ""
    path: Path = field(default=SHIPPED, compare=False)
    order: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules and word lists of a folder."""

    rules: tuple[Rule, ...]
    words: Mapping[str, tuple[str, ...]]

    def of(self, *categories: str) -> tuple[Rule, ...]:
        """The rules of some categories, in file order."""
        return tuple(rule for rule in self.rules if rule.category in categories)


@cache
def load_rules(own: Path | None = None) -> RuleSet:
    """Every shipped rule, or what ``own``/rules makes of them: see ``list_files``.

    Raises:
        ConfigurationError: a file is not TOML, a key, category or phrase is not allowed, a rule
            lacks phrases or examples (place named), or an id or word list stands twice.
    """
    return parse_rules([read_file(path) for path in list_files("rules", own)])


def parse_rules(files: Sequence[DataFile]) -> RuleSet:
    """The rules of some files; raises as ``load_rules`` does."""
    rules: list[Rule] = []
    words: dict[str, tuple[str, ...]] = {}
    owners: dict[str, str] = {}
    for file in files:
        body = file.checked(_RuleFile)
        for order, entry in enumerate(body.rule):
            rule = _rule(file, order, entry)
            _claim(owners, f"rule id {rule.id!r}", file, ("rule", order, "id"))
            rules.append(rule)
        for name, values in body.words.items():
            _claim(owners, f"word list {name!r}", file, ("words", name))
            words[name] = tuple(values)
    return RuleSet(tuple(rules), words)


def expand_phrase(phrase: str) -> list[str]:
    """``"no (sign|evidence) [at all]"`` to all four plain phrases."""
    match = re.search(r"(?<!\\)[(\[]([^()\[\]]*?)(?<!\\)[)\]]", phrase)
    if not match:
        return [" ".join(phrase.replace("\\", "").split())]
    choices = match.group(1).split("|")
    if match.group().startswith("["):
        choices.append("")
    head, tail = phrase[: match.start()], phrase[match.end() :]
    return [done for choice in choices for done in expand_phrase(head + choice + tail)]


def expand_phrases(phrases: Iterable[str]) -> list[str]:
    """Many phrases written out."""
    return [done for phrase in phrases for done in expand_phrase(phrase) if done]


def phrase_pattern(phrases: Iterable[str]) -> str:
    """A regular expression that finds the longest of many phrases, words bounded, spaces free."""
    bounded: list[str] = []
    free: list[str] = []
    for phrase in phrases:
        first = phrase[:1]
        is_word = first.isascii() and (first.isalnum() or first == "<")
        (bounded if is_word else free).append(phrase)
    parts = []
    if bounded:
        first = "".join(sorted({phrase[0] for phrase in bounded} - {"<"}))
        digit = r"\d" if any(phrase[0] == "<" for phrase in bounded) else ""
        parts.append(rf"(?=[{first}{digit}])(?<![a-z0-9])(?:{_trie_pattern(bounded)})")
    if free:
        # A look at the first character spares trying every branch at every place.
        first = "".join(re.escape(mark) for mark in sorted({phrase[0] for phrase in free}))
        parts.append(rf"(?=[{first}])(?:{_trie_pattern(free)})")
    return "|".join(parts) if parts else r"(?!)"


def phrase_key(found: str) -> str:
    """What a phrase or its match is called in a dictionary of phrases."""
    if found.isalnum():
        return found
    return " ".join(found.removesuffix(END_MARK).split())


Text = Annotated[StrictStr, Field(min_length=1)]
Texts = Annotated[list[Text], Field(min_length=1)]


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: Text
    category: Literal[CATEGORIES]  # type: ignore[valid-type]
    direction: Literal[DIRECTIONS] = "forward"  # type: ignore[valid-type]
    phrases: Texts
    positive: Texts
    negative: Texts
    max_words: StrictInt = Field(0, ge=0)
    stops_at: list[Text] = []
    section: StrictStr = ""
    why: StrictStr = ""
    ignores: list[Text] = []
    is_weak: StrictBool = False


class _RuleFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    rule: list[_Rule] = []
    words: dict[str, list[Text]] = {}


def _rule(file: DataFile, order: int, entry: _Rule) -> Rule:
    for place, phrase in enumerate(entry.phrases):
        fault = _phrase_fault(phrase)
        if fault:
            raise file.error(("rule", order, "phrases", place), f"phrase {phrase!r}: {fault}.")
    phrases = dict.fromkeys(
        done.lower() for phrase in entry.phrases for done in expand_phrase(phrase) if done
    )
    return Rule(
        id=entry.id,
        category=entry.category,
        direction=entry.direction,
        phrases=tuple(phrases),
        positive=tuple(entry.positive),
        negative=tuple(entry.negative),
        max_words=entry.max_words,
        stops_at=tuple(entry.stops_at),
        section=entry.section,
        ignores=frozenset(entry.ignores),
        is_weak=entry.is_weak,
        why=entry.why,
        path=file.path,
        order=order,
    )


def _claim(owners: dict[str, str], what: str, file: DataFile, key: tuple[str | int, ...]) -> None:
    if what in owners:
        raise file.error(key, f"{what} is used twice; {owners[what]} has it too. Rename one.")
    owners[what] = file.name


def _phrase_fault(phrase: str) -> str:
    unknown = sorted(set(_MARK.findall(phrase)) - _PLACEHOLDERS.keys())
    if unknown:
        return f"{unknown[0]} stands for nothing; allowed are {', '.join(_PLACEHOLDERS)}"
    if not all(" ".join(done.split()) for done in expand_phrase(phrase)):
        return "all of it is optional"
    rest = re.sub(r"\\.", "", phrase)
    while (shorter := re.sub(r"\([^()\[\]]*\)|\[[^()\[\]]*\]", "", rest)) != rest:
        rest = shorter
    bracket = re.search(r"[()\[\]]", rest)
    return f"bracket {bracket.group()} has no partner" if bracket else ""


def _trie_pattern(phrases: Sequence[str]) -> str:
    """A trie as a regular expression: time grows with the text, not with the number of phrases."""
    trie: dict[str, Any] = {}
    for phrase in phrases:
        node = trie
        for token in re.findall(r"<\w+>|\s+|.", phrase):
            node = node.setdefault(token, {})
        node[""] = phrase
    return _trie_node(trie)


def _trie_node(node: Mapping[str, Any]) -> str:
    branches = []
    for token, child in node.items():
        if token:
            head = r"\s+" if token.isspace() else _PLACEHOLDERS.get(token, re.escape(token))
            branches.append(head + _trie_node(child))
    end = ""
    if "" in node:
        phrase: str = node[""]
        end = (
            r"(?![a-z0-9])"
            if phrase[-1].isascii() and (phrase[-1].isalnum() or phrase[-1] == ">")
            else ""
        )
        if not branches:
            return end
        branches.append(end)
    return branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"
