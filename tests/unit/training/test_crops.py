"""Windows around boxes and anywhere in negatives."""

from __future__ import annotations

import numpy as np
from fabricated_films import FINDINGS

from training.crops import cut, draw_centres, window_side
from training.film_dataset import load_films

RNG = np.random.default_rng(0)


def test_a_window_is_the_padded_films_part():
    pixels = RNG.integers(1, 255, (40, 3, 20, 30)).astype(np.uint8)
    centres = np.stack([RNG.integers(0, 30, 40), RNG.integers(0, 20, 40)], axis=1)
    windows = cut(pixels, centres, 8)
    padded = np.pad(pixels, ((0, 0), (0, 0), (4, 4), (4, 4)))
    for place, (x, y) in enumerate(centres):
        assert np.array_equal(windows[place], padded[place, :, y : y + 8, x : x + 8])


def test_centres_show_a_box_in_r_and_lie_in_the_valid_area_in_n(make_store):
    films = load_films(
        store=make_store(), fold=0, splits=["train"], findings=FINDINGS, image_size_px=64
    )
    rows = np.arange(len(films))
    for step in range(20):
        centres = draw_centres(films, rows, crop_px=32, seed=1, epoch=1, step=step)
        for row, (x, y) in zip(rows, centres, strict=True):
            boxes, area = np.concatenate(films.boxes[row]), films.valid_areas[row]
            if len(boxes):
                middle = (boxes[0, :2] + boxes[0, 2:]) / 2
                assert (np.abs(middle - [x, y]) < 16).all()
            else:
                assert area.column_start <= x < area.column_stop
                assert area.row_start <= y < area.row_stop


def test_centres_are_a_function_of_seed_epoch_and_step(make_store):
    films = load_films(
        store=make_store(), fold=0, splits=["train"], findings=FINDINGS, image_size_px=64
    )

    def centres(**counter):
        chosen = {"seed": 1, "epoch": 1, "step": 1} | counter
        return draw_centres(films, np.arange(len(films)), crop_px=32, **chosen).tolist()

    assert centres() == centres()
    assert all(centres() != centres(**{name: 2}) for name in ("seed", "epoch", "step"))


def test_a_window_leaves_room_for_turning():
    assert window_side(96) == 144
    assert window_side(64) % 2 == 0
