"""Writes the generated pages of docs/; tests fail where a page is stale."""

from pathlib import Path

from nlp_labeling.rules_page import PAGE, rules_page
from warehouse_schema.dictionary import dictionary_markdown

FOLDER = Path(__file__).parent


def pages() -> dict[Path, str]:
    """Text of each generated page, by path."""
    return {FOLDER / "data_dictionary.md": dictionary_markdown(), PAGE: rules_page()}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
