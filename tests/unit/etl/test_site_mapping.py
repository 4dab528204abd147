from pathlib import Path

import pytest

from etl.records.site_mapping import Value, list_site_mappings, load_site_mapping
from warehouse_schema.errors import ConfigurationError

COMPLETE = """
name = "own"
meaning = "Own site."
[patients]
table = "p"
patient = "no"
[encounters]
table = "v"
encounter = "v"
patient = "no"
start = "s"
encounter_class = { constant = "other" }
"""


def test_the_shipped_mappings_load_and_are_named_like_their_files() -> None:
    names = list_site_mappings()
    assert {"mimic_iii", "omop_cdm_5_4", "synthetic_hospital"} <= set(names)
    assert [load_site_mapping(name).name for name in names] == names


def test_a_site_loads_its_own_file(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(COMPLETE)
    assert load_site_mapping(tmp_path / "own.toml").patients.table == "p"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("= =", "not valid TOML"),
        ('colour = "red"', "colour: Extra inputs"),
        ('encoding = "klingon"', "no text encoding"),
        ('time_zone = "Mars/Olympus"', "no IANA time zone"),
        ('datetime_formats = ["%d.%m.%y"]', "set two_digit_year_from"),
        ('notes = [{ table = "n" }]', "notes.0.note: Field required"),
    ],
)
def test_a_malformed_mapping_names_the_key(tmp_path: Path, change: str, message: str) -> None:
    (tmp_path / "own.toml").write_text(change + "\n" + COMPLETE)
    with pytest.raises(ConfigurationError, match=message):
        load_site_mapping(tmp_path / "own.toml")


def test_an_unknown_mapping_lists_the_shipped_ones() -> None:
    with pytest.raises(ConfigurationError, match="mimic_iii, mimic_iv, omop_cdm_5_4"):
        load_site_mapping("nowhere")


@pytest.mark.parametrize(
    ("value", "parts", "expected"),
    [
        ({"constant": "x"}, [], "x"),
        ("kind", [" RAD "], "RAD"),
        ("kind", [None], None),
        ({"column": "k", "values": {"a": "A"}}, ["A "], "A"),
        ({"column": "k", "values": {"a": "A"}}, ["b"], None),
        ({"column": "k", "values": {"a": "A"}, "default": "Z"}, ["b"], "Z"),
        (
            {"column": ["k", "m"], "patterns": [["^rad \\| chest", "film"]]},
            ["RAD", "Chest PA"],
            "film",
        ),
    ],
)
def test_a_value_is_kept_translated_or_unmapped(
    value: object, parts: list[str | None], expected: str | None
) -> None:
    assert Value.model_validate(value).translate(parts) == expected


def test_a_value_outside_the_closed_set_is_refused(tmp_path: Path) -> None:
    text = COMPLETE + '[[notes]]\ntable="n"\nnote="n"\npatient="no"\ntext="t"\nnote_datetime="d"\n'
    (tmp_path / "own.toml").write_text(text + 'note_type = { constant = "poem" }\n')
    with pytest.raises(ConfigurationError, match="poem not allowed"):
        load_site_mapping(tmp_path / "own.toml")
