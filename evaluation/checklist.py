"""Reporting checklists (CLAIM 2024, STARD-AI), filled as far as the warehouse can fill them."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

CHECKLISTS = ("claim_2024", "stard_ai")
Status = Literal["filled", "partly", "hospital"]
_FILE = Path(__file__).with_name("checklists.toml")


@dataclass(frozen=True, kw_only=True)
class ChecklistItem:
    """One item of a checklist.

    Attributes:
        number: As published, for example 15b.
        section: Part of a publication that it belongs to.
        item: What is asked for.
        status: filled (from the warehouse), partly (the hospital adds something) or hospital.
        answer: What the warehouse says; empty for the hospital's own items.
        hospital: What only the hospital can say; empty where nothing is left to say.
        place: Section of the report that shows it; empty where there is none.
    """

    number: str
    section: str
    item: str
    status: Status
    answer: str
    hospital: str
    place: str


@dataclass(frozen=True, kw_only=True)
class Checklist:
    """A filled checklist with the publication that it comes from."""

    name: str
    source: str
    items: tuple[ChecklistItem, ...]

    def n_items(self, status: Status) -> int:
        """Number of items of a status."""
        return sum(item.status == status for item in self.items)


def filled_checklist(name: str, facts: Mapping[str, str]) -> Checklist:
    """A checklist filled with the facts of a study.

    Args:
        name: One of :data:`CHECKLISTS`.
        facts: As ``study_facts`` gives them; a sentence that needs another fact is left out.
    """
    content = _content()
    listed = content[name]
    return Checklist(
        name=listed["name"],
        source=listed["source"],
        items=tuple(_item(row, content["answers"], facts) for row in listed["items"]),
    )


def _item(
    row: list[str], answers: Mapping[str, Mapping[str, Any]], facts: Mapping[str, str]
) -> ChecklistItem:
    number, section, item, *names = row
    sentences: list[str] = []
    left: list[str] = []
    for answer in (answers[name] for name in names):
        said = _sentences(answer, facts)
        sentences += said
        left += [answer["hospital"]] if "hospital" in answer else []
        left += [answer["otherwise"]] if "otherwise" in answer and not said else []
    status: Status = "hospital" if not sentences else "partly" if left else "filled"
    return ChecklistItem(
        number=number,
        section=section,
        item=item,
        status=status,
        answer=" ".join(sentences),
        hospital=" ".join(left) or ("" if sentences else "Not recorded in the warehouse."),
        place=next((answers[name]["place"] for name in names if "place" in answers[name]), ""),
    )


def _sentences(answer: Mapping[str, Any], facts: Mapping[str, str]) -> list[str]:
    return [
        sentence.format_map(facts)
        for sentence in answer.get("says", [])
        if all(name in facts for name in re.findall(r"{(\w+)}", sentence))
    ]


@cache
def _content() -> dict[str, Any]:
    return tomllib.loads(_FILE.read_text(encoding="utf-8"))
