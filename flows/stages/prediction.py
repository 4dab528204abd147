"""Stages that use a trained run: results of single films, the exported model, the model card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flows.stages.opening import open_store
from warehouse_schema.progress import SILENT, Progress

if TYPE_CHECKING:
    from etl.results.film_results import ResultSummary
    from flows.settings import Settings


def predict_files(
    settings: Settings,
    *,
    run_id: str,
    files: Sequence[Path],
    operating_point: str = "youden",
    is_any_view: bool = False,
    progress: Progress = SILENT,
) -> ResultSummary:
    """Score DICOM files with a run; pictures and DICOM objects go to restricted/results/."""
    from etl.records.site_mapping import load_site_mapping
    from etl.results.film_results import write_film_results
    from evaluation.stored_thresholds import stored_operating_point
    from training.film_scorer import FilmScorer

    store = open_store(settings)
    mapping = load_site_mapping(settings.site_mapping)
    scorer = FilmScorer(store, run_id)
    return write_film_results(
        store=store,
        paths=files,
        score=scorer.score,
        run=scorer.run,
        operating_point=stored_operating_point(store=store, run_id=run_id, name=operating_point),
        source=mapping.name,
        time_zone=mapping.time_zone,
        pseudonym_key=settings.require("pseudonym_key"),
        size_px=settings.size_px,
        is_any_view=is_any_view,
        n_processes=settings.n_processes,
        progress=progress,
    )
