"""Writes the generated pages of docs/; tests fail where a page is stale.

The page of code sets needs the official tables: RIBLINE_SHARED_DATA names the folder that holds
``icd_tables``. Without it the page is left as it is.
"""

import os
from pathlib import Path

from nlp_labeling.code_page import code_page
from nlp_labeling.rules_page import rules_page
from training.sharpening_figure import sharpening_svg
from warehouse_schema.dictionary import dictionary_markdown

FOLDER = Path(__file__).parent


def pages() -> dict[Path, str]:
    """Text of each generated page, by path."""
    texts = {
        FOLDER / "data_dictionary.md": dictionary_markdown(),
        FOLDER / "labeling_rules.md": rules_page(),
        FOLDER / "images" / "sharpening.svg": sharpening_svg(),
    }
    tables = Path(os.environ.get("RIBLINE_SHARED_DATA", "")) / "icd_tables"
    if tables.is_dir():
        texts[FOLDER / "code_sets.md"] = code_page(tables)
    return texts


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
