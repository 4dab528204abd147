"""How far the readers of the same images agree: kappa by image, IoU by box.

A reading takes part where its reader is named and has drawn a box on the image, of whatever
finding, or has looked and drawn none; confirmations and rejections are an adjudicator's and take no
part (``etl.annotations.consensus`` has the same rule). Two readers' boxes of one finding on one
image are matched one to one so that the sum of their IoU is largest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etl.annotations.box_overlap import corners_of, match, overlaps
from etl.annotations.consensus import MIN_IOU, TOLERANCE, empty_readings
from etl.annotations.kappa import (
    cohen_kappa,
    cohen_kappa_of_counts,
    fleiss_kappa,
    fleiss_kappa_of_terms,
    fleiss_terms,
    patient_interval,
    ratio_of_terms,
)
from warehouse_schema.store import Store
from warehouse_schema.tables.annotation import BOX_MATCHES, IMAGE_READINGS, READER_AGREEMENT
from warehouse_schema.tables.imaging import ANNOTATIONS, IMAGES

STAGE = "reader-agreement"
ALL = "all"
Row = dict[str, Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class AgreementSummary:
    """What one measurement rests on.

    Attributes:
        n_readers: Readers who share an image with another.
        n_images: Images read by at least two.
        n_single: Images read by one.
        n_matches: Pairs of matched boxes.
        n_measures: Rows of reader_agreement.
    """

    n_readers: int
    n_images: int
    n_single: int
    n_matches: int
    n_measures: int


@dataclass(frozen=True, kw_only=True)
class _Readings:
    """Who read what.

    Attributes:
        readers: By image, its readers in order.
        boxes: Drawn boxes by image, finding and reader.
        findings: Findings with a box on an image of several readers.
        patients: Number of each image's patient.
    """

    readers: Mapping[str, list[str]]
    boxes: Mapping[tuple[str, str, str], list[Row]]
    findings: list[str]
    patients: Mapping[str, int]


def measure_agreement(*, store: Store, n_bootstrap: int, seed: int) -> AgreementSummary:
    """Measure the agreement of all readers who share images; replaces both its tables.

    Args:
        store: The store.
        n_bootstrap: Bootstrap samples (of patients) of every interval.
        seed: Their seed.
    """
    readings, n_single = _read(store)
    matches: list[Row] = []
    measures: list[Row] = []
    for finding in readings.findings:
        pair_terms = []
        for pair, image_ids in _pairs(readings).items():
            found = _PairReading(readings, finding, pair, image_ids)
            matches += found.matches
            pair_terms.append(found)
            measures += found.measures(n_bootstrap=n_bootstrap, seed=seed)
        measures += _overall(readings, finding, pair_terms, n_bootstrap=n_bootstrap, seed=seed)
    with store.commit(stage=STAGE, configuration={"seed": seed, "n": n_bootstrap}) as commit:
        commit.uses(ANNOTATIONS, IMAGE_READINGS, IMAGES)
        for table, rows in ((READER_AGREEMENT, measures), (BOX_MATCHES, matches)):
            commit.replace(table, pa.Table.from_pylist(rows, schema=table.schema))
    return AgreementSummary(
        n_readers=len({reader for each in readings.readers.values() for reader in each}),
        n_images=len(readings.readers),
        n_single=n_single,
        n_matches=len(matches),
        n_measures=len(measures),
    )


def _read(store: Store) -> tuple[_Readings, int]:
    """Images of several readers, and how many images have one."""
    readers: dict[str, set[str]] = defaultdict(set)
    boxes: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in store.read(ANNOTATIONS, where={"status": "drawn"}).to_pylist():
        if row["reader_id"] is not None:
            readers[row["image_id"]].add(row["reader_id"])
            boxes[row["image_id"], row["finding"], row["reader_id"]].append(row)
    for image_id, empty in empty_readings(store.read(IMAGE_READINGS).to_pylist()).items():
        readers[image_id].update(reader for reader in empty if reader is not None)
    shared = {image: sorted(readers[image]) for image in sorted(readers) if len(readers[image]) > 1}
    images = store.read(IMAGES, columns=["image_id", "patient_id"]).to_pylist()
    patients = {row["image_id"]: row["patient_id"] for row in images}
    numbers: dict[str, int] = {}
    of_image = {
        image: numbers.setdefault(patients.get(image, image), len(numbers)) for image in shared
    }
    findings = sorted({finding for image, finding, _ in boxes if image in shared})
    found = _Readings(readers=shared, boxes=boxes, findings=findings, patients=of_image)
    return found, len(readers) - len(shared)


def _pairs(readings: _Readings) -> Mapping[tuple[str, str], list[str]]:
    """Images that each pair of readers shares."""
    pairs: dict[tuple[str, str], list[str]] = defaultdict(list)
    for image_id, readers in readings.readers.items():
        for a, b in combinations(readers, 2):
            pairs[a, b].append(image_id)
    return dict(sorted(pairs.items()))


class _PairReading:
    """Two readers' boxes of one finding on the images that both have read."""

    def __init__(
        self, readings: _Readings, finding: str, pair: tuple[str, str], image_ids: list[str]
    ) -> None:
        self.finding, self.pair = finding, pair
        self.patients = np.array([readings.patients[each] for each in image_ids])
        self.matches: list[Row] = []
        terms = []
        for image_id in image_ids:
            a, b = (readings.boxes.get((image_id, finding, reader), []) for reader in pair)
            iou = overlaps(corners_of(a), corners_of(b))
            found = match(iou)
            self.matches += [self._match(a[i], b[j], iou[i, j]) for i, j in found]
            n_near = sum(iou[i, j] >= MIN_IOU - TOLERANCE for i, j in found)
            terms.append(
                (len(a), len(b), len(found), n_near, sum(float(iou[i, j]) for i, j in found))
            )
        self.n_a, self.n_b, self.n_pairs, self.n_near, self.iou = np.array(
            terms, dtype=np.float64
        ).T

    def _match(self, a: Row, b: Row, iou: float) -> Row:
        return {
            "annotation_id_a": a["annotation_id"],
            "annotation_id_b": b["annotation_id"],
            "image_id": a["image_id"],
            "finding": self.finding,
            "reader_id_a": self.pair[0],
            "reader_id_b": self.pair[1],
            "iou": float(iou),
        }

    @property
    def table(self) -> Floats:
        """Per image (n, 4): both drew, only a, only b, neither."""
        a, b = self.n_a > 0, self.n_b > 0
        return np.column_stack([a & b, a & ~b, ~a & b, ~a & ~b]).astype(np.float64)

    @property
    def box_terms(self) -> Floats:
        """Per image (n, 2): boxes with a partner of IoU >= 0.5, and all boxes, of both readers."""
        return np.column_stack([2 * self.n_near, self.n_a + self.n_b])

    @property
    def iou_terms(self) -> Floats:
        """Per image (n, 2): sum of the IoU of matched pairs, and their number."""
        return np.column_stack([self.iou, self.n_pairs])

    def measures(self, *, n_bootstrap: int, seed: int) -> Iterator[Row]:
        """Rows of reader_agreement."""
        table = self.table
        observed = np.column_stack([table[:, 0] + table[:, 3], np.ones(len(table))])
        counts = {
            "finding": self.finding,
            "reader_id_a": self.pair[0],
            "reader_id_b": self.pair[1],
            "n_images": len(table),
            "n_positive": int(len(table) - table[:, 3].sum()),
            "n_boxes": int((self.n_a + self.n_b).sum()),
        }
        kappa = cohen_kappa(self.n_a > 0, self.n_b > 0)
        for measure, terms, statistic, value, n_matched in (
            ("cohen_kappa", table, cohen_kappa_of_counts, kappa, self.n_near),
            ("observed_agreement", observed, ratio_of_terms, None, self.n_near),
            ("box_agreement", self.box_terms, ratio_of_terms, None, self.n_near),
            ("mean_iou", self.iou_terms, ratio_of_terms, None, self.n_pairs),
        ):
            interval = patient_interval(
                terms, self.patients, statistic, n_bootstrap=n_bootstrap, seed=seed
            )
            estimate = float(statistic(terms.sum(axis=0))) if value is None else value
            yield _measure(measure, estimate, interval, counts, int(n_matched.sum()))


def _overall(
    readings: _Readings,
    finding: str,
    pairs: Sequence[_PairReading],
    *,
    n_bootstrap: int,
    seed: int,
) -> Iterator[Row]:
    """Measures over all readers: Fleiss' kappa, and the boxes of all pairs together."""
    counts, patients = [], []
    for image_id, readers in readings.readers.items():
        n_drew = sum((image_id, finding, reader) in readings.boxes for reader in readers)
        counts.append((n_drew, len(readers) - n_drew))
        patients.append(readings.patients[image_id])
    table = np.array(counts, dtype=np.float64)
    said = {
        "finding": finding,
        "reader_id_a": ALL,
        "reader_id_b": ALL,
        "n_images": len(table),
        "n_positive": int((table[:, 0] > 0).sum()),
        "n_boxes": int(sum((each.n_a + each.n_b).sum() for each in pairs)),
    }
    pair_patients = np.concatenate([each.patients for each in pairs])
    n_near = int(sum(each.n_near.sum() for each in pairs))
    n_pairs = int(sum(each.n_pairs.sum() for each in pairs))
    boxes = np.concatenate([each.box_terms for each in pairs])
    iou = np.concatenate([each.iou_terms for each in pairs])
    for measure, terms, owners, statistic, value, n_matched in (
        (
            "fleiss_kappa",
            fleiss_terms(table),
            np.array(patients),
            fleiss_kappa_of_terms,
            fleiss_kappa(table),
            n_near,
        ),
        ("box_agreement", boxes, pair_patients, ratio_of_terms, None, n_near),
        ("mean_iou", iou, pair_patients, ratio_of_terms, None, n_pairs),
    ):
        interval = patient_interval(terms, owners, statistic, n_bootstrap=n_bootstrap, seed=seed)
        estimate = float(statistic(terms.sum(axis=0))) if value is None else value
        yield _measure(measure, estimate, interval, said, n_matched)


def _measure(
    measure: str,
    value: float,
    interval: tuple[float, float] | None,
    counts: Mapping[str, object],
    n_matched: int,
) -> Row:
    is_defined = bool(np.isfinite(value))
    low, high = interval if interval is not None and is_defined else (None, None)
    return {
        **counts,
        "measure": measure,
        "value": value if is_defined else None,
        "ci_low": low,
        "ci_high": high,
        "n_matched": n_matched,
    }
