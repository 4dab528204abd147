"""Losses against numpy written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit

from training.losses import batch_loss, bernoulli_kl, pixel_bce

RNG = np.random.default_rng(3)
LOGITS = RNG.normal(0, 3, (3, 2, 4, 5)).astype(np.float32)
OTHERS = RNG.normal(0, 3, (3, 2, 4, 5)).astype(np.float32)
TARGETS = RNG.random((3, 2, 4, 5)).astype(np.float32)


@pytest.mark.parametrize("weight", [1.0, 5.0])
def test_cross_entropy(weight):
    p = expit(LOGITS.astype(np.float64))
    expected = -(weight * TARGETS * np.log(p) + (1 - TARGETS) * np.log1p(-p)).mean(axis=(2, 3))
    ours = pixel_bce(torch.tensor(LOGITS), torch.tensor(TARGETS), positive_weight=weight)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-5)


def test_cross_entropy_of_cells_is_that_of_their_pixels():
    mask = torch.tensor(RNG.integers(0, 2, (1, 1, 8, 8)), dtype=torch.float32)
    cells = torch.tensor(LOGITS[:1, :1, :2, :2])
    by_cell = pixel_bce(cells, torch.nn.functional.avg_pool2d(mask, 4))
    by_pixel = pixel_bce(cells.repeat_interleave(4, 2).repeat_interleave(4, 3), mask)
    torch.testing.assert_close(by_cell, by_pixel)


def test_divergence_has_both_terms_of_the_bernoulli_distribution():
    q, p = (expit(values.astype(np.float64)) for values in (OTHERS, LOGITS))
    expected = (q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p))).mean(axis=(2, 3))
    ours = bernoulli_kl(torch.tensor(OTHERS), torch.tensor(LOGITS))
    np.testing.assert_allclose(ours.numpy(), expected, rtol=2e-5, atol=1e-6)


def test_divergence_of_a_map_from_itself_is_zero_and_flat():
    z = torch.tensor(LOGITS, requires_grad=True)
    loss = bernoulli_kl(z.detach(), z).sum()
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert z.grad.abs().max() < 1e-6


@pytest.mark.parametrize("size", [60.0, -60.0])
def test_losses_stay_finite_at_extreme_logits(size):
    z = torch.full((1, 1, 1, 1), size, dtype=torch.bfloat16)
    losses = [pixel_bce(z, torch.zeros(1, 1, 1, 1)), bernoulli_kl(-z, z), bernoulli_kl(z, z)]
    assert all(torch.isfinite(loss).all() and loss.dtype == torch.float32 for loss in losses)


def test_a_masked_finding_counts_as_zero_and_raises_no_other():
    per_finding = torch.tensor([[2.0, 4.0], [6.0, float("nan")]])
    applies = torch.tensor([[True, True], [True, False]])
    # (2 + 4) / 2 + 6 / 2, over a global batch of 4.
    assert batch_loss(per_finding, applies, 4).item() == pytest.approx(1.5)
