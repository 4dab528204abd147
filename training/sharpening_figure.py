"""Figure 2 of the paper, drawn from the code: the sharpening at t = 0.4 for several strengths."""

from __future__ import annotations

import math

import torch

from training.aals import raised

T = 0.4
STRENGTHS = (1, 2, 4, 8, 16)
_COLOURS = ("#444444", "#1f77b4", "#d62728", "#2ca02c", "#9467bd")
_SIDE, _MARGIN, _N_POINTS = 360, 48, 181


def sharpening_svg() -> str:
    """An SVG of max(S(y'), y') against y' for each a (eq. 6), in plain text."""
    size = _SIDE + 2 * _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}" '
        f'viewBox="0 0 {size} {size}" font-family="sans-serif" font-size="13">',
        f'<rect width="{size}" height="{size}" fill="#ffffff"/>',
        f'<rect x="{_MARGIN}" y="{_MARGIN}" width="{_SIDE}" height="{_SIDE}" fill="none" '
        'stroke="#888888"/>',
        *(_tick(share) for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        *(_curve(a, colour) for a, colour in zip(STRENGTHS, _COLOURS, strict=True)),
        *(
            f'<text x="{_MARGIN + 12}" y="{_MARGIN + 22 + 18 * row}" fill="{colour}">a = {a}</text>'
            for row, (a, colour) in enumerate(zip(STRENGTHS, _COLOURS, strict=True))
        ),
        f'<text x="{size / 2:g}" y="{size - 8}" text-anchor="middle">'
        "teacher\u2019s probability y\u2032</text>",
        f'<text x="{size / 2:g}" y="{_MARGIN - 16}" text-anchor="middle">'
        f"sharpened, max(S(y\u2032), y\u2032), t = {T:g}</text>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def sharpened(probability: float, a: float) -> float:
    """The value of the curve of strength a at a probability in (0, 1)."""
    z = torch.tensor(math.log(probability / (1 - probability)), dtype=torch.float64)
    return float(torch.sigmoid(raised(z, a - 1.0, math.log(T / (1 - T)))))


def _curve(a: float, colour: str) -> str:
    shares = [(number + 0.5) / _N_POINTS for number in range(_N_POINTS)]
    points = " ".join(_point(share, sharpened(share, a)) for share in shares)
    return f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{points}"/>'


def _point(x: float, y: float) -> str:
    return f"{_MARGIN + _SIDE * x:.1f},{_MARGIN + _SIDE * (1 - y):.1f}"


def _tick(share: float) -> str:
    place = _MARGIN + _SIDE * share
    below = _MARGIN + _SIDE
    return (
        f'<text x="{place:g}" y="{below + 16}" text-anchor="middle">{share:g}</text>'
        f'<text x="{_MARGIN - 6}" y="{below - _SIDE * share + 4:g}" text-anchor="end">'
        f"{share:g}</text>"
    )
