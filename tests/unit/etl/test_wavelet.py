"""JPEG 2000 at a lower resolution: when it is used, and how near it comes to the whole."""

from __future__ import annotations

from io import BytesIO

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from unit.etl.conftest import anatomy

from etl.films.codestream_header import jpeg_2000_header, jpeg_header
from etl.films.wavelet import add_empty_details, usable_halvings


def codestream(image: np.ndarray, *, is_reversible: bool = True, resolutions: int = 6) -> bytes:
    return bytes(
        imagecodecs.jpeg2k_encode(
            image,
            level=0 if is_reversible else 100,
            codecformat="j2k",
            reversible=is_reversible,
            bitspersample=12,
            resolutions=resolutions,
        )
    )


@pytest.mark.parametrize(
    ("rows", "columns", "size", "expected"),
    [
        (1024, 1024, 1024, 0),  # as large as the result
        (1024, 1024, 512, 0),  # one for one: fine lines would blur
        (1500, 1400, 512, 1),
        (3000, 3000, 512, 1),  # at a quarter, what two halvings leave out adds up
        (3000, 3000, 256, 2),
        (1953, 1840, 170, 1),  # Pillow's rounding is not OpenJPEG's at a quarter
        (1952, 1840, 170, 2),
        (3000, 3000, 64, 4),
    ],
)
def test_the_resolution_that_serves(rows: int, columns: int, size: int, expected: int) -> None:
    content = codestream(np.zeros((rows, columns), np.uint16))
    header = jpeg_2000_header(content)
    assert header is not None
    assert (header.rows_px, header.columns_px, header.precision) == (rows, columns, 12)
    assert header.n_decompositions == 5
    n_halvings = usable_halvings(header, size)
    assert n_halvings == expected
    with Image.open(BytesIO(content)) as image:
        image.reduce = n_halvings
        assert np.asarray(image).shape == (-(-rows >> n_halvings), -(-columns >> n_halvings))


def test_a_stream_without_lower_resolutions_is_decoded_whole() -> None:
    header = jpeg_2000_header(codestream(np.zeros((512, 512), np.uint16), resolutions=1))
    assert header is not None
    assert usable_halvings(header, 64) == 0


@pytest.mark.parametrize("is_reversible", [True, False])
@pytest.mark.parametrize("shape", [(512, 512), (509, 387)])
def test_empty_details_are_the_inverse_transform(
    is_reversible: bool, shape: tuple[int, int]
) -> None:
    """An image that has no details comes back; the source's grid is kept, not shifted by half."""
    rows, columns = np.indices(shape).astype(float)
    image = 2000 + 900 * np.sin(rows / 40) * np.cos(columns / 55)
    content = codestream(image.astype(np.uint16), is_reversible=is_reversible)
    with Image.open(BytesIO(content)) as reduced:
        reduced.reduce = 1
        low = np.asarray(reduced)
    whole = add_empty_details(low, shape=shape, n_halvings=1, is_reversible=is_reversible)
    assert whole.shape == shape
    assert np.abs((whole >> 4) - np.floor(image))[4:-4, 4:-4].max() <= 4


@pytest.mark.parametrize("content", [b"", b"\xff\xd8", b"\xff\xd8\xff\xda", b"\xff\xd8\xff\xc0",
                                     b"\xff\xd8" + b"\xff" * 50, b"no image at all"])  # fmt: skip
def test_what_has_no_header_has_none(content: bytes) -> None:
    assert jpeg_header(content) is None
    assert jpeg_2000_header(content) is None


def test_markers_before_the_frame_are_passed_over() -> None:
    image = anatomy(bits=8)
    content = bytes(imagecodecs.jpeg8_encode(image, level=90))
    comment = b"\xff\xfe\x00\x06\xff\xc0\x00\x00"
    header = jpeg_header(content[:2] + comment + b"\xff" + content[2:])
    assert header is not None
    assert (header.rows_px, header.columns_px, header.precision) == (*image.shape, 8)
    assert header.n_components == 1
