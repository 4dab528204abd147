"""What all figures of the report share: style, runs' colours, lines and markers, SVG data URIs.

Runs differ in colour (Okabe and Ito's palette), line style and marker, so that curves stay apart
in grey and for colour-blind readers.
"""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9"),
    *("#E69F00", "#4D4D4D", "#8C2D04", "#6A51A3", "#A6761D"),
)
_LINES: tuple[Any, ...] = (
    "-",
    (0, (5, 2)),
    (0, (1, 1.4)),
    (0, (6, 2, 1, 2)),
    (0, (3, 1, 1, 1)),
    (0, (8, 3)),
    (0, (2, 2)),
    (0, (9, 2, 1, 2, 1, 2)),
    (0, (4, 1)),
    (0, (1, 3)),
)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "ribline",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555",
    "axes.labelcolor": "#222",
    "axes.linewidth": 0.8,
    "xtick.color": "#444",
    "ytick.color": "#444",
    "grid.color": "#e4e4e0",
    "grid.linewidth": 0.7,
    "hatch.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


@dataclass(frozen=True)
class Picture:
    """An embedded picture: data URI, alternative text and caption."""

    uri: str
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Look:
    """How one run, or one level of anything, is drawn."""

    colour: str
    line: Any
    marker: str


def look(index: int) -> Look:
    """The look of the run at a place in the report."""
    return Look(
        _COLOURS[index % len(_COLOURS)],
        _LINES[index % len(_LINES)],
        _MARKERS[index % len(_MARKERS)],
    )


@contextmanager
def report_style() -> Iterator[None]:
    """matplotlib in the report's style, for the block alone."""
    with mpl.rc_context(_STYLE):
        yield


def panel(
    *, height_in: float = 4.0, bottom: float = 0.125, right: float = 0.985
) -> tuple[Figure, Axes]:
    """A figure with one grid panel; two of them fill the page's width."""
    figure = Figure(figsize=(4.6, height_in))
    figure.subplots_adjust(left=0.125, right=right, bottom=bottom, top=0.98)
    axes = figure.add_subplot()
    axes.grid(visible=True)
    axes.set_axisbelow(True)
    return figure, axes


def svg_uri(figure: Figure) -> str:
    """The figure as a data URI; equal figures give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": "Ribline"})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
