"""Curves of the report: ROC, both FROCs, reliability and training by epoch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from evaluation.report.figures import Picture, look, panel, report_style, svg_uri

_BANDS_AT_MOST = 3


@dataclass(frozen=True)
class OperatingMark:
    """A point of a curve at which a threshold puts the run."""

    name: str
    x: float
    y: float


@dataclass(frozen=True)
class Curve:
    """One run's curve with its pointwise band, (n,) each; ``label`` names the run."""

    label: str
    index: int
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    summary: str
    marks: tuple[OperatingMark, ...] = ()


@dataclass(frozen=True)
class Series:
    """One run's measured number by epoch."""

    label: str
    run_index: int
    finding_index: int
    epochs: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Reliability:
    """Bins of one calibration: mean probability, share of positives and its interval, (n,) each."""

    name: str
    index: int
    probability: NDArray[np.float64]
    share: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    summary: str


def roc_figure(finding: str, curves: Sequence[Curve]) -> Picture:
    """ROC curves of all runs for one finding, with the operating points where they are given."""
    with report_style():
        figure, axes = panel()
        axes.plot([0, 1], [0, 1], color="#999", linewidth=0.8, linestyle=(0, (2, 3)))
        _draw_curves(axes, curves)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
        axes.set(xlabel="1 − specificity", ylabel="Sensitivity")
        axes.legend(loc="lower right", handlelength=2.8)
        uri = svg_uri(figure)
    return Picture(uri, f"ROC curves for {finding}. {_told(curves)}.", finding)


def froc_figure(finding: str, curves: Sequence[Curve]) -> Picture:
    """Modified FROC curves of all runs for one finding, to a ratio of 10 %."""
    with report_style():
        figure, axes = panel()
        _draw_curves(axes, [_extended(curve, 0.105) for curve in curves])
        axes.set(xlim=(-0.001, 0.105), ylim=(-0.01, 1.02))
        axes.set_xticks(np.arange(0, 11, 2) / 100)
        axes.set_xticks(np.arange(1, 11) / 100, minor=True)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
        axes.set(xlabel="Activated share of the image outside boxes")
        axes.set(ylabel="Recall of boxed sites")
        axes.legend(loc="lower right", handlelength=2.8)
        uri = svg_uri(figure)
    return Picture(uri, f"FROC curves for {finding}. {_told(curves)}.", finding)


def lesion_froc_figure(finding: str, curves: Sequence[Curve]) -> Picture:
    """Classic FROC curves of all runs for one finding, to 8 false positives an image."""
    with report_style():
        figure, axes = panel()
        axes.set_xscale("log", base=2)
        _draw_curves(axes, [_from(_extended(curve, 8.0), 0.1) for curve in curves])
        axes.set(xlim=(0.1, 8.2), ylim=(-0.01, 1.02))
        axes.set_xticks([0.125, 0.25, 0.5, 1, 2, 4, 8])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel="False-positive regions an image", ylabel="Sensitivity by boxed site")
        axes.legend(loc="best", handlelength=2.8)
        uri = svg_uri(figure)
    return Picture(uri, f"Classic FROC curves for {finding}. {_told(curves)}.", finding)


def reliability_figure(finding: str, curves: Sequence[Reliability]) -> Picture:
    """Share of positives against predicted probability, one curve for each calibration."""
    with report_style():
        figure, axes = panel(height_in=4.75, bottom=0.27)
        axes.plot([0, 1], [0, 1], color="#999", linewidth=0.8, linestyle=(0, (2, 3)))
        for curve in curves:
            how = look(curve.index)
            if not curve.index:
                axes.vlines(
                    curve.probability,
                    curve.low,
                    curve.high,
                    color=how.colour,
                    alpha=0.35,
                    linewidth=1.2,
                )
            axes.plot(
                curve.probability,
                curve.share,
                color=how.colour,
                linestyle=how.line,
                marker=how.marker,
                markersize=5,
                linewidth=1.3,
                markerfacecolor="white" if curve.index else how.colour,
                label=f"{curve.name}: {curve.summary}",
            )
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.set(xlabel="Predicted probability", ylabel="Share of positive films")
        axes.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.13), handlelength=2.8)
        uri = svg_uri(figure)
    told = "; ".join(f"{curve.name}: {curve.summary}" for curve in curves)
    return Picture(uri, f"Reliability curves for {finding}. {told}.", finding)


def epoch_figure(title: str, series: Sequence[Series], findings: Sequence[str]) -> Picture:
    """One measured number by epoch: runs by colour, findings by marker fill and line."""
    with report_style():
        figure, axes = panel(height_in=3.1, bottom=0.15)
        axes.grid(visible=False, axis="x")
        for line in series:
            how = look(line.run_index)
            axes.plot(
                line.epochs,
                line.values,
                color=how.colour,
                linestyle=how.line,
                marker=look(line.finding_index).marker,
                markerfacecolor="white" if line.finding_index % 2 else None,
                markersize=4,
                linewidth=1.3,
                label=line.label,
            )
        axes.set(xlabel="Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(y=0.12)
        axes.legend(loc="best", handlelength=2.8)
        uri = svg_uri(figure)
    told = "; ".join(
        f"{line.label}: from {line.values[0]:.3g} to {line.values[-1]:.3g}" for line in series
    )
    about = f" for {' and '.join(findings)}" if findings else ""
    return Picture(uri, f"{title} by epoch{about}. {told}.", title)


def _draw_curves(axes: Axes, curves: Sequence[Curve]) -> None:
    """Bands of few runs only: more of them hide each other; the table has every interval."""
    for curve in curves:
        how = look(curve.index)
        if len(curves) <= _BANDS_AT_MOST:
            axes.fill_between(
                curve.x,
                curve.low,
                curve.high,
                step="post",
                color=how.colour,
                alpha=0.13,
                linewidth=0,
            )
        axes.step(
            curve.x,
            curve.y,
            where="post",
            color=how.colour,
            linestyle=how.line,
            linewidth=1.8,
            label=f"{curve.label}: {curve.summary}",
        )
        for mark in curve.marks:
            axes.plot(
                mark.x,
                mark.y,
                how.marker,
                color=how.colour,
                markersize=7,
                markeredgecolor="white",
                markeredgewidth=1.2,
                zorder=5,
            )
            axes.annotate(
                mark.name, (mark.x, mark.y), (7, -10), textcoords="offset points", fontsize=8
            )


def _told(curves: Sequence[Curve]) -> str:
    return "; ".join(f"{curve.label}: {curve.summary}" for curve in curves)


def _extended(curve: Curve, end: float) -> Curve:
    """The step function drawn on to ``end``, where its last recall still holds."""
    if curve.x[-1] >= end:
        return curve
    return replace(
        curve,
        x=np.append(curve.x, end),
        y=np.append(curve.y, curve.y[-1]),
        low=np.append(curve.low, curve.low[-1]),
        high=np.append(curve.high, curve.high[-1]),
    )


def _from(curve: Curve, start: float) -> Curve:
    """The step function from ``start`` on, for a logarithmic axis."""
    first = max(int(np.searchsorted(curve.x, start, side="right")) - 1, 0)
    x = curve.x[first:].copy()
    x[0] = max(x[0], start)
    return replace(curve, x=x, y=curve.y[first:], low=curve.low[first:], high=curve.high[first:])
