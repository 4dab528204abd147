from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut, apply_windowing

from etl.films.dicom_header import UnusableFileError
from etl.films.film_pixels import decode_film, square_film, transform_hash, window_values

MakeFilm = Callable[..., Dataset]
RAMP = np.tile(np.arange(0, 4096, 16, dtype=np.uint16), (160, 1))


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [(2048, 4096), (1000, 300), (300.5, 2)])
def test_windows_agree_with_pydicom(
    make_film: MakeFilm, function: str, centre: float, width: float
) -> None:
    dataset = make_film(RAMP, WindowCenter=centre, WindowWidth=width, VOILUTFunction=function)
    peer = apply_windowing(RAMP, dataset) / 4095.0
    ours = window_values(RAMP.astype(float), centre=centre, width=width, function=function)
    np.testing.assert_allclose(ours, peer, atol=1e-6)


def test_a_film_is_windowed_after_the_modality_rescale(make_film: MakeFilm) -> None:
    tags = {"RescaleSlope": 2, "RescaleIntercept": -100, "WindowCenter": 4000, "WindowWidth": 6000}
    dataset = make_film(RAMP, **tags)
    expected = window_values(
        np.asarray(apply_modality_lut(RAMP, dataset), float), centre=4000, width=6000
    )
    np.testing.assert_allclose(decode_film(dataset) / 65535, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("photometric", "shape", "is_inverted"),
    [
        ("MONOCHROME2", None, False),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", True),
    ],
)
def test_a_film_is_inverted_at_most_once(
    make_film: MakeFilm, photometric: str, shape: str | None, is_inverted: bool
) -> None:
    dataset = make_film(
        RAMP,
        PhotometricInterpretation=photometric,
        PresentationLUTShape=shape,
        WindowCenter=2048,
        WindowWidth=4096,
    )
    film = decode_film(dataset).astype(int)
    assert (film[0, -1] > film[0, 0]) != is_inverted


def test_inversion_comes_after_the_window(make_film: MakeFilm) -> None:
    tags = {"WindowCenter": 1000, "WindowWidth": 500}
    plain = decode_film(make_film(RAMP, **tags))
    inverted = decode_film(make_film(RAMP, PhotometricInterpretation="MONOCHROME1", **tags))
    assert int(np.abs(plain.astype(int) + inverted - 65535).max()) <= 1


def test_a_voi_table_takes_the_place_of_the_window(make_film: MakeFilm) -> None:
    item = Dataset()
    item.LUTDescriptor = [4096, 0, 16]
    item.add_new((0x0028, 0x3006), "US", [int(65535 - v * 16) for v in range(4096)])
    dataset = make_film(RAMP, WindowCenter=1, WindowWidth=1)
    dataset.VOILUTSequence = [item]
    np.testing.assert_allclose(decode_film(dataset), 65535 - RAMP.astype(int) * 16, atol=1)


@pytest.mark.parametrize("tags", [{}, {"WindowCenter": 60000, "WindowWidth": 10}])
def test_without_a_usable_window_the_grey_levels_are_stretched(
    make_film: MakeFilm, tags: dict[str, int]
) -> None:
    film = decode_film(make_film(RAMP // 4 + 500, **tags))
    assert film.min() == 0
    assert film.max() == 65535
    assert np.all(np.diff(film[0].astype(int)) >= 0)


def test_padding_is_black_and_does_not_count(make_film: MakeFilm) -> None:
    pixels = RAMP // 4 + 500
    pixels[:40] = 4095
    film = decode_film(
        make_film(pixels, PixelPaddingValue=4095, PhotometricInterpretation="MONOCHROME1")
    )
    assert not film[:40].any()
    assert film[40:].max() == 65535


def test_a_range_of_padding_is_black(make_film: MakeFilm) -> None:
    """Pixel Padding Range Limit may lie on either side of the value (PS3.3 C.7.5.1.1.2)."""
    pixels = RAMP.astype(np.int16) - 2048
    for value, limit in ((-2048, -1900), (-1900, -2048)):
        tags = {"PixelPaddingValue": value, "PixelPaddingRangeLimit": limit}
        film = decode_film(make_film(pixels, **tags, PhotometricInterpretation="MONOCHROME1"))
        assert np.array_equal(film == 0, (pixels <= -1900) | (film == 0))
        assert not film[pixels <= -1900].any()
        assert film[pixels > -1900].max() == 65535


def test_signed_pixels_keep_their_order(make_film: MakeFilm) -> None:
    pixels = RAMP.astype(np.int16) // 2 - 1000
    film = decode_film(make_film(pixels, WindowCenter=0, WindowWidth=2048))
    assert np.all(np.diff(film[0].astype(int)) >= 0)
    assert film[0, 0] < film[0, -1]


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"PhotometricInterpretation": "RGB"}, "not a monochrome"),
        ({"NumberOfFrames": 3}, "more than one frame"),
        ({"Rows": 9999}, "cannot be decoded"),
        ({"RescaleSlope": "x", "RescaleIntercept": 0}, "look-up table"),
    ],
)
def test_what_is_no_film_is_refused(
    make_film: MakeFilm, tags: dict[str, object], reason: str
) -> None:
    slope = tags.pop("RescaleSlope", None)
    dataset = make_film(RAMP, **tags)
    if slope is not None:
        dataset.ModalityLUTSequence = [Dataset()]
    with pytest.raises(UnusableFileError, match=reason):
        decode_film(dataset)


@given(st.integers(64, 400), st.integers(64, 400), st.sampled_from([64, 100, 256]))
def test_the_square_keeps_the_film_whole_and_centred(rows: int, columns: int, size: int) -> None:
    film, geometry = square_film(np.full((rows, columns), 65535, np.uint16), size)
    valid = np.zeros((size, size), bool)
    top, left = geometry.pad_top_px, geometry.pad_left_px
    valid[top : top + geometry.valid_height_px, left : left + geometry.valid_width_px] = True
    assert film.shape == (size, size)
    assert np.array_equal(film == 255, valid)
    assert not film[~valid].any()
    assert abs(left - (size - left - geometry.valid_width_px)) <= 1
    right = columns * geometry.scale + left
    assert abs(right - (left + geometry.valid_width_px)) <= 0.5


def test_a_mark_lands_where_the_geometry_says() -> None:
    grey = np.zeros((600, 400), np.uint16)
    grey[450:460, 90:100] = 65535
    film, geometry = square_film(grey, 200)
    y, x = np.unravel_index(int(film.argmax()), film.shape)
    assert abs(95 * geometry.scale + geometry.pad_left_px - (x + 0.5)) <= 2
    assert abs(455 * geometry.scale + geometry.pad_top_px - (y + 0.5)) <= 2


def test_another_size_is_another_transform() -> None:
    assert transform_hash(512) == transform_hash(512) != transform_hash(256)


def test_sixteen_bits_are_rounded_to_the_nearest_of_eight() -> None:
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    film, _ = square_film(every, 256)
    assert np.array_equal(film, np.round(every / 257).astype(np.uint8))


def test_an_image_that_is_a_line_is_refused() -> None:
    with pytest.raises(UnusableFileError, match="a line"):
        square_film(np.zeros((40000, 128), np.uint16), 64)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("shape", [(300, 200), (257, 311), (150, 150)])
def test_the_film_is_that_of_the_usual_float_path(
    make_film: MakeFilm, photometric: str, shape: tuple[int, int]
) -> None:
    """pydicom's values, its window and an area resize in floats: at most 2 grey levels apart."""
    image = np.random.default_rng(5).integers(0, 4096, shape).astype(np.uint16)
    tags = {"WindowCenter": [1800, 40], "WindowWidth": [2500, 80]}
    dataset = make_film(image, PhotometricInterpretation=photometric, **tags)
    values = apply_voi_lut(dataset.pixel_array, dataset) / 4095 * 255
    if photometric == "MONOCHROME1":
        values = 255 - values
    scale = 100 / max(shape)
    usual = cv2.resize(values, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    film, geometry = square_film(decode_film(dataset), 100)
    top, left = geometry.pad_top_px, geometry.pad_left_px
    ours = film[top : top + geometry.valid_height_px, left : left + geometry.valid_width_px]
    assert np.abs(ours - np.round(usual)).max() <= 1
