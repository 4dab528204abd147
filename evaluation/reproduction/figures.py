"""Figures of reproductions: rows beside the paper's, series over a setting, mean FROC curves."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from evaluation.report.figures import Picture, look, panel, report_style, svg_uri
from evaluation.report.forest_figure import ForestGroup, ForestRow, forest_figure
from evaluation.reproduction.outcome import Line
from evaluation.reproduction.seed_means import CURVE_RATIOS, SeedMean


@dataclass(frozen=True)
class SharpeningCurve:
    """Pseudo-label after sharpening against before, at one strength; (n,) each.

    ``sharpened``: what training uses, max(S(y'), y'); ``unbounded``: S(y') of eq. 6 alone.
    """

    strength: float
    before: NDArray[np.float64]
    sharpened: NDArray[np.float64]
    unbounded: NDArray[np.float64]


@dataclass(frozen=True)
class PeakCurve:
    """The highest pseudo-label of a film after sharpening against before (n,), at one a0."""

    a0: float
    before: NDArray[np.float64]
    after: NDArray[np.float64]


def comparison_figure(name: str, lines: Sequence[Line]) -> Picture:
    """Our means with intervals, and the paper's values as hollow points under each."""
    groups = []
    for metric, ours_and_paper in (
        ("AUROC", [(line, line.numbers.auroc, line.paper_auroc) for line in lines]),
        ("FROC score", [(line, line.numbers.froc, line.paper_froc) for line in lines]),
    ):
        rows: list[ForestRow] = []
        for line, ours, paper in ours_and_paper:
            if ours is not None:
                rows.append(
                    ForestRow(line.row.label, ours.value, ours.low, ours.high, f"{ours.value:.3f}")
                )
                if paper is not None:
                    label = "  in the paper"
                    rows.append(
                        ForestRow(label, paper, None, None, f"{paper:.3f}", is_small=True, index=1)
                    )
        if rows:
            groups.append(ForestGroup(metric, tuple(rows)))
    return forest_figure(f"{name}: ours and the paper's", groups, axis="Value", counted="value")


def series_figure(name: str, lines: Sequence[Line], *, axis: str) -> Picture:
    """AUROC and FROC score against a setting that is a number, with the paper's where known."""
    x = np.array([float(line.row.key) for line in lines])
    with report_style():
        figure, axes = panel(height_in=4.75, bottom=0.27)
        aurocs = [(line.numbers.auroc, line.paper_auroc) for line in lines]
        frocs = [(line.numbers.froc, line.paper_froc) for line in lines]
        _draw_series(axes, "AUROC", x, aurocs)
        _draw_series(axes, "FROC score", x, frocs)
        axes.set(xlim=(-0.04, 1.04), ylim=(-0.01, 1.03), xlabel=axis, ylabel="Value")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
        _legend_below(axes)
        uri = svg_uri(figure)
    told = "; ".join(f"{line.row.label}: AUROC {line.numbers.auroc.value:.3f}" for line in lines)
    return Picture(uri, f"{name} by {axis.lower()}. {told}.", name)


def _legend_below(axes: Axes) -> None:
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(-0.1, -0.12),
        handlelength=2.6,
        columnspacing=1.0,
        fontsize=8,
        ncols=2,
    )


def _draw_series(
    axes: Axes,
    metric: str,
    x: NDArray[np.float64],
    values: Sequence[tuple[SeedMean | None, float | None]],
) -> None:
    how = look(0 if metric == "AUROC" else 1)
    known = [(at, ours) for at, (ours, _) in zip(x, values, strict=True) if ours is not None]
    reported = [(at, paper) for at, (_, paper) in zip(x, values, strict=True) if paper is not None]
    if known:
        at = [place for place, _ in known]
        lows, highs = [mean.low for _, mean in known], [mean.high for _, mean in known]
        axes.vlines(at, lows, highs, color=how.colour, linewidth=1.3, alpha=0.6)
        axes.plot(
            at,
            [mean.value for _, mean in known],
            color=how.colour,
            linestyle=how.line,
            marker=how.marker,
            linewidth=1.5,
            label=f"{metric}, ours",
        )
    if reported:
        axes.plot(
            [place for place, _ in reported],
            [value for _, value in reported],
            how.marker,
            color=how.colour,
            markerfacecolor="white",
            markersize=8,
            linestyle="none",
            label=f"{metric}, paper",
        )


def mean_froc_figure(name: str, lines: Sequence[Line]) -> Picture:
    """Mean recall over seeds at each ratio, one curve for each row."""
    drawn = [line for line in lines if line.numbers.recall is not None and line.numbers.froc]
    with report_style():
        figure, axes = panel(height_in=5.1, bottom=0.31, right=0.96)
        for line in drawn:
            how = look(0 if line.row.key == "aals" else 1 + drawn.index(line))
            assert line.numbers.recall is not None
            assert line.numbers.froc is not None
            axes.step(
                CURVE_RATIOS,
                line.numbers.recall,
                where="post",
                color=how.colour,
                linestyle=how.line,
                linewidth=2.2 if line.row.key == "aals" else 1.5,
                label=f"{line.row.label}: {line.numbers.froc.value:.3f}",
            )
        axes.set(xlim=(-0.001, 0.101), ylim=(-0.01, 1.02))
        axes.set_xticks(np.arange(0, 11, 2) / 100)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
        axes.set(xlabel="Activated share of the image outside boxes")
        axes.set(ylabel="Recall of boxed sites")
        _legend_below(axes)
        uri = svg_uri(figure)
    told = "; ".join(
        f"{line.row.label}: {line.numbers.froc.value:.3f}" for line in drawn if line.numbers.froc
    )
    return Picture(uri, f"FROC curves for {name}. FROC scores: {told}.", name)


def sharpening_figure(curves: Sequence[SharpeningCurve], t: float) -> Picture:
    """The paper's Figure 2: the pseudo-label after sharpening against before, by strength."""
    with report_style():
        figure, axes = panel(height_in=4.6, bottom=0.24, right=0.965)
        axes.axvline(t, color="#999", linewidth=0.8, linestyle=(0, (2, 3)))
        axes.annotate(f"t = {t:g}", (t, 0.02), (4, 0), textcoords="offset points", fontsize=8)
        for index, curve in enumerate(curves):
            how = look(index)
            below = curve.before <= t
            axes.plot(
                curve.before[below],
                curve.unbounded[below],
                color=how.colour,
                linewidth=0.9,
                alpha=0.55,
                linestyle=how.line,
            )
            axes.plot(
                curve.before,
                curve.sharpened,
                color=how.colour,
                linestyle=how.line,
                linewidth=1.8,
                label=f"a = {curve.strength:g}",
            )
        axes.set(xlim=(0, 1), ylim=(0, 1.01))
        axes.set(xlabel="Teacher's probability y'", ylabel="Sharpened pseudo-label")
        _legend_below(axes)
        uri = svg_uri(figure)
    told = ", ".join(f"a = {curve.strength:g}" for curve in curves)
    return Picture(uri, f"Sharpening function at t = {t:g} for {told}.", "Fixed strength a")


def peak_figure(curves: Sequence[PeakCurve], t: float) -> Picture:
    """How far the highest probability of a film rises, with the strength that eq. 7 gives it."""
    with report_style():
        figure, axes = panel(height_in=4.6, bottom=0.24, right=0.965)
        axes.axvline(t, color="#999", linewidth=0.8, linestyle=(0, (2, 3)))
        for index, curve in enumerate(curves):
            how = look(index)
            axes.plot(
                curve.before,
                curve.after - curve.before,
                color=how.colour,
                linestyle=how.line,
                linewidth=1.8,
                label=f"a₀ = {curve.a0:g}",
            )
        axes.set(xlim=(0, 1), ylim=(-0.01, None))
        axes.set(xlabel="Largest probability of the film, y'max", ylabel="Rise of that probability")
        _legend_below(axes)
        uri = svg_uri(figure)
    told = "; ".join(
        f"a0 = {curve.a0:g}: at most {(curve.after - curve.before).max():.3f}" for curve in curves
    )
    return Picture(
        uri, f"Rise of a film's largest probability. {told}.", "Adaptive strength, eq. 7"
    )
