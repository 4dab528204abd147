"""The report's numbers, read from the warehouse: results, differences, operating points."""

from typing import Any

from evaluation.comparison import AUROC_PROTOCOL, FROC_PROTOCOL
from evaluation.method_names import method_name
from evaluation.report.values import Difference, Number, ResultRow, RunRow
from warehouse_schema.errors import EvaluationError
from warehouse_schema.store import Store
from warehouse_schema.tables.evaluation import EVALUATION_REPORTS, RUN_COMPARISONS
from warehouse_schema.tables.runs import TRAINING_RUNS

METRICS = (
    ("auroc", AUROC_PROTOCOL, "AUROC"),
    ("average_precision", AUROC_PROTOCOL, "Average precision"),
    ("froc_score", FROC_PROTOCOL, "FROC score"),
)
VARIANTS = (
    ("auroc_delong", AUROC_PROTOCOL, "AUROC, DeLong interval"),
    ("auroc", "test/N only/whole/student", "AUROC, negatives of N only"),
    ("froc_score", "test/R+N/valid/student", "FROC score, without padding"),
    ("froc_score", "test/R only/whole/student", "FROC score, false positives on R only"),
    ("froc_score", "test/N only/whole/student", "FROC score, false positives on N only"),
    ("lesion_froc_score", "test/R+N/peaks/student", "Classic FROC score"),
    ("auroc", "test/all/whole/teacher", "AUROC, teacher"),
    ("froc_score", "test/R+N/whole/teacher", "FROC score, teacher"),
)
OPERATING_NAMES = {
    "youden": "Largest sensitivity + specificity",
    "sensitivity_90": "Sensitivity of at least 90 %",
    "specificity_90": "Specificity of at least 90 %",
}
OPERATING_SHARES = (
    *("threshold", "sensitivity", "specificity", "ppv", "npv"),
    *("ppv_hospital", "npv_hospital", "ppv_given", "npv_given"),
)


class ReportNumbers:
    """Everything numeric that the report shows of some runs, from one warehouse version.

    Raises:
        EvaluationError: A run is unknown or was not evaluated, or the runs' findings differ.
    """

    def __init__(self, *, store: Store, run_ids: list[str], at: int | None) -> None:
        self.store = store
        self.at = at
        self.runs = [self._run(run_id) for run_id in run_ids]
        self.runs = _distinct_labels(self.runs)
        findings = {str(run.row["findings"]) for run in self.runs}
        if len(findings) != 1:
            raise EvaluationError(
                f"run_ids: the runs have different findings ({'; '.join(sorted(findings))}). "
                "Report runs of one recipe together."
            )
        self.findings = [name.strip() for name in findings.pop().split(",")]
        self._numbers = self._read_numbers(run_ids)
        self._differences = self._read_differences(run_ids)

    def number(self, run_id: str, finding: str, metric: str, protocol: str) -> Number | None:
        """One number; None where it was not computed."""
        return self._numbers.get((run_id, finding, metric, protocol))

    def difference(self, run_id: str, finding: str, metric: str) -> Difference | None:
        """Difference of a run from the first run; None where they were not compared."""
        return self._differences.get((self.runs[0].run_id, run_id, finding, metric))

    def results(self, finding: str) -> list[ResultRow]:
        """Primary results of a finding."""
        return self._rows(finding, METRICS)

    def variants(self, finding: str) -> list[ResultRow]:
        """Secondary results of a finding, those that were computed for any run."""
        sources = {
            (metric, protocol, f"{name}, films of {protocol.split('/')[1].removesuffix(' R+N')}")
            for _, of_finding, metric, protocol in self._numbers
            for name in [{"auroc": "AUROC", "froc_score": "FROC score"}.get(metric)]
            if of_finding == finding and name and _is_of_one_source(protocol)
        }
        return [
            row for row in self._rows(finding, (*VARIANTS, *sorted(sources))) if any(row.numbers)
        ]

    def place_of(self, run_id: str) -> int:
        """Place of a run's look: the primary run has the first, the others follow in order."""
        ids = [run.run_id for run in self.runs]
        return 0 if run_id == ids[-1] else ids.index(run_id) + 1

    def operating_points(self, run_id: str, finding: str) -> list[dict[str, Any]]:
        """Sensitivity, specificity, PPV and NPV at each operating point."""
        points = []
        for name, told in OPERATING_NAMES.items():
            shares = {
                metric: self.number(run_id, finding, f"{metric}@{name}", AUROC_PROTOCOL)
                for metric in OPERATING_SHARES
            }
            if shares["threshold"] is not None:
                points.append({"name": name, "told": told, **shares})
        return points

    def _run(self, run_id: str) -> RunRow:
        rows = self.store.read(TRAINING_RUNS, where={"run_id": run_id}, at=self.at).to_pylist()
        if not rows:
            raise EvaluationError(
                f"run_ids: there is no training run {run_id}. List them with: "
                'ribline sql "FROM training_runs".'
            )
        method = str(rows[0]["method"])
        return RunRow(run_id, method_name(method), rows[0])

    def _read_numbers(self, run_ids: list[str]) -> dict[tuple[str, str, str, str], Number]:
        rows = self.store.read(EVALUATION_REPORTS, where={"run_id": run_ids}, at=self.at)
        numbers = {
            (row["run_id"], row["finding"], row["metric"], row["protocol"]): Number(
                row["value"], row["ci_low"], row["ci_high"], row["n_positive"], row["n_negative"]
            )
            for row in rows.to_pylist()
        }
        for run_id in run_ids:
            if not any(key[0] == run_id for key in numbers):
                raise EvaluationError(
                    f"run_ids: run {run_id} was not evaluated. Run `ribline evaluate` first."
                )
        return numbers

    def _read_differences(self, run_ids: list[str]) -> dict[tuple[str, str, str, str], Difference]:
        where = {"run_id_a": run_ids[0], "run_id_b": run_ids[1:], "method": "paired bootstrap"}
        rows = self.store.read(RUN_COMPARISONS, where=where, at=self.at).to_pylist()
        return {
            (row["run_id_a"], row["run_id_b"], row["finding"], row["metric"]): Difference(
                row["difference"],
                row["ci_low"],
                row["ci_high"],
                row["p_value"],
                row["p_value_holm"],
            )
            for row in rows
        }

    def _rows(self, finding: str, metrics: tuple[tuple[str, str, str], ...]) -> list[ResultRow]:
        return [
            ResultRow(
                name,
                protocol,
                [self.number(run.run_id, finding, metric, protocol) for run in self.runs],
                [
                    self.difference(run.run_id, finding, metric)
                    if protocol in {AUROC_PROTOCOL, FROC_PROTOCOL}
                    else None
                    for run in self.runs[1:]
                ],
            )
            for metric, protocol, name in metrics
        ]


def _distinct_labels(runs: list[RunRow]) -> list[RunRow]:
    """Runs of one method are told apart by fold and seed."""
    labels = [run.label for run in runs]
    return [
        run
        if labels.count(run.label) == 1
        else RunRow(
            run.run_id, f"{run.label} (fold {run.row['fold']}, seed {run.row['seed']})", run.row
        )
        for run in runs
    ]


def _is_of_one_source(protocol: str) -> bool:
    """True for a protocol whose films are those of one hospital or data set."""
    _, images, denominator, network = protocol.split("/")
    known = {"all", "N only", "R only", "R+N"}
    return images not in known and (denominator, network) == ("whole", "student")
