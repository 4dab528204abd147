"""The boxes that the readers of an image agree on.

The rule, for each image and finding:

1. One reader alone on an image: every box that is not rejected counts as it is.
2. Boxes of different readers that all overlap each other by an IoU of at least 0.5 are one
   group, at most one box of each reader in it (complete linkage on 1 - IoU).
3. A group in which an adjudicator has confirmed a box is the mean of its confirmed boxes.
4. A group that overlaps a rejected box by an IoU of at least 0.5 is removed.
5. Any other group counts where more than half of the image's readers have a box in it, and is
   the mean of its boxes, edge by edge.

A reader of an image, for rule 5, is one who has drawn a box on it, of whatever finding, or a named
one who has looked and drawn none. Who has only confirmed or rejected is an adjudicator and has no
vote; a reading whose boxes were all set aside has none either.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from etl.annotations.box_overlap import corners_of, overlaps

MIN_IOU = 0.5
# Sums of floats leave 0.5 by some units in the last place.
TOLERANCE = 1e-9
_SAME_READER = 2.0
Row = dict[str, Any]
Reader = str | None


def consensus_boxes(annotations: Sequence[Row], readings: Sequence[Row]) -> list[Row]:
    """Rows of consensus_boxes by the rule above.

    Args:
        annotations: Rows of annotations.
        readings: Rows of image_readings; readers of boxes need none.
    """
    by_image: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(annotations, key=lambda each: str(each["annotation_id"])):
        by_image[row["image_id"]].append(row)
    empty = empty_readings(readings)
    found: list[Row] = []
    for image_id, boxes in by_image.items():
        everyone = {row["reader_id"] for row in boxes} | empty.get(image_id, set())
        if len(everyone) == 1:
            kept = [row for row in boxes if row["status"] != "rejected"]
            found += [_row([row], "single", n_readers=1) for row in kept]
            continue
        voters = drawing_readers(boxes) | empty.get(image_id, set())
        for finding in sorted({row["finding"] for row in boxes}):
            of_finding = [row for row in boxes if row["finding"] == finding]
            found += _agreed(of_finding, n_readers=len(voters))
    return found


def empty_readings(readings: Sequence[Row]) -> Mapping[str, set[Reader]]:
    """By image, the named readers who have looked and drawn nothing."""
    empty: dict[str, set[Reader]] = defaultdict(set)
    for row in readings:
        if not row["n_boxes"] and not row["n_refused"] and row["reader_id"] is not None:
            empty[row["image_id"]].add(row["reader_id"])
    return empty


def drawing_readers(boxes: Sequence[Row]) -> set[Reader]:
    """Readers with a box that is neither a confirmation nor a rejection."""
    return {row["reader_id"] for row in boxes if row["status"] == "drawn"}


def _agreed(boxes: list[Row], *, n_readers: int) -> Iterator[Row]:
    rejected = corners_of([row for row in boxes if row["status"] == "rejected"])
    for group in _groups([row for row in boxes if row["status"] != "rejected"]):
        confirmed = [row for row in group if row["status"] == "confirmed"]
        if confirmed:
            yield _row(confirmed, "confirmed", n_readers=n_readers)
            continue
        if 2 * len(group) <= n_readers:
            continue
        if not (overlaps(corners_of(group), rejected) >= MIN_IOU - TOLERANCE).any():
            yield _row(group, "majority", n_readers=n_readers)


def _groups(boxes: list[Row]) -> list[list[Row]]:
    """Boxes in groups of mutual IoU of at least MIN_IOU, one box of a reader in each."""
    if len(boxes) < 2:
        return [boxes] if boxes else []
    corners = corners_of(boxes)
    distances: NDArray[np.float64] = 1.0 - overlaps(corners, corners)
    readers = np.array([str(row["reader_id"]) for row in boxes])
    distances[readers[:, None] == readers[None, :]] = _SAME_READER
    condensed = distances[np.triu_indices(len(boxes), k=1)]
    numbers = fcluster(
        linkage(condensed, method="complete"), 1.0 - MIN_IOU + TOLERANCE, criterion="distance"
    )
    groups: dict[int, list[Row]] = defaultdict(list)
    for number, row in zip(numbers, boxes, strict=True):
        groups[int(number)].append(row)
    return list(groups.values())


def _row(boxes: list[Row], rule: str, *, n_readers: int) -> Row:
    ids = sorted(row["annotation_id"] for row in boxes)
    first = boxes[0]
    is_alone = len(boxes) == 1
    # A box that stands alone stays as it is, to the last bit.
    names = ("x_px", "y_px", "width_px", "height_px")
    left, top, right, bottom = corners_of(boxes).mean(axis=0).tolist()
    mean = dict(zip(names, (left, top, right - left, bottom - top), strict=True))
    return {
        "consensus_id": ids[0] if is_alone else _hash(ids),
        "image_id": first["image_id"],
        "finding": first["finding"],
        **({name: first[name] for name in names} if is_alone else mean),
        "rule": rule,
        "n_readers": n_readers,
        "n_agreeing": len({row["reader_id"] for row in boxes}),
        "annotation_ids": ids,
    }


def _hash(ids: Sequence[str]) -> str:
    return f"B-{hashlib.sha256('|'.join(ids).encode()).hexdigest()[:20]}"
