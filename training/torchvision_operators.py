"""Lets torchvision be imported beside a CPU-only torch whose build lacks its compiled operators.

torchvision's compiled part may want CUDA libraries; then ``import torchvision`` fails with
``operator torchvision::nms does not exist``. Where that is so, this module declares the two
operators that the import looks for and gives ``nms`` a CPU kernel. Where torchvision's own
operators load, it does nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

_LIBRARIES: list[torch.library.Library] = []


def import_torchvision() -> ModuleType:
    """The torchvision package, with stand-in operators only where its own cannot be loaded."""
    if not _LIBRARIES and not _native_operators_load():
        _declare_operators()
    torchvision = importlib.import_module("torchvision")
    if _LIBRARIES:
        boxes = importlib.import_module("torchvision.ops.boxes")
        boxes._assert_has_ops = lambda: None  # type: ignore[attr-defined]
    return torchvision


def _native_operators_load() -> bool:
    if hasattr(torch.ops.torchvision, "nms"):
        return True
    found = importlib.util.find_spec("torchvision")
    folders = found.submodule_search_locations if found else None
    libraries = [path for folder in folders or [] for path in Path(folder).glob("_C.*")]
    for library in libraries:
        try:
            torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
        except (ImportError, OSError):
            continue
        return hasattr(torch.ops.torchvision, "nms")
    return False


def _declare_operators() -> None:
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    library.impl("nms", non_maximum_suppression, "CPU")  # type: ignore[no-untyped-call]
    _LIBRARIES.append(library)


def non_maximum_suppression(dets: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Greedy non-maximum suppression, as torchvision's.

    Args:
        dets: Boxes, (n, 4), x_min, y_min, x_max, y_max.
        scores: Scores, (n,).
        iou_threshold: A box is dropped when its overlap with a kept one is above this.

    Returns:
        Indices of the kept boxes by falling score, (m,) int64.
    """
    order = torch.argsort(scores, descending=True, stable=True)
    boxes = dets[order]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    alive = torch.ones(len(boxes), dtype=torch.bool)
    kept: list[int] = []
    for row in range(len(boxes)):
        if not alive[row]:
            continue
        kept.append(row)
        rest = boxes[row + 1 :]
        low = torch.maximum(boxes[row, :2], rest[:, :2])
        high = torch.minimum(boxes[row, 2:], rest[:, 2:])
        overlap = (high - low).clamp_min(0).prod(dim=1)
        union = areas[row] + areas[row + 1 :] - overlap
        alive[row + 1 :] &= ~(overlap / union > iou_threshold)
    return order[torch.tensor(kept, dtype=torch.int64)]
