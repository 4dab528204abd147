"""One warp of film and mask against torchvision's transforms, and its counter-based draws."""

from __future__ import annotations

import dataclasses
import importlib

import numpy as np
import pytest
import torch

from training.augmentation import (
    AugmentationDraws,
    augment,
    draw_augmentation,
    inverse_affine,
    inverted,
    warp,
)
from training.recipe import recipe
from training.torchvision_operators import import_torchvision

SIZE = 48


def _torchvision_functional():
    import_torchvision()
    return importlib.import_module("torchvision.transforms.v2.functional")


def draws(*, degrees=0.0, is_flipped=False, zoom=1.0, contrast=1.0, intensity=0.0):
    return AugmentationDraws(
        rotation_rad=np.deg2rad(np.array([degrees], dtype=np.float32)),
        is_flipped=np.array([is_flipped]),
        zoom=np.array([zoom], dtype=np.float32),
        contrast=np.array([contrast], dtype=np.float32),
        intensity=np.array([intensity], dtype=np.float32),
        second_contrast=np.ones(1, dtype=np.float32),
        second_intensity=np.zeros(1, dtype=np.float32),
    )


def smooth_film() -> torch.Tensor:
    y, x = np.mgrid[:SIZE, :SIZE]
    film = 120 + 60 * np.sin(x / 5) + 50 * np.cos(y / 7) * (x > 20)
    return torch.from_numpy(film.clip(0, 255).astype(np.uint8))[None]


def box_mask() -> torch.Tensor:
    mask = torch.zeros(1, 1, SIZE, SIZE, dtype=torch.uint8)
    mask[..., 10:22, 5:17] = 1
    return mask


@pytest.mark.parametrize("degrees", [0.0, 7.0, -15.0, 90.0])
@pytest.mark.parametrize("is_flipped", [False, True])
@pytest.mark.parametrize("zoom", [1.0, 1.25, 0.9])
@pytest.mark.parametrize("size_px", [None, 32])
def test_geometry_is_torchvisions(degrees, is_flipped, zoom, size_px):
    functional = _torchvision_functional()
    film, mask = smooth_film(), box_mask()
    chosen = draws(
        degrees=degrees,
        is_flipped=is_flipped,
        zoom=zoom,
    )
    ours, our_mask = augment(film, mask, chosen, size_px=size_px)
    both = torch.cat([film.unsqueeze(1).float() / 255, mask.float()], dim=1)
    theirs = functional.horizontal_flip(both) if is_flipped else both
    theirs = functional.affine(
        theirs,
        angle=-degrees,
        translate=[0, 0],
        scale=zoom,
        shear=[0.0, 0.0],
        interpolation=functional.InterpolationMode.BILINEAR,
    )
    if size_px is not None:
        theirs = functional.center_crop(theirs, [size_px, size_px])
    torch.testing.assert_close(ours, theirs[:, :1], atol=2e-4, rtol=0)
    torch.testing.assert_close(our_mask, theirs[:, 1:], atol=2e-4, rtol=0)


def test_a_flipped_film_has_its_box_on_the_other_side():
    _, mask = augment(smooth_film(), box_mask(), draws(is_flipped=True))
    expected = box_mask().flip(-1).float()
    torch.testing.assert_close(mask, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("degrees", [0.0, 8.0, -10.0])
@pytest.mark.parametrize("is_flipped", [False, True])
def test_a_box_goes_where_torchvisions_bounding_box_goes(degrees, is_flipped):
    functional = _torchvision_functional()
    tensors = importlib.import_module("torchvision.tv_tensors")
    _, mask = augment(smooth_film(), box_mask(), draws(degrees=degrees, is_flipped=is_flipped))
    box = tensors.BoundingBoxes([[5, 10, 17, 22]], format="XYXY", canvas_size=(SIZE, SIZE))
    box = functional.horizontal_flip(box) if is_flipped else box
    box = functional.affine(
        box.to(torch.float32), angle=-degrees, translate=[0, 0], scale=1.0, shear=[0.0, 0.0]
    )
    rows, columns = (mask[0, 0] > 0.25).nonzero().T
    hull = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert np.abs(np.array(hull) - box[0].numpy()).max() <= 1.0


def test_grey_levels_change_in_the_film_alone():
    film, mask = smooth_film(), box_mask()
    ours, our_mask = augment(film, mask, draws(contrast=1.5, intensity=0.1))
    expected = ((film.float() / 255 - 0.5) * 1.5 + 0.6).clamp(0, 1)
    torch.testing.assert_close(ours[:, 0], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(our_mask, mask.float(), atol=1e-5, rtol=0)


def test_draws_are_a_function_of_seed_epoch_and_step():
    settings = recipe("demo")

    def drawn(**counter):
        values = draw_augmentation(
            settings, **{"seed": 1, "epoch": 2, "step": 3} | counter, n_films=4
        )
        return np.concatenate([np.ravel(value) for value in vars(values).values()])

    assert np.array_equal(drawn(), drawn())
    for counter in ({"seed": 2}, {"epoch": 3}, {"step": 4}):
        assert not np.array_equal(drawn(), drawn(**counter))


def test_draws_stay_within_the_recipe():
    settings = recipe("demo", max_rotation_deg=5, max_contrast=0.3, max_intensity=0.2)
    values = draw_augmentation(settings, seed=0, epoch=1, step=0, n_films=2000)
    assert np.abs(values.rotation_rad).max() == pytest.approx(np.deg2rad(5), rel=0.01)
    assert np.abs(values.contrast - 1).max() == pytest.approx(0.3, rel=0.01)
    assert np.abs(values.intensity).max() == pytest.approx(0.2, rel=0.01)
    assert 0.45 < values.is_flipped.mean() < 0.55
    assert not draw_augmentation(
        dataclasses.replace(settings, is_flipping=False), seed=0, epoch=1, step=0, n_films=50
    ).is_flipped.any()


def test_a_part_of_the_draws_is_that_of_its_films():
    values = draw_augmentation(recipe("demo"), seed=0, epoch=1, step=0, n_films=6)
    part = values.part(2, 4)
    assert np.array_equal(part.rotation_rad, values.rotation_rad[2:4])
    assert np.array_equal(part.is_flipped, values.is_flipped[2:4])


@pytest.mark.parametrize("is_flipped", [False, True])
@pytest.mark.parametrize("degrees", [0.0, 9.0])
def test_a_warp_is_undone_by_its_inverse(degrees, is_flipped):
    y, x = np.mgrid[:SIZE, :SIZE]
    film = torch.from_numpy(np.sin(x / 9) * np.cos(y / 9)).float()[None, None]
    chosen = draws(degrees=degrees, is_flipped=is_flipped, zoom=1.1)
    matrix = torch.from_numpy(inverse_affine(chosen))
    there = warp(film, matrix, size_px=SIZE)
    back = warp(there, inverted(matrix), size_px=SIZE, padding="border")
    middle = slice(SIZE // 4, -SIZE // 4)
    torch.testing.assert_close(
        back[..., middle, middle], film[..., middle, middle], atol=0.02, rtol=0.0
    )
    assert not torch.equal(there, film)


def test_the_second_view_differs_in_grey_levels_alone(tiny_recipe):
    first, again = (
        draw_augmentation(tiny_recipe, seed=3, epoch=1, step=2, n_films=5) for _ in range(2)
    )
    assert (first.contrast != first.second_contrast).all()
    assert (first.intensity != first.second_intensity).all()
    assert np.array_equal(first.second_contrast, again.second_contrast)
