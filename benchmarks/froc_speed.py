"""Exact streaming FROC against a sweep over 100 thresholds, and the time of the bootstraps.

One JSON object: milliseconds of processor time a map, the ratio to the sweep, the largest memory of
a stream that makes its maps as it goes, seconds for 2,000 patient-level draws of FROC score and of
AUROC, and whether both ways give the same FROC score. Targets: at least 20 times the sweep, at most
5 ms a map of 1024 x 1024, 65,843 maps never in memory together, their bootstrap within a minute.

    python benchmarks/froc_speed.py --json
"""

import argparse
import json
import resource
import time
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation.auroc import bootstrap_classification, roc_curve
from evaluation.bootstrap import DRAWS, PatientBootstrap, percentile_interval
from evaluation.froc import (
    FALSE_POSITIVE_RATIOS,
    FrocCounter,
    FrocCounts,
    distinct_centre_scores,
    froc_curve,
)
from evaluation.froc_metrics import froc_draws
from evaluation.lesion_froc import LesionCounter, distinct_box_scores
from evaluation.score_maps import ScoredImage, centre_scores, outside_mask, quantise

SIDE = 1024
SWEEP_THRESHOLDS = 100
SWEEP_MAPS = 12
BOXED_EVERY = 8


def make_images(n_images: int, seed: int) -> Iterator[ScoredImage]:
    """Smooth maps like a network's: low everywhere, a few bumps; every eighth with boxes."""
    for index in range(n_images):
        generator = np.random.default_rng([seed, index])
        coarse = generator.random((64, 64), dtype=np.float32) ** 6
        for _ in range(generator.integers(0, 4)):
            row, column = generator.integers(4, 60, 2)
            coarse[row - 1 : row + 2, column - 1 : column + 2] = generator.uniform(0.3, 0.99)
        smooth = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        boxes = np.zeros((0, 4))
        if index % BOXED_EVERY == 0:
            corners = generator.uniform(50, 900, (generator.integers(1, 5), 2))
            boxes = np.concatenate([corners, corners + generator.uniform(20, 80)], axis=1)
        yield ScoredImage(quantise(np.clip(smooth, 0, 1)), boxes)


def stream(images: list[ScoredImage]) -> tuple[FrocCounts, float]:
    """Counts of all images, and seconds of processor time."""
    start = time.process_time()
    counter = FrocCounter(distinct_centre_scores(images))
    for image in images:
        counter.add(image)
    return counter.counts(), time.process_time() - start


def peaks_seconds(images: list[ScoredImage]) -> float:
    """Seconds of processor time for the classic FROC's peaks."""
    start = time.process_time()
    counter = LesionCounter(distinct_box_scores(images))
    for image in images:
        counter.add(image)
    return time.process_time() - start


def streamed_memory_mib(n_maps: int, seed: int) -> float:
    """Growth of the largest memory in use while maps are made, counted and let go, in MiB."""
    counter = FrocCounter(distinct_centre_scores(make_images(BOXED_EVERY, seed)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for image in make_images(n_maps, seed):
        counter.add(ScoredImage(image.score_map, image.boxes_px[:0]))
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def sweep(images: list[ScoredImage], thresholds: NDArray[np.int64]) -> tuple[float, float]:
    """FROC score by comparing every map with every threshold, and seconds of processor time."""
    start = time.process_time()
    outside = np.zeros(len(thresholds))
    hits = np.zeros(len(thresholds))
    n_boxes = 0
    for image in images:
        mask = outside_mask(image)
        scores = centre_scores(image)
        n_boxes += len(scores)
        for place, threshold in enumerate(thresholds):
            outside[place] += np.count_nonzero((image.score_map >= threshold) & mask)
            hits[place] += (scores >= threshold).sum()
    ratios = outside / (len(images) * SIDE * SIDE)
    recalls = [
        max((hits / n_boxes)[ratios <= ratio + 1e-12], default=0.0)
        for ratio in FALSE_POSITIVE_RATIOS
    ]
    return float(np.mean(recalls)), time.process_time() - start


def bootstrap_seconds(n_images: int, n_boxes: int, seed: int) -> float:
    """Seconds for 2,000 draws over count vectors of ``n_images`` images."""
    generator = np.random.default_rng(seed)
    steps = generator.integers(0, 40, (n_images, n_boxes), dtype=np.int32)
    counts = FrocCounts(
        thresholds=np.sort(generator.choice(65536, n_boxes, replace=False))[::-1].astype(np.int64),
        box_rows=generator.integers(0, max(n_boxes // 3, 1), n_boxes),
        box_scores=np.zeros(n_boxes, dtype=np.int64),
        outside_counts=np.cumsum(steps, axis=1, dtype=np.int32),
        image_px=np.full(n_images, SIDE * SIDE),
        valid_px=np.full(n_images, SIDE * SIDE),
        maximum_scores=np.zeros(n_images, dtype=np.int64),
    )
    counts.box_scores[:] = generator.permutation(counts.thresholds)
    has_box = np.bincount(counts.box_rows, minlength=n_images) > 0
    start = time.perf_counter()
    bootstrap = PatientBootstrap(
        patient_ids=[f"{index:07}" for index in range(n_images)],
        strata=has_box.astype(int).tolist(),
        seed=seed,
    )
    draws = froc_draws(
        counts,
        bootstrap,
        FALSE_POSITIVE_RATIOS,
        rows=np.ones(n_images, dtype=bool),
        denominator="whole_image",
    )
    percentile_interval(draws.mean(axis=1))
    return time.perf_counter() - start


def auroc_bootstrap_seconds(n_images: int, seed: int) -> float:
    """Seconds for 2,000 draws of AUROC, average precision and the ROC band over images."""
    generator = np.random.default_rng(seed)
    is_positive = generator.random(n_images) < 6792 / 65843
    centre = np.where(is_positive, 0.5, 0.3)
    scores = (np.clip(generator.normal(centre, 0.15), 0, 1) * 65535).astype(np.int64)
    start = time.perf_counter()
    bootstrap = PatientBootstrap(
        patient_ids=[f"{index:07}" for index in range(n_images)],
        strata=is_positive.astype(int).tolist(),
        seed=seed,
    )
    rates = roc_curve(scores, is_positive).false_positive_rates
    bootstrap_classification(scores, is_positive, bootstrap, rates)
    return time.perf_counter() - start


def main() -> None:
    """Parse, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--maps", type=int, default=160)
    parser.add_argument("--bootstrap-images", type=int, default=65_843)
    parser.add_argument("--bootstrap-boxes", type=int, default=480)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    memory_mib = streamed_memory_mib(arguments.maps, arguments.seed)
    images = list(make_images(arguments.maps, arguments.seed))
    counts, streamed_s = stream(images)
    few = images[:SWEEP_MAPS]
    few_counts, _ = stream(few)
    evenly = np.linspace(65535, 0, SWEEP_THRESHOLDS).round().astype(np.int64)
    _, swept_s = sweep(few, evenly)
    exact_score, _ = sweep(few, few_counts.thresholds)
    figures = {
        "map_side_px": SIDE,
        "n_maps": len(images),
        "n_centre_scores": len(counts.thresholds),
        "stream_cpu_ms_per_map": 1000 * streamed_s / len(images),
        "sweep_cpu_ms_per_map": 1000 * swept_s / len(few),
        "times_faster_than_sweep": (swept_s / len(few)) / (streamed_s / len(images)),
        "peaks_cpu_ms_per_map": 1000 * peaks_seconds(images) / len(images),
        "streamed_memory_mib": memory_mib,
        "streamed_maps_mib": arguments.maps * SIDE * SIDE * 2 / 2**20,
        "is_equal_to_sweep": abs(exact_score - froc_curve(few_counts).score()) < 1e-12,
        "bootstrap_draws": DRAWS,
        "bootstrap_images": arguments.bootstrap_images,
        "bootstrap_boxes": arguments.bootstrap_boxes,
        "bootstrap_wall_s": bootstrap_seconds(
            arguments.bootstrap_images, arguments.bootstrap_boxes, arguments.seed
        ),
        "auroc_bootstrap_wall_s": auroc_bootstrap_seconds(
            arguments.bootstrap_images, arguments.seed
        ),
    }
    if arguments.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name}: {value}")


if __name__ == "__main__":
    main()
