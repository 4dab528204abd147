"""The ``ribline`` command: its table of contents, and how errors end it."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from etl.privacy.value_loggers import silent_value_loggers
from flows.commands import (
    experiments,
    hospital,
    installation,
    labelling,
    prediction,
    privacy,
    reproduction,
    review,
    upkeep,
    warehouse,
)
from flows.commands.context import fail
from flows.unexpected_errors import is_shown, withheld
from warehouse_schema.errors import RiblineError

START = "Start here"
RECORDS = "From the hospital's records to labels"
DETECTOR = "From labels to a detector and its report"
WAREHOUSE = "Ask the warehouse"
OTHER = "Other data in"
PRIVACY = "Patients' rights and films for research"

app = typer.Typer(
    name="ribline",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


@app.callback(
    epilog="Settings: ribline.toml and RIBLINE_* variables; [bold]ribline doctor[/bold] shows them."
)
def root(
    context: typer.Context,
    home: Annotated[
        Path | None, typer.Option(help="Home folder (default: RIBLINE_HOME or ./ribline-home).")
    ] = None,
) -> None:
    """Turn a hospital's own records into a rib and clavicle fracture detector for chest films."""
    context.obj = home


for panel, name, function in (
    (START, "demo", installation.demo),
    (START, "doctor", installation.doctor),
    (START, "tables", warehouse.tables),
    (RECORDS, "source-check", hospital.source_check),
    (RECORDS, "extract", hospital.extract),
    (RECORDS, "ingest-images", hospital.ingest_images),
    (RECORDS, "label", labelling.label),
    (RECORDS, "annotation-sample", labelling.annotation_sample),
    (RECORDS, "import-boxes", hospital.import_boxes),
    (RECORDS, "reader-agreement", hospital.reader_agreement),
    (RECORDS, "build-cohort", labelling.build_cohort),
    (RECORDS, "relabel", labelling.relabel),
    (RECORDS, "review-sample", review.review_sample),
    (RECORDS, "review-import", review.review_import),
    (DETECTOR, "train", experiments.train),
    (DETECTOR, "predict", prediction.predict),
    (DETECTOR, "evaluate", experiments.evaluate),
    (DETECTOR, "summarise-folds", experiments.summarise_folds),
    (DETECTOR, "report", experiments.report),
    (DETECTOR, "model-card", prediction.model_card),
    (DETECTOR, "export-model", prediction.export_model),
    (WAREHOUSE, "sql", warehouse.sql),
    (WAREHOUSE, "publish", warehouse.publish),
    (WAREHOUSE, "prune-cache", hospital.prune_cache),
    (WAREHOUSE, "explain", review.explain),
    (WAREHOUSE, "code-listing", review.code_listing),
    (WAREHOUSE, "diff-labels", review.diff_labels),
    (PRIVACY, "forget-patient", privacy.forget_patient),
    (PRIVACY, "export-dicom", privacy.export_dicom),
    (OTHER, "synthetic-hospital", hospital.synthetic_hospital),
    (OTHER, "import-public", hospital.import_public),
    (OTHER, "label-notes", labelling.label_notes),
):
    app.command(name, rich_help_panel=panel)(function)
app.add_typer(reproduction.reproduce, name="reproduce", rich_help_panel=DETECTOR)


upkeep_app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
for name, function in (
    ("verify", upkeep.verify),
    ("repair", upkeep.repair),
    ("maintain", upkeep.maintain),
    ("migrate", upkeep.migrate),
):
    upkeep_app.command(name)(function)
app.add_typer(
    upkeep_app,
    name="warehouse",
    rich_help_panel=WAREHOUSE,
    help="Keep the warehouse whole and small.",
)


def main() -> None:
    """Run the command; an error ends it with one line and its exit code.

    An error that nobody foresaw shows where it arose; its message may hold data.
    """
    try:
        with nullcontext() if is_shown() else silent_value_loggers():
            app(prog_name="ribline")
    except RiblineError as error:
        sys.exit(fail(error))
    except Exception as error:
        if is_shown():
            raise
        sys.exit(fail(withheld(error, what="ribline")))


if __name__ == "__main__":
    main()
