"""What docs/ says is shown by a test names one that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = ("pixels.md", "real_hospital.md", "annotations.md", "privacy.md", "public_data.md")
FILES = {path.name: path for path in (ROOT / "tests").rglob("*.py")}
CODE = "\n".join(path.read_text(encoding="utf-8") for path in FILES.values())


def names(page: str) -> list[str]:
    """Everything in code style that is called like a test, its file or a writer of samples."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"`((?:tests/[\w/]+/)?(?:test_\w+|write_\w+)(?:\.py|\.\.\.)?)`", text)


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_names_exists(page: str) -> None:
    assert names(page)
    for name in names(page):
        if name.endswith(".py"):
            path = FILES.get(name.rpartition("/")[2])
            assert path is not None, name
            assert path.as_posix().endswith(name), name
        else:
            wanted = re.escape(name.removesuffix("..."))
            ending = "" if name.endswith("...") else r"\("
            assert re.search(rf"\bdef {wanted}{ending}", CODE), name


TABLES = {
    "pixels.md": ("## Transfer syntaxes", 13),
    "annotations.md": ("## Formats", 9),
    "real_hospital.md": ("## What has been tried", 5),
}


@pytest.mark.parametrize(("page", "heading", "n_rows"), [(p, *t) for p, t in TABLES.items()])
def test_every_row_of_the_tables_says_by_what_it_is_shown(
    page: str, heading: str, n_rows: int
) -> None:
    """Each transfer syntax, box format and database."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").split(heading)[1]
    table = re.search(r"^\|.*?(?=\n\n)", text, re.MULTILINE | re.DOTALL)
    assert table is not None
    rows = table[0].splitlines()[2:]
    assert len(rows) == n_rows
    for row in rows:
        last = row.strip().strip("|").split("|")[-1]
        assert re.search(r"test_|write_|the same", last), row
