"""Context, section and anatomy rules: versioned data in ``rules/*.toml``, examples beside each.

A phrase may hold alternatives ``(a|b)`` and optional parts ``[c]``; both are written out when the
rules are read. ``<year>`` and ``<n>`` stand for numbers, ``<end>`` for the end of a clause. A rule
without positive and negative examples is refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nlp_labeling.definition import DEFINITION_FOLDER, read_toml
from warehouse_schema.errors import ConfigurationError

RULE_FOLDER = Path(__file__).parent / "rules"
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
_KEYS = frozenset(
    [
        "id",
        "category",
        "direction",
        "phrases",
        "positive",
        "negative",
        "max_words",
        "stops_at",
        "section",
        "why",
        "ignores",
        "is_weak",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One cue, heading or anatomy list.

    ``max_words`` bounds the scope in words (0: to the clause's end); ``stops_at`` names characters
    or words that end this rule's scope on top of the terminators; ``ignores`` names terminators
    that do not end it, or a category that it overrides.
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


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules and word lists of a folder."""

    rules: tuple[Rule, ...]
    words: Mapping[str, tuple[str, ...]]

    def of(self, *categories: str) -> tuple[Rule, ...]:
        """The rules of some categories, in file order."""
        return tuple(rule for rule in self.rules if rule.category in categories)


@cache
def load_rules(folder: Path = RULE_FOLDER) -> RuleSet:
    """Every rule of a folder.

    Raises:
        ConfigurationError: a file is not TOML (line and column named), a rule lacks an id, phrases
            or examples, or an id is used twice.
    """
    rules: list[Rule] = []
    words: dict[str, tuple[str, ...]] = {}
    for path in sorted(folder.glob("*.toml")):
        raw = read_toml(path)
        rules.extend(_rule(path, entry) for entry in raw.get("rule", []))
        words.update({name: tuple(values) for name, values in raw.get("words", {}).items()})
    if not rules:
        raise ConfigurationError(f"No rules in {folder.name}/; add one *.toml file.")
    seen: set[str] = set()
    for rule in rules:
        if rule.id in seen:
            raise ConfigurationError(
                f"Rule id {rule.id!r} is used twice; give one of them a new id."
            )
        seen.add(rule.id)
    return RuleSet(tuple(rules), words)


@cache
def definition_hash(
    definition_folder: Path = DEFINITION_FOLDER, rule_folder: Path = RULE_FOLDER
) -> str:
    """SHA-256 over the bytes of all definition and rule files; stands in every label row."""
    digest = hashlib.sha256()
    for folder in (definition_folder, rule_folder):
        for path in sorted(folder.glob("*.toml")):
            body = path.read_bytes().replace(b"\r\n", b"\n")
            digest.update(f"{folder.name}/{path.name}\0{len(body)}\0".encode())
            digest.update(body)
    return digest.hexdigest()


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
        parts.append(rf"(?<![a-z0-9])(?:{_trie_pattern(bounded)})")
    if free:
        parts.append(_trie_pattern(free))
    return "|".join(parts) if parts else r"(?!)"


def phrase_key(found: str) -> str:
    """What a phrase or its match is called in a dictionary of phrases."""
    return " ".join(found.removesuffix(END_MARK).split())


def _rule(path: Path, entry: Mapping[str, Any]) -> Rule:
    name = f"{path.name}: rule {entry.get('id', '(without id)')!r}"
    unknown = set(entry) - _KEYS
    if unknown:
        raise ConfigurationError(f"{name} has unknown keys {', '.join(sorted(unknown))}.")
    for key in ("id", "category", "phrases", "positive", "negative"):
        if not entry.get(key):
            raise ConfigurationError(
                f"{name} has no {key}; every rule needs an id, a category, phrases, and positive "
                "and "
                "negative examples."
            )
    if entry["category"] not in CATEGORIES:
        raise ConfigurationError(
            f"{name}: category {entry['category']!r} is unknown; allowed are "
            f"{', '.join(CATEGORIES)}."
        )
    direction = entry.get("direction", "forward")
    if direction not in DIRECTIONS:
        raise ConfigurationError(
            f"{name}: direction {direction!r} is unknown; allowed are {', '.join(DIRECTIONS)}."
        )
    phrases = dict.fromkeys(
        done.lower() for phrase in entry["phrases"] for done in expand_phrase(phrase) if done
    )
    return Rule(
        id=entry["id"],
        category=entry["category"],
        direction=direction,
        phrases=tuple(phrases),
        positive=tuple(entry["positive"]),
        negative=tuple(entry["negative"]),
        max_words=int(entry.get("max_words", 0)),
        stops_at=tuple(entry.get("stops_at", [])),
        section=entry.get("section", ""),
        ignores=frozenset(entry.get("ignores", [])),
        is_weak=bool(entry.get("is_weak", False)),
        why=entry.get("why", ""),
    )


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
