"""One self-contained HTML report of one run, or of several side by side."""

from pathlib import Path

from evaluation.checklist import CHECKLISTS, filled_checklist
from evaluation.report.cohort import cohort_flow, is_synthetic, patient_table, split_boxes
from evaluation.report.curves import ReportCurves
from evaluation.report.films import suspect_films
from evaluation.report.finding_section import finding_name, finding_section
from evaluation.report.html_page import check_place, render_page, write_page
from evaluation.report.label_sources import POLARITIES
from evaluation.report.lineage import configuration_rows, lineage_rows
from evaluation.report.numbers import ReportNumbers
from evaluation.scored_run import ScoredRun
from evaluation.study_facts import joined, study_facts
from warehouse_schema.errors import EvaluationError
from warehouse_schema.home_lock import writes_files
from warehouse_schema.store import Store


@writes_files
def write_report(*, store: Store, run_ids: list[str], output_path: Path) -> Path:
    """Write the report of evaluated runs; the first run is the reference, the last the primary one.

    The file holds every picture, needs no network and no script, and prints. Note text is shown for
    SYNTHETIC data only; otherwise rule ids and character offsets.

    Returns:
        ``output_path``.

    Raises:
        EvaluationError: No run was named, or a run is unknown, was not evaluated or does not fit
            the others; the file cannot be written.
        WarehouseError: The film cache or a map file is missing or torn.
    """
    if not run_ids:
        raise EvaluationError(
            "run_ids: none was named; name at least one evaluated run. List them with: "
            'ribline sql "FROM leaderboard".'
        )
    check_place(output_path)
    return write_page(output_path, render_report(store=store, run_ids=run_ids))


def render_report(*, store: Store, run_ids: list[str]) -> str:
    """The report as HTML text; raises as :func:`write_report`."""
    run = ScoredRun(store=store, run_id=run_ids[-1])
    numbers = ReportNumbers(store=store, run_ids=run_ids, at=run.version)
    names = {finding: finding_name(finding) for finding in numbers.findings}
    facts = study_facts(store=store, run_id=run.run_id, at=run.version)
    test = [image for image in run.cohort.values() if image.split == "test"]
    return render_page(
        "report.html.j2",
        is_synthetic=is_synthetic(store, run.version),
        findings=names,
        joined_findings=joined([name.lower() for name in names.values()]),
        sections=[finding_section(store, run, numbers, name) for name in numbers.findings],
        runs=numbers.runs,
        primary=numbers.runs[-1],
        reference=numbers.runs[0],
        n_test_films=len(test),
        n_test_patients=len({image.patient_id for image in test}),
        n_cohort=len(run.cohort),
        flow=cohort_flow(store, run.version),
        splits=split_boxes(run),
        patients=patient_table(store, run),
        polarities=POLARITIES,
        suspects=suspect_films(store=store, run=run),
        training=ReportCurves(numbers).training_figures(names),
        lineage=lineage_rows(store, run_ids, run.version),
        configuration=configuration_rows(numbers.runs),
        checklists=[filled_checklist(name, facts) for name in CHECKLISTS],
        manifest=store.manifest(run.version),
    )
