"""Adaptive asymmetric label sharpening against the paper's own formula and its properties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from training.aals import sharpen

FLOAT32_LOGITS = st.lists(st.floats(-60, 60, width=32), min_size=1, max_size=16)
STRENGTHS = st.floats(1, 16)
CENTRES = st.floats(0.05, 0.95)
DTYPES = st.sampled_from([torch.float32, torch.bfloat16])


def sharpened(logits: list[float], *, a0: float, t: float, dtype: torch.dtype = torch.float32):
    z = torch.tensor(logits, dtype=dtype).reshape(1, 1, 1, -1)
    return z.float().flatten(), sharpen(z, torch.ones_like(z, dtype=torch.bool), a0=a0, t=t)


@settings(deadline=None)
@given(FLOAT32_LOGITS, STRENGTHS, CENTRES, DTYPES)
def test_is_finite_monotone_and_never_below_the_teacher(logits, a0, t, dtype):
    z, result = sharpened(logits, a0=a0, t=t, dtype=dtype)
    ours = result.logits.flatten()
    order = torch.argsort(z)
    assert torch.isfinite(ours).all()
    assert (ours >= z).all()
    assert (ours[order].diff() >= 0).all()
    assert result.logits.dtype == torch.float32


@settings(deadline=None)
@given(FLOAT32_LOGITS, CENTRES, DTYPES)
def test_is_the_identity_at_a0_one(logits, t, dtype):
    z, result = sharpened(logits, a0=1.0, t=t, dtype=dtype)
    assert torch.equal(result.logits.flatten(), z)
    assert result.boost.item() == 0


@settings(deadline=None)
@given(st.lists(st.floats(-60, 60, width=32), max_size=8), STRENGTHS, CENTRES, DTYPES)
def test_is_the_identity_where_the_maximum_is_one(logits, a0, t, dtype):
    z, result = sharpened([*logits, 60.0], a0=a0, t=t, dtype=dtype)
    assert result.maximum.item() == 1
    assert torch.equal(result.logits.flatten(), z)


@settings(deadline=None)
@given(FLOAT32_LOGITS, STRENGTHS, CENTRES, DTYPES)
def test_is_the_identity_where_the_maximum_is_at_most_t(logits, a0, t, dtype):
    limit = torch.tensor(float(np.nextafter(np.float32(logit(t)), np.float32(-100))))
    rounded = limit.to(dtype)
    if rounded.float() > limit:
        rounded = torch.nextafter(rounded, torch.tensor(-100.0, dtype=dtype))
    low = [min(value, float(rounded)) for value in logits]
    z, result = sharpened(low, a0=a0, t=t, dtype=dtype)
    assert torch.equal(result.logits.flatten(), z)


@settings(deadline=None)
@given(FLOAT32_LOGITS, STRENGTHS, CENTRES, DTYPES)
def test_equals_the_papers_formula_in_float64(logits, a0, t, dtype):
    rounded, result = sharpened(logits, a0=a0, t=t, dtype=dtype)
    z = rounded.double().numpy()
    y = expit(z)
    a = a0 - (a0 - 1) * y.max()
    # In float64 a probability of a logit above 37 is exactly 1: the logit itself is exact.
    papers = np.maximum(expit(a * z + (1 - a) * logit(t)), y)
    ours = torch.sigmoid(result.logits.double()).flatten().numpy()
    np.testing.assert_allclose(ours, papers, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("maximum", "boost"),
    # At a0 = 4 and t = 0.4 no boost is larger than 0.199, reached at y'max = 0.61.
    [(0.2, 0.0), (0.4, 0.0), (0.61, 0.199), (0.99, 0.0)],
)
def test_boost_of_a_lone_peak(maximum, boost):
    _, result = sharpened([float(logit(maximum)), -8.0], a0=4.0, t=0.4)
    assert result.boost.item() == pytest.approx(boost, abs=2e-3)


def test_strength_is_chosen_per_image_and_finding():
    z = torch.full((2, 2, 1, 2), -6.0)
    z[0, 0, 0, 0], z[1, 1, 0, 0] = 0.5, 30.0
    result = sharpen(z, torch.ones(2, 1, 1, 2, dtype=torch.bool), a0=4.0, t=0.4)
    changed = (result.logits != z).any(dim=(-2, -1))
    assert changed.tolist() == [[True, False], [False, False]]


def test_maximum_and_boost_leave_the_padding_out():
    z = torch.tensor([[[[0.4, 5.0]]]])
    valid = torch.tensor([[[[True, False]]]])
    result = sharpen(z, valid, a0=4.0, t=0.4)
    assert result.maximum.item() == pytest.approx(expit(0.4))
    _, alone = sharpened([0.4], a0=4.0, t=0.4)
    assert result.boost.item() == pytest.approx(alone.boost.item())


def test_carries_no_gradient():
    z = torch.randn(1, 1, 2, 2, requires_grad=True)
    result = sharpen(z, torch.ones(1, 1, 2, 2, dtype=torch.bool), a0=4.0, t=0.4)
    assert not result.logits.requires_grad
