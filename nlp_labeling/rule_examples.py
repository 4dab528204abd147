"""The examples beside each rule, run: a rule fires in its positive ones and in no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nlp_labeling.data_file import SHIPPED, read_file
from nlp_labeling.note_text import fold_note
from nlp_labeling.rule import Rule

if TYPE_CHECKING:
    from nlp_labeling.mentions import Labeler

_ANATOMY = ("other_site", "excluded_modifier")
_SCOPE = ("pseudo", "terminator")


def failing_examples(labels: Labeler, rule: Rule) -> list[tuple[str, int]]:
    """The examples that a labeler does not read as the rule says: ("positive", place) and so on.

    Anatomy is proved by mentions that are not there, a pseudo-cue or terminator by one that is not
    absent; any other rule by its id among those of a mention.
    """
    failing = []
    for side, examples in (("positive", rule.positive), ("negative", rule.negative)):
        for place, text in enumerate(examples):
            if not _reads(labels, rule, text, is_positive=side == "positive"):
                failing.append((side, place))
    return failing


def check_own_examples(labels: Labeler) -> None:
    """Run the examples of rules that were not shipped.

    Raises:
        ConfigurationError: one is not read as its rule says; its place is named.
    """
    for rule in labels.rules.rules:
        if rule.path.parent == SHIPPED / "rules":
            continue
        for side, place in failing_examples(labels, rule):
            says = "does not fire in" if side == "positive" else "fires in"
            raise read_file(rule.path).error(
                ("rule", rule.order, side, place), f"rule {rule.id!r} {says} its {side} example."
            )


def _reads(labels: Labeler, rule: Rule, text: str, *, is_positive: bool) -> bool:
    mentions = labels.mentions(text)
    if rule.category in _ANATOMY:
        return bool(mentions) != is_positive
    cues = labels.context.cues(fold_note(text).folded)
    is_cue = any(one.id == rule.id for cue in cues for one in cue.rules)
    if is_positive and rule.category in _SCOPE:
        return is_cue and bool(mentions) and all(one.assertion != "absent" for one in mentions)
    if rule.category == "pseudo":
        return not is_cue
    return any(rule.id in mention.rule_ids for mention in mentions) == is_positive
