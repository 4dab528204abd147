"""Writes the generated pages of docs/; tests fail where a page is stale.

The page of code sets needs the official tables: RIBLINE_SHARED_DATA names the folder that holds
``icd_tables``. Without it the page is left as it is.
"""

import base64
import os
from pathlib import Path

from evaluation.reproduction.figures import SharpeningCurve, sharpening_figure
from nlp_labeling.code_page import code_page
from nlp_labeling.rules_page import rules_page
from training.sharpening_curves import STRENGTHS, T, fixed_strength
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


def sharpening_svg() -> str:
    """The paper's Figure 2 from the code that trains."""
    curves = [fixed_strength(strength) for strength in STRENGTHS]
    picture = sharpening_figure(
        [SharpeningCurve(one.strength, one.before, one.after, one.formula) for one in curves], T
    )
    return base64.b64decode(picture.uri.partition(",")[2]).decode()


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
