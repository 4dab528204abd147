"""Boxes against the masks that are warped with the film."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from evaluation.score_maps import ValidArea
from training.augmentation import AugmentationDraws, draw_augmentation, warp_films
from training.augmented_boxes import augmented_boxes, clipped
from training.crops import cut, window_side
from training.film_dataset import load_films
from training.recipe import recipe


def draws_of(n: int, *, turn_deg: float = 0.0, is_flipped: bool = False) -> AugmentationDraws:
    ones, none = np.ones(n, np.float32), np.zeros(n, np.float32)
    turn = np.full(n, np.deg2rad(turn_deg), np.float32)
    return AugmentationDraws(turn, np.full(n, is_flipped), ones, ones, none, ones, none)


@pytest.fixture
def films(make_store):
    return load_films(
        store=make_store(),
        fold=0,
        splits=["train"],
        findings=("rib_fracture", "clavicle_fracture"),
        image_size_px=64,
    )


@pytest.mark.parametrize("crop_px", [None, 48])
def test_hulls_hold_what_the_masks_show(films, crop_px):
    settings = recipe("demo", image_size_px=64, max_rotation_deg=30.0, max_zoom=0.1)
    rows = np.flatnonzero([sum(map(len, boxes)) > 0 for boxes in films.boxes])
    masks = films.masks(rows)
    pixels = films.films(rows)
    centres = None
    if crop_px is not None:
        centres = np.random.default_rng(0).integers(20, 44, (len(rows), 2))
        side = window_side(crop_px)
        pixels, masks = cut(pixels, centres, side), cut(masks, centres, side)
    n_seen, side_px = 0, crop_px or 64
    for step in range(4):
        draws = draw_augmentation(settings, seed=1, epoch=1, step=step, n_films=len(rows))
        _, warped = warp_films(
            torch.from_numpy(pixels), torch.from_numpy(masks), draws, size_px=crop_px
        )
        boxes = augmented_boxes(films, rows, draws, centres=centres, size_px=crop_px)
        for film, by_finding in enumerate(boxes):
            for finding, found in enumerate(by_finding):
                shown = np.argwhere(warped[film, finding].numpy() > 0.5)
                assert bool(len(shown)) <= bool(len(found))
                # At the edge a hull is of the whole box, of which less may be in sight.
                if not len(found) or found.min() == 0 or found.max() == side_px:
                    continue
                n_seen += 1
                top, left = shown.min(axis=0)
                bottom, right = shown.max(axis=0) + 1
                expected = [left, top, right, bottom]
                assert np.abs(found[0].numpy() - expected).max() < 3.0
    assert n_seen >= 6


def test_a_flip_mirrors_and_a_turn_takes_the_hull(films):
    row = next(row for row, boxes in enumerate(films.boxes) if len(boxes[0]))
    rows = np.array([row])
    x_min, y_min, x_max, y_max = films.boxes[row][0][0]
    flipped = augmented_boxes(films, rows, draws_of(1, is_flipped=True))[0][0][0]
    assert flipped.tolist() == pytest.approx([64 - x_max, y_min, 64 - x_min, y_max], abs=1e-3)
    turned = augmented_boxes(films, rows, draws_of(1, turn_deg=10.0))[0][0][0]
    width = (x_max - x_min) * np.cos(np.deg2rad(10)) + (y_max - y_min) * np.sin(np.deg2rad(10))
    assert float(turned[2] - turned[0]) == pytest.approx(width, abs=1e-3)


def test_boxes_out_of_sight_are_left_out_and_the_rest_is_clipped(films):
    boxes = [[np.array([[2.0, 2.0, 10.0, 10.0], [30.0, 30.0, 90.0, 40.0]]), np.zeros((0, 4))]]
    area = ValidArea(0, 64, 0, 64)
    one = dataclasses.replace(films.take(np.array([0])), boxes=boxes, valid_areas=[area])
    rows, centres = np.array([0]), np.array([[50, 35]])
    found = augmented_boxes(one, rows, draws_of(1), centres=centres, size_px=32)[0]
    assert found[0].tolist() == [[0.0, 11.0, 30.0, 21.0]]
    assert found[1].shape == (0, 4)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((10, 10, 20, 20), (10, 10, 20, 20)),
        ((-5, 10, 20, 90), (8, 10, 20, 64)),
        ((12, 12, 12, 12.2), (12, 12, 13, 13)),
        ((200, 200, 300, 300), (55, 63, 56, 64)),
    ],
)
def test_boxes_are_clipped_to_the_valid_area_and_have_a_pixel(box, expected):
    area = ValidArea(row_start=0, row_stop=64, column_start=8, column_stop=56)
    assert clipped(np.array([box], dtype=np.float64), area)[0].tolist() == list(expected)
