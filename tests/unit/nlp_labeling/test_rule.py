"""Rules are data with examples: every example is run, and a rule without examples is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlp_labeling.definition import read_definitions
from nlp_labeling.mentions import labeler
from nlp_labeling.note_text import fold_note
from nlp_labeling.rule import Rule, definition_hash, expand_phrase, load_rules
from warehouse_schema.errors import ConfigurationError

RULES = load_rules().rules
SCOPE = ("pseudo", "terminator")
ANATOMY = ("other_site", "excluded_modifier")


def fired_ids(text: str) -> set[str]:
    return {rule_id for mention in labeler().mentions(text) for rule_id in mention.rule_ids}


def cue_ids(text: str) -> set[str]:
    cues = labeler().context.cues(fold_note(text).folded)
    return {rule.id for cue in cues for rule in cue.rules}


@pytest.mark.parametrize("rule", RULES, ids=[rule.id for rule in RULES])
def test_positive_examples(rule: Rule) -> None:
    for example in rule.positive:
        mentions = labeler().mentions(example)
        if rule.category in ANATOMY:
            assert not mentions, example
        elif rule.category in SCOPE:
            assert rule.id in cue_ids(example), example
            assert mentions, example
            assert all(mention.assertion != "absent" for mention in mentions), example
        else:
            assert rule.id in fired_ids(example), example


@pytest.mark.parametrize("rule", RULES, ids=[rule.id for rule in RULES])
def test_negative_examples(rule: Rule) -> None:
    for example in rule.negative:
        if rule.category in ANATOMY:
            assert labeler().mentions(example), example
        elif rule.category == "pseudo":
            assert rule.id not in cue_ids(example), example
        else:
            assert rule.id not in fired_ids(example), example


GOOD = """
[[rule]]
id = "one"
category = "negated"
phrases = ["no"]
positive = ["no rib fracture"]
negative = ["rib fracture"]
"""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (GOOD.replace('positive = ["no rib fracture"]', ""), "has no positive"),
        (GOOD.replace('negative = ["rib fracture"]', "negative = []"), "has no negative"),
        (GOOD.replace('"negated"', '"denied"'), "category 'denied' is unknown"),
        (GOOD + GOOD, "used twice"),
        (GOOD + "colour = 1\n", "unknown keys colour"),
        (GOOD + 'direction = "sideways"\n', "direction 'sideways' is unknown"),
        ("[[rule]\nid = 1", "line 1, column"),
        ("", "No rules"),
    ],
)
def test_bad_rule_file_is_refused(tmp_path: Path, body: str, message: str) -> None:
    (tmp_path / "rules.toml").write_text(body, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=message):
        load_rules(tmp_path)


def test_phrases_are_written_out() -> None:
    assert sorted(expand_phrase("no (sign|evidence) [at all]")) == [
        "no evidence",
        "no evidence at all",
        "no sign",
        "no sign at all",
    ]


def test_hash_follows_every_file(tmp_path: Path) -> None:
    definitions, rules = tmp_path / "definitions", tmp_path / "rules"
    definitions.mkdir()
    rules.mkdir()
    (rules / "a.toml").write_text(GOOD, encoding="utf-8")
    before = definition_hash(definitions, rules)
    definition_hash.cache_clear()
    (rules / "a.toml").write_text(GOOD + "# changed\n", encoding="utf-8")
    assert definition_hash(definitions, rules) != before
    definition_hash.cache_clear()


SHIPPED = Path(__file__).parents[3] / "nlp_labeling" / "definitions" / "rib_fracture.toml"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[codes.ICD9CM]", "[codes.ICD8]"), "vocabulary 'ICD8' is unknown"),
        (('reason = "birth"', 'reason = "odd"'), "reason 'odd'"),
        (('status = "initial"', 'status = "odd"'), "status 'odd'"),
        (("title =", "title = ="), "line 3, column"),
        (('name = "rib_fracture"', ""), "'name' is missing"),
        (("site = [", "site = []\nignored = ["), None),
    ],
)
def test_bad_definition_is_refused(
    tmp_path: Path, change: tuple[str, str], message: str | None
) -> None:
    body = SHIPPED.read_text(encoding="utf-8").replace(*change)
    if message is None:
        body = body.replace('"flail chest", "flail segment"', "").replace(
            'complete = [\n  , "flail chest wall", "連枷胸", "连枷胸",\n]', "complete = []"
        )
        message = "has no terms"
    (tmp_path / "rib.toml").write_text(body, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=message):
        read_definitions(tmp_path)


def test_definition_without_codes_is_refused(tmp_path: Path) -> None:
    body = SHIPPED.read_text(encoding="utf-8")
    head, tail = body[: body.index("[codes.ICD9CM]")], body[body.index("[linkage]") :]
    (tmp_path / "rib.toml").write_text(head + "[codes.ICD10]\ninclude = []\n" + tail, "utf-8")
    with pytest.raises(ConfigurationError, match="has no codes"):
        read_definitions(tmp_path)


def test_overlapping_definitions_are_refused(tmp_path: Path) -> None:
    body = SHIPPED.read_text(encoding="utf-8")
    (tmp_path / "a.toml").write_text(body, encoding="utf-8")
    (tmp_path / "b.toml").write_text(
        body.replace('name = "rib_fracture"', 'name = "costal_fracture"'), encoding="utf-8"
    )
    with pytest.raises(ConfigurationError, match="overlap"):
        read_definitions(tmp_path)
