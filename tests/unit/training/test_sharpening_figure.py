"""Figure 2 from the code: the curves and the page."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from scipy.special import expit, logit

from training.sharpening_figure import STRENGTHS, sharpened, sharpening_svg


@pytest.mark.parametrize("a", STRENGTHS)
@pytest.mark.parametrize("y", [0.01, 0.2, 0.4, 0.5, 0.61, 0.9, 0.999])
def test_a_point_is_the_papers(a, y):
    assert sharpened(y, a) == pytest.approx(max(expit(a * logit(y) + (1 - a) * logit(0.4)), y))


def test_the_figure_has_a_curve_for_each_strength():
    root = ElementTree.fromstring(sharpening_svg())
    assert len(root.findall("{http://www.w3.org/2000/svg}polyline")) == len(STRENGTHS)
