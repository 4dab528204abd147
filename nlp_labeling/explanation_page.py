"""An explanation as one self-contained HTML page."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from nlp_labeling.explanation import Explanation


def explanation_page(explanation: Explanation) -> str:
    """HTML without scripts or outside links; everything that data hold is escaped."""
    environment = Environment(
        loader=PackageLoader("nlp_labeling", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["words"] = words
    environment.filters["when"] = when
    return environment.get_template("explanation.html.j2").render(explanation=explanation)


def words(name: object) -> str:
    """A name of the warehouse as words; a dash for nothing."""
    return "–" if name is None else str(name).replace("_", " ")


def when(moment: object) -> str:
    """Date and minute; a dash for nothing."""
    return "–" if moment is None else str(moment)[:16]
