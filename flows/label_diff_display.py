"""Flipped labels on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nlp_labeling.explanation_page import words

if TYPE_CHECKING:
    from nlp_labeling.label_diff import LabelDiff, SourceChange

SHOWN_FLIPS = 50


def print_diff(console: Console, diff: LabelDiff) -> None:
    """Print the number of flips by direction and cause, then flips with their sources."""
    n_flips = len(diff.flips)
    console.print(Text(f"{n_flips:,} of {diff.n_compared:,} labels differ"))
    if not n_flips:
        return
    grid = Table("finding", "before", "now", "cause", "labels", header_style="bold", box=None)
    for (finding, old, new, cause), count in sorted(
        diff.directions.items(), key=lambda item: (-item[1], str(item[0]))
    ):
        grid.add_row(words(finding), words(old), words(new), words(cause), f"{count:,}")
    console.print(grid)
    # New images are no surprise; they are counted above.
    known = [told for told in diff.flips if told.flip.was is not None]
    for told in known[:SHOWN_FLIPS]:
        flip = told.flip
        reasons = " to ".join(
            "left" if row is None else row["reason"] for row in (flip.was, flip.now)
        )
        console.print(
            Text.assemble(
                (flip.image_id, "bold"),
                f"  {words(flip.finding)}: {words(flip.old_label)} to {words(flip.new_label)} "
                f"({words(flip.cause)}; {reasons})",
            ),
            soft_wrap=True,
        )
        for source in told.sources:
            console.print(Text(f"    {_source_line(source)}"), soft_wrap=True)
    if len(known) > SHOWN_FLIPS:
        console.print(f"and {len(known) - SHOWN_FLIPS:,} more; `ribline diff-labels --out` has all")


def _source_line(source: SourceChange) -> str:
    said = [
        f"{polarity} by {rule}"
        for polarity, rule in (
            (source.old_polarity, source.old_rule_id),
            (source.new_polarity, source.new_rule_id),
        )
        if polarity is not None
    ]
    return f"{source.change}: {source.source}: {', now '.join(said)} ({source.why})"
