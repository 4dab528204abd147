"""The films of one fold as the trainer sees them: pixels, boxes, labels and what each is for."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from evaluation.score_maps import ValidArea, box_pixels
from warehouse_schema.errors import CohortError, WarehouseError
from warehouse_schema.pixel_shards import read_film
from warehouse_schema.store import Store
from warehouse_schema.tables.annotation import CONSENSUS_BOXES
from warehouse_schema.tables.imaging import IMAGE_PIXELS
from warehouse_schema.tables.labels import COHORT, IMAGE_LABELS

UNKNOWN, UNCERTAIN = -1, -2
_LABEL_CODES = {"positive": 1, "negative": 0, "uncertain": UNCERTAIN}


class Role(IntEnum):
    """What a finding of a film is trained on."""

    BOXES = 0
    RECORD_NEGATIVE = 1
    DISTILL = 2
    MASKED = 3


@dataclass(frozen=True)
class FilmSet:
    """n films of one fold and split, with K findings.

    Attributes:
        image_ids: (n,) image ids.
        subsets: (n,) R, P or N.
        labels: (n, K) int8: 1 positive, 0 negative, -1 excluded or unknown, -2 uncertain.
        roles: (n, K) int8, a Role each.
        boxes: Per film and finding, boxes (m, 4) x_min, y_min, x_max, y_max in input pixels.
        valid_areas: Per film, the unpadded part of the network's input.
        shards: Name of the shard, row in it and hash of the film (None: not checked), per film.
        cache: Folder of the shards.
        image_size_px: Side of the network's input.
        fingerprint: SHA-256 over everything above that training depends on.
        tiers: (n, K) where a positive was seen (visibility_tier of image_labels), empty where it
            is not positive; None: not known.
    """

    image_ids: list[str]
    subsets: NDArray[np.str_]
    labels: NDArray[np.int8]
    roles: NDArray[np.int8]
    boxes: list[list[NDArray[np.float64]]]
    valid_areas: list[ValidArea]
    shards: list[tuple[str, int, str | None]]
    cache: Path
    image_size_px: int
    fingerprint: str
    tiers: NDArray[np.str_] | None = None

    def __len__(self) -> int:
        return len(self.image_ids)

    def count(self, subset: str) -> int:
        """Films in R, P or N."""
        return int((self.subsets == subset).sum())

    def take(self, rows: NDArray[np.intp]) -> FilmSet:
        """The films of some rows, in their order."""
        return FilmSet(
            image_ids=[self.image_ids[row] for row in rows],
            subsets=self.subsets[rows],
            labels=self.labels[rows],
            roles=self.roles[rows],
            boxes=[self.boxes[row] for row in rows],
            valid_areas=[self.valid_areas[row] for row in rows],
            shards=[self.shards[row] for row in rows],
            cache=self.cache,
            image_size_px=self.image_size_px,
            fingerprint=self.fingerprint,
            tiers=None if self.tiers is None else self.tiers[rows],
        )

    def films(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Pixels at the network's input size, (b, size, size) uint8.

        Raises:
            WarehouseError: A shard is missing or torn.
        """
        size = self.image_size_px
        films = np.empty((len(rows), size, size), dtype=np.uint8)
        for place, row in enumerate(rows):
            films[place] = input_film(read_film(self.cache, *self.shards[row]), size)
        return films

    def masks(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Box masks and valid area, (b, K + 1, size, size) uint8; the valid area comes last."""
        size = self.image_size_px
        n_findings = self.labels.shape[1]
        masks = np.zeros((len(rows), n_findings + 1, size, size), dtype=np.uint8)
        for place, row in enumerate(rows):
            area = self.valid_areas[row]
            area.of(masks[place, n_findings])[:] = 1
            for finding in range(n_findings):
                for box in self.boxes[row][finding]:
                    masks[(place, finding, *box_pixels(box, area))] = 1
        return masks


def input_film(film: NDArray[np.uint8], image_size_px: int) -> NDArray[np.uint8]:
    """A cached film (size, size) at the network's input size."""
    if film.shape[0] == image_size_px:
        return film
    kind = cv2.INTER_AREA if film.shape[0] > image_size_px else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(film, (image_size_px,) * 2, interpolation=kind), dtype=np.uint8)


def load_films(
    *, store: Store, fold: int, splits: list[str], findings: tuple[str, ...], image_size_px: int
) -> FilmSet:
    """Films of a fold's splits, sorted by image id.

    Raises:
        CohortError: No such cohort rows, or images without pixels or labels.
        WarehouseError: The store is damaged.
    """
    rows = store.read(
        COHORT, where={"fold": fold, "split": splits, "subset": ["R", "P", "N"]}
    ).select(["image_id", "subset"])
    if rows.num_rows == 0:
        raise CohortError(
            f"cohort: fold {fold} has no {' or '.join(splits)} images. Run `ribline build-cohort`."
        )
    image_ids = rows.column("image_id").to_pylist()
    subsets = np.array(rows.column("subset").to_pylist())
    pixels = _pixels(store, image_ids)
    labels, tiers = _labels(store, image_ids, findings)
    boxes = _boxes(store, image_ids, findings, pixels, image_size_px)
    return FilmSet(
        image_ids=image_ids,
        subsets=subsets,
        labels=labels,
        roles=_roles(subsets, labels, boxes),
        boxes=boxes,
        valid_areas=[_valid_area(pixels[image_id], image_size_px) for image_id in image_ids],
        shards=[
            (
                str(pixels[image_id]["shard_name"]),
                int(str(pixels[image_id]["shard_row"])),
                str(pixels[image_id]["pixel_sha256"]),
            )
            for image_id in image_ids
        ],
        cache=store.home.cache,
        image_size_px=image_size_px,
        fingerprint=_fingerprint(image_ids, subsets, labels, boxes, pixels),
        tiers=tiers,
    )


def _by_image(table: pa.Table) -> dict[str, dict[str, object]]:
    return {row["image_id"]: row for row in table.to_pylist()}


def _pixels(store: Store, image_ids: list[str]) -> dict[str, dict[str, object]]:
    pixels = _by_image(store.read(IMAGE_PIXELS))
    missing = [image_id for image_id in image_ids if image_id not in pixels]
    if missing:
        raise CohortError(
            f"cohort: {len(missing)} of {len(image_ids)} images have no cached film, "
            f"the first is {missing[0]}. Run `ribline ingest-images`, then `ribline build-cohort`."
        )
    return pixels


def _labels(
    store: Store, image_ids: list[str], findings: tuple[str, ...]
) -> tuple[NDArray[np.int8], NDArray[np.str_]]:
    """Labels and visibility tiers, (n, K) each."""
    table = store.read(
        IMAGE_LABELS,
        columns=["image_id", "finding", "label", "visibility_tier"],
        where={"finding": list(findings)},
    )
    known = {
        (row["image_id"], row["finding"]): (
            _LABEL_CODES.get(row["label"], UNKNOWN),
            row["visibility_tier"] or "",
        )
        for row in table.to_pylist()
    }
    absent = sorted(set(findings) - {finding for _, finding in known})
    if absent:
        raise CohortError(
            f"findings: no image is labelled for {', '.join(absent)}. "
            "Run `ribline label`, or choose findings that stand in image_labels."
        )
    found = [
        [known.get((image_id, finding), (UNKNOWN, "")) for finding in findings]
        for image_id in image_ids
    ]
    codes = np.array([[code for code, _ in row] for row in found], dtype=np.int8)
    return codes, np.array([[tier for _, tier in row] for row in found])


def _boxes(
    store: Store,
    image_ids: list[str],
    findings: tuple[str, ...],
    pixels: dict[str, dict[str, object]],
    image_size_px: int,
) -> list[list[NDArray[np.float64]]]:
    """Boxes in input pixels: cache = source * scale + pad, then one factor to the input size."""
    found: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    for row in store.read(CONSENSUS_BOXES, where={"finding": list(findings)}).to_pylist():
        geometry = pixels.get(row["image_id"])
        if geometry is None:
            continue
        scale, left, top, size = (
            float(geometry[name])  # type: ignore[arg-type]
            for name in ("scale", "pad_left_px", "pad_top_px", "size_px")
        )
        corners = np.array(
            [
                row["x_px"] * scale + left,
                row["y_px"] * scale + top,
                (row["x_px"] + row["width_px"]) * scale + left,
                (row["y_px"] + row["height_px"]) * scale + top,
            ]
        )
        found[row["image_id"], row["finding"]].append(list(corners * image_size_px / size))
    return [
        [np.array(found[image_id, finding]).reshape(-1, 4) for finding in findings]
        for image_id in image_ids
    ]


def _valid_area(geometry: dict[str, object], image_size_px: int) -> ValidArea:
    left, top, width, height, size = (
        int(geometry[name])  # type: ignore[call-overload]
        for name in ("pad_left_px", "pad_top_px", "valid_width_px", "valid_height_px", "size_px")
    )
    if width < 1 or height < 1:
        raise WarehouseError(
            f"image_pixels: image {geometry['image_id']} has no valid area. "
            "Run `ribline ingest-images` again."
        )
    return valid_area(
        pads_px=(left, top),
        valid_px=(width, height),
        size_px=size,
        image_size_px=image_size_px,
    )


def valid_area(
    *, pads_px: tuple[int, int], valid_px: tuple[int, int], size_px: int, image_size_px: int
) -> ValidArea:
    """The unpadded part of the network's input, given left and upper padding, width and height."""
    (left, top), (width, height) = pads_px, valid_px
    factor = image_size_px / size_px
    return ValidArea(
        row_start=int(np.floor(top * factor)),
        row_stop=min(int(np.ceil((top + height) * factor)), image_size_px),
        column_start=int(np.floor(left * factor)),
        column_stop=min(int(np.ceil((left + width) * factor)), image_size_px),
    )


def _roles(
    subsets: NDArray[np.str_], labels: NDArray[np.int8], boxes: list[list[NDArray[np.float64]]]
) -> NDArray[np.int8]:
    """Boxes where they are drawn or the film is N; P's way for a positive without boxes."""
    roles = np.full(labels.shape, Role.MASKED, dtype=np.int8)
    for (row, finding), label in np.ndenumerate(labels):
        if subsets[row] == "N":
            roles[row, finding] = Role.BOXES if label == 0 else Role.MASKED
        elif label == 1:
            is_boxed = subsets[row] == "R" and len(boxes[row][finding])
            roles[row, finding] = Role.BOXES if is_boxed else Role.DISTILL
        elif label == 0:
            roles[row, finding] = Role.RECORD_NEGATIVE
    return roles


def _fingerprint(
    image_ids: list[str],
    subsets: NDArray[np.str_],
    labels: NDArray[np.int8],
    boxes: list[list[NDArray[np.float64]]],
    pixels: dict[str, dict[str, object]],
) -> str:
    digest = hashlib.sha256()
    for row, image_id in enumerate(image_ids):
        drawn = [np.round(box, 6).tolist() for box in boxes[row]]
        pixel_hash = pixels[image_id]["pixel_sha256"]
        digest.update(
            f"{image_id} {subsets[row]} {labels[row].tolist()} {drawn} {pixel_hash}\n".encode()
        )
    return digest.hexdigest()
