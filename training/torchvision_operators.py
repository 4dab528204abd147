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

import cv2
import numpy as np
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
    corners = dets[order].double().numpy()
    rectangles = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    # Falling ranks in place of scores: OpenCV wants them positive, and sorts ties as it likes.
    ranks = np.arange(len(order), 0, -1, dtype=np.float32)
    kept = cv2.dnn.NMSBoxes(rectangles, ranks, 0.0, iou_threshold)  # type: ignore[arg-type]
    return order[torch.tensor(np.asarray(kept, dtype=np.int64))]
