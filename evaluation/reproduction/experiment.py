"""The paper's experiments: their rows, what varies between them, and the numbers it reports."""

from dataclasses import dataclass, field
from typing import Any, Literal

from evaluation.method_names import method_name
from evaluation.reproduction.paper_numbers import FIGURE3, TABLE1, TABLE2, TABLE3, PaperNumbers

CONTINUED = "supervised-continued"
AALS = "aals"
SUPERVISED = "supervised"
Figure = Literal["forest", "series", "froc", "gallery"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of an experiment.

    Attributes:
        key: Name in commands and tables.
        label: Name in print.
        method: Method of its runs.
        is_continued: True for step 2 without P, from the supervised run.
        overrides: Fields of the recipe that it changes.
    """

    key: str
    label: str
    method: str
    is_continued: bool = False
    overrides: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One table or figure of the paper.

    Attributes:
        name: Name of the command.
        title: What it shows.
        question: What it answers, in a sentence.
        heading: Heading of the rows.
        rows: Rows in the paper's order.
        paper: The paper's numbers by row and finding.
        figure: How our numbers are drawn.
        remark: What the reader must know of the paper's numbers.
    """

    name: str
    title: str
    question: str
    heading: str
    rows: tuple[Row, ...]
    paper: PaperNumbers
    figure: Figure
    remark: str = ""

    @property
    def place(self) -> str:
        """As the paper calls it: "Table 1"."""
        return f"{self.name[:-1].capitalize()} {self.name[-1]}"


def _methods(*names: str) -> tuple[Row, ...]:
    return tuple(Row(key=name, label=method_name(name), method=name) for name in names)


_SEMI_SUPERVISED = ("pi-model", "temporal-ensembling", "mean-teacher")
_WITH_MAPS = _methods("retinanet", "fcos", *_SEMI_SUPERVISED, SUPERVISED, AALS)
_CONTINUED_ROW = Row(
    key=CONTINUED, label="Supervised, continued", method=SUPERVISED, is_continued=True
)
EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            name="table1",
            title="Classification and localisation by method",
            question="Does AALS find and place fractures better than other ways to use the same "
            "films?",
            heading="Method",
            rows=(
                *_methods("chexnet", "retinanet", "fcos", "li-mil", *_SEMI_SUPERVISED, SUPERVISED),
                _CONTINUED_ROW,
                *_methods(AALS),
            ),
            paper=TABLE1,
            figure="forest",
            remark="CheXNet and Li et al. have no FROC score, as in the paper. Supervised, "
            "continued, is not in the paper: step 2 without P, as many steps as the others take.",
        ),
        Experiment(
            name="table2",
            title="The centre t of the sharpening",
            question="How much does the result depend on the centre t of eq. 6, at a₀ = 4?",
            heading="t",
            rows=tuple(
                Row(key=f"{t}", label=f"t = {t}", method=AALS, overrides={"t": t})
                for t in (0.2, 0.3, 0.4, 0.5)
            ),
            paper=TABLE2,
            figure="forest",
        ),
        Experiment(
            name="table3",
            title="The strength a₀ of the sharpening",
            question="How much does the result depend on the largest strength a₀ of eq. 7, at "
            "t = 0.4?",
            heading="a₀",
            rows=tuple(
                Row(key=f"{a0:g}", label=f"a₀ = {a0:g}", method=AALS, overrides={"a0": a0})
                for a0 in (1.0, 4.0, 8.0, 16.0)
            ),
            paper=TABLE3,
            figure="forest",
            remark="At a₀ = 1 nothing is sharpened.",
        ),
        Experiment(
            name="figure3",
            title="The share of P that takes part",
            question="Do more films with a label but without boxes help?",
            heading="Share of P",
            rows=(
                Row(key="0", label="0 %", method=SUPERVISED),
                *(
                    Row(
                        key=f"{share:g}",
                        label=f"{100 * share:.0f} %",
                        method=AALS,
                        overrides={"p_fraction": share},
                    )
                    for share in (0.2, 0.6, 1.0)
                ),
            ),
            paper=FIGURE3,
            figure="series",
            remark="The paper draws this figure without a table: its numbers are known at 0 % "
            "(supervised pre-training) and at 100 % alone.",
        ),
        Experiment(
            name="figure4",
            title="Examples of detections by method",
            question="Where do the methods look on the same films?",
            heading="Method",
            rows=_WITH_MAPS,
            paper=TABLE1,
            figure="gallery",
            remark="CheXNet and Li et al. keep no comparable score maps and are not shown.",
        ),
        Experiment(
            name="figure5",
            title="FROC curves by method",
            question="How many fractures does each method mark, at how much false area?",
            heading="Method",
            rows=_WITH_MAPS,
            paper=TABLE1,
            figure="froc",
            remark="The paper's curves are drawn, not tabulated: its FROC scores are those of its "
            "Table 1.",
        ),
    )
}
