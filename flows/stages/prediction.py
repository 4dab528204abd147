"""Stages that use a trained run: results of single films, the exported model, the model card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flows.stages.opening import open_store
from flows.stages.pacs import pacs_address
from warehouse_schema.progress import SILENT, Progress

if TYPE_CHECKING:
    from etl.results.film_results import ResultSummary
    from etl.results.result_delivery import DeliverySummary
    from flows.settings import Settings
    from training.onnx_export import ModelExport
    from warehouse_schema.store import Store


def predict_films(
    settings: Settings,
    *,
    run_id: str,
    films: Sequence[Path] | Sequence[str],
    operating_point: str = "youden",
    is_any_view: bool = False,
    progress: Progress = SILENT,
) -> tuple[ResultSummary, Mapping[int, str]]:
    """Score films with a run; pictures and DICOM objects go to restricted/results/.

    Args:
        settings: Values in force.
        run_id: The run.
        films: DICOM files and folders of them, or identifiers of studies in the PACS.
        operating_point: Whose thresholds make boxes.
        is_any_view: True scores films that the selection rule refuses too.
        progress: Listener.

    Returns:
        What became of each file, and why a study gave none, by its place in the list.
    """
    from etl.records.site_mapping import load_site_mapping
    from etl.results.film_results import write_film_results
    from evaluation.stored_thresholds import stored_operating_point
    from training.film_scorer import FilmScorer

    store = open_store(settings)
    mapping = load_site_mapping(settings.site_mapping)
    key = settings.require("pseudonym_key")
    point = stored_operating_point(store=store, run_id=run_id, name=operating_point)
    with _files(settings, store, films, is_any_view=is_any_view) as (paths, faults):
        scorer = FilmScorer(store, run_id)
        summary = write_film_results(
            store=store,
            paths=paths,
            score=scorer.score,
            run=scorer.run,
            operating_point=point,
            source=mapping.name,
            time_zone=mapping.time_zone,
            pseudonym_key=key,
            size_px=settings.size_px,
            is_any_view=is_any_view,
            n_processes=settings.n_processes,
            progress=progress,
        )
    return summary, faults


@contextmanager
def _files(
    settings: Settings, store: Store, films: Sequence[Path] | Sequence[str], *, is_any_view: bool
) -> Iterator[tuple[Sequence[Path], Mapping[int, str]]]:
    """The films' files: those given, or those of studies, fetched for as long as they are read."""
    from etl.records.site_mapping import load_site_mapping
    from etl.results.study_pull import pulled_studies

    paths = [each for each in films if isinstance(each, Path)]
    if paths:
        yield paths, {}
        return
    with pulled_studies(
        home=store.home,
        address=pacs_address(settings, _pacs_route(settings)),
        identifiers=[str(each) for each in films],
        source=load_site_mapping(settings.site_mapping).name,
        pseudonym_key=settings.require("pseudonym_key"),
        is_any_view=is_any_view,
    ) as pulled:
        yield pulled.paths, pulled.faults


def deliver_results(
    settings: Settings, summary: ResultSummary, *, progress: Progress = SILENT
) -> DeliverySummary:
    """DICOM results of one call to the PACS."""
    from etl.results.result_delivery import deliver_results as deliver

    return deliver(
        address=pacs_address(settings, _pacs_route(settings)),
        films=[each.dicom_paths for each in summary.outcomes if each.dicom_paths],
        progress=progress,
    )


def export_model(
    settings: Settings, *, run_id: str, path: Path, progress: Progress = SILENT
) -> ModelExport:
    """A run's network as an ONNX file."""
    from training.onnx_export import export_model as export

    return export(store=open_store(settings), run_id=run_id, path=path, progress=progress)


def check_model(settings: Settings, *, path: Path) -> ModelExport:
    """Whether an ONNX file is an export of this home, unaltered."""
    from training.onnx_export import check_model as check

    return check(store=open_store(settings), path=path)


def write_model_card(settings: Settings, *, run_id: str, output_path: Path | None = None) -> Path:
    """The model card of a run; in its folder by default."""
    from evaluation.model_card.page import write_model_card as write

    return write(store=open_store(settings), run_id=run_id, output_path=output_path)


def _pacs_route(settings: Settings) -> str:
    """dicomweb or dimse: what image_source says, else the one that is configured."""
    if settings.image_source in ("dicomweb", "dimse"):
        return str(settings.image_source)
    return "dimse" if settings.pacs_url is None and settings.pacs_host is not None else "dicomweb"
