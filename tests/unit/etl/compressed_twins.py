"""One image in every transfer syntax: what to encode it with, and how far the copy may be off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import imagecodecs
import numpy as np
import pydicom.uid as uids
from PIL import Image as PillowImage
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

Image = np.ndarray
Encode = Callable[[Image, int], bytes]


@dataclass(frozen=True)
class Twin:
    """A compressed form.

    Attributes:
        name: Name of the case.
        syntax: Transfer syntax.
        encode: Image and bits to a codestream; None leaves it to pydicom.
        bound: Largest difference of a stored value in a 12-bit image; 0 is lossless.
    """

    name: str
    syntax: UID
    encode: Encode | None
    bound: int = 0

    def of(self, dataset: Dataset, image: Image) -> Dataset:
        """The data set with its pixel data compressed."""
        bits = int(dataset.BitsStored)
        if self.encode is None:
            dataset.compress(self.syntax, generate_instance_uid=False)
            return dataset
        dataset.PixelData = encapsulate([self.encode(image, bits)])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = self.syntax
        return dataset


def _lossless_jpeg(predictor: int) -> Encode:
    return lambda image, bits: bytes(
        imagecodecs.jpeg8_encode(
            _unsigned(image, bits), lossless=True, bitspersample=bits, predictor=predictor
        )
    )


def _lossy_jpeg(image: Image, bits: int) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(image, level=95, bitspersample=bits))


def _jpeg_ls(level: int) -> Encode:
    return lambda image, bits: bytes(imagecodecs.jpegls_encode(_unsigned(image, bits), level=level))


def _jpeg_2000(is_reversible: bool) -> Encode:
    return lambda image, bits: bytes(
        imagecodecs.jpeg2k_encode(
            image,
            level=0 if is_reversible else 70,
            codecformat="j2k",
            reversible=is_reversible,
            bitspersample=bits,
        )
    )


def _tiled_jpeg_2000(image: Image, bits: int) -> bytes:
    file = BytesIO()
    pillow = PillowImage.fromarray(_unsigned(image, bits))
    pillow.save(
        file, format="JPEG2000", no_jp2=True, tile_size=(image.shape[1], 48), irreversible=False
    )
    return file.getvalue()


def _htj2k(is_reversible: bool) -> Encode:
    return lambda image, bits: bytes(
        imagecodecs.htj2k_encode(
            image, level=None if is_reversible else 1e-4, reversible=is_reversible
        )
    )


def _unsigned(image: Image, bits: int) -> Image:
    """The bits of signed values; JPEG and JPEG-LS know no sign."""
    if image.dtype.kind == "u":
        return image
    return (image.astype(np.int32) & (2**bits - 1)).astype(f"u{image.dtype.itemsize}")


# Lossless forms; the last four also hold signed values.
LOSSLESS = (
    Twin("RLE", uids.RLELossless, None),
    *(Twin(f"JPEG lossless P14, predictor {p}", uids.JPEGLossless, _lossless_jpeg(p))
      for p in range(1, 8)),
    Twin("JPEG lossless P14 SV1", uids.JPEGLosslessSV1, _lossless_jpeg(1)),
    Twin("JPEG-LS lossless", uids.JPEGLSLossless, _jpeg_ls(0)),
    Twin("JPEG-LS lossless, CharLS", uids.JPEGLSLossless, None),
    Twin("JPEG 2000 lossless", uids.JPEG2000Lossless, _jpeg_2000(True)),
    Twin("JPEG 2000 lossless, OpenJPEG", uids.JPEG2000Lossless, None),
    Twin("JPEG 2000 lossless, tiles", uids.JPEG2000Lossless, _tiled_jpeg_2000),
    Twin("HTJ2K lossless", uids.HTJ2KLossless, _htj2k(True)),
    Twin("HTJ2K lossless RPCL", uids.HTJ2KLosslessRPCL, _htj2k(True)),
)  # fmt: skip
LOSSY = (
    Twin("JPEG extended", uids.JPEGExtended12Bit, _lossy_jpeg, bound=24),
    Twin("JPEG-LS near-lossless", uids.JPEGLSNearLossless, _jpeg_ls(3), bound=3),
    Twin("JPEG 2000", uids.JPEG2000, _jpeg_2000(False), bound=8),
    Twin("HTJ2K", uids.HTJ2K, _htj2k(False), bound=16),
)
BASELINE = Twin("JPEG baseline", uids.JPEGBaseline8Bit, _lossy_jpeg, bound=8)
