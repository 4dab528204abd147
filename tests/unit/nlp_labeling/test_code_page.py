"""The page of code sets in docs/ is what definitions and official tables give."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nlp_labeling.code_page import code_page

DOCS = Path(__file__).parents[3] / "docs"
SHARED = Path(os.environ.get("RIBLINE_SHARED_DATA", DOCS.parents[1] / "shared" / "data"))
TABLES = SHARED / "icd_tables"


@pytest.mark.skipif(not TABLES.is_dir(), reason="RIBLINE_SHARED_DATA has no folder icd_tables")
def test_code_page_is_current() -> None:
    assert (DOCS / "code_sets.md").read_text(encoding="utf-8") == code_page(TABLES), (
        "docs/code_sets.md is stale; run python docs/generate.py"
    )
