"""Commands that ask why an image has its label, and what changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import stages
from flows.commands.context import console, settings_of


def explain(
    context: typer.Context,
    image: Annotated[str, typer.Argument(metavar="IMAGE_ID", help="Image.")],
    *,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page instead.")
    ] = None,
    with_text: Annotated[
        bool,
        typer.Option("--with-text", help="Show passages of restricted notes."),
    ] = False,
    at: Annotated[
        str | None,
        typer.Option(metavar="VERSION|TIME", help="Warehouse as of a version or a time."),
    ] = None,
) -> None:
    """Tell why an image has its labels."""
    from flows.explanation_display import print_explanation
    from flows.query_output import write_file
    from nlp_labeling.explanation import explain_image
    from nlp_labeling.explanation_page import explanation_page

    store = stages.open_store(settings_of(context))
    explanation = explain_image(store=store, image_id=image, with_text=with_text, at=at)
    if html is None:
        print_explanation(console(), explanation)
        return
    write_file(html, explanation_page(explanation).encode(), option="--html")
    console().print(f"Written: {html}", highlight=False, markup=False, soft_wrap=True)
