"""Films of the report: hits, misses and false alarms, and those whose label may be wrong.

The films are chosen by a fixed rule, never by hand: hits and misses at the upper and the lower
quartile of their image scores, false alarms from the highest score down.
"""

import base64
from dataclasses import dataclass
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from evaluation.report.figures import Picture
from evaluation.score_maps import SCORE_MAX, ScoredImage, box_pixels, centre_scores
from evaluation.scored_run import ScoredImages, ScoredRun
from warehouse_schema.pixel_shards import read_film
from warehouse_schema.query import run_query
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGE_PIXELS

PER_GROUP = 2
QUEUE_ROWS = 8
QUEUE_PICTURES = 2
_WIDTH_PX = 360
_BOX_BGR = (255, 200, 90)


@dataclass(frozen=True)
class FilmExample:
    """One film shown twice: with the readers' boxes, and with the heat map over it."""

    group: str
    image_id: str
    told: str
    plain: Picture
    heat: Picture


@dataclass(frozen=True)
class SuspectFilm:
    """A test film on which detector and record disagree; the first ones have a picture."""

    finding: str
    rank: int
    image_id: str
    label: str
    score: float
    heat: Picture | None


@dataclass(frozen=True)
class _Film:
    image_id: str
    score: int
    image: ScoredImage


def film_examples(
    *, store: Store, run: ScoredRun, finding: str, finding_name: str, threshold: float
) -> list[FilmExample]:
    """Examples of one finding at a threshold on the score (0 to 1), hits first.

    Empty for a run without score maps. Raises WarehouseError when the pixel cache is torn.
    """
    images = run.images(finding=finding, network="student", split="test")
    if not images.has_maps:
        return []
    shards = film_shards(store, run)
    level = round(threshold * SCORE_MAX)
    examples = []
    for group, films in _groups(run, images, finding, level).items():
        for film in films:
            pixels = read_film(store.home.cache, *shards[film.image_id])
            examples.append(_example(group, film, pixels, finding_name, level))
    return examples


def suspect_films(*, store: Store, run: ScoredRun) -> list[SuspectFilm]:
    """The first rows of the view ``label_error_queue`` for each finding of a run.

    Raises WarehouseError when the pixel cache is torn.
    """
    quoted = run.run_id.replace("'", "''")
    sql = (
        "SELECT finding, rank, image_id, label, score FROM label_error_queue "  # noqa: S608
        f"WHERE run_id = '{quoted}' AND rank <= {QUEUE_ROWS} ORDER BY finding, rank, image_id"
    )
    rows = run_query(store, sql, at=run.version).to_pylist()
    shards = film_shards(store, run)
    places = {
        (finding, image_id): place
        for finding in run.findings
        for images in [run.images(finding=finding, network="student", split="test")]
        for image_id, place in zip(images.image_ids, images.map_places, strict=True)
    }
    films = []
    for row in rows:
        place = places.get((row["finding"], row["image_id"]))
        is_shown = place is not None and row["rank"] <= QUEUE_PICTURES
        heat = _suspect_picture(store, run, row, place, shards) if is_shown and place else None
        films.append(SuspectFilm(**row, heat=heat))
    return films


def _suspect_picture(
    store: Store,
    run: ScoredRun,
    row: dict[str, Any],
    place: tuple[str, int],
    shards: dict[str, tuple[str, int, str]],
) -> Picture:
    image = run.scored_image(row["image_id"], row["finding"], place)
    pixels = read_film(store.home.cache, *shards[row["image_id"]])
    _, heat = draw_film(image, pixels, None)
    told = f"{row['label']} by record, score {row['score']:.2f}"
    return Picture(heat, f"Chest film {row['image_id']} with its score map: {told}")


def film_shards(store: Store, run: ScoredRun) -> dict[str, tuple[str, int, str]]:
    """Shard, row and SHA-256 of every cached film, by image id."""
    return {
        row["image_id"]: (row["shard_name"], row["shard_row"], row["pixel_sha256"])
        for row in store.read(IMAGE_PIXELS, at=run.version).to_pylist()
    }


def _groups(
    run: ScoredRun, images: ScoredImages, finding: str, level: int
) -> dict[str, list[_Film]]:
    hits: list[_Film] = []
    misses: list[_Film] = []
    alarms: list[tuple[int, int]] = []
    for row, image_id in enumerate(images.image_ids):
        place = images.map_places[row]
        assert place is not None
        score = int(images.scores[row])
        if (image_id, finding) in run.boxes:
            image = run.scored_image(image_id, finding, place)
            is_hit = bool((centre_scores(image) >= level).any())
            (hits if is_hit else misses).append(_Film(image_id, score, image))
        elif not images.is_positive[row] and score >= level:
            alarms.append((score, row))
    worst = sorted(alarms, key=lambda pair: (-pair[0], images.image_ids[pair[1]]))[:PER_GROUP]
    return {
        "Found": _at_quartiles(hits),
        "Missed": _at_quartiles(misses),
        "False alarm": [
            _Film(
                images.image_ids[row],
                score,
                run.scored_image(images.image_ids[row], finding, _place(images, row)),
            )
            for score, row in worst
        ],
    }


def _place(images: ScoredImages, row: int) -> tuple[str, int]:
    place = images.map_places[row]
    assert place is not None
    return place


def _at_quartiles(films: list[_Film]) -> list[_Film]:
    """The films at the upper and the lower quartile of score, fewer when there are not two."""
    ordered = sorted(films, key=lambda film: (-film.score, film.image_id))
    places = sorted({round(share * (len(ordered) - 1)) for share in (0.25, 0.75)})
    return [ordered[place] for place in places] if ordered else []


def _example(
    group: str, film: _Film, pixels: NDArray[np.uint8], finding_name: str, level: int
) -> FilmExample:
    score = film.score / SCORE_MAX
    n_boxes = len(film.image.boxes_px)
    n_found = int((centre_scores(film.image) >= level).sum()) if n_boxes else 0
    if n_boxes:
        told = f"{n_found} of {n_boxes} boxed site{'s' if n_boxes > 1 else ''} marked"
    else:
        told = f"no {finding_name.lower()} by record"
    told = f"{told}; image score {score:.2f}, threshold {level / SCORE_MAX:.2f}"
    plain, heat = draw_film(film.image, pixels, level)
    return FilmExample(
        group,
        film.image_id,
        told,
        Picture(plain, f"Chest film {film.image_id} with {n_boxes} boxes of {finding_name}"),
        Picture(heat, f"The same film with the score map over it. {group}: {told}"),
    )


def draw_film(image: ScoredImage, pixels: NDArray[np.uint8], level: int | None) -> tuple[str, str]:
    """PNG data URIs of a film (size, size) cut to its valid area: boxes, and boxes with heat map.

    The contour encloses the pixels with score >= level, so the picture also reads in grey; there
    is none without a level.
    """
    frame = image.score_map.shape[0]
    area = image.area()
    side = round(_WIDTH_PX * frame / (area.column_stop - area.column_start))
    zoom = side / frame
    rows = slice(round(area.row_start * zoom), round(area.row_stop * zoom))
    columns = slice(round(area.column_start * zoom), round(area.column_stop * zoom))
    interpolation = cv2.INTER_AREA if pixels.shape[0] > side else cv2.INTER_CUBIC
    grey = cv2.resize(pixels, (side, side), interpolation=interpolation)
    plain = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    scores = cv2.resize(
        image.score_map.astype(np.float32) / SCORE_MAX, (side, side), interpolation=cv2.INTER_LINEAR
    )
    colours = (mpl.colormaps["inferno"](scores)[..., 2::-1] * 255).astype(np.float32)
    strength = np.clip(scores * 1.4, 0, 0.75)[..., None]
    heat = (plain * (1 - strength) + colours * strength).astype(np.uint8)
    if level is not None:
        called = (scores >= level / SCORE_MAX).astype(np.uint8)
        contours, _ = cv2.findContours(called, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(heat, contours, -1, (255, 255, 255), 1, cv2.LINE_AA)
    for canvas in (plain, heat):
        for box in image.boxes_px:
            _draw_box(canvas, box_pixels(box, area), zoom)
    return _png(plain[rows, columns], levels=64), _png(heat[rows, columns], levels=64)


def _draw_box(canvas: MatLike, pixels: tuple[slice, slice], zoom: float) -> None:
    rows, columns = pixels
    start = (round(columns.start * zoom) - 2, round(rows.start * zoom) - 2)
    stop = (round(columns.stop * zoom) + 1, round(rows.stop * zoom) + 1)
    cv2.rectangle(canvas, start, stop, (0, 0, 0), 4)
    cv2.rectangle(canvas, start, stop, _BOX_BGR, 2)


def _png(picture: MatLike, *, levels: int) -> str:
    """A PNG with as many grey or colour levels as the eye tells apart at this size."""
    step = 256 // levels
    coarse = (picture // step * step + step // 2).astype(np.uint8)
    is_encoded, data = cv2.imencode(".png", coarse, [cv2.IMWRITE_PNG_COMPRESSION, 6])
    assert is_encoded
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode()
