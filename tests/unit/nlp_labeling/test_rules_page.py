"""The generated pages are those in docs/."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nlp_labeling.code_page import code_page
from nlp_labeling.rules_page import rules_page

DOCS = Path(__file__).parents[3] / "docs"
SHARED = Path(os.environ.get("RIBLINE_SHARED_DATA", DOCS.parents[1] / "shared" / "data"))
TABLES = SHARED / "icd_tables"


def test_rules_page_is_current() -> None:
    assert (DOCS / "labeling_rules.md").read_text(encoding="utf-8") == rules_page(), (
        "docs/labeling_rules.md is stale; run python docs/generate.py"
    )


@pytest.mark.skipif(not TABLES.is_dir(), reason="RIBLINE_SHARED_DATA has no folder icd_tables")
def test_code_page_is_current() -> None:
    assert (DOCS / "code_sets.md").read_text(encoding="utf-8") == code_page(TABLES), (
        "docs/code_sets.md is stale; run python docs/generate.py"
    )
