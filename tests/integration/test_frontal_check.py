"""The image check on real frontal films, on their parts and turns, and on synthetic other views."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from etl.films.frontal_check import check_frontal
from etl.synthetic_hospital.film import FilmRequest, render_film

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("RIBLINE_SHARED_DATA", ROOT.parent / "shared" / "data"))
FOLDER = SHARED / "nih_chestxray14_subset" / "images"


def _share_passed(films: list[np.ndarray]) -> float:
    return float(np.mean([check_frontal(film).is_frontal for film in films]))


def _synthetic(projection: str, n: int) -> list[np.ndarray]:
    films = []
    for seed in range(n):
        request = FilmRequest(
            seed=500 + seed,
            sex_code="FM"[seed % 2],
            age_years=25 + 4 * seed,
            projection=projection,
            rows_px=192,
            columns_px=176,
        )
        pixels = render_film(request).pixels.astype(float)
        low, high = np.percentile(pixels, (1, 99))
        films.append(np.clip((pixels - low) / (high - low) * 255, 0, 255).astype(np.uint8))
    return films


@pytest.mark.parametrize("projection", ["LATERAL", "ABDOMEN"])
def test_synthetic_other_views_are_refused(projection: str) -> None:
    assert _share_passed(_synthetic(projection, 12)) == 0


def test_synthetic_frontal_films_pass() -> None:
    assert _share_passed(_synthetic("PA", 12)) >= 0.9


@pytest.mark.skipif(not FOLDER.is_dir(), reason="RIBLINE_SHARED_DATA has no nih_chestxray14_subset")
def test_real_frontal_films_pass_and_their_parts_and_turns_do_not() -> None:
    """The fit has seen these films; held out, 94 of 100 pass (etl/films/frontal_check.py)."""
    films = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted(FOLDER.glob("*.png"))]
    films = films[::4]
    assert _share_passed(films) >= 0.93
    assert _share_passed([film[::-1, ::-1] for film in films]) <= 0.02
    assert _share_passed([np.rot90(film) for film in films]) <= 0.02
    assert _share_passed([255 - film for film in films]) <= 0.02
    assert _share_passed([film[len(film) // 2 :] for film in films]) <= 0.06
