"""What a synthetic film promises: same seed same bits, and a fracture changes its box alone."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import pytest

from etl.synthetic_hospital.film import (
    Film,
    FilmBox,
    FilmRequest,
    FractureRequest,
    render_film,
    sample_fractures,
)


@lru_cache(maxsize=64)
def _film(
    seed: int = 7,
    *,
    projection: str = "PA",
    size: tuple[int, int] = (320, 320),
    fractures: tuple[FractureRequest, ...] = (),
) -> Film:
    return render_film(
        FilmRequest(
            seed=seed,
            sex_code="M",
            age_years=48,
            projection=projection,
            rows_px=size[0],
            columns_px=size[1],
            fractures=fractures,
        )
    )


def _rib(
    severity: str, *, side: str = "left", number: int = 6, is_old: bool = False
) -> FractureRequest:
    return FractureRequest(
        finding="rib_fracture", side=side, rib_number=number, severity=severity, is_old=is_old
    )


def _clavicle(severity: str, *, side: str = "left") -> FractureRequest:
    return FractureRequest(
        finding="clavicle_fracture", side=side, rib_number=None, severity=severity
    )


def _mask(film: Film, boxes: tuple[FilmBox, ...], grow_px: int = 0) -> np.ndarray:
    mask = np.zeros(film.pixels.shape, dtype=bool)
    for box in boxes:
        left, top = int(box.x_px) - grow_px, int(box.y_px) - grow_px
        right = int(np.ceil(box.x_px + box.width_px)) + grow_px
        bottom = int(np.ceil(box.y_px + box.height_px)) + grow_px
        mask[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
    return mask


def _change(broken: Film, intact: Film) -> np.ndarray:
    return np.abs(broken.pixels.astype(np.int32) - intact.pixels.astype(np.int32))


@pytest.mark.parametrize("projection", ["PA", "AP", "LATERAL", "ABDOMEN"])
def test_same_request_gives_the_same_bits_and_another_seed_another_film(projection: str) -> None:
    one, again = _film(3, projection=projection), _film.__wrapped__(3, projection=projection)
    assert one is not again
    assert np.array_equal(one.pixels, again.pixels)
    assert not np.array_equal(one.pixels, _film(4, projection=projection).pixels)


@pytest.mark.parametrize("size", [(320, 320), (300, 417), (256, 200), (65, 64)])
def test_film_has_the_size_asked_for_and_twelve_bits(size: tuple[int, int]) -> None:
    film = _film(size=size)
    assert film.pixels.shape == size
    assert film.pixels.dtype == np.uint16
    assert film.pixels.max() <= 4095
    assert film.pixels.max() - film.pixels.min() > 1500
    field_mm = film.pixel_spacing_mm * np.sqrt(size[0] * size[1])
    assert 300 < field_mm < 520


@pytest.mark.parametrize("seed", [1, 2])
def test_the_middle_is_brighter_than_the_lungs_and_the_corners_are_dark(seed: int) -> None:
    small = cv2.resize(_film(seed).pixels, (16, 16), interpolation=cv2.INTER_AREA).astype(float)
    lungs = np.concatenate([small[6:9, 4:6].ravel(), small[6:9, 10:12].ravel()])
    assert small[8:12, 7:9].mean() > lungs.mean() + 400
    assert small[0, [0, 15]].mean() < lungs.mean()


@pytest.mark.parametrize("projection", ["PA", "AP"])
@pytest.mark.parametrize("seed", [11, 12])
def test_a_fracture_changes_its_box_and_nothing_else(seed: int, projection: str) -> None:
    fractures = (_rib("evident"), _rib("moderate", side="right", number=5), _clavicle("evident"))
    intact = _film(seed, projection=projection, size=(512, 512))
    broken = _film(seed, projection=projection, size=(512, 512), fractures=fractures)
    change = _change(broken, intact)
    inside, around = _mask(broken, broken.boxes), _mask(broken, broken.boxes, grow_px=16)
    assert change[~around].max() <= 8
    assert change[inside].sum() > 0.85 * change.sum()
    assert change[inside].mean() > 60


@pytest.mark.parametrize("seed", range(20, 23))
def test_evident_and_moderate_fractures_still_show_at_256_pixels(seed: int) -> None:
    fractures = (_rib("evident", number=5), _rib("moderate", side="right"), _clavicle("moderate"))
    intact = _film(seed, size=(512, 512))
    broken = _film(seed, size=(512, 512), fractures=fractures)
    for box in broken.boxes:
        here = _mask(broken, (box,))
        small = [
            cv2.resize(
                np.where(here, film.pixels, 0).astype(np.float32),
                (256, 256),
                interpolation=cv2.INTER_AREA,
            )
            for film in (broken, intact)
        ]
        assert np.percentile(np.abs(small[0] - small[1])[here[::2, ::2]], 90) > 100, box


def test_severity_orders_the_change() -> None:
    intact = _film(31, size=(512, 512))
    totals = [
        int(_change(_film(31, size=(512, 512), fractures=(_rib(severity),)), intact).sum())
        for severity in ("occult", "subtle", "moderate", "evident")
    ]
    assert totals[0] == 0
    assert totals == sorted(totals)
    assert totals[1] > 0


def test_an_occult_fracture_has_a_box_that_is_not_visible() -> None:
    (box,) = _film(5, fractures=(_rib("occult"),)).boxes
    assert (box.severity, box.is_visible) == ("occult", False)


def test_an_old_fracture_is_marked_and_swells_the_bone() -> None:
    intact = _film(6, size=(512, 512))
    healed = _film(6, size=(512, 512), fractures=(_rib("moderate", is_old=True),))
    (box,) = healed.boxes
    assert box.is_old
    difference = healed.pixels.astype(int) - intact.pixels.astype(int)
    assert difference[_mask(healed, (box,))].mean() > 15


@pytest.mark.parametrize(("side", "is_left_half"), [("right", True), ("left", False)])
@pytest.mark.parametrize("projection", ["PA", "AP"])
def test_the_patients_right_is_at_the_films_left(
    side: str, is_left_half: bool, projection: str
) -> None:
    for fracture in (_rib("evident", side=side), _clavicle("evident", side=side)):
        (box,) = _film(8, projection=projection, fractures=(fracture,)).boxes
        assert (box.x_px + box.width_px / 2 < 160) == is_left_half


def test_boxes_lie_on_the_film_and_are_not_tiny() -> None:
    for seed in range(40, 48):
        rng = np.random.default_rng(seed)
        finding = ("rib_fracture", "clavicle_fracture")[seed % 2]
        film = _film(
            seed,
            projection=("PA", "AP")[seed % 2],
            fractures=sample_fractures(rng, finding=finding),
        )
        for box in film.boxes:
            assert box.x_px >= 0
            assert box.y_px >= 0
            assert box.x_px + box.width_px <= 320
            assert box.y_px + box.height_px <= 320
            if box.is_visible:
                assert min(box.width_px, box.height_px) >= 0.035 * 320
                assert max(box.width_px, box.height_px) >= 0.07 * 320


@pytest.mark.parametrize("projection", ["LATERAL", "ABDOMEN"])
def test_other_views_have_no_boxes(projection: str) -> None:
    film = _film(9, projection=projection, fractures=(_rib("evident"),))
    assert film.boxes == ()
    assert np.array_equal(film.pixels, _film(9, projection=projection).pixels)


def test_sampled_ribs_are_one_to_six_neighbours_on_one_side() -> None:
    rng = np.random.default_rng(0)
    counts = []
    for _ in range(500):
        fractures = sample_fractures(rng, finding="rib_fracture")
        numbers = [one.rib_number for one in fractures]
        assert numbers == list(range(numbers[0] or 0, (numbers[0] or 0) + len(numbers)))
        assert len({one.side for one in fractures}) == 1
        counts.append(len(fractures))
    assert set(counts) == {1, 2, 3, 4, 5, 6}


def test_severities_follow_the_default_mix() -> None:
    rng = np.random.default_rng(1)
    drawn = [sample_fractures(rng, finding="clavicle_fracture")[0].severity for _ in range(2000)]
    share = {severity: drawn.count(severity) / 2000 for severity in set(drawn)}
    assert share["evident"] + share["moderate"] == pytest.approx(0.85, abs=0.04)
    assert share["subtle"] == pytest.approx(0.10, abs=0.03)
    assert share["occult"] == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"finding": "skull_fracture"}, "skull_fracture"),
        ({"side": "middle"}, "left, right"),
        ({"severity": "awful"}, "evident"),
        ({"rib_number": 13}, "1 to 12"),
        ({"rib_number": None}, "rib_number is None"),
    ],
)
def test_an_impossible_fracture_is_refused(fields: dict[str, object], message: str) -> None:
    good = {"finding": "rib_fracture", "side": "left", "rib_number": 5, "severity": "evident"}
    with pytest.raises(ValueError, match=message):
        FractureRequest(**{**good, **fields})  # type: ignore[arg-type]
