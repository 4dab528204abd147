"""One run's predictions joined with labels, boxes and cohort, checked before any metric."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from evaluation.score_maps import SCORE_MAX, ScoredImage, ValidArea
from warehouse_schema.errors import EvaluationError
from warehouse_schema.pixel_shards import open_array
from warehouse_schema.store import Store
from warehouse_schema.table import Table
from warehouse_schema.tables.annotation import CONSENSUS_BOXES
from warehouse_schema.tables.imaging import IMAGE_PIXELS, IMAGES
from warehouse_schema.tables.labels import COHORT, IMAGE_LABELS
from warehouse_schema.tables.records import PATIENTS
from warehouse_schema.tables.runs import PREDICTIONS, TRAINING_RUNS

INPUT_TABLES: tuple[Table, ...] = (
    TRAINING_RUNS,
    PREDICTIONS,
    COHORT,
    IMAGE_LABELS,
    CONSENSUS_BOXES,
    IMAGE_PIXELS,
    IMAGES,
    PATIENTS,
)
_LISTED = 10


@dataclass(frozen=True)
class CohortImage:
    """An image's part in the run's fold."""

    image_id: str
    patient_id: str
    subset: str
    split: str
    source: str


@dataclass(frozen=True)
class Geometry:
    """An image's row of ``image_pixels``; see docs/architecture.md, "Geometry"."""

    size_px: int
    scale: float
    pad_left_px: int
    pad_top_px: int
    valid_width_px: int
    valid_height_px: int

    def box_in_frame(self, box: dict[str, float], frame_px: int) -> tuple[float, ...]:
        """A source box (x_px, y_px, width_px, height_px) as corners in a square frame."""
        factor = frame_px / self.size_px
        x = (box["x_px"] * self.scale + self.pad_left_px) * factor
        y = (box["y_px"] * self.scale + self.pad_top_px) * factor
        side = self.scale * factor
        return x, y, x + box["width_px"] * side, y + box["height_px"] * side

    def box_area(self, box: dict[str, float]) -> float:
        """Area of a source box in square pixels of the cached film."""
        return box["width_px"] * box["height_px"] * self.scale**2

    def valid_area(self, frame_px: int) -> ValidArea:
        """Every pixel of a square frame that lies, at least in part, on the film."""
        factor = frame_px / self.size_px
        return ValidArea(
            int(np.floor(self.pad_top_px * factor)),
            min(int(np.ceil((self.pad_top_px + self.valid_height_px) * factor)), frame_px),
            int(np.floor(self.pad_left_px * factor)),
            min(int(np.ceil((self.pad_left_px + self.valid_width_px) * factor)), frame_px),
        )


@dataclass(frozen=True)
class ScoredImages:
    """The images of one split whose label for one finding is known, by rising image id.

    ``scores``: (n,) int64, 16-bit image scores. ``is_positive``: (n,) by record.
    ``subsets``: R, P or N. ``sources``: site or data set of each. ``map_places``: file and row of
    each map, None where there is none.
    """

    image_ids: list[str]
    patient_ids: list[str]
    subsets: NDArray[np.str_]
    sources: NDArray[np.str_]
    is_positive: NDArray[np.bool_]
    scores: NDArray[np.int64]
    map_places: list[tuple[str, int] | None]

    @property
    def has_maps(self) -> bool:
        """True where every image has a score map."""
        return all(place is not None for place in self.map_places)

    @property
    def n_patients(self) -> int:
        """Number of patients."""
        return len(set(self.patient_ids))

    @property
    def is_one_each(self) -> bool:
        """True where there is one image per patient."""
        return self.n_patients == len(self.patient_ids)

    @property
    def has_both_classes(self) -> bool:
        """True where there is a positive and a negative image."""
        return bool(self.is_positive.any() and not self.is_positive.all())

    def subset(self, rows: NDArray[np.bool_]) -> "ScoredImages":
        """The images of a row mask (n,)."""
        chosen = np.flatnonzero(rows)
        return ScoredImages(
            image_ids=[self.image_ids[row] for row in chosen],
            patient_ids=[self.patient_ids[row] for row in chosen],
            subsets=self.subsets[chosen],
            sources=self.sources[chosen],
            is_positive=self.is_positive[chosen],
            scores=self.scores[chosen],
            map_places=[self.map_places[row] for row in chosen],
        )


class ScoredRun:
    """Everything evaluation reads about one run, from one published version of the warehouse.

    ``version``: the manifest version read, the newest by default.

    Raises:
        EvaluationError: The run is unknown, or its predictions do not fit the cohort.
    """

    def __init__(self, *, store: Store, run_id: str, version: int | None = None) -> None:
        self._home = store.home.root
        self.run_id = run_id
        # The empty warehouse is version 0, which cannot be asked for.
        self.version = version or store.manifest().version or None
        at = self.version
        rows = store.read(TRAINING_RUNS, where={"run_id": run_id}, at=at).to_pylist()
        if not rows:
            raise EvaluationError(
                f"run_id: there is no training run {run_id}. List them with: "
                'ribline sql "FROM training_runs".'
            )
        self.run = rows[0]
        self.findings: list[str] = [name.strip() for name in self.run["findings"].split(",")]
        self.cohort = _cohort(store, int(self.run["fold"]), at)
        labels = store.read(IMAGE_LABELS, where={"finding": self.findings}, at=at)
        self.labels = {(row["image_id"], row["finding"]): row["label"] for row in _rows(labels)}
        self.geometry = {
            row["image_id"]: Geometry(**{name: row[name] for name in Geometry.__annotations__})
            for row in _rows(store.read(IMAGE_PIXELS, at=at))
        }
        self.boxes = _boxes(store, set(self.cohort), at)
        self._predictions = _predictions(store, run_id, at)
        self._maps: dict[str, NDArray[np.uint16]] = {}
        self._check_predictions()

    @property
    def networks(self) -> list[str]:
        """Networks that have predictions, student first."""
        return sorted({network for network, _, _ in self._predictions})

    def images(self, *, finding: str, network: str, split: str) -> ScoredImages:
        """Images of a split with a positive or negative label for the finding.

        Raises:
            EvaluationError: An image of the split has no prediction.
        """
        chosen = [
            image
            for image in self.cohort.values()
            if image.split == split
            and self.labels.get((image.image_id, finding)) in {"positive", "negative"}
        ]
        chosen.sort(key=lambda image: image.image_id)
        self._refuse_missing(chosen, finding=finding, network=network, split=split)
        rows = [self._predictions[network, image.image_id, finding] for image in chosen]
        return ScoredImages(
            image_ids=[image.image_id for image in chosen],
            patient_ids=[image.patient_id for image in chosen],
            subsets=np.array([image.subset for image in chosen], dtype=np.str_),
            sources=np.array([image.source for image in chosen], dtype=np.str_),
            is_positive=np.array(
                [self.labels[image.image_id, finding] == "positive" for image in chosen], dtype=bool
            ),
            scores=np.array([round(row["score"] * SCORE_MAX) for row in rows], dtype=np.int64),
            map_places=[
                None if row["map_path"] is None else (row["map_path"], int(row["map_row"]))
                for row in rows
            ],
        )

    def prevalence(self, finding: str) -> float | None:
        """Share of positives among the fold's labelled images of the sources trained on.

        The cohort holds one film per patient, whatever its split: this is the hospital's own
        prevalence, where a test split may be of other sources too. None without a labelled image.
        """
        sources = {image.source for image in self.cohort.values() if image.split == "train"}
        labels = [
            self.labels.get((image.image_id, finding))
            for image in self.cohort.values()
            if image.source in sources
        ]
        n_positive, n_negative = labels.count("positive"), labels.count("negative")
        return n_positive / (n_positive + n_negative) if n_positive + n_negative else None

    def has_split(self, *, network: str, split: str) -> bool:
        """True where the network has predictions in a split."""
        return any(
            key[0] == network and row["split"] == split for key, row in self._predictions.items()
        )

    def scored_image(self, image_id: str, finding: str, place: tuple[str, int]) -> ScoredImage:
        """An image's map (a view into its file), its boxes of the finding and its valid area.

        Raises:
            EvaluationError: The file does not hold square uint16 maps, or lacks the row.
        """
        score_map = self._map(*place)
        frame_px = score_map.shape[0]
        geometry = self.geometry.get(image_id)
        if geometry is None:
            raise EvaluationError(
                f"Image {image_id} has a prediction but no row in image_pixels. "
                "Run `ribline ingest-images`, then `ribline predict` again."
            )
        boxes = [
            geometry.box_in_frame(box, frame_px) for box in self.boxes.get((image_id, finding), [])
        ]
        return ScoredImage(
            score_map,
            np.array(boxes, dtype=np.float64).reshape(-1, 4),
            geometry.valid_area(frame_px),
        )

    def walk(self, images: ScoredImages, rows: NDArray[np.intp], finding: str) -> "ImageWalk":
        """Selected images, to be walked through as often as needed, one map at a time."""
        return ImageWalk(self, images, rows, finding)

    def _map(self, path: str, row: int) -> NDArray[np.uint16]:
        if path not in self._maps:
            file = (self._home / path).resolve()
            if not file.is_relative_to(self._home.resolve()):
                raise EvaluationError(
                    f"predictions of run {self.run_id}: a map_path leaves the home folder. "
                    "Run `ribline predict` again."
                )
            self._maps[path] = _checked_maps(file)
        maps = self._maps[path]
        if not 0 <= row < len(maps):
            raise EvaluationError(
                f"Map file {Path(path).name} has {len(maps)} maps, row {row} was asked for. "
                "Run `ribline predict` again."
            )
        sizes = {opened.shape[1:] for opened in self._maps.values()}
        if len(sizes) > 1:
            raise EvaluationError(
                f"predictions of run {self.run_id}: score maps have different sizes "
                f"({', '.join(f'{h} x {w}' for h, w in sorted(sizes))} pixels); one size is "
                "needed. Run `ribline predict` again."
            )
        score_map: NDArray[np.uint16] = maps[row]
        return score_map

    def _check_predictions(self) -> None:
        if not self._predictions:
            raise EvaluationError(
                f"run_id: run {self.run_id} has no predictions. Run `ribline predict` first."
            )
        strangers, moved, broken = set(), set(), set()
        for (_, image_id, _), row in self._predictions.items():
            image = self.cohort.get(image_id)
            if image is None:
                strangers.add(image_id)
            elif image.split != row["split"]:
                moved.add(image_id)
            if not 0.0 <= row["score"] <= 1.0:  # false for NaN too
                broken.add(image_id)
        advice = "Run `ribline predict` again."
        if strangers:
            raise EvaluationError(
                f"predictions of run {self.run_id}: {len(strangers)} images are not in fold "
                f"{self.run['fold']} of the cohort: {listed(strangers)}. {advice}"
            )
        if moved:
            raise EvaluationError(
                f"predictions of run {self.run_id}: {len(moved)} images have changed split since "
                f"they were predicted: {listed(moved)}. Train and predict on the present cohort."
            )
        if broken:
            raise EvaluationError(
                f"predictions of run {self.run_id}: {len(broken)} images have a score that is NaN "
                f"or outside 0 to 1: {listed(broken)}. {advice}"
            )

    def _refuse_missing(
        self, chosen: list[CohortImage], *, finding: str, network: str, split: str
    ) -> None:
        missing = [
            image.image_id
            for image in chosen
            if (network, image.image_id, finding) not in self._predictions
        ]
        if missing:
            raise EvaluationError(
                f"predictions of run {self.run_id} ({network}): {len(missing)} of {len(chosen)} "
                f"{split} images have none for {finding}: {listed(missing)}. "
                "Run `ribline predict` for this run again."
            )


@dataclass(frozen=True)
class ImageWalk:
    """A re-iterable walk over images that opens one map at a time."""

    run: ScoredRun
    images: ScoredImages
    rows: NDArray[np.intp]
    finding: str

    def __iter__(self) -> Iterator[ScoredImage]:
        for row in self.rows:
            place = self.images.map_places[row]
            assert place is not None
            yield self.run.scored_image(self.images.image_ids[row], self.finding, place)


def listed(ids: set[str] | list[str]) -> str:
    """The first ten pseudonyms of a set and how many more there are, for a message."""
    first = sorted(ids)[:_LISTED]
    rest = len(ids) - len(first)
    return ", ".join(first) + (f" and {rest} more" if rest else "")


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    return table.to_pylist()  # type: ignore[no-any-return]


def _cohort(store: Store, fold: int, at: int | None) -> dict[str, CohortImage]:
    table = store.read(COHORT, where={"fold": fold}, at=at)
    images = {
        row["image_id"]: CohortImage(
            row["image_id"], row["patient_id"], row["subset"], row["split"], row["source"]
        )
        for row in table.to_pylist()
        if row["split"] is not None and row["subset"] in {"R", "P", "N"}
    }
    if not images:
        raise EvaluationError(
            f"cohort: fold {fold} has no images. Run `ribline build-cohort` first."
        )
    return images


def _boxes(
    store: Store, ids: set[str], at: int | None
) -> dict[tuple[str, str], list[dict[str, float]]]:
    boxes: dict[tuple[str, str], list[dict[str, float]]] = {}
    rows = store.read(CONSENSUS_BOXES, at=at).to_pylist()
    images = set(store.read(IMAGES, columns=["image_id"], at=at).column(0).to_pylist())
    strangers = {row["image_id"] for row in rows} - images
    if strangers:
        raise EvaluationError(
            f"consensus_boxes: the boxes of {len(strangers)} images have no image in the "
            f"warehouse: {listed(strangers)}. Ingest these films, or run `ribline import-boxes` "
            "and `ribline build-cohort` again."
        )
    for row in rows:
        if row["image_id"] in ids:
            boxes.setdefault((row["image_id"], row["finding"]), []).append(row)
    return boxes


def _predictions(
    store: Store, run_id: str, at: int | None
) -> dict[tuple[str, str, str], dict[str, Any]]:
    rows = store.read(PREDICTIONS, where={"run_id": run_id}, at=at).to_pylist()
    return {(row["network"], row["image_id"], row["finding"]): row for row in rows}


def _checked_maps(file: Path) -> NDArray[np.uint16]:
    maps = open_array(file)
    if maps.ndim != 3 or maps.shape[1] != maps.shape[2] or maps.dtype != np.uint16:
        raise EvaluationError(
            f"Map file {file.name} holds {maps.dtype} of shape {maps.shape}; uint16 of shape "
            "(n, side, side) is needed. Run `ribline predict` again."
        )
    return maps  # type: ignore[return-value]
