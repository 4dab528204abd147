"""Stored values of a single-frame monochrome image, from any transfer syntax that hospitals send.

A decoder hands over codes; a table says which stored value each code stands for. Masked high bits
(garbage, embedded overlays), a displaced High Bit, two's complement and the scaling of decoders
all go into that table (DICOM PS3.5 8.1.1), so that no pixel is touched for them.

Decoders: imagecodecs (libjpeg-turbo, CharLS, RLE) and Pillow (OpenJPEG); why these stands in
docs/pixels.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame

from etl.films.codestream_blocks import DetailLevel, detail_levels
from etl.films.codestream_header import CodestreamHeader, jpeg_2000_header, jpeg_header
from etl.films.dicom_header import UnusableFileError
from etl.films.missing_details import is_mostly_detailed
from etl.films.openjpeg_areas import Area, AreaDecoder, AreaDecodingError, openjpeg
from etl.films.wavelet import add_empty_details, usable_halvings

Codes = NDArray[np.uint8] | NDArray[np.uint16]
NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
)
JPEG = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1)
JPEG_LS = (uid.JPEGLSLossless, uid.JPEGLSNearLossless)
JPEG_2000 = (
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL,
    uid.HTJ2K,
)
END_OF_IMAGE = b"\xff\xd9"


@dataclass(frozen=True, kw_only=True)
class StoredPixels:
    """A decoded image.

    Attributes:
        codes: (rows, columns) uint8 or uint16, as the decoder gives them.
        values: (256,) or (65536,) int32, the stored value that each code stands for.
        reduction: What the codes lack, where they were decoded at a lower resolution.
    """

    codes: Codes
    values: NDArray[np.int32]
    reduction: Reduction | None = None

    def array(self) -> NDArray[np.int32]:
        """Stored values, (rows, columns) int32."""
        return self.values[self.codes]


@dataclass(frozen=True, kw_only=True)
class Reduction:
    """A JPEG 2000 image whose finest details were left out, and the way to them.

    Attributes:
        low: Codes at the lower resolution.
        n_halvings: Resolutions between that and the whole.
        levels: What bounds the details left out, for each halving, the finest first.
    """

    low: Codes
    n_halvings: int
    levels: list[DetailLevel]
    _frame: bytes
    _header: CodestreamHeader

    @property
    def code_step(self) -> int:
        """Codes from one stored value to the next."""
        return 1 << _scaling(self.low, self._header)

    def whole(self) -> Codes:
        """Codes of the whole image, with all details.

        Raises:
            UnusableFileError: The finest details are damaged.
        """
        return _decoded(self._frame, n_halvings=0)

    def add_details(self, codes: Codes, areas: list[Area]) -> None:
        """Put all details into some areas (top, bottom, left, right) of the codes.

        Raises:
            UnusableFileError: The finest details are damaged.
        """
        offset = 2 ** (self._header.precision - 1) if self._header.is_signed else 0
        scaled_by = _scaling(codes, self._header)
        try:
            with AreaDecoder(self._frame) as decoder:
                for top, bottom, left, right in areas:
                    samples = decoder.area((top, bottom, left, right))
                    codes[top:bottom, left:right] = (samples + offset) << scaled_by
        except AreaDecodingError:
            raise UnusableFileError("the pixel data cannot be decoded") from None


@dataclass(frozen=True, kw_only=True)
class PixelFormat:
    """Image Pixel module (PS3.3 C.7.6.3), checked."""

    rows_px: int
    columns_px: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.rows_px, self.columns_px


def read_stored_pixels(
    dataset: Dataset, *, size_px: int | None = None, values_per_level: float = 1.0
) -> StoredPixels:
    """Decode the pixel data of a single-frame monochrome image.

    Args:
        dataset: Parsed file with pixel data and file meta information.
        size_px: Longer side that the image will be reduced to. A JPEG 2000 image much larger than
            that may be decoded at a lower resolution, its finest details taken as zero.
        values_per_level: Stored values that make one of 255 grey levels. Where the details show by
            that in much of the image, it is decoded whole.

    Raises:
        UnusableFileError: Unknown or contradictory format, or damaged pixel data.
    """
    pixel_format = _pixel_format(dataset)
    syntax = _transfer_syntax(dataset)
    try:
        if syntax in NATIVE:
            return _native(dataset, pixel_format, is_big_endian=syntax == uid.ExplicitVRBigEndian)
        frame = get_frame(bytes(dataset.PixelData), 0, number_of_frames=1)
        if syntax == uid.RLELossless:
            return _run_length(frame, pixel_format)
        return _codestream(frame, pixel_format, syntax, size_px, values_per_level)
    except UnusableFileError:
        raise
    except MemoryError:
        raise UnusableFileError("decoding needs more memory than a worker may take") from None
    except Exception:  # noqa: BLE001 - decoders raise anything on damaged data
        raise UnusableFileError("the pixel data cannot be decoded") from None


def _transfer_syntax(dataset: Dataset) -> uid.UID:
    meta = getattr(dataset, "file_meta", None)
    value = None if meta is None else meta.get("TransferSyntaxUID")
    if value:
        syntax = uid.UID(str(value))
    elif dataset.original_encoding[0]:
        syntax = uid.ImplicitVRLittleEndian
    elif dataset.original_encoding[1] is False:
        syntax = uid.ExplicitVRBigEndian
    else:
        syntax = uid.ExplicitVRLittleEndian
    if syntax not in (*NATIVE, uid.RLELossless, *JPEG, *JPEG_LS, *JPEG_2000):
        raise UnusableFileError("the transfer syntax is not one of those that Ribline reads")
    return syntax


def _pixel_format(dataset: Dataset) -> PixelFormat:
    try:
        rows, columns = int(dataset.Rows), int(dataset.Columns)
        allocated = int(dataset.BitsAllocated)
        stored = int(dataset.get("BitsStored") or allocated)
        given_high_bit = dataset.get("HighBit")
        high_bit = stored - 1 if given_high_bit is None else int(given_high_bit)
        is_signed = int(dataset.get("PixelRepresentation") or 0) == 1
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise UnusableFileError("the header does not describe the pixel data") from None
    if allocated not in {8, 16} or not 1 <= stored <= allocated or rows < 1 or columns < 1:
        raise UnusableFileError("the pixel data are not integers of at most 16 bits")
    if not stored - 1 <= high_bit < allocated:
        high_bit = stored - 1
    return PixelFormat(
        rows_px=rows,
        columns_px=columns,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=high_bit,
        is_signed=is_signed,
    )


def _native(dataset: Dataset, pixel_format: PixelFormat, *, is_big_endian: bool) -> StoredPixels:
    n_pixels = pixel_format.rows_px * pixel_format.columns_px
    content = dataset.PixelData
    if pixel_format.bits_allocated == 8 and is_big_endian and dataset["PixelData"].VR == "OW":
        words = np.frombuffer(content, dtype=np.uint16, count=(n_pixels + 1) // 2)
        codes: NDArray[np.generic] = words.byteswap().view(np.uint8)[:n_pixels]
    elif pixel_format.bits_allocated == 8:
        codes = np.frombuffer(content, dtype=np.uint8, count=n_pixels)
    elif is_big_endian:
        codes = np.frombuffer(content, dtype=">u2", count=n_pixels).astype(np.uint16)
    else:
        codes = np.frombuffer(content, dtype="<u2", count=n_pixels)
    return _uncoded(codes, pixel_format)


def _run_length(frame: bytes, pixel_format: PixelFormat) -> StoredPixels:
    n_bytes = pixel_format.rows_px * pixel_format.columns_px * pixel_format.bits_allocated // 8
    # An encoder adds at most one byte to 128; more is no image, and may inflate 64 times.
    if len(frame) > n_bytes + n_bytes // 8 + 65536:
        raise UnusableFileError("the pixel data cannot be decoded")
    kind = "<u2" if pixel_format.bits_allocated == 16 else "u1"
    content = imagecodecs.dicomrle_decode(frame, kind)
    n_pixels = pixel_format.rows_px * pixel_format.columns_px
    return _uncoded(np.frombuffer(content, dtype=kind)[:n_pixels], pixel_format)


def _uncoded(codes: NDArray[np.generic], pixel_format: PixelFormat) -> StoredPixels:
    """Values whose bits lie where High Bit and Bits Stored say."""
    shape = pixel_format.shape
    plane = codes.reshape(shape)
    low_bit = pixel_format.high_bit + 1 - pixel_format.bits_stored
    bits = np.arange(2**pixel_format.bits_allocated, dtype=np.int32) >> low_bit
    values = _masked(bits, pixel_format.bits_stored, is_signed=pixel_format.is_signed)
    return StoredPixels(codes=plane, values=values)  # type: ignore[arg-type]


def _codestream(
    frame: bytes,
    pixel_format: PixelFormat,
    syntax: uid.UID,
    size_px: int | None,
    values_per_level: float,
) -> StoredPixels:
    header = jpeg_2000_header(frame) if syntax in JPEG_2000 else jpeg_header(frame)
    if header is None or header.n_components != 1 or not 1 <= header.precision <= 16:
        raise UnusableFileError("the pixel data cannot be decoded")
    if (header.rows_px, header.columns_px) != pixel_format.shape:
        raise UnusableFileError("the pixel data do not have the header's rows and columns")
    if END_OF_IMAGE not in frame[-64:]:
        raise UnusableFileError("the pixel data are cut short")
    n_bits = min(header.precision, pixel_format.bits_stored)
    reduction = None
    if syntax in JPEG_2000:
        codes, reduction = _jpeg_2000(frame, header, pixel_format, size_px, values_per_level)
        # Pillow scales to the full range, and adds half of it where the codestream is signed.
        bits = np.arange(2 ** (8 * codes.dtype.itemsize), dtype=np.int32)
        bits >>= _scaling(codes, header)
        bits -= 2 ** (header.precision - 1) if header.is_signed else 0
    else:
        codes = _jpeg(frame, header, syntax)
        bits = np.arange(2 ** (8 * codes.dtype.itemsize), dtype=np.int32)
    values = _masked(bits, n_bits, is_signed=pixel_format.is_signed)
    return StoredPixels(codes=codes, values=values, reduction=reduction)


def _scaling(codes: Codes, header: CodestreamHeader) -> int:
    """Bits by which Pillow shifts samples up to the full range of its codes."""
    return 8 * codes.dtype.itemsize - header.precision


def _jpeg(frame: bytes, header: CodestreamHeader, syntax: uid.UID) -> Codes:
    kind = np.dtype(np.uint8 if header.precision <= 8 else np.uint16)
    # A given output makes the decoder refuse an image of another size before it allocates; zeros,
    # so that a damaged stream leaves no earlier image behind where it stops.
    plane = np.zeros((header.rows_px, header.columns_px), dtype=kind)
    decode = imagecodecs.jpegls_decode if syntax in JPEG_LS else imagecodecs.jpeg8_decode
    decode(frame, out=plane)
    return plane


def _jpeg_2000(
    frame: bytes,
    header: CodestreamHeader,
    pixel_format: PixelFormat,
    size_px: int | None,
    values_per_level: float,
) -> tuple[Codes, Reduction | None]:
    n_halvings, levels = 0, None
    # Bits above Bits Stored are no part of a smooth image, so only the whole can be masked.
    if size_px is not None and header.precision <= pixel_format.bits_stored:
        n_halvings = usable_halvings(header, size_px)
    if n_halvings and openjpeg() is not None:
        levels = detail_levels(frame, n_halvings)
    if levels is None or is_mostly_detailed(levels, values_per_level=values_per_level):
        return _decoded(frame, n_halvings=0), None
    low = _decoded(frame, n_halvings=n_halvings)
    codes = add_empty_details(
        low,
        shape=pixel_format.shape,
        n_halvings=n_halvings,
        is_reversible=header.is_reversible,
    )
    return codes, Reduction(
        low=low, n_halvings=n_halvings, levels=levels, _frame=frame, _header=header
    )


def _decoded(frame: bytes, *, n_halvings: int) -> Codes:
    with Jpeg2KImageFile(BytesIO(frame)) as image:
        image.reduce = n_halvings
        codes: Codes = np.asarray(image)
    if codes.dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)) or codes.ndim != 2:
        raise UnusableFileError("the pixel data cannot be decoded")
    return codes


def _masked(bits: NDArray[np.int32], n_bits: int, *, is_signed: bool) -> NDArray[np.int32]:
    """The lowest ``n_bits``, as two's complement where the values are signed."""
    values: NDArray[np.int32] = bits & (2**n_bits - 1)
    if is_signed:
        values -= (values >> (n_bits - 1)) << n_bits
    return values
