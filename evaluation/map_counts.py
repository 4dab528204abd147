"""The counts that both FROCs need of a run's maps, one map in memory at a time."""

from dataclasses import dataclass

import numpy as np

from evaluation.froc import FrocCounter, FrocCounts, distinct_centre_scores
from evaluation.froc_metrics import froc_rows
from evaluation.lesion_froc import LesionCounter, distinct_box_scores
from evaluation.scored_run import ImageWalk, ScoredImages, ScoredRun, listed
from warehouse_schema.errors import EvaluationError


@dataclass(frozen=True)
class MapCounts:
    """Images of a FROC with the counts of their maps, row by row.

    ``pixels``: modified FROC (activated pixels). ``peaks``: classic FROC (regions).
    """

    images: ScoredImages
    pixels: FrocCounts
    peaks: FrocCounts


def froc_images(run: ScoredRun, test: ScoredImages, finding: str) -> ScoredImages | None:
    """The images of a finding's FROC; None without boxes or without maps."""
    if not test.has_maps:
        return None
    n_boxes = np.array([len(run.boxes.get((image_id, finding), [])) for image_id in test.image_ids])
    rows = froc_rows(test, n_boxes)
    return test.subset(rows) if n_boxes[rows].any() else None


def walks(run: ScoredRun, images: ScoredImages, finding: str) -> tuple[ImageWalk, ImageWalk]:
    """A walk through the boxed images, which gives the thresholds, and one through all."""
    has_box = np.array([(image_id, finding) in run.boxes for image_id in images.image_ids])
    every = np.arange(len(images.image_ids))
    return run.walk(images, np.flatnonzero(has_box), finding), run.walk(images, every, finding)


def count_maps(run: ScoredRun, test: ScoredImages, finding: str) -> MapCounts | None:
    """The FROC's images of a split and their counts; None without boxes or without maps.

    Raises:
        EvaluationError: A score is not the maximum of its map.
    """
    images = froc_images(run, test, finding)
    if images is None:
        return None
    boxed, every = walks(run, images, finding)
    pixels = FrocCounter(distinct_centre_scores(boxed))
    peaks = LesionCounter(distinct_box_scores(boxed))
    for image in every:
        pixels.add(image)
        peaks.add(image)
    return MapCounts(images, checked_counts(pixels.counts(), images, run, finding), peaks.counts())


def count_pixels(
    run: ScoredRun, test: ScoredImages, finding: str
) -> tuple[ScoredImages, FrocCounts] | None:
    """As :func:`count_maps`, for the modified FROC alone.

    Raises:
        EvaluationError: A score is not the maximum of its map.
    """
    images = froc_images(run, test, finding)
    if images is None:
        return None
    boxed, every = walks(run, images, finding)
    counter = FrocCounter(distinct_centre_scores(boxed))
    for image in every:
        counter.add(image)
    return images, checked_counts(counter.counts(), images, run, finding)


def checked_counts(
    counts: FrocCounts, images: ScoredImages, run: ScoredRun, finding: str
) -> FrocCounts:
    """The counts, whose maxima are the images' scores.

    Raises:
        EvaluationError: A score is not the maximum of its map.
    """
    unlike = np.flatnonzero(counts.maximum_scores != images.scores)
    if len(unlike):
        raise EvaluationError(
            f"predictions of run {run.run_id}: {len(unlike)} scores of {finding} are not the "
            f"maximum of their map's valid area: {listed([images.image_ids[i] for i in unlike])}. "
            "Run `ribline predict` again."
        )
    return counts
