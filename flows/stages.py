"""One call per stage: settings in, the stage's plain function called, its summary out.

The command line, the demo and the Prefect tasks all come through here. Packages are imported when
a stage needs them, so that ``ribline --help`` stays quick.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse_schema.errors import ArgumentError, ConfigurationError, TrainingError
from warehouse_schema.progress import SILENT, Progress

if TYPE_CHECKING:
    from flows.settings import Settings
    from nlp_labeling.label_diff import LabelDiff
    from warehouse_schema.store import Store

Counts = dict[str, Any]


def open_store(settings: Settings, *, is_new_allowed: bool = False) -> Store:
    """The store of the home folder.

    Args:
        settings: Values in force.
        is_new_allowed: True for stages that fill an empty home.

    Raises:
        ConfigurationError: The home holds no warehouse, or cannot be made.
    """
    from warehouse_schema.home import Home
    from warehouse_schema.store import Store

    home = Home(settings.home)
    if not is_new_allowed and not home.warehouse.is_dir():
        raise ConfigurationError(
            f"home: there is no warehouse in {settings.home} (from {settings.origin('home')}). "
            "Name the home with --home or RIBLINE_HOME, or fill one with `ribline extract`."
        )
    return Store(home)


def extract(settings: Settings, *, progress: Progress = SILENT) -> Counts:
    """Hospital database into patients, encounters, diagnoses and matched notes."""
    from etl.extraction import extract_records
    from etl.site_mapping import load_site_mapping
    from nlp_labeling.keywords import keyword_pattern

    return counts(
        extract_records(
            store=open_store(settings, is_new_allowed=True),
            database_url=settings.require("database_url"),
            site_mapping=load_site_mapping(settings.site_mapping),
            keyword_pattern=keyword_pattern(definitions(settings)),
            pseudonym_key=settings.require("pseudonym_key"),
            progress=progress,
        )
    )


def ingest_images(settings: Settings, *, progress: Progress = SILENT) -> Counts:
    """DICOM files into images, their geometry and the pixel cache."""
    from etl.image_ingest import ingest_images as ingest
    from etl.site_mapping import load_site_mapping

    mapping = load_site_mapping(settings.site_mapping)
    return counts(
        ingest(
            store=open_store(settings, is_new_allowed=True),
            folder=settings.require("image_folder"),
            source=mapping.name,
            time_zone=mapping.time_zone,
            pseudonym_key=settings.require("pseudonym_key"),
            size_px=settings.size_px,
            n_processes=settings.n_processes,
            progress=progress,
        )
    )


def import_boxes(settings: Settings, *, progress: Progress = SILENT) -> Counts:
    """Readers' boxes (COCO) into annotations; nothing where no ``box_file`` is set."""
    from etl.box_import import import_boxes as import_file
    from etl.site_mapping import load_site_mapping

    if settings.box_file is None:
        return {}
    progress.start("import-boxes", None)
    summary = import_file(
        store=open_store(settings),
        file=settings.box_file,
        source=load_site_mapping(settings.site_mapping).name,
        pseudonym_key=settings.require("pseudonym_key"),
        findings=[definition.name for definition in definitions(settings)],
    )
    progress.finish()
    return counts(summary)


def link(settings: Settings, *, progress: Progress = SILENT) -> Counts:
    """Images to encounters, within the widest window of the label definitions."""
    from etl.linkage import link_images

    windows = [definition.linkage for definition in definitions(settings)]
    progress.start("link", None)
    summary = link_images(
        store=open_store(settings),
        hours_before=max(window.hours_before_study for window in windows),
        hours_after=max(window.hours_after_study for window in windows),
    )
    progress.finish()
    return counts(summary)


def mine(settings: Settings, *, progress: Progress = SILENT) -> Counts:
    """Notes into mentions."""
    from nlp_labeling.mining import mine_mentions

    return counts(
        mine_mentions(
            store=open_store(settings), definitions=definitions(settings), progress=progress
        )
    )


def label(settings: Settings, *, progress: Progress = SILENT) -> Counts:
    """Codes and mentions into evidence and image-level labels."""
    from nlp_labeling.image_labels import label_images

    return counts(
        label_images(
            store=open_store(settings),
            definitions=definitions(settings),
            as_of_datetime=settings.as_of or datetime.now(UTC),
            progress=progress,
        )
    )


def preview_labels(settings: Settings, *, progress: Progress = SILENT) -> LabelDiff:
    """What mining and labelling with the installed rules would flip; nothing is written."""
    from nlp_labeling.label_diff import preview_diff

    return preview_diff(
        store=open_store(settings),
        definitions=definitions(settings),
        as_of_datetime=settings.as_of or datetime.now(UTC),
        progress=progress,
    )


def build_cohort(settings: Settings, *, progress: Progress = SILENT) -> Counts:
    """Labels and boxes into R, P and N, folds and splits."""
    from etl.cohort import build_cohort as build

    progress.start("build-cohort", None)
    summary = build(
        store=open_store(settings),
        findings=labelled_findings(settings),
        seed=settings.seed,
        n_folds=settings.n_folds,
    )
    progress.finish()
    return counts(summary)


def label_notes(
    settings: Settings,
    *,
    notes: Path,
    output: Path,
    summary: Path | None = None,
    progress: Progress = SILENT,
) -> Counts:
    """The labeler alone on a file of notes; needs no home."""
    from nlp_labeling.note_files import label_notes as label_file

    progress.start("label-notes", None)
    report = label_file(
        notes, output, summary, findings=settings.findings, processes=settings.n_processes
    )
    progress.finish()
    return counts(report)


def import_public(
    settings: Settings,
    *,
    dataset: str,
    folder: Path,
    finding: str,
    progress: Progress = SILENT,
) -> Counts:
    """A public dataset instead of a hospital, up to the cohort.

    Raises:
        ArgumentError: The dataset is unknown.
    """
    from etl.public_datasets.nih_chestxray14 import import_nih_chestxray14

    importers = {"nih-chestxray14": import_nih_chestxray14}
    if dataset not in importers:
        raise ArgumentError(
            f"import-public: got {dataset!r}; known datasets are {', '.join(importers)}."
        )
    imported = importers[dataset](
        store=open_store(settings, is_new_allowed=True),
        folder=folder,
        finding=finding,
        size_px=settings.size_px,
        pseudonym_key=public_key(settings, dataset),
        progress=progress,
    )
    cohort = build_cohort(settings, progress=progress)
    return {**counts(imported), "cohort": cohort}


def public_key(settings: Settings, dataset: str) -> str:
    """The pseudonym key, or for published data one made of the dataset's name."""
    is_set = settings.pseudonym_key is not None or settings.pseudonym_key_file is not None
    key: str = settings.require("pseudonym_key") if is_set else f"public dataset {dataset}"
    return key


def draw_annotation_sample(settings: Settings) -> int:
    """The worklist of positives for the readers; returns how many images it holds."""
    from etl.annotation_sample import draw_annotation_sample as draw

    n_images: int = draw(
        store=open_store(settings), n_images=settings.n_annotations, seed=settings.seed
    )
    return n_images


def train(
    settings: Settings,
    *,
    method: str,
    fold: int,
    initial_run_id: str | None = None,
    progress: Progress = SILENT,
) -> str:
    """Train one run on one fold; returns its run_id."""
    from training.recipe import recipe
    from training.train import train_run

    return train_run(
        store=open_store(settings),
        recipe=recipe(settings.recipe, **recipe_overrides(settings)),
        method=method,
        fold=fold,
        seed=settings.seed,
        initial_run_id=initial_run_id,
        progress=progress,
    )


def predict(settings: Settings, *, run_id: str, progress: Progress = SILENT) -> int:
    """Score validation and test images with a run's best epoch; returns the number of films."""
    from training.prediction import predict_run

    return predict_run(store=open_store(settings), run_id=run_id, progress=progress)


def evaluate(settings: Settings, *, run_id: str, progress: Progress = SILENT) -> Counts:
    """AUROC and FROC of a run, with intervals."""
    from evaluation.evaluate import evaluate_run

    summary = evaluate_run(
        store=open_store(settings),
        run_id=run_id,
        n_bootstrap=settings.n_bootstrap,
        progress=progress,
    )
    return {"n_metrics": len(summary.metrics), "notes": list(summary.notes)}


def compare(
    settings: Settings, *, run_id_a: str, run_id_b: str, progress: Progress = SILENT
) -> None:
    """The paired difference of two runs on the same images."""
    from evaluation.comparison import compare_runs

    progress.start("compare", None)
    compare_runs(
        store=open_store(settings),
        run_id_a=run_id_a,
        run_id_b=run_id_b,
        n_bootstrap=settings.n_bootstrap,
    )
    progress.finish()


def write_report(
    settings: Settings,
    *,
    run_ids: Sequence[str],
    output_path: Path | None = None,
    progress: Progress = SILENT,
) -> Path:
    """One self-contained HTML file about the runs."""
    from evaluation.report import write_report as write

    progress.start("report", None)
    path: Path = write(
        store=open_store(settings),
        run_ids=list(run_ids),
        output_path=output_path or settings.home / "report.html",
    )
    progress.finish()
    return path


def write_run_report(settings: Settings, *, run_ids: Sequence[str]) -> str:
    """The report in the last run's folder; returns its path relative to the home folder."""
    path = settings.home / "runs" / run_ids[-1] / "report.html"
    write_report(settings, run_ids=run_ids, output_path=path)
    return str(path.relative_to(settings.home))


def definitions(settings: Settings) -> Any:
    """The label definitions of the findings in force."""
    from nlp_labeling.definition import load_definitions

    return load_definitions(settings.findings)


def labelled_findings(settings: Settings) -> list[str]:
    """Findings to build a cohort of: those set, otherwise those that images are labelled with."""
    from warehouse_schema.tables.labels import IMAGE_LABELS

    if settings.findings is not None:
        return list(settings.findings)
    labels = open_store(settings).read(IMAGE_LABELS, columns=["finding"])
    found = sorted(set(labels.column("finding").to_pylist()))
    return found or [definition.name for definition in definitions(settings)]


def recipe_overrides(settings: Settings) -> dict[str, object]:
    """Fields of the recipe to change: those set, and the findings that this home labels."""
    from training.recipe import recipe

    overrides = dict(settings.recipe_overrides)
    findings = labelled_findings(settings)
    if "findings" not in overrides and set(findings) != set(recipe(settings.recipe).findings):
        overrides["findings"] = tuple(findings)
    return overrides


def newest_run(
    settings: Settings,
    *,
    method: str | None = None,
    fold: int | None = None,
    is_same_experiment: bool = False,
) -> str | None:
    """The run that started last, or None.

    Args:
        settings: Values in force.
        method: Only runs of this method.
        fold: Only runs on this fold.
        is_same_experiment: Only runs of the recipe and seed in force.
    """
    from warehouse_schema.tables.runs import TRAINING_RUNS

    wanted: dict[str, object] = {"method": method, "fold": fold}
    if is_same_experiment:
        wanted |= {"recipe": settings.recipe, "seed": settings.seed}
    rows = open_store(settings).read(
        TRAINING_RUNS, where={name: value for name, value in wanted.items() if value is not None}
    )
    runs = sorted(rows.to_pylist(), key=lambda run: (run["started_datetime"], run["run_id"]))
    return runs[-1]["run_id"] if runs else None


def require_run(settings: Settings, run_id: str | None) -> str:
    """A run named by an option, or the newest one.

    Raises:
        TrainingError: There is no such run, or none at all.
    """
    from warehouse_schema.tables.runs import TRAINING_RUNS

    if run_id is None:
        newest = newest_run(settings)
        if newest is None:
            raise TrainingError("There is no training run yet. Train one with `ribline train`.")
        return newest
    known = open_store(settings).read(TRAINING_RUNS, columns=["run_id"]).column(0).to_pylist()
    if run_id not in known:
        raise TrainingError(
            f"--run: there is no run {run_id}; known are {', '.join(known) or 'none'}."
        )
    return run_id


def counts(summary: object) -> Counts:
    """A stage's summary as plain values that JSON can hold."""
    if is_dataclass(summary) and not isinstance(summary, type):
        return _plain(asdict(summary))
    return {} if summary is None else {"n": summary}


def _plain(values: Mapping[Any, Any]) -> Counts:
    plain: Counts = {}
    for key, value in values.items():
        name = " ".join(map(str, key)) if isinstance(key, tuple) else str(key)
        if isinstance(value, Mapping):
            plain[name] = _plain(value)
        elif isinstance(value, list | tuple):
            plain[name] = list(value)
        else:
            plain[name] = str(value) if isinstance(value, Path) else value
    return plain


def flat_counts(counts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Counts in order, nested ones as ``outer: inner``; lists as their length."""
    for name, value in counts.items():
        label = f"{prefix}{str(name).removeprefix('n_').replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from flat_counts(value, f"{label}: ")
        elif isinstance(value, list | tuple):
            yield label, len(value)
        else:
            yield label, value
