"""Definition files that cannot be: each is refused with its place, and so are two that overlap."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlp_labeling.definition import Definitions, load_definitions
from warehouse_schema.errors import ConfigurationError

OWN = Path(__file__).parents[2] / "own_rules" / "definitions" / "sternum_fracture.toml"
BODY = OWN.read_text(encoding="utf-8")
CODES = BODY[BODY.index("[codes.ICD9CM]") : BODY.index("[linkage]")]


def load(folder: Path, body: str, name: str = "sternum_fracture.toml") -> Definitions:
    (folder / "definitions").mkdir(exist_ok=True)
    (folder / "definitions" / name).write_text(body, encoding="utf-8")
    return load_definitions(folder=folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title =", "title = =", r"not valid TOML: .*\(at line 3, column 9\)"),
        ('name = "sternum_fracture"', "", "line 1, column 1: 'name' is missing"),
        ("sternum_fracture", "Sternum fracture", "line 2, column 1: 'name' is 'Sternum fracture'"),
        ('"1"', "1", "line 4, column 1: 'version' is 1: Input should be a valid string"),
        ("ICD9CM", "ICD9", "line 12, column 1: unknown key 'ICD9'; did you mean 'ICD9CM'"),
        ("normal", "norml", "line 10, column 1: unknown key 'norml'; did you mean 'normal'"),
        ("normal = true", "normal = 1", "line 10, column 1: 'normal' is 1: Input should be"),
        ('"closed"', '"shut"', "line 14, column 41: 'wound' is 'shut': Input should be"),
        ('status = "initial"', 'status = "odd"', "line 14, column 21: 'status' is 'odd'"),
        ("807.2", "80X.2", "line 14, column 5: code '80X.2' is no code of ICD9CM"),
        ("48", "48.5", "line 22, column 1: 'hours_before_study' is 48.5: Input should be"),
        ("hours_after_study = 720", "", "line 21, column 1: 'hours_after_study' is missing"),
        (
            '"contains", ',
            "",
            "line 25, column 1: 'prefer': give accession, contains, window, each once",
        ),
        (
            '"accession", "contains"',
            '"window", "contains"',
            "line 25, column 1: 'prefer': give .*each once",
        ),
        (
            '"window"]',
            '"widow"]',
            "line 25, column 36: 'prefer' is 'widow': Input should be 'accession'",
        ),
        (
            '"latest_start"',
            '"newest"',
            "line 26, column 20: 'ties' is 'newest': Input should be 'nearest'",
        ),
        ("0.9", "-0.9", "line 30, column 1: 'other_imaging_report' is -0.9: Input should be"),
        ("code_principal = 0.8", "", "line 28, column 1: 'code_principal' is missing"),
        ('"breastbone"', '" "', "line 8, column 57: 'site' is ' ': String should match"),
        ('"breastbone"', '"fx"', "line 8, column 57: term 'fx' is in finding and in site"),
        (CODES, "[codes]\n", "line 12, column 1: definition sternum_fracture has no codes"),
        ('site = ["sternum"', 'complete = []\nx = ["sternum"', "unknown key 'x'"),
        (
            'site = ["sternum", "sternal", "manubrium", "manubrial", "breastbone", "胸骨"]',
            "",
            "line 6, column 1: definition sternum_fracture has no terms",
        ),
        (
            '"seventh_character" }]',
            '"seventh_character" }]\nexclude = [{ code = "S22.2", reason = "birth" }]',
            "line 20, column 14: code S22.2 is included and excluded",
        ),
        (
            "[linkage]",
            '[codes.ICD10CM.sides]\nleft = "S22[2"\n[linkage]',
            "line 22, column 1: 'left' is 'S22.2': no regular expression: unterminated",
        ),
    ],
)
def test_bad_definition_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in BODY
    with pytest.raises(ConfigurationError, match=f"^definitions/sternum_fracture.toml.*{message}"):
        load(tmp_path, BODY.replace(old, new))


OVERLAPS = [
    ("807.2", "807.0", "both claim ICD9CM 807.0"),
    ("807.2", "807.01", "both claim ICD9CM 807.01"),
    ("807.2", "807", "both claim ICD9CM 807"),
    ("S22.2", "s22", "both claim ICD10CM S22"),
    ('"breastbone"', '"Ribs"', "both claim the term 'ribs'"),
    ("normal =", 'complete = ["flail chest"]\nnormal =', "both claim the term 'flail chest'"),
    ("normal =", 'complete = ["ribs"]\nnormal =', "has 'ribs' as complete, but it is site"),
    ('"breastbone"', '"chest wall"', "has 'chest wall' as site, but it is site_weak"),
    ('"sternum_fracture"', '"rib_fracture"', "a definition rib_fracture is there already"),
]


@pytest.mark.parametrize(("old", "new", "message"), OVERLAPS)
def test_overlapping_definitions_are_refused(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"line .*, column .*{message}"):
        load(tmp_path, BODY.replace(old, new))


def test_a_wider_branch_may_leave_out_what_another_definition_claims(tmp_path: Path) -> None:
    wide = BODY.replace('{ code = "S22.2"', '{ code = "S22"').replace(
        '"seventh_character" }]',
        '"seventh_character" }]\nexclude = ['
        + ", ".join(
            f'{{ code = "{code}", reason = "other_site" }}' for code in ("S22.3", "S22.4", "S22.5")
        )
        + "]",
    )
    sternum = load(tmp_path, wide).only(["sternum_fracture"])[0]
    reasons = {entry.code: entry.reason for entry in sternum.codes["ICD10CM"].exclude}
    assert reasons == dict.fromkeys(("S22.3", "S22.4", "S22.5"), "other_site")


def test_what_is_shared_on_purpose_is_stated(tmp_path: Path) -> None:
    body = BODY.replace("807.2", "807.0").replace(
        'version = "1"', 'version = "1"\nshares_with = ["rib_fracture"]'
    )
    loaded = load(tmp_path, body)
    branches = {
        one.name: one.codes["ICD9CM"].branch("80700") is not None
        for one in loaded.only(["rib_fracture", "sternum_fracture"])
    }
    assert branches == {"rib_fracture": True, "sternum_fracture": True}
    assert loaded.only(["sternum_fracture"])[0].shares_with == ("rib_fracture",)
