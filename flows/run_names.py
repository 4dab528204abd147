"""Names of Prefect runs: what ran, with the values that were in force."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect.runtime import flow_run

from flows.tasks import settings_with


def night_name() -> str:
    """Name of a nightly run, such as ``nightly-relabel 2026-01-31``."""
    return f"nightly-relabel {datetime.now(UTC):%Y-%m-%d}"


def training_name() -> str:
    """Name of a training run, such as ``aals, fold 0, seed 0, recipe paper``."""
    given = flow_run.parameters
    settings = settings_with(given.get("seed"), given.get("recipe"))
    folds = f"fold {given['fold']}" if "fold" in given else f"{given['n_folds']} folds"
    return f"{given['method']}, {folds}, seed {settings.seed}, recipe {settings.recipe}"


def evaluation_name() -> str:
    """Name of an evaluation, such as ``evaluate aals-0-0-1a2b3c4d``."""
    return f"evaluate {flow_run.parameters.get('run_id') or 'the newest run'}"
