"""The check for text in the picture: letters are found, plain film is not flagged."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from etl.privacy.burnt_in_text import has_burnt_in_text

SHAPE = (700, 560)


def film(seed: int, bits: int = 12) -> NDArray[np.uint16]:
    """Noise on smooth shades, as a detector gives it."""
    rng = np.random.default_rng(seed)
    shades = cv2.resize(rng.random((6, 5)).astype(np.float32), SHAPE[::-1], interpolation=2)
    grey = 0.2 + 0.6 * shades + rng.normal(0, 0.01, SHAPE)
    return np.round(np.clip(grey, 0, 1) * (2**bits - 1)).astype(np.uint16)


def drawn(plain: NDArray[np.uint16], text: str, size: float, share: float) -> NDArray[np.uint16]:
    mask = np.zeros(plain.shape, np.uint8)
    cv2.putText(
        mask, text, (20, 90), cv2.FONT_HERSHEY_SIMPLEX, size, 255, max(1, round(size * 1.5))
    )
    value = share * float(plain.max() if share > 0 else plain.min())
    mixed = plain + (value - plain.astype(float)) * (mask / 255.0)
    return np.round(mixed).astype(np.uint16)


@pytest.mark.parametrize("seed", range(8))
def test_plain_film_is_not_flagged(seed: int) -> None:
    assert not has_burnt_in_text(film(seed))


@pytest.mark.parametrize("size", [0.7, 1.0, 1.6])
@pytest.mark.parametrize("share", [1.0, 0.9])
@pytest.mark.parametrize("text", ["CHEN MEI-LING", "1950-03-12", "PORTABLE"])
def test_drawn_text_is_flagged(size: float, share: float, text: str) -> None:
    assert has_burnt_in_text(drawn(film(0), text, size, share))


def test_text_along_the_side_and_in_black_is_flagged() -> None:
    text = drawn(film(1), "CHEN MEI-LING", 1.0, 1.0)
    assert has_burnt_in_text(np.ascontiguousarray(np.rot90(text)))
    assert has_burnt_in_text(text.max() - text)


@pytest.mark.parametrize("values", [np.zeros((64, 64)), np.full((64, 64), 4095), np.eye(64)])
def test_empty_and_ruled_pictures_do_no_harm(values: NDArray[np.float64]) -> None:
    assert not has_burnt_in_text(values.astype(np.uint16))
