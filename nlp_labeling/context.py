"""What a sentence says about a target: present, absent or uncertain, when, of whom, and how sure.

The one context component of the project: the labeler, the spaCy pipeline and the NegEx benchmark
all call ``ContextRules.assess``. It follows ConText (Harkema 2009, PMID 19435614): cues with a
direction and a scope, scopes that end at terminators, pseudo-cues that look like cues and are none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from nlp_labeling.phrases import Phrases
from nlp_labeling.rule import (
    CONTEXT_CATEGORIES,
    END_MARK,
    Rule,
    RuleSet,
    phrase_key,
    phrase_pattern,
)

_WORD = re.compile(r"[a-z0-9']+|[\u3400-\u9fff]")
_YEAR = re.compile(r"(?:19|20)\d\d")
_CLAUSE_END = re.compile(r"\s*(?:[.,;)!。]|\Z)")
_NUMBER = re.compile(r"\d+")
_RAISED_BY = re.compile(
    r"to\s+(?:suggest|indicate)|suggest(?:ing|ive)|suspicious\s+(?:for|of)|concerning\s+for|"
    r"worrisome\s+for"
)
_DENIED_NOUN_WORDS = 8


class Cue(NamedTuple):
    """A phrase of one or more rules, found in a sentence."""

    start: int
    end: int
    rules: tuple[Rule, ...]


class Context(NamedTuple):
    """The verdict on one target. ``scope`` runs from cue to target; rule ids in firing order."""

    assertion: str
    temporality: str
    experiencer: str
    is_hypothetical: bool
    cue_start: int
    cue_end: int
    scope_start: int
    scope_end: int
    cue_rule_id: str
    rule_ids: tuple[str, ...]


class ContextRules:
    """The compiled cues of a rule set."""

    def __init__(self, rules: RuleSet) -> None:
        self._by_phrase: dict[str, tuple[Rule, ...]] = {}
        self._at_end: dict[str, tuple[Rule, ...]] = {}
        for rule in rules.of(*CONTEXT_CATEGORIES):
            for phrase in rule.phrases:
                known = self._at_end if phrase.endswith(END_MARK) else self._by_phrase
                key = phrase_key(phrase)
                known[key] = (*known.get(key, ()), rule)
        phrases = [p for rule in rules.of(*CONTEXT_CATEGORIES) for p in rule.phrases]
        self._phrases = Phrases(dict.fromkeys(phrases))
        self._stops = {
            rule.id: re.compile(phrase_pattern(rule.stops_at))
            for rule in rules.rules
            if rule.stops_at
        }

    def cues(self, sentence: str) -> list[Cue]:
        """The longest cues of a folded sentence, left to right, without overlap."""
        found = []
        for match in self._phrases.finditer(sentence):
            rules = self._rules_of(match.group())
            if self._at_end and _CLAUSE_END.match(sentence, match.end()):
                rules = (*rules, *self._at_end.get(phrase_key(match.group()), ()))
            if rules:
                found.append(Cue(match.start(), match.end(), rules))
        return found

    def assess(
        self, sentence: str, start: int, end: int, cues: Sequence[Cue], mark_end: int | None = None
    ) -> Context:
        """The context of ``sentence[start:end]``.

        ``mark_end`` is where marks such as (+) may follow if that is not ``end``.
        """
        if any(cue.start < start < cue.end or cue.start < end < cue.end for cue in cues):
            cues = self._cues_outside(sentence, start, end)
        fired = self._fired(sentence, start, end, cues, mark_end if mark_end else end)
        assertion, deciding = self._assertion(sentence, start, fired)
        categories = {rule.category for _, rule in fired}
        ids = dict.fromkeys(
            rule.id
            for _, rule in fired
            if rule.category not in ("negated", "uncertain", "affirmed") or rule is deciding[1]
        )
        cue = deciding[0]
        return Context(
            assertion=assertion,
            temporality="historical" if "historical" in categories else "recent",
            experiencer="family" if "family" in categories else "patient",
            is_hypothetical="hypothetical" in categories
            and not (deciding[1] and "hypothetical" in deciding[1].ignores),
            cue_start=cue.start if cue else -1,
            cue_end=cue.end if cue else -1,
            scope_start=min(cue.start, start) if cue else -1,
            scope_end=max(cue.end, end) if cue else -1,
            cue_rule_id=deciding[1].id if deciding[1] else "",
            rule_ids=tuple(ids),
        )

    def _cues_outside(self, sentence: str, start: int, end: int) -> list[Cue]:
        """Cues that do not swallow words of the target: "no" where it is "acute distress"."""
        behind = [
            Cue(cue.start + end, cue.end + end, cue.rules) for cue in self.cues(sentence[end:])
        ]
        return [*self.cues(sentence[:start]), *behind]

    def _rules_of(self, found: str) -> tuple[Rule, ...]:
        key = phrase_key(found)
        rules = self._by_phrase.get(key)
        if rules is None:
            rules = self._by_phrase.get(_NUMBER.sub("<n>", _YEAR.sub("<year>", key)), ())
        return rules

    def _fired(
        self, sentence: str, start: int, end: int, cues: Sequence[Cue], mark_end: int
    ) -> list[tuple[Cue, Rule]]:
        fired = []
        for index, cue in enumerate(cues):
            for rule in cue.rules:
                if rule.category == "terminator":
                    continue
                is_before = cue.end <= start
                is_after = cue.start >= end
                if is_before and rule.direction in ("forward", "both"):
                    between = cues[index + 1 :]
                    low, high = cue.end, start
                elif is_after and rule.direction in ("backward", "both"):
                    between = cues[:index]
                    low, high = end, cue.start
                    if mark_end > end and cue.start >= mark_end and rule.max_words == 1:
                        low = mark_end
                else:
                    continue
                if not self._is_cut(sentence, rule, low, high, between):
                    fired.append((cue, rule))
        return fired

    def _is_cut(
        self, sentence: str, rule: Rule, low: int, high: int, between: Sequence[Cue]
    ) -> bool:
        for other in between:
            is_end = any(
                one.category == "terminator" and one.id not in rule.ignores for one in other.rules
            )
            if is_end and low <= other.start and other.end <= high:
                return True
        gap = sentence[low:high]
        if rule.max_words and len(_WORD.findall(gap)) >= rule.max_words:
            return True
        stops = self._stops.get(rule.id)
        return stops is not None and stops.search(gap) is not None

    def _assertion(
        self, sentence: str, start: int, fired: Sequence[tuple[Cue, Rule]]
    ) -> tuple[str, tuple[Cue | None, Rule | None]]:
        for cue, rule in fired:
            if rule.category == "affirmed":
                return "present", (cue, rule)
        deciding = [(c, r) for c, r in fired if r.category in ("negated", "uncertain")]
        before = [pair for pair in deciding if pair[0].end <= start]
        after = [pair for pair in deciding if pair[0].end > start]
        if after and after[0][1].category == "negated":
            is_final = "uncertain" in after[0][1].ignores
            before = [] if is_final else [pair for pair in before if not pair[1].is_weak]
        if before and before[-1][1].category == "negated":
            after = [pair for pair in after if not pair[1].is_weak]
        chosen = before[-1:] + after[:1]
        if len(before) > 1 and self._is_denied_doubt(sentence, before[-2], before[-1]):
            chosen = before[-2:-1] + after[:1]
        for category, assertion in (("uncertain", "uncertain"), ("negated", "absent")):
            for cue, rule in chosen:
                if rule.category == category:
                    return assertion, (cue, rule)
        return "present", (None, None)

    def _is_denied_doubt(
        self, sentence: str, first: tuple[Cue, Rule], second: tuple[Cue, Rule]
    ) -> bool:
        """ "No suspected fracture" is a denial, "cannot exclude" alone a doubt.

        "No lucency suspicious for fracture" denies what would raise the doubt.
        """
        if first[1].category != "negated" or second[1].category != "uncertain":
            return False
        gap = sentence[first[0].end : second[0].start]
        if "," in gap:
            return False
        is_about_denied = _RAISED_BY.match(sentence, second[0].start) is not None
        return len(_WORD.findall(gap)) <= (_DENIED_NOUN_WORDS if is_about_denied else 1)
