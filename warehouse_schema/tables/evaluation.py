"""Evaluated runs: numbers, curves, subgroups, calibration, comparisons and folds.

Everything here is a count or a share over many patients; no row is about one patient.
"""

from warehouse_schema.table import TEXTS, Column, Table, flag, integer, list_of, real, text

INTERVAL_METHODS = ("bootstrap", "DeLong", "Wilson")
CALIBRATIONS = ("raw", "temperature", "isotonic")
SUBGROUP_ATTRIBUTES = (
    "sex",
    "age_band",
    "view",
    "manufacturer",
    "study_year",
    "visibility_tier",
    "n_fractures",
    "box_size",
)


def interval_columns() -> tuple[Column, Column]:
    """Both ends of a number's 95 % interval."""
    return (
        real("ci_low", "Lower end of the 95 % interval.", null_meaning="no interval"),
        real("ci_high", "Upper end.", null_meaning="no interval"),
    )


def curve_points(*, name: str, curve: str, order: str, x: Column, y: Column) -> Table:
    """A table of curve points: x rises with the point's number, y has a pointwise band."""
    return Table(
        name=name,
        meaning=f"One point of {curve}.",
        primary_key=("run_id", "finding", "protocol", "point_number"),
        columns=(
            text("run_id", "Run."),
            text("finding", "Finding."),
            text("protocol", "As in evaluation_reports."),
            integer("point_number", f"From 0, by rising {order}."),
            real("threshold", "Score threshold, 0 to 1.", null_meaning="above every score"),
            x,
            y,
            real(
                "ci_low",
                f"Lower end of the pointwise 95 % band of {y.name}.",
                null_meaning="no band",
            ),
            real("ci_high", "Upper end of the band.", null_meaning="no band"),
        ),
    )


EVALUATION_REPORTS = Table(
    name="evaluation_reports",
    meaning="One number of one evaluated run.",
    primary_key=("run_id", "finding", "metric", "protocol"),
    columns=(
        text("run_id", "Run."),
        text("finding", "Finding."),
        text(
            "metric",
            "auroc, auroc_delong, average_precision, froc_score, recall@RATIO%, "
            "lesion_froc_score, lesion_sensitivity@N (false-positive regions an image), "
            "threshold@POINT, sensitivity@POINT, specificity@POINT, ppv@POINT, npv@POINT "
            "(youden, sensitivity_90, specificity_90; the test split's own prevalence), "
            "ppv_hospital@POINT, ppv_given@POINT (other prevalences; likewise npv), "
            "prevalence_test, prevalence_hospital, prevalence_given, temperature, "
            "ece@CALIBRATION, brier@CALIBRATION; _bootstrap before @ is the same number with "
            "the bootstrap's interval.",
        ),
        real("value", "Value.", null_meaning="undefined for this method or split"),
        *interval_columns(),
        integer("n_positive", "Positive images (AUROC) or boxes (FROC)."),
        integer("n_negative", "Negative images, or images without a box."),
        text(
            "protocol",
            "Split/images/denominator/network, e.g. 'test/R+N/whole/student'; docs/evaluation.md.",
        ),
        integer("n_patients", "Patients of these images.", null_meaning="not counted"),
        text(
            "interval_method",
            "bootstrap (percentiles, over patients, stratified), DeLong or Wilson.",
            null_meaning="no interval",
            allowed=INTERVAL_METHODS,
        ),
        integer("n_draws", "Bootstrap draws.", null_meaning="no bootstrap"),
        integer("seed", "Seed of the draws.", null_meaning="no bootstrap"),
    ),
)

ROC_POINTS = curve_points(
    name="roc_points",
    curve="a ROC curve",
    order="false-positive rate",
    x=real("false_positive_rate", "1 - specificity."),
    y=real("true_positive_rate", "Sensitivity."),
)

FROC_POINTS = curve_points(
    name="froc_points",
    curve="the modified FROC curve (paper, section 3.1)",
    order="ratio",
    x=real("false_positive_ratio", "Mean share of activated pixels outside boxes."),
    y=real("recall", "Share of box centres activated."),
)

LESION_FROC_POINTS = curve_points(
    name="lesion_froc_points",
    curve="the classic FROC curve, of score peaks against boxes",
    order="number of false positives",
    x=real("false_positives_per_image", "Mean number of peaks outside all boxes."),
    y=real("lesion_sensitivity", "Share of boxes that hold a peak."),
)

SUBGROUP_METRICS = Table(
    name="subgroup_metrics",
    meaning="One number of one evaluated run on one subgroup of its test images.",
    primary_key=("run_id", "finding", "protocol", "attribute", "level", "metric"),
    columns=(
        text("run_id", "Run."),
        text("finding", "Finding."),
        text("protocol", "As in evaluation_reports."),
        text(
            "attribute",
            "sex, age_band (years), view, manufacturer, study_year; of positives alone, against "
            "all negatives: visibility_tier, n_fractures (boxes on the image), box_size "
            "(thirds of the boxes by area on the cached film).",
            allowed=SUBGROUP_ATTRIBUTES,
        ),
        text(
            "level",
            "Value of the attribute; 'unknown' where it is not recorded, 'per year' for drift.",
        ),
        integer("level_number", "Order of the levels, from 0."),
        text(
            "metric",
            "auroc, sensitivity@youden, specificity@youden, froc_score, or auroc_slope (change of "
            "AUROC a year).",
        ),
        real("value", "Value.", null_meaning="undefined: a class or the boxes are missing"),
        *interval_columns(),
        text(
            "interval_method",
            "bootstrap or Wilson.",
            null_meaning="no interval",
            allowed=INTERVAL_METHODS,
        ),
        integer("n_positive", "Positive images, or boxes (froc_score)."),
        integer("n_negative", "Negative images, or images without a box (froc_score)."),
        integer("n_patients", "Patients of the subgroup."),
        flag("is_small", "True where a class that the number needs has fewer than 20 members."),
    ),
)

CALIBRATION_POINTS = Table(
    name="calibration_points",
    meaning="One bin of a reliability curve on the test split.",
    primary_key=("run_id", "finding", "protocol", "calibration", "bin_number"),
    columns=(
        text("run_id", "Run."),
        text("finding", "Finding."),
        text("protocol", "As in evaluation_reports."),
        text(
            "calibration",
            "raw (image scores as they are), temperature or isotonic, fitted on validation.",
            allowed=CALIBRATIONS,
        ),
        integer("bin_number", "From 0, by rising probability; bins hold equally many images."),
        real("mean_probability", "Mean predicted probability of the bin's images."),
        real("observed_share", "Share of positives among them."),
        real("ci_low", "Lower end of the share's 95 % interval (Wilson)."),
        real("ci_high", "Upper end."),
        integer("n_images", "Images in the bin."),
        integer("n_positive", "Positives among them."),
    ),
)

CALIBRATION_MAPS = Table(
    name="calibration_maps",
    meaning="One knot of the map from a run's image score to a calibrated probability, fitted on "
    "validation; linear between knots, constant outside.",
    primary_key=("run_id", "network", "finding", "calibration", "knot_number"),
    columns=(
        text("run_id", "Run."),
        text("network", "student or teacher."),
        text("finding", "Finding."),
        text("calibration", "temperature or isotonic.", allowed=CALIBRATIONS[1:]),
        integer("knot_number", "From 0, by rising score."),
        real("score", "Image score, 0 to 1."),
        real("probability", "Calibrated probability."),
    ),
)

RUN_COMPARISONS = Table(
    name="run_comparisons",
    meaning="A paired difference of two runs on the same images: b minus a.",
    primary_key=("run_id_a", "run_id_b", "finding", "metric", "method", "protocol"),
    columns=(
        text("run_id_a", "Reference run."),
        text("run_id_b", "Compared run."),
        text("finding", "Finding."),
        text("metric", "auroc, average_precision or froc_score."),
        real("difference", "Value of b minus value of a."),
        real("ci_low", "Lower end of the paired 95 % interval.", null_meaning="a test alone"),
        real("ci_high", "Upper end.", null_meaning="a test alone"),
        real("p_value", "Two-sided p value.", null_meaning="not defined"),
        real(
            "p_value_holm",
            "p value after Holm's correction over the pair's primary comparisons.",
            null_meaning="not a primary comparison",
        ),
        integer(
            "n_corrected",
            "Primary comparisons that are corrected together.",
            null_meaning="not a primary comparison",
        ),
        text("method", "paired bootstrap, DeLong or permutation."),
        text("protocol", "As in evaluation_reports."),
    ),
)

FOLD_SUMMARIES = Table(
    name="fold_summaries",
    meaning="One number of one method over the folds of a cross-validation.",
    primary_key=("summary_id", "finding", "metric", "protocol", "summary"),
    columns=(
        text("summary_id", "Hash of the runs."),
        text("method", "Method of the runs."),
        text("recipe", "Recipe of the runs."),
        list_of(TEXTS, "run_ids", "Runs, by rising fold."),
        text("finding", "Finding."),
        text("metric", "auroc, average_precision or froc_score."),
        text("protocol", "As in evaluation_reports."),
        text(
            "summary",
            "mean (of the folds' values; primary) or pooled (all test images together, whose "
            "scores come from different networks).",
            allowed=("mean", "pooled"),
        ),
        real("value", "Value.", null_meaning="undefined in a fold"),
        *interval_columns(),
        real(
            "fold_sd",
            "Standard deviation of the folds' values (n - 1).",
            null_meaning="pooled, one fold, or undefined in a fold",
        ),
        integer("n_folds", "Folds."),
        integer("n_positive", "Positive images or boxes of all folds."),
        integer("n_negative", "Negative images, or images without a box, of all folds."),
    ),
)
