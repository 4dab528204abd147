"""Figure 2's curves come from the code that trains, and agree with eq. 6 and 7."""

import numpy as np
import pytest

from training.sharpening_curves import STRENGTHS, T, fixed_strength, peak_rise


@pytest.mark.parametrize("strength", STRENGTHS)
def test_the_code_is_eq_6_at_a_fixed_strength(strength: float) -> None:
    curve = fixed_strength(strength)
    assert curve.largest_error < 2e-5
    below = curve.before <= T
    assert curve.after[below] == pytest.approx(curve.before[below], abs=1e-6)


def test_strength_one_changes_nothing() -> None:
    curve = fixed_strength(1.0)
    assert curve.after == pytest.approx(curve.before, abs=1e-6)


def test_the_largest_rise_at_the_papers_setting() -> None:
    """At t = 0.4 and a0 = 4 a film's maximum rises by at most 0.199, from 0.61."""
    curve = peak_rise(4.0)
    rise = curve.after - curve.before
    assert rise.max() == pytest.approx(0.199, abs=5e-4)
    assert curve.before[rise.argmax()] == pytest.approx(0.61, abs=0.005)
    assert np.all(rise > -1e-6)
