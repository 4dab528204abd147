"""explain, diff-labels, label --dry-run, review-sample and review-import as a user meets them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from small_hospital import Hospital

OWN_RULES = Path(__file__).parents[1] / "own_rules"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two labelled patients: one fracture, one denial; not SYNTHETIC. The text holds a canary."""
    hospital = Hospital(tmp_path / "home")
    for number in (1, 2):
        hospital.patient(number)
    hospital.note(1, "<b>Canary</b>: left 5th rib fracture cannot be excluded.")
    hospital.code(1, "807.01")
    hospital.note(2, "No rib fracture.")
    hospital.run()
    return tmp_path / "home"


def test_explain_keeps_text_back_unless_asked(ribline, home: Path, tmp_path: Path) -> None:
    bare = ribline("--home", home, "explain", "i1")
    assert bare.code == 0
    for words in ("film_doubt_confirmed", "ICD9CM:807.0", "chosen: ", "--with-text", "new image"):
        assert words in bare.out
    assert "Canary" not in bare.out
    assert "Canary" in ribline("--home", home, "explain", "i1", "--with-text").out
    page, bare_page = tmp_path / "page.html", tmp_path / "bare.html"
    assert ribline("--home", home, "explain", "i1", "--with-text", "--html", page).code == 0
    assert ribline("--home", home, "explain", "i1", "--html", bare_page).code == 0
    html = page.read_text()
    assert "&lt;b&gt;Canary&lt;/b&gt;" in html
    assert '<span class="cue">' in html
    assert "<script" not in html
    assert "http://" not in html
    assert "https://" not in html
    assert "Canary" not in bare_page.read_text()


def test_diff_and_dry_run(ribline, home: Path, tmp_path: Path) -> None:
    first = ribline("--home", home, "diff-labels", "1")
    assert "4 of 4 labels differ" in first.out
    out = tmp_path / "flips.csv"
    assert ribline("--home", home, "diff-labels", "1", "3", "--out", out).code == 0
    with out.open(newline="") as file:
        assert {row["cause"] for row in csv.DictReader(file)} == {"new_image"}
    dry = ribline("--home", home, "label", "--dry-run")
    assert "0 of 4 labels differ" in dry.out


def test_other_rules_show_what_would_flip(ribline, home: Path, tmp_path: Path) -> None:
    shown = ribline("--home", home, "diff-labels", "--rules", OWN_RULES)
    assert "2 of 6 labels differ" in shown.out
    assert "sternum fracture" in shown.out
    notes = tmp_path / "notes.csv"
    notes.write_text("note_id,text\na,Acute fracture of the sternum.\n")
    assert ribline("label-notes", notes, "out.csv", "--rules", OWN_RULES).code == 0
    assert "sternum_fracture,present" in (tmp_path / "out.csv").read_text().replace('"', "")
    dry = ribline("--home", home, "label", "--dry-run", RIBLINE_RULES_FOLDER=str(OWN_RULES))
    assert "2 of 6 labels differ" in dry.out


def test_the_listing_tells_why_a_code_counts(ribline, home: Path, tmp_path: Path) -> None:
    shown = ribline("--home", home, "code-listing", "800-829")
    assert "initial encounter (branch 807.0)" in shown.out
    assert "another bone: 807 ribs, sternum, larynx and trachea" in shown.out
    assert ribline("--home", home, "code-listing", "810", "--out", tmp_path / "c.csv").code == 0
    assert len((tmp_path / "c.csv").read_text().splitlines()) == 1


def test_a_chart_review_from_sample_to_sql(ribline, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "review.csv"
    assert ribline("--home", home, "review-sample", file, "--n", "4").code == 0
    with file.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        is_fractured = (row["image_id"], row["finding"]) == ("i1", "rib_fracture")
        row["verdict"] = "present" if is_fractured else "absent"
    with file.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    done = ribline("--home", home, "review-import", file)
    assert done.code == 0
    assert "reviewed" in done.out
    sql = "SELECT value FROM label_quality WHERE scope = 'label' AND metric = 'ppv'"
    assert ribline("--home", home, "sql", sql, "--format", "csv").out.split() == ['"value"', "1"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["explain", "nobody"], 2, "IMAGE_ID: version 3 holds no labelled image"),
        (["explain", "i1", "--at", "99"], 5, "no warehouse version 99"),
        (["explain", "i1", "--html", "no/such/page.html"], 2, "--html: cannot write"),
        (["diff-labels"], 2, "give a version or time A, or --rules FOLDER alone"),
        (["diff-labels", "1", "--rules", "x"], 2, "give a version or time A, or --rules"),
        (["diff-labels", "--rules", "none"], 2, "rules_folder: there is no folder none"),
        (["code-listing", "829-800"], 2, "BRANCH: got '829-800'; give a branch"),
        (["diff-labels", "soon"], 5, "allowed: a version number"),
        (["review-sample", "new.csv", "--n", "1"], 2, "--n: got 1"),
        (["review-import", "none.csv"], 4, "FILE: cannot read none.csv"),
    ],
)
def test_a_mistake_is_one_line(
    ribline, home: Path, arguments: list[str], code: int, message: str
) -> None:
    done = ribline("--home", home, *arguments)
    assert done.code == code
    assert message in done.err.strip().splitlines()[-1]
    assert "Traceback" not in done.err
