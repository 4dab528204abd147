"""Forest plots: values with intervals and counts, row by row, in groups."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.report.figures import Picture, look, report_style, svg_uri

_ROW_IN = 0.24
_LABEL_CHARS = 21
_LABELS_IN = 1.62
_COUNTS_IN = 0.92
_WIDTH_IN = 4.6


@dataclass(frozen=True)
class ForestRow:
    """One value with its interval; ``counts`` stand at the right, a small row is hollow.

    ``value`` is None where it is undefined.
    """

    label: str
    value: float | None
    low: float | None
    high: float | None
    counts: str
    is_small: bool = False
    index: int = 0


@dataclass(frozen=True)
class ForestGroup:
    """Rows under one heading."""

    name: str
    rows: tuple[ForestRow, ...]


def forest_figure(
    title: str,
    groups: Sequence[ForestGroup],
    *,
    axis: str,
    counted: str,
    limits: tuple[float, float] = (0.0, 1.0),
    reference: float | None = None,
) -> Picture:
    """Rows from top to bottom, the value over all as a dotted line.

    Args:
        title: For the alternative text and the caption.
        groups: Rows by heading.
        axis: Name of the measured value.
        counted: Heading of the counts.
        limits: Ends of the axis.
        reference: Value over all.
    """
    n_lines = sum(len(group.rows) + 1 for group in groups)
    height = n_lines * _ROW_IN + 0.75
    with report_style():
        figure = Figure(figsize=(_WIDTH_IN, height))
        figure.subplots_adjust(
            left=_LABELS_IN / _WIDTH_IN,
            right=1 - _COUNTS_IN / _WIDTH_IN,
            bottom=0.5 / height,
            top=1 - 0.25 / height,
        )
        axes = figure.add_subplot()
        axes.set(xlim=limits, ylim=(n_lines - 0.4, -0.6), xlabel=axis)
        axes.grid(visible=True, axis="x")
        axes.set_axisbelow(True)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        if reference is not None:
            axes.axvline(reference, color="#555", linewidth=1, linestyle=(0, (1, 2)))
        _text(axes, 1.04, -0.9, counted, colour="#555")
        place = 0
        for group in groups:
            _text(axes, -_LABELS_IN / _axis_in(), place, group.name, is_bold=True)
            place += 1
            for row in group.rows:
                _draw_row(axes, row, place, limits)
                place += 1
        uri = svg_uri(figure)
    told = "; ".join(
        f"{group.name} {row.label}: {'undefined' if row.value is None else f'{row.value:.2f}'}"
        for group in groups
        for row in group.rows
    )
    return Picture(uri, f"{title}: {axis}. {told}.", title)


def _axis_in() -> float:
    return _WIDTH_IN - _LABELS_IN - _COUNTS_IN


def _draw_row(axes: Axes, row: ForestRow, place: int, limits: tuple[float, float]) -> None:
    label = row.label if len(row.label) <= _LABEL_CHARS else row.label[: _LABEL_CHARS - 1] + "…"
    colour = "#6b6b6b" if row.is_small else "#111"
    _text(axes, -(_LABELS_IN - 0.1) / _axis_in(), place, label, colour=colour)
    _text(axes, 1.04, place, row.counts, colour=colour)
    if row.value is None:
        _text(axes, 0.03, place, "not defined", colour="#8a8a8a")
        return
    how = look(row.index)
    if row.low is not None and row.high is not None:
        axes.plot(
            [max(row.low, limits[0]), min(row.high, limits[1])],
            [place, place],
            color=how.colour,
            linewidth=1.5,
            linestyle=(0, (2, 1.5)) if row.is_small else "-",
            solid_capstyle="butt",
        )
    axes.plot(
        row.value,
        place,
        how.marker,
        color=how.colour,
        markersize=5.5,
        markerfacecolor="white" if row.is_small else how.colour,
        clip_on=False,
    )


def _text(
    axes: Axes, x: float, y: float, words: str, *, colour: str = "#111", is_bold: bool = False
) -> None:
    axes.text(
        x,
        y,
        words,
        transform=axes.get_yaxis_transform(),
        ha="left",
        va="center",
        fontsize=8.8,
        fontweight="bold" if is_bold else "normal",
        color=colour,
        clip_on=False,
    )
