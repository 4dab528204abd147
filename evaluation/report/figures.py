"""Figures of the report as SVG data URIs with alternative texts.

Runs differ in colour (Okabe and Ito's palette), line style and marker, so that curves stay apart
in grey and for colour-blind readers.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

RUN_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
RUN_LINES: tuple[Any, ...] = (
    (0, (5, 2)),
    "-",
    (0, (1, 1.4)),
    (0, (6, 2, 1, 2)),
    (0, (3, 1, 1, 1)),
    (0, (8, 3)),
)
RUN_MARKERS = ("s", "o", "^", "D", "v", "P")
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
class Curve:
    """One run's curve with its pointwise band, (n,) each; ``label`` names the run."""

    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    summary: str


@dataclass(frozen=True)
class Series:
    """One run's measured number by epoch."""

    label: str
    run_index: int
    finding_index: int
    epochs: NDArray[np.float64]
    values: NDArray[np.float64]


def roc_figure(finding: str, curves: Sequence[Curve]) -> Picture:
    """ROC curves of all runs for one finding."""
    with mpl.rc_context(_STYLE):
        figure, axes = _square_panel()
        axes.plot([0, 1], [0, 1], color="#999", linewidth=0.8, linestyle=(0, (2, 3)))
        for index, curve in enumerate(curves):
            _draw_curve(axes, curve, index)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
        axes.set(xlabel="1 − specificity", ylabel="Sensitivity")
        axes.legend(loc="lower right", handlelength=2.8)
        uri = _svg(figure)
    told = "; ".join(f"{curve.label}: {curve.summary}" for curve in curves)
    return Picture(uri, f"ROC curves for {finding}. {told}.", finding)


def froc_figure(finding: str, curves: Sequence[Curve]) -> Picture:
    """Modified FROC curves of all runs for one finding, to a ratio of 10 %."""
    with mpl.rc_context(_STYLE):
        figure, axes = _square_panel()
        for index, curve in enumerate(curves):
            _draw_curve(axes, _extended(curve, 0.105), index)
        axes.set(xlim=(-0.001, 0.105), ylim=(-0.01, 1.02))
        axes.set_xticks(np.arange(0, 11, 2) / 100)
        axes.set_xticks(np.arange(1, 11) / 100, minor=True)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
        axes.set(xlabel="Activated share of the image outside boxes")
        axes.set(ylabel="Recall of boxed sites")
        axes.legend(loc="lower right", handlelength=2.8)
        uri = _svg(figure)
    told = "; ".join(f"{curve.label}: {curve.summary}" for curve in curves)
    return Picture(uri, f"FROC curves for {finding}. {told}.", finding)


def epoch_figure(title: str, series: Sequence[Series], findings: Sequence[str]) -> Picture:
    """One measured number by epoch: runs by colour, findings by marker fill and line."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.6, 3.1))
        figure.subplots_adjust(left=0.115, right=0.985, bottom=0.15, top=0.97)
        axes = figure.add_subplot()
        axes.grid(visible=True, axis="y")
        for line in series:
            axes.plot(
                line.epochs,
                line.values,
                color=RUN_COLOURS[line.run_index % len(RUN_COLOURS)],
                linestyle=RUN_LINES[line.run_index % len(RUN_LINES)],
                marker=RUN_MARKERS[line.finding_index % len(RUN_MARKERS)],
                markerfacecolor="white" if line.finding_index % 2 else None,
                markersize=4,
                linewidth=1.3,
                label=line.label,
            )
        axes.set(xlabel="Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(y=0.12)
        axes.legend(loc="best", handlelength=2.8)
        uri = _svg(figure)
    told = "; ".join(
        f"{line.label}: from {line.values[0]:.3g} to {line.values[-1]:.3g}" for line in series
    )
    about = f" for {' and '.join(findings)}" if findings else ""
    return Picture(uri, f"{title} by epoch{about}. {told}.", title)


def _square_panel() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.6, 4.0))
    figure.subplots_adjust(left=0.125, right=0.985, bottom=0.125, top=0.98)
    axes = figure.add_subplot()
    axes.grid(visible=True)
    axes.set_axisbelow(True)
    return figure, axes


def _draw_curve(axes: Axes, curve: Curve, index: int) -> None:
    colour = RUN_COLOURS[index % len(RUN_COLOURS)]
    axes.fill_between(
        curve.x, curve.low, curve.high, step="post", color=colour, alpha=0.13, linewidth=0
    )
    axes.step(
        curve.x,
        curve.y,
        where="post",
        color=colour,
        linestyle=RUN_LINES[index % len(RUN_LINES)],
        linewidth=1.8,
        label=f"{curve.label}: {curve.summary}",
    )


def _extended(curve: Curve, end: float) -> Curve:
    """The step function drawn on to ``end``, where its last recall still holds."""
    if curve.x[-1] >= end:
        return curve
    return Curve(
        curve.label,
        np.append(curve.x, end),
        np.append(curve.y, curve.y[-1]),
        np.append(curve.low, curve.low[-1]),
        np.append(curve.high, curve.high[-1]),
        curve.summary,
    )


def _svg(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": "Ribline"})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
