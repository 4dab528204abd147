"""The paper's Figure 4: the same films as several methods see them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.report.figures import Picture
from evaluation.report.films import draw_film, film_shards
from evaluation.reproduction.experiment import AALS, Experiment
from evaluation.reproduction.outcome import ReproducedRun
from evaluation.score_maps import SCORE_MAX, ScoredImage, centre_scores
from evaluation.scored_run import ScoredRun
from warehouse_schema.pixel_shards import read_film
from warehouse_schema.store import Store
from warehouse_schema.tables.evaluation import EVALUATION_REPORTS

QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class MethodView:
    """One film as one method sees it."""

    label: str
    heat: Picture
    told: str


@dataclass(frozen=True)
class GalleryFilm:
    """One film with the readers' boxes, and each method's view of it."""

    image_id: str
    finding: str
    n_boxes: int
    plain: Picture
    views: list[MethodView]


def method_gallery(
    *, store: Store, experiment: Experiment, runs: Sequence[ReproducedRun]
) -> list[GalleryFilm]:
    """Boxed test films at three quantiles of AALS's score, for each finding.

    The rule does not look at any other method. A method without score maps is left out.

    Raises:
        WarehouseError: The pixel cache is torn.
    """
    first_seed = min(run.seed for run in runs)
    chosen = {run.row: run.run_id for run in runs if run.seed == first_seed}
    labels = {row.key: row.label for row in experiment.rows}
    scored = {row: ScoredRun(store=store, run_id=run_id) for row, run_id in chosen.items()}
    guide = scored.get(AALS, next(iter(scored.values())))
    films = []
    for finding in guide.findings:
        for image_id in _chosen_films(guide, finding):
            views = [
                view
                for row in chosen
                if (view := _view(store, scored[row], finding, image_id, labels[row])) is not None
            ]
            image = _scored_image(guide, finding, image_id)
            if image is not None:
                plain, _ = draw_film(image, _pixels(store, guide, image_id), None)
                n_boxes = len(image.boxes_px)
                alt = f"Chest film {image_id} with {n_boxes} boxes"
                name = finding.replace("_", " ").capitalize()
                films.append(GalleryFilm(image_id, name, n_boxes, Picture(plain, alt), views))
    return films


def _chosen_films(run: ScoredRun, finding: str) -> list[str]:
    images = run.images(finding=finding, network="student", split="test")
    boxed = [
        (int(score), image_id)
        for score, image_id in zip(images.scores, images.image_ids, strict=True)
        if (image_id, finding) in run.boxes
    ]
    boxed.sort(key=lambda pair: (-pair[0], pair[1]))
    places = sorted({round(share * (len(boxed) - 1)) for share in QUANTILES})
    return [boxed[place][1] for place in places] if boxed else []


def _scored_image(run: ScoredRun, finding: str, image_id: str) -> ScoredImage | None:
    images = run.images(finding=finding, network="student", split="test")
    place = images.map_places[images.image_ids.index(image_id)]
    return None if place is None else run.scored_image(image_id, finding, place)


def _view(
    store: Store, run: ScoredRun, finding: str, image_id: str, label: str
) -> MethodView | None:
    image = _scored_image(run, finding, image_id)
    if image is None:
        return None
    level = _threshold(store, run, finding)
    _, heat = draw_film(image, _pixels(store, run, image_id), level)
    n_found = 0 if level is None else int((centre_scores(image) >= level).sum())
    n_boxes = len(image.boxes_px)
    told = "no threshold" if level is None else f"{n_found} of {n_boxes} marked"
    alt = f"The same film with the score map of {label}: {told}"
    return MethodView(label, Picture(heat, alt), told)


def _threshold(store: Store, run: ScoredRun, finding: str) -> int | None:
    """The run's own threshold for the largest sensitivity + specificity, as a 16-bit score."""
    where = {"run_id": run.run_id, "finding": finding, "metric": "threshold@youden"}
    rows = store.read(EVALUATION_REPORTS, where=where, at=run.version).to_pylist()
    values = [row["value"] for row in rows if row["protocol"] == "test/all/whole/student"]
    return round(values[0] * SCORE_MAX) if values and values[0] is not None else None


def _pixels(store: Store, run: ScoredRun, image_id: str) -> NDArray[np.uint8]:
    return read_film(store.home.cache, *film_shards(store, run)[image_id])
