"""Facts of an evaluated run in words, from the warehouse alone, for checklists and model cards."""

from collections import Counter
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from evaluation.comparison import AUROC_PROTOCOL, FROC_PROTOCOL
from evaluation.method_names import method_name
from warehouse_schema.errors import EvaluationError
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables.annotation import CONSENSUS_BOXES, IMAGE_READINGS, READER_AGREEMENT
from warehouse_schema.tables.evaluation import EVALUATION_REPORTS
from warehouse_schema.tables.imaging import IMAGES
from warehouse_schema.tables.labels import COHORT, COHORT_FLOW, IMAGE_LABELS, LABEL_QUALITY
from warehouse_schema.tables.runs import QUARANTINE, TRAINING_RUNS

_LIBRARIES = ("torch", "torchvision", "spacy", "pydicom", "scikit-learn", "numpy")
_RUN_FACTS = (
    *("method", "recipe", "backbone", "image_size_px", "weights_source", "initial_run_id"),
    *("seed", "fold", "n_steps", "best_epoch", "alpha", "a0", "t", "code_version"),
)
Rows = list[dict[str, Any]]


def study_facts(*, store: Store, run_id: str, at: int | None = None) -> dict[str, str]:
    """What the warehouse knows of a run's study; a fact that is not recorded is absent.

    Args:
        store: The warehouse.
        run_id: Training run.
        at: Warehouse version, the newest by default.

    Raises:
        EvaluationError: There is no such run.
    """

    def read(table: Table, **where: Any) -> Rows:
        rows: Rows = store.read(table, where=where, at=at).to_pylist()
        return rows

    runs = read(TRAINING_RUNS, run_id=run_id)
    if not runs:
        raise EvaluationError(
            f"run_id: there is no training run {run_id}. List them with: "
            'ribline sql "FROM training_runs".'
        )
    run = runs[0]
    findings = [name.strip() for name in str(run["findings"]).split(",")]
    facts = {name: _shown(run[name]) for name in _RUN_FACTS if run[name] is not None}
    facts["method"] = method_name(run["method"])
    facts["findings"] = joined([name.replace("_", " ") for name in findings])
    cohort = [row for row in read(COHORT, fold=run["fold"]) if row["split"] is not None]
    chosen = {row["image_id"] for row in cohort}
    images = [row for row in read(IMAGES) if row["image_id"] in chosen]
    facts |= _cohort_facts(cohort)
    facts |= _image_facts(images)
    facts |= _flow_facts(read(COHORT_FLOW))
    labels = [row for row in read(IMAGE_LABELS, finding=findings) if row["image_id"] in chosen]
    facts |= _label_facts(labels)
    facts |= _reader_facts(read, chosen)
    facts |= _number_facts(read(EVALUATION_REPORTS, run_id=run_id), findings)
    facts["n_quarantined"] = str(len(read(QUARANTINE)))
    facts["libraries"] = ", ".join(_library_versions())
    return {name: text for name, text in facts.items() if text}


def joined(words: list[str]) -> str:
    """Words as an enumeration: "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _cohort_facts(cohort: Rows) -> dict[str, str]:
    splits = Counter(row["split"] for row in cohort)
    subsets = Counter(row["subset"] for row in cohort)
    test_only = {row["source"] for row in cohort} - {
        row["source"] for row in cohort if row["split"] != "test"
    }
    test = [row for row in cohort if row["split"] == "test"]
    return {
        "n_films": str(len(cohort)),
        "n_patients": str(len({row["patient_id"] for row in cohort})),
        "n_test_patients": str(len({row["patient_id"] for row in test})),
        **{f"n_{name}": str(splits[name]) for name in ("train", "validation", "test")},
        **{f"n_{name.lower()}": str(subsets[name]) for name in "RPN"},
        "sources": ", ".join(sorted({row["source"] for row in cohort})),
        "external_sources": ", ".join(sorted(test_only)),
    }


def _image_facts(images: Rows) -> dict[str, str]:
    years = [row["study_year"] for row in images if row["study_year"] is not None]
    ages = [row["age_years"] for row in images if row["age_years"] is not None]
    sexes = [row["sex_code"] for row in images if row["sex_code"] is not None]
    facts = {
        "modalities": _shares(row["modality_code"] for row in images),
        "views": _shares(row["view_position_code"] for row in images),
        "manufacturers": _shares(row["manufacturer"] for row in images),
    }
    if years:
        facts["years"] = f"{min(years)}–{max(years)}"
    if ages:
        facts["age"] = f"{np.median(ages):.0f}"
    if sexes:
        facts["women"] = f"{100 * sexes.count('F') / len(sexes):.0f} %"
    if any(row["is_synthetic"] for row in images):
        facts["is_synthetic"] = "All data are SYNTHETIC: no patient exists."
    return facts


def _shares(values: Iterable[str | None]) -> str:
    """Values by falling frequency with their shares; "not recorded" among them."""
    counts = Counter("not recorded" if value is None else value for value in values)
    n = sum(counts.values())
    return ", ".join(f"{name} {100 * count / n:.0f} %" for name, count in counts.most_common(6))


def _flow_facts(rows: Rows) -> dict[str, str]:
    kept: dict[int, tuple[str, int]] = {}
    for row in rows:
        before = kept.get(row["step_number"], ("", 0))
        kept[row["step_number"]] = (row["step"], max(before[1], row["n_kept"]))
    steps = [f"{step} ({n})" for _, (step, n) in sorted(kept.items())]
    return {"flow": f"Kept in this order: {'; '.join(steps)}." if steps else ""}


def _label_facts(labels: Rows) -> dict[str, str]:
    tiers = Counter(row["visibility_tier"] for row in labels if row["visibility_tier"])
    positive: Counter[str] = Counter()
    known: Counter[str] = Counter()
    for row in labels:
        known[row["finding"]] += row["label"] in {"positive", "negative"}
        positive[row["finding"]] += row["label"] == "positive"
    return {
        "n_uncertain": str(sum(row["label"] == "uncertain" for row in labels)),
        "tiers": ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in tiers.most_common()),
        "prevalence": "Share of positive films in the fold: "
        + "; ".join(
            f"{name.replace('_', ' ')} {100 * positive[name] / n:.1f} %"
            for name, n in sorted(known.items())
            if n
        )
        + "."
        if known
        else "",
    }


def _reader_facts(read: Callable[..., Rows], chosen: set[str]) -> dict[str, str]:
    boxes = [row for row in read(CONSENSUS_BOXES) if row["image_id"] in chosen]
    readings = [row for row in read(IMAGE_READINGS) if row["image_id"] in chosen]
    readers = {row["reader_id"] for row in readings if row["reader_id"]}
    facts = {
        "n_boxes": str(len(boxes)),
        "n_boxed_films": str(len({row["image_id"] for row in boxes})),
        "n_readers": str(len(readers)) if readers else "",
    }
    kappas = [
        row
        for row in read(READER_AGREEMENT)
        if row["measure"] in {"cohen_kappa", "fleiss_kappa"} and row["value"] is not None
    ]
    facts["agreement"] = "; ".join(
        f"{row['finding'].replace('_', ' ')}: {row['measure'].replace('_', ' ')} "
        f"{row['value']:.2f} on {row['n_images']} films"
        for row in kappas[:4]
    )
    quality = [row for row in read(LABEL_QUALITY) if row["scope"] == "label"]
    facts["label_quality"] = "; ".join(
        f"{row['finding'].replace('_', ' ')} {_metric_name(row['metric'])} "
        f"{row['value']:.2f} ({row['ci_low']:.2f}–{row['ci_high']:.2f})"
        for row in quality
    )
    return facts


def _number_facts(rows: Rows, findings: list[str]) -> dict[str, str]:
    numbers = {(row["finding"], row["metric"], row["protocol"]): row for row in rows}

    def told(finding: str, metric: str, protocol: str, digits: int) -> str:
        row = numbers.get((finding, metric, protocol))
        if row is None or row["value"] is None:
            return ""
        interval = (
            ""
            if row["ci_low"] is None
            else f" ({row['ci_low']:.{digits}f}–{row['ci_high']:.{digits}f})"
        )
        return f"{row['value']:.{digits}f}{interval}"

    performance, operating, crossed = [], [], []
    for finding in findings:
        name = finding.replace("_", " ")
        auroc = told(finding, "auroc", AUROC_PROTOCOL, 3)
        froc = told(finding, "froc_score", FROC_PROTOCOL, 3)
        if auroc:
            performance.append(f"{name}: AUROC {auroc}{f', FROC score {froc}' if froc else ''}")
        sensitivity = numbers.get((finding, "sensitivity@youden", AUROC_PROTOCOL))
        specificity = numbers.get((finding, "specificity@youden", AUROC_PROTOCOL))
        if sensitivity is None or specificity is None:
            continue
        operating.append(
            f"{name}: sensitivity {told(finding, 'sensitivity@youden', AUROC_PROTOCOL, 2)}, "
            f"specificity {told(finding, 'specificity@youden', AUROC_PROTOCOL, 2)}"
        )
        crossed.append(f"{name}: {_cross_table(sensitivity, specificity)}")
    return {
        "performance": "; ".join(performance),
        "operating": "; ".join(operating),
        "cross_table": "; ".join(crossed),
    }


def _cross_table(sensitivity: dict[str, Any], specificity: dict[str, Any]) -> str:
    n_positive, n_negative = sensitivity["n_positive"], specificity["n_negative"]
    n_found = round(sensitivity["value"] * n_positive)
    n_left = round(specificity["value"] * n_negative)
    return (
        f"of {n_positive} positive films {n_found} found and {n_positive - n_found} missed, "
        f"of {n_negative} negative films {n_negative - n_left} called and {n_left} left"
    )


def _metric_name(metric: str) -> str:
    return metric.upper() if metric in {"ppv", "npv"} else metric


def _library_versions() -> list[str]:
    told = []
    for name in _LIBRARIES:
        try:
            told.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return told
