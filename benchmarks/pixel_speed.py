"""Film pixels: our path to the cached uint8 film against the usual float path, by transfer syntax.

The usual path is pydicom's pixel_array (its fastest installed plugin), apply_voi_lut and an area
resize of the floats; both start from the file's bytes and end in the same square uint8 film, in one
thread. The film is a synthetic chest film of 12 bits with sharp letters on it. One JSON object: per
transfer syntax milliseconds of processor time of both (medians of alternating repetitions), their
ratio and how far the films are apart; and the ingest pool's films a second with one and with two
processes, which needs two free cores. Targets: at least 4 times on raw, 3 times on JPEG 2000.

    python benchmarks/pixel_speed.py --json
"""

from __future__ import annotations

from collections.abc import Callable

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import uid

BITS = 12
CENTRE, WIDTH = 1700, 3000
Film = NDArray[np.uint8]
Pixels = NDArray[np.uint16]


def _lossless_jpeg(image: Pixels) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(image, lossless=True, bitspersample=BITS, predictor=1))


def _lossy_jpeg(image: Pixels) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(image, level=95, bitspersample=BITS))


def _jpeg_2000(image: Pixels, *, is_reversible: bool) -> bytes:
    return bytes(
        imagecodecs.jpeg2k_encode(
            image,
            level=0 if is_reversible else 70,
            codecformat="j2k",
            reversible=is_reversible,
            bitspersample=BITS,
        )
    )


SYNTAXES: dict[str, tuple[str, Callable[[Pixels], bytes] | None]] = {
    "raw": (uid.ExplicitVRLittleEndian, None),
    "deflated": (uid.DeflatedExplicitVRLittleEndian, None),
    "rle": (uid.RLELossless, lambda image: bytes(imagecodecs.dicomrle_encode(image))
            if hasattr(imagecodecs, "_dicomrle_encode") else b""),
    "jpeg_extended": (uid.JPEGExtended12Bit, _lossy_jpeg),
    "jpeg_lossless": (uid.JPEGLosslessSV1, _lossless_jpeg),
    "jpeg_ls": (uid.JPEGLSLossless, lambda image: bytes(imagecodecs.jpegls_encode(image))),
    "jpeg_2000_lossless": (uid.JPEG2000Lossless, lambda image: _jpeg_2000(image, is_reversible=True)),
    "jpeg_2000": (uid.JPEG2000, lambda image: _jpeg_2000(image, is_reversible=False)),
    "htj2k_lossless": (uid.HTJ2KLossless, lambda image: bytes(imagecodecs.htj2k_encode(image, reversible=True))),
}  # fmt: skip
