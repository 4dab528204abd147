"""Rules are data with examples: every example is run, and a rule without examples is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlp_labeling.data_file import read_file
from nlp_labeling.definition import files_hash
from nlp_labeling.mentions import labeler
from nlp_labeling.rule import Rule, expand_phrase, load_rules, parse_rules
from nlp_labeling.rule_examples import failing_examples
from warehouse_schema.errors import ConfigurationError

RULES = load_rules().rules


@pytest.mark.parametrize("rule", RULES, ids=[rule.id for rule in RULES])
def test_examples(rule: Rule) -> None:
    assert failing_examples(labeler(), rule) == []


GOOD = """
[[rule]]
id = "one"
category = "negated"
phrases = ["no"]
positive = ["no rib fracture"]
negative = ["rib fracture"]
"""

BAD = [
    (
        GOOD.replace('positive = ["no rib fracture"]', ""),
        "line 2, column 1: 'positive' is missing",
    ),
    (GOOD.replace('["rib fracture"]', "[]"), "line 7, column 1: 'negative': List should have"),
    (GOOD.replace('"negated"', '"denied"'), "line 4, column 1: 'category' is 'denied': Input"),
    (GOOD + GOOD, "line 10, column 1: rule id 'one' is used twice; test_bad"),
    (GOOD + "max_word = 1\n", "line 8, column 1: unknown key 'max_word'; did you mean 'max_words'"),
    (GOOD + "colour = 1\n", "line 8, column 1: unknown key 'colour'"),
    (
        GOOD + 'max_words = "1"\n',
        "line 8, column 1: 'max_words' is '1': Input should",
    ),
    (GOOD + 'direction = "sideways"\n', "line 8, column 1: 'direction' is 'sideways'"),
    (
        GOOD.replace('["no"]', '["no",\n  "not (a|b"]'),
        r"line 6, column 3: phrase .* bracket \( has",
    ),
    (
        GOOD.replace('["no"]', '["in <yer>"]'),
        "line 5, column 12: phrase .* <yer> stands",
    ),
    (GOOD.replace('["no"]', '["[no]"]'), "line 5, column 12: phrase .* all of it is optional"),
    (GOOD.replace('["no"]', '[""]'), "line 5, column 12: 'phrases' is '': String should have"),
    ("[[rule]\nid = 1", r"rules.toml: not valid TOML: .* \(at line 1, column 7\)"),
    ("[words]\nleft = [1]", "line 2, column 9: 'left' is 1: Input should be a valid string"),
]


@pytest.mark.parametrize(("body", "message"), BAD)
def test_bad_rule_file_is_refused(tmp_path: Path, body: str, message: str) -> None:
    (tmp_path / "rules.toml").write_text(body, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=message):
        parse_rules([read_file(tmp_path / "rules.toml")])


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_bytes(GOOD.encode() + b'why = "caf\xe9"\n')
    with pytest.raises(ConfigurationError, match="line 8, column 11: not UTF-8"):
        read_file(tmp_path / "rules.toml")


def test_phrases_are_written_out() -> None:
    assert sorted(expand_phrase("no (sign|evidence) [at all]")) == [
        "no evidence",
        "no evidence at all",
        "no sign",
        "no sign at all",
    ]


def test_hash_follows_every_byte_but_line_ends(tmp_path: Path) -> None:
    def hashed(body: bytes) -> str:
        (tmp_path / "a.toml").write_bytes(body)
        return files_hash([read_file(tmp_path / "a.toml")])

    body = GOOD.encode()
    assert hashed(body) == hashed(body.replace(b"\n", b"\r\n"))
    assert hashed(body) != hashed(body + b"# changed\n")
