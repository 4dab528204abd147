"""JPEG 2000 at a lower resolution: which one serves, and back to full size with empty details.

Decoding costs by the coefficient, so leaving out the finest details saves three quarters. The
inverse transform with those details taken as zero gives the image that lacks only them, on the
source's own grid; what is done to a whole decoded image then applies unchanged.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from etl.films.codestream_header import CodestreamHeader

# uint8 or uint16.
Samples = NDArray[Any]
# The lower resolution has at least this many pixels for one of the result a side, below which fine
# lines blur: after one halving, and after more, whose left-out details add up.
MIN_PIXELS_PER_RESULT = (1.4, 2.8)
# Synthesis low-pass filters (ITU-T T.800 Annex F; Daubechies and Feauveau), weights of the
# low-pass samples k-1, k, k+1, k+2 in the pixels 2k and 2k+1.
EVEN_53, ODD_53 = (0.0, 1.0, 0.0, 0.0), (0.0, 0.5, 0.5, 0.0)
EVEN_97 = (-0.057543526229, 1.115087052457, -0.057543526229, 0.0)
ODD_97 = (-0.091271763114, 0.591271763114, 0.591271763114, -0.091271763114)


def usable_halvings(header: CodestreamHeader, size_px: int) -> int:
    """How many halvings a decoder may stop short of for a result of ``size_px`` a side."""
    n_halvings = 0
    sides = (header.rows_px, header.columns_px)
    while n_halvings < header.n_decompositions:
        following = n_halvings + 1
        if max(sides) / 2**following < MIN_PIXELS_PER_RESULT[min(n_halvings, 1)] * size_px:
            break
        # Pillow rounds the reduced size where OpenJPEG takes the ceiling, and then fails.
        if any((side + 2**n_halvings) >> following != -(-side >> following) for side in sides):
            break
        n_halvings = following
    return n_halvings


def add_empty_details(
    low: Samples,
    *,
    shape: tuple[int, int],
    n_halvings: int,
    is_reversible: bool,
) -> Samples:
    """Inverse wavelet transform of a low-pass image whose detail bands are zero.

    Args:
        low: Image at the lower resolution, uint8 or uint16.
        shape: (rows, columns) of the whole image.
        n_halvings: Resolutions between the two.
        is_reversible: The 5/3 wavelet, otherwise the 9/7.

    Returns:
        Image of the given shape.
    """
    even, odd = (EVEN_53, ODD_53) if is_reversible else (EVEN_97, ODD_97)
    image = low
    for level in reversed(range(n_halvings)):
        rows, columns = (-(-side >> level) for side in shape)
        wide = np.empty((image.shape[0], 2 * image.shape[1]), dtype=image.dtype)
        wide[:, 0::2] = _filter(image, even, is_row=True)
        wide[:, 1::2] = _filter(image, odd, is_row=True)
        full = np.empty((2 * image.shape[0], wide.shape[1]), dtype=image.dtype)
        full[0::2] = _filter(wide, even, is_row=False)
        full[1::2] = _filter(wide, odd, is_row=False)
        image = full[:rows, :columns]
    return np.ascontiguousarray(image)


def _filter(image: Samples, weights: tuple[float, float, float, float], *, is_row: bool) -> Samples:
    """Weighted sum of the samples k-1 to k+2, the edges repeated."""
    if weights == EVEN_53:
        return image
    # The middle of the kernel is the weight of sample k.
    kernel = np.array((0.0, *weights), dtype=np.float32).reshape((1, 5) if is_row else (5, 1))
    filtered = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(filtered, dtype=image.dtype)
