"""Stored pixel values to the square uint8 film: bones bright, upright as stored.

Order (DICOM PS3.4 N.2): modality LUT or rescale, VOI LUT or window, then one inversion where
Photometric Interpretation is MONOCHROME1 or Presentation LUT Shape is INVERSE. The two say the
same thing, so they never invert twice. Then area resize and padding to a square.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi

from etl.films.dicom_header import UnusableFileError, check_size
from etl.films.missing_details import GREY_LEVEL, LowResolution, areas_to_decode
from etl.films.stored_pixels import Codes, Reduction, StoredPixels, read_stored_pixels

# Raise when a change alters pixels: cached films of the old transform are then made again.
TRANSFORM_VERSION = 3
# Without a window, or with one that leaves an empty film, grey levels span these percentiles.
PERCENTILES = (0.1, 99.9)
MIN_SPREAD_SHARE = 0.02
MAX_UINT16 = 65535
# Grey levels are counted on about so many pixels; percentiles need no more.
N_COUNTED_PIXELS = 2**19


@dataclass(frozen=True, kw_only=True)
class FilmGeometry:
    """How a source pixel maps to the cached film: ``cache_x = source_x * scale + pad_left``."""

    size_px: int
    scale: float
    pad_left_px: int
    pad_top_px: int
    valid_width_px: int
    valid_height_px: int


def transform_hash(size_px: int) -> str:
    """Identifies the transform in the cache: version and size."""
    text = json.dumps({"version": TRANSFORM_VERSION, "size_px": size_px}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def decode_film(dataset: Dataset, *, size_px: int | None = None) -> NDArray[np.uint16]:
    """Grey levels of a single-frame monochrome image.

    Args:
        dataset: Parsed file with pixel data.
        size_px: Longer side that the film will be reduced to. A JPEG 2000 film may then lack
            details that do not show at that size; ``missing_details`` says which.

    Returns:
        Array (rows, columns), uint16 over its full range, bones bright; padding is 0.

    Raises:
        UnusableFileError: Not single-frame monochrome, or the pixel data cannot be decoded.
    """
    photometric = str(dataset.get("PhotometricInterpretation", "")).strip().upper()
    if photometric not in {"MONOCHROME1", "MONOCHROME2"}:
        raise UnusableFileError("not a monochrome image")
    if check_size(dataset)[2] != 1:
        raise UnusableFileError("more than one frame")
    # Without a window grey levels are counted, and details count with the rest.
    values_per_level = None if size_px is None else _values_per_level(dataset)
    stored = read_stored_pixels(
        dataset,
        size_px=None if values_per_level is None else size_px,
        values_per_level=values_per_level or 1.0,
    )
    table, is_windowed = _look_up(dataset, stored)
    codes = stored.codes
    if stored.reduction is not None and is_windowed:
        codes = _with_what_shows(codes, stored.reduction, table)
    elif stored.reduction is not None:
        codes = stored.reduction.whole()
        table, _ = _look_up(dataset, StoredPixels(codes=codes, values=stored.values))
    return np.asarray(cv2.LUT(codes, table), dtype=np.uint16)


def is_inverted(dataset: Dataset) -> bool:
    """Whether stored values fall as density rises, said once or twice."""
    photometric = str(dataset.get("PhotometricInterpretation", "")).strip().upper()
    shape = str(dataset.get("PresentationLUTShape", "")).strip().upper()
    return photometric == "MONOCHROME1" or shape == "INVERSE"


def _values_per_level(dataset: Dataset) -> float | None:
    """Stored values that make a grey level where the header's window is steepest, or None."""
    n_bits = int(dataset.get("BitsStored") or 16)
    is_signed = int(dataset.get("PixelRepresentation") or 0) == 1
    if not 1 <= n_bits <= 16:
        return None
    values = np.arange(2**n_bits, dtype=np.int32) - (2 ** (n_bits - 1) if is_signed else 0)
    _, shares = _shares(dataset, values)
    if shares is None:
        return None
    # Padding becomes black, which is 1 before an inversion.
    shares[_is_padding(dataset, values)] = float(is_inverted(dataset))
    return float(1 / max(255 * np.abs(np.diff(np.clip(shares, 0, 1))).max(initial=0), 1e-9))


def _with_what_shows(codes: Codes, reduction: Reduction, table: NDArray[np.uint16]) -> Codes:
    """Codes with all details where leaving them out could show."""
    steps = np.abs(np.diff(table[:: reduction.code_step].astype(np.int32)))
    low = LowResolution(
        grey=np.asarray(cv2.LUT(reduction.low, table), dtype=np.uint16),
        n_halvings=reduction.n_halvings,
        shape=(codes.shape[0], codes.shape[1]),
        levels=reduction.levels,
    )
    areas = areas_to_decode(low, values_per_level=GREY_LEVEL / max(int(steps.max()), 1))
    if areas is None:
        return reduction.whole()
    if areas:
        reduction.add_details(codes, areas)
    return codes


def _look_up(dataset: Dataset, stored: StoredPixels) -> tuple[NDArray[np.uint16], bool]:
    """Grey level of every code that may occur, and whether the header alone gives them."""
    n_codes = len(stored.values)
    lowest, highest = (int(code) for code in cv2.minMaxLoc(stored.codes)[:2])
    if stored.reduction is not None:
        # Details may bring codes that do not occur without them.
        lowest, highest = 0, n_codes - 1
    values = stored.values[lowest : highest + 1]
    counts = _count_codes(stored.codes, n_codes)[lowest : highest + 1]
    is_padding = _is_padding(dataset, values)
    counts[is_padding] = 0
    modality, shares = _shares(dataset, values)
    is_windowed = shares is not None and _spread(shares, counts) >= MIN_SPREAD_SHARE
    if shares is None or not is_windowed:
        shares = _percentile_window(modality, counts)
    if is_inverted(dataset):
        shares = 1.0 - shares
    shares[is_padding] = 0.0
    table = np.zeros(n_codes, dtype=np.uint16)
    table[lowest : highest + 1] = np.round(np.clip(shares, 0.0, 1.0) * MAX_UINT16)
    return table, is_windowed


def _shares(
    dataset: Dataset, values: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Modality values of stored ones, and their VOI LUT or window from 0 to 1."""
    try:
        modality = np.asarray(apply_modality_lut(values, dataset), dtype=np.float64)
        shares = _presentation(dataset, values, modality)
    except Exception:  # noqa: BLE001 - damaged look-up tables raise anything
        raise UnusableFileError("a look-up table in the header is damaged") from None
    if not np.isfinite(modality).all():
        raise UnusableFileError("a look-up table in the header is damaged")
    return modality, shares


def _count_codes(codes: Codes, n_codes: int) -> NDArray[np.int64]:
    """How often each code occurs, in every row or in evenly spaced ones of a large image."""
    step = max(1, codes.size // N_COUNTED_PIXELS)
    histogram = cv2.calcHist([codes[::step]], [0], None, [n_codes], [0, n_codes])
    return np.asarray(histogram.ravel(), dtype=np.int64)


def _presentation(
    dataset: Dataset, values: NDArray[np.int32], modality: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """VOI LUT or window of modality values, from 0 to 1; None where the header has neither."""
    sequence = dataset.get("VOILUTSequence")
    if sequence and "LUTData" in sequence[0]:
        whole = np.round(modality).astype(np.int32)
        n_bits = int(sequence[0].LUTDescriptor[2])
        looked_up = np.asarray(apply_voi(whole, dataset, index=0), dtype=np.float64)
        return looked_up / (2.0**n_bits - 1.0)
    centre, width = _first(dataset, "WindowCenter"), _first(dataset, "WindowWidth")
    if centre is None or width is None or width <= 0:
        return None
    function = str(dataset.get("VOILUTFunction", "") or "LINEAR").strip().upper()
    return window_values(modality, centre=centre, width=width, function=function)


def window_values(
    values: NDArray[np.float64], *, centre: float, width: float, function: str = "LINEAR"
) -> NDArray[np.float64]:
    """Window modality values to 0 to 1 (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    if function == "SIGMOID":
        return np.asarray(1.0 / (1.0 + np.exp(-4.0 * (values - centre) / width)))
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0.0, 1.0)
    if width <= 1:
        return np.asarray(values > centre - 0.5, dtype=np.float64)
    return np.clip((values - (centre - 0.5)) / (width - 1.0) + 0.5, 0.0, 1.0)


def _percentile_window(
    modality: NDArray[np.float64], counts: NDArray[np.intp]
) -> NDArray[np.float64]:
    order = np.argsort(modality, kind="stable")
    cumulative = np.cumsum(counts[order])
    if cumulative[-1] == 0:
        return np.zeros_like(modality)
    marks = np.array(PERCENTILES) / 100.0 * cumulative[-1]
    low, high = modality[order][np.searchsorted(cumulative, marks)]
    shares: NDArray[np.float64] = np.clip((modality - low) / max(high - low, 1e-9), 0.0, 1.0)
    return shares


def _spread(shares: NDArray[np.float64], counts: NDArray[np.intp]) -> float:
    """Share of pixels that a window leaves between black and white."""
    inside = counts[(shares > 0.002) & (shares < 0.998)].sum()
    return float(inside / max(counts.sum(), 1))


def _is_padding(dataset: Dataset, values: NDArray[np.int32]) -> NDArray[np.bool_]:
    first = _first(dataset, "PixelPaddingValue")
    if first is None:
        return np.zeros(len(values), dtype=np.bool_)
    last = _first(dataset, "PixelPaddingRangeLimit")
    low, high = sorted((first, first if last is None else last))
    return (values >= low) & (values <= high)


def _first(dataset: Dataset, tag: str) -> float | None:
    """First value of a numeric element; windows may have several."""
    try:
        value = dataset.get(tag)
        if value is None or isinstance(value, (str, bytes)):
            return None
        number = float(value[0] if hasattr(value, "__len__") else value)
    except (TypeError, ValueError, IndexError):
        return None
    return number if np.isfinite(number) else None


def square_film(
    grey: NDArray[np.uint16] | NDArray[np.uint8], size_px: int
) -> tuple[NDArray[np.uint8], FilmGeometry]:
    """Resize a film to fit a square and centre it on black.

    Args:
        grey: Array (rows, columns), uint8 or uint16 over its full range.
        size_px: Side of the square.

    Returns:
        The film (size_px, size_px), uint8, and its geometry.

    Raises:
        UnusableFileError: One side is so short that nothing of it would be left.
    """
    rows, columns = grey.shape
    scale = size_px / max(rows, columns)
    if round(min(rows, columns) * scale) < 1:
        raise UnusableFileError("the image is a line, not a film")
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    # One scale both ways, and not two that reach the rounded sides, so that the geometry is exact.
    resized = np.asarray(
        cv2.resize(np.ascontiguousarray(grey), None, fx=scale, fy=scale, interpolation=kind)
    )
    height, width = resized.shape
    if resized.dtype == np.uint16:
        resized = np.asarray(cv2.convertScaleAbs(resized, alpha=1 / 257))
    geometry = FilmGeometry(
        size_px=size_px,
        scale=scale,
        pad_left_px=(size_px - width) // 2,
        pad_top_px=(size_px - height) // 2,
        valid_width_px=width,
        valid_height_px=height,
    )
    film = np.zeros((size_px, size_px), dtype=np.uint8)
    top, left = geometry.pad_top_px, geometry.pad_left_px
    film[top : top + height, left : left + width] = resized
    return film, geometry
