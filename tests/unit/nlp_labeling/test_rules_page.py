"""The generated page is the one in docs/."""

from __future__ import annotations

from nlp_labeling.rules_page import PAGE, rules_page


def test_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == rules_page(), (
        "docs/labeling_rules.md is stale; run python -m nlp_labeling.rules_page"
    )
