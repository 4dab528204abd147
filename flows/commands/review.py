"""Commands that ask why an image has its label, and what changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import stages
from flows.commands.context import console, print_counts, progress, settings_of
from warehouse_schema.errors import ArgumentError


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

    settings = settings_of(context)
    explanation = explain_image(
        store=stages.open_store(settings),
        image_id=image,
        definitions=stages.definitions(settings),
        with_text=with_text,
        at=at,
    )
    if html is None:
        print_explanation(console(), explanation)
        return
    write_file(html, explanation_page(explanation).encode(), option="--html")
    console().print(f"Written: {html}", highlight=False, markup=False, soft_wrap=True)


def diff_labels(
    context: typer.Context,
    before: Annotated[
        str | None, typer.Argument(metavar="[A]", help="Warehouse version or time.")
    ] = None,
    after: Annotated[
        str | None, typer.Argument(metavar="[B]", help="Version or time (default: now).")
    ] = None,
    *,
    rules: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="What would flip with the rules of this folder."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write all flips there as CSV.")
    ] = None,
) -> None:
    """Show which labels flipped between two versions or rule folders, and by what."""
    from flows.label_diff_display import print_diff
    from flows.query_output import encoded, write_file

    if (before is None) == (rules is None):
        raise ArgumentError("diff-labels: give a version or time A, or --rules FOLDER alone.")
    settings = settings_of(context, rules_folder=rules)
    with progress() as display:
        diff = (
            stages.diff_labels(settings, before=before, after=after)
            if before is not None
            else stages.preview_labels(settings, progress=display)
        )
    if output is None:
        print_diff(console(), diff)
        return
    write_file(output, encoded(diff.table(), "csv"))
    console().print(
        f"{len(diff.flips):,} flips written: {output}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def code_listing(
    context: typer.Context,
    branch: Annotated[
        str | None,
        typer.Argument(help="A branch (807) or a range (800-829); all fractures by default."),
    ] = None,
    *,
    output: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the list there as CSV.")
    ] = None,
) -> None:
    """List the warehouse's fracture codes: which count, which do not, and why."""
    from flows.query_output import encoded, print_table, write_file

    rows = stages.list_codes(settings_of(context), branch=branch)
    if output is None:
        print_table(console(), rows)
        return
    write_file(output, encoded(rows, "csv"))


def review_sample(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="New file for the reviewers.")],
    n: Annotated[int, typer.Option("--n", min=1, help="Labels to draw.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw.")] = 0,
) -> None:
    """Draw labels for a blind chart review."""
    from nlp_labeling.review_sample import draw_review_sample
    from nlp_labeling.review_verdicts import write_review_file

    store = stages.open_store(settings_of(context))
    version = store.manifest().version
    sample = draw_review_sample(store=store, n=n, seed=seed, version=version or None)
    write_review_file(file, sample, version=version, n=n, seed=seed)
    n_strata = len({one.stratum for one in sample})
    print_counts("review-sample", {"labels drawn": len(sample), "strata": n_strata})


def review_import(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE.csv", help="The sample, its verdicts filled in.")
    ],
) -> None:
    """Turn a chart review's verdicts into label_quality."""
    from nlp_labeling.label_quality import import_review
    from nlp_labeling.review_verdicts import read_review_file

    review = read_review_file(file)
    summary = import_review(store=stages.open_store(settings_of(context)), review=review)
    print_counts("review-import", stages.counts(summary))
