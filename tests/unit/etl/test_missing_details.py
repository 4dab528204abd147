"""JPEG 2000 films at a lower resolution: never more than two grey levels from the whole film."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import cv2
import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from pydicom import uid
from pydicom.dataset import Dataset
from unit.etl.compressed_twins import Twin
from unit.etl.conftest import film_dataset

from etl.films import film_pixels, stored_pixels
from etl.films.codestream_blocks import detail_levels
from etl.films.dicom_header import UnusableFileError
from etl.films.film_pixels import decode_film, square_film
from etl.films.openjpeg_areas import AreaDecoder, openjpeg
from etl.films.stored_pixels import read_stored_pixels

Image = np.ndarray
SIZE_PX = 256
WINDOW = {"WindowCenter": 1700, "WindowWidth": 3000}


def encoded(image: Image, *, is_reversible: bool = True, **options: object) -> bytes:
    return bytes(
        imagecodecs.jpeg2k_encode(
            image,
            level=0 if is_reversible else 60,
            codecformat="j2k",
            reversible=is_reversible,
            bitspersample=12,
            **options,
        )
    )


def tiled(image: Image) -> bytes:
    file = BytesIO()
    PillowImage.fromarray(image).save(
        file, format="JPEG2000", no_jp2=True, tile_size=(256, 256), irreversible=False
    )
    return file.getvalue()


def compressed(image: Image, *, is_reversible: bool = True, **tags: object) -> Dataset:
    syntax = uid.JPEG2000Lossless if is_reversible else uid.JPEG2000
    twin = Twin("", syntax, lambda image, _: encoded(image, is_reversible=is_reversible))
    return twin.of(film_dataset(image, **{**WINDOW, **tags}), image)


def smooth_film(rows: int = 750, columns: int = 700, *, noise: float = 12.0) -> Image:
    """Slow anatomy and a detector's noise."""
    y, x = np.indices((rows, columns), dtype=np.float64)
    film = 1700 + 900 * np.sin(y / 60) * np.cos(x / 45) + 300 * np.sin((x + y) / 25)
    film += np.random.default_rng(0).normal(0, noise, film.shape)
    return np.clip(film, 0, 4095).astype(np.uint16)


def drawn(image: Image, mask: Image, height: int) -> Image:
    """The image, changed by ``height`` stored values where the mask is 255."""
    changed = image + height * (mask / 255.0)
    return np.clip(np.round(changed), 0, 4095).astype(np.uint16)


def letters(shape: tuple[int, int], *, thickness: int = 3, is_smoothed: bool = True) -> Image:
    mask = np.zeros(shape, np.uint8)
    edge = cv2.LINE_AA if is_smoothed else cv2.LINE_8
    cv2.putText(mask, "L 12", (140, 130), cv2.FONT_HERSHEY_SIMPLEX, 2.0, 255, thickness, edge)
    return mask


def apart(dataset: Dataset, size_px: int = SIZE_PX) -> int:
    """Grey levels between the film and the one from the whole image."""
    whole, _ = square_film(decode_film(dataset), size_px)
    ours, _ = square_film(decode_film(dataset, size_px=size_px), size_px)
    return int(np.abs(whole.astype(int) - ours).max())


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Halvings of every decoding, in order."""
    halvings: list[int] = []
    decode = stored_pixels._decoded

    def counted(frame: bytes, *, n_halvings: int) -> stored_pixels.Codes:
        halvings.append(n_halvings)
        return decode(frame, n_halvings=n_halvings)

    monkeypatch.setattr(stored_pixels, "_decoded", counted)
    return halvings


@pytest.mark.parametrize("is_reversible", [True, False])
@pytest.mark.parametrize("size_px", [128, 256, 500])
def test_a_plain_film_is_not_decoded_whole(
    decoded: list[int], is_reversible: bool, size_px: int
) -> None:
    dataset = compressed(smooth_film(), is_reversible=is_reversible)
    decode_film(dataset, size_px=size_px)
    assert decoded == [0 if size_px == 500 else 1]
    assert apart(dataset, size_px) <= 2


@pytest.mark.parametrize("is_reversible", [True, False])
def test_letters_are_decoded_with_their_details(decoded: list[int], is_reversible: bool) -> None:
    image = smooth_film(1500, 1400)
    lettered = drawn(image, letters(image.shape, is_smoothed=False), 4095)
    dataset = compressed(lettered, is_reversible=is_reversible)
    assert apart(dataset, 512) <= 2
    assert decoded == [0, 1], "not the whole film"
    stored = read_stored_pixels(dataset, size_px=512, values_per_level=11.0)
    assert stored.reduction is not None
    bare, _ = square_film(film_pixels._look_up(dataset, stored)[0][stored.codes], 512)
    whole, _ = square_film(decode_film(dataset), 512)
    assert np.abs(bare.astype(int) - whole).max() > 2, "without its details it would differ"


SHAPES: dict[str, Callable[[Image, int], object]] = {
    "letters": lambda mask, n: mask.__ior__(letters(mask.shape, thickness=1 + n % 7)),
    "hard letters": lambda mask, n: mask.__ior__(letters(mask.shape, is_smoothed=False)),
    "line": lambda mask, n: cv2.line(mask, (100 + n, 90), (380, 300 + 3 * n), 255, 1 + n % 2),
    "upright line": lambda mask, n: mask.__setitem__((slice(80, 500), 101 + n), 255),
    "dots": lambda mask, n: mask.__setitem__((slice(90, 300, 11 + n), slice(91, 300, 7)), 255),
    "rectangle": lambda mask, n: mask.__setitem__((slice(64, 127 + n), slice(50, 128 + n)), 255),
    "circle": lambda mask, n: cv2.circle(mask, (200, 210), 20 + n, 255, 1 + n % 3),
    "stripes": lambda mask, n: mask.__setitem__((slice(100, 220, 2), slice(100, 150 + n)), 255),
    "edge of the beam": lambda mask, n: mask.__setitem__((slice(None), slice(0, 30 + n)), 255),
}  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from(sorted(SHAPES)),
    height=st.integers(-4095, 4095),
    number=st.integers(0, 20),
    is_reversible=st.booleans(),
    noise=st.sampled_from([0.0, 6.0, 12.0, 25.0]),
    size_px=st.sampled_from([50, 128, 150, 220]),
)
def test_no_film_is_more_than_two_grey_levels_from_the_whole(  # noqa: PLR0917
    shape: str, height: int, number: int, is_reversible: bool, noise: float, size_px: int
) -> None:
    image = smooth_film(440, 400, noise=noise)
    mask = np.zeros(image.shape, np.uint8)
    SHAPES[shape](mask, number)
    assert apart(compressed(drawn(image, mask, height), is_reversible=is_reversible), size_px) <= 2


def test_without_a_window_the_film_is_decoded_whole(decoded: list[int]) -> None:
    tags = {"WindowCenter": None, "WindowWidth": None}
    dataset = compressed(smooth_film(), **tags)
    assert apart(dataset) == 0
    assert decoded == [0, 0]


def test_a_window_that_leaves_nothing_counts_the_whole(decoded: list[int]) -> None:
    tags = {"WindowCenter": -9000, "WindowWidth": 4000}
    assert apart(compressed(smooth_film(), **tags)) == 0
    assert decoded == [0, 1, 0]


@pytest.mark.parametrize(
    "tags",
    [
        {"PixelPaddingValue": 0, "PhotometricInterpretation": "MONOCHROME1"},
        {"WindowWidth": 100},
    ],
    ids=["padding", "narrow window"],
)
def test_a_look_up_with_steps_asks_for_the_whole(decoded: list[int], tags: dict[str, int]) -> None:
    assert apart(compressed(smooth_film(), **tags)) == 0
    assert decoded == [0, 0]


def test_without_the_library_the_film_is_decoded_whole(
    decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_pixels, "openjpeg", lambda: None)
    assert apart(compressed(smooth_film())) == 0
    assert decoded == [0, 0]


def lifted(image: Image) -> tuple[Image, tuple[Image, Image, Image]]:
    """One level of the reversible 5/3 transform (ITU-T T.800 F.4.8.1): low, and details."""

    def split(plane: Image) -> tuple[Image, Image]:
        even, odd = plane[:, 0::2], plane[:, 1::2]
        detail = odd - ((even + np.pad(even[:, 1:], ((0, 0), (0, 1)), "edge")) >> 1)
        before = np.pad(detail[:, :-1], ((0, 0), (1, 0)), "edge")
        return even + ((before + detail + 2) >> 2), detail

    low, high = (each.T for each in split(image.T.astype(np.int32)))
    (ll, hl), (lh, hh) = split(low), split(high)
    return ll, (hl, lh, hh)


@pytest.mark.parametrize("name", ["plain", "letters"])
def test_bounds_hold_and_are_no_looser_than_a_power_of_two(name: str) -> None:
    image = smooth_film(640, 768)
    if name == "letters":
        image = drawn(image, letters(image.shape), 2000)
    levels = detail_levels(encoded(image), 2)
    assert levels is not None
    low = image.astype(np.int32)
    for level, found in enumerate(levels, start=1):
        low, details = lifted(low)
        rows, columns = (each >> level for each in found.block_px)
        for row, column in np.ndindex(found.bounds.shape):
            block = np.s_[rows * row : rows * (row + 1), columns * column : columns * (column + 1)]
            largest = max(int(np.abs(each[block]).max(initial=0)) for each in details)
            assert largest < found.bounds[row, column] <= max(2 * largest, 1)


@pytest.mark.parametrize(
    "content",
    [
        encoded(smooth_film())[:-3000],
        encoded(smooth_film())[:200],
        b"",
        bytes(imagecodecs.htj2k_encode(smooth_film(), reversible=True)),
        tiled(smooth_film()),
    ],
    ids=["cut short", "cut in the header", "empty", "high throughput", "tiles"],
)
def test_of_other_codestreams_nothing_is_said(content: bytes) -> None:
    assert detail_levels(content, 1) is None


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_damaged_packet_headers_are_read_or_refused(data: st.DataObject) -> None:
    content = bytearray(encoded(smooth_film(128, 128)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    levels = detail_levels(bytes(content), 1)
    assert levels is None or len(levels) == 1


@pytest.mark.parametrize("is_reversible", [True, False])
def test_areas_are_those_of_the_whole(is_reversible: bool) -> None:
    assert openjpeg() is not None
    image = smooth_film(300, 260)
    whole = imagecodecs.jpeg2k_decode(encoded(image, is_reversible=is_reversible))
    with AreaDecoder(encoded(image, is_reversible=is_reversible)) as decoder:
        for top, bottom, left, right in ((0, 10, 0, 10), (37, 300, 100, 101), (0, 300, 0, 260)):
            area = decoder.area((top, bottom, left, right))
            assert np.array_equal(area, whole[top:bottom, left:right])


def test_damage_in_the_details_is_named() -> None:
    image = smooth_film(1500, 1400)
    dataset = compressed(drawn(image, letters(image.shape), 4095))
    stored = read_stored_pixels(dataset, size_px=512, values_per_level=11.0)
    assert stored.reduction is not None
    object.__setattr__(stored.reduction, "_frame", b"\xff\x4f\xff\x51 no image")
    with pytest.raises(UnusableFileError, match="cannot be decoded"):
        stored.reduction.add_details(stored.codes, [(0, 64, 0, 64)])
