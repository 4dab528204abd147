"""Stage `model-card`: one self-contained HTML page about one run (Mitchell et al., FAT* 2019)."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from evaluation.checklist import filled_checklist
from evaluation.model_card import facts as card
from evaluation.study_facts import study_facts
from warehouse_schema.errors import ArgumentError, EvaluationError
from warehouse_schema.store import Store

FILE_NAME = "model_card.html"
CHECKLIST = "claim_2024"


def write_model_card(*, store: Store, run_id: str, output_path: Path | None = None) -> Path:
    """Write the model card of a run, evaluated or not; it holds counts and numbers alone.

    Args:
        store: The warehouse.
        run_id: A finished run.
        output_path: File to write; ``runs/RUN/model_card.html`` by default.

    Returns:
        The file.

    Raises:
        ArgumentError: There is no such run.
        EvaluationError: The file cannot be written.
    """
    text = render_model_card(store=store, run_id=run_id)
    path = output_path or store.home.runs / run_id / FILE_NAME
    draft = path.with_name(f".{path.name}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise EvaluationError(
            f"--out: the model card cannot be written ({error.strerror}). Name a file in a folder "
            "you may write to."
        ) from None
    finally:
        with suppress(OSError):
            draft.unlink()
    return path


def render_model_card(*, store: Store, run_id: str) -> str:
    """The card as HTML text; raises as :func:`write_model_card`."""
    manifest = card.study_manifest(store, run_id)
    at = manifest.version
    run = card.run_row(store, run_id, at)
    if run is None:
        raise ArgumentError(
            f"run: there is no finished run '{run_id}'. The table training_runs lists them."
        )
    findings = str(run["findings"]).split(",")
    study = study_facts(store=store, run_id=run_id, at=at)
    metrics = card.metric_rows(store, run_id, findings, at)
    environment = Environment(
        loader=ChoiceLoader(
            [PackageLoader("evaluation.model_card"), PackageLoader("evaluation.report")]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("model_card.html.j2").render(
        run=run,
        facts=study,
        manifest=manifest,
        findings=[each.replace("_", " ").capitalize() for each in findings],
        is_synthetic="is_synthetic" in study,
        metrics=metrics,
        is_evaluated=any(counts for _, _, counts in metrics[0].cells),
        thresholds=card.threshold_rows(store, run_id, findings, at),
        subgroups=card.subgroup_rows(store, run_id, findings, at),
        cohort=card.cohort_rows(store, run, at),
        labels=card.label_rows(store, run, findings, at),
        limits=card.limits(study, run, metrics),
        recipe=card.recipe_rows(run),
        versions=card.data_versions(store, run_id),
        exports=card.exports(store, run_id),
        checklist=filled_checklist(CHECKLIST, study),
    )
