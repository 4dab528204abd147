"""An explanation on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nlp_labeling.explanation_page import when, words

if TYPE_CHECKING:
    from nlp_labeling.explanation import Explanation, FindingTold, MentionTold
    from nlp_labeling.passage import Passage

LABEL_STYLES = {"positive": "bold red", "negative": "bold green", "uncertain": "bold yellow"}
MARK_STYLES = {"target": "bold black on yellow", "cue": "bold white on red", "scope": "underline"}


def print_explanation(console: Console, explanation: Explanation) -> None:
    """Print what led to every label of one image."""
    synthetic = " (SYNTHETIC)" if explanation.is_synthetic else ""
    console.print(Text(f"Image {explanation.image_id}{synthetic}", style="bold"), soft_wrap=True)
    console.print(
        Text(
            f"Film of {when(explanation.image['acquired_datetime'])}, dates shifted; warehouse "
            f"version {explanation.version}"
        )
    )
    if explanation.is_outdated:
        console.print(
            Text(
                "The rules have changed since these labels were given; see what would flip with "
                "`ribline label --dry-run`.",
                style="yellow",
            )
        )
    rows = [
        [
            str(link["rank"]),
            link["encounter_id"],
            words(link["encounter_class"]),
            f"{when(link['start_datetime'])} to {when(link['end_datetime'])}",
            f"{link['distance_hours']:.1f} h",
            link["verdict"],
        ]
        for link in explanation.links
    ]
    _print_rows(console, "Encounter", ("rank", "encounter", "class", "stay", "away", "why"), rows)
    for told in explanation.findings:
        _print_finding(console, told)
    if explanation.is_text_shown:
        console.print(
            Text.assemble(
                "\nIn passages: ",
                ("target", MARK_STYLES["target"]),
                ", ",
                ("deciding cue", MARK_STYLES["cue"]),
                ", ",
                ("its scope", MARK_STYLES["scope"]),
            )
        )
    elif any(told.mentions for told in explanation.findings):
        console.print("\nNote text is restricted: --with-text shows it.", highlight=False)


def _print_finding(console: Console, told: FindingTold) -> None:
    label = told.label
    console.print()
    console.print(
        Text.assemble(
            (words(told.finding).capitalize(), "bold"),
            "  ",
            (label["label"], LABEL_STYLES.get(label["label"], "bold")),
        )
    )
    row = f"row {told.row_number} of the combination rule" if told.row_number else "given as"
    seen = f", seen on: {words(label['visibility_tier'])}" if label["visibility_tier"] else ""
    acuity = f", {label['acuity']}" if label["acuity"] else ""
    console.print(
        Text(
            f"{told.meaning} ({row}: {label['reason']}{seen}{acuity}; score "
            f"{label['score']:.2f}; rules {label['definition_hash'][:12]})".strip()
        )
    )
    if label["is_conflict"]:
        console.print(Text("Sources disagree: see the view `conflicts`.", style="yellow"))
    _print_rows(
        console,
        "Codes",
        ("code", "vocabulary", "position", "recorded", "speaks", "why", "rule"),
        [
            [
                one["diagnosis_code"],
                one["vocabulary"],
                "principal" if one["position"] == 1 else words(one["position"]),
                when(one["recorded_datetime"]),
                one["polarity"],
                one["reason"],
                one["rule_id"],
            ]
            for one in told.codes
        ],
    )
    for mention in told.mentions:
        _print_mention(console, mention)
    _print_rows(
        console,
        "History",
        ("labelled", "from", "to", "cause"),
        [
            [
                when(one["changed_datetime"]),
                words(one["old_label"]),
                words(one["new_label"]),
                words(one["cause"]),
            ]
            for one in told.changes
        ],
    )


def _print_mention(console: Console, told: MentionTold) -> None:
    mention = told.mention
    section = f"section {words(mention['section'])}" if mention["section"] != "none" else None
    parts = [
        section,
        mention["laterality"],
        *(f"rib {number}" for number in mention["rib_numbers"] or ()),
    ]
    attributes = "".join(f", {part}" for part in parts if part)
    cue = mention["cue_rule_id"] or "none"
    console.print(
        Text.assemble(
            "  ",
            (told.evidence["polarity"], "bold"),
            f": {told.evidence['reason']}; {words(mention['note_type'])} of "
            f"{when(mention['note_datetime'])}{attributes}; "
            f"rule {mention['rule_id']}, cue {cue}",
        )
    )
    if told.passage is not None:
        console.print(_marked(told.passage))


def _marked(passage: Passage) -> Text:
    text = Text("    … " if passage.is_cut_before else "    ")
    for segment in passage.segments:
        style = next(
            (MARK_STYLES[name] for name in ("cue", "target", "scope") if name in segment.marks), ""
        )
        text.append(segment.text.replace("\n", "\n    "), style=style)
    return text.append(" …" if passage.is_cut_after else "")


def _print_rows(
    console: Console, title: str, columns: tuple[str, ...], rows: list[list[Any]]
) -> None:
    if not rows:
        return
    table = Table(title=title, title_justify="left", header_style="bold", box=None)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(value)) for value in row))
    console.print(table)
