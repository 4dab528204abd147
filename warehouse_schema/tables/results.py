"""What a trained run gave outside the cohort: results of single films, exported models."""

from warehouse_schema.table import Table, integer, moment, real, text

FILM_RESULTS = Table(
    name="film_results",
    meaning="One finding's score on one film that was given by itself, cohort or not; what was "
    "written of it lies in restricted/results/.",
    primary_key=("run_id", "image_id", "finding"),
    columns=(
        text("run_id", "Run."),
        text("image_id", "Pseudonym of the SOP Instance UID, as in images."),
        text("finding", "Finding."),
        text("patient_id", "Patient."),
        text("source", "Site mapping whose pseudonyms these are."),
        text("source_sha256", "SHA-256 of the file."),
        real("score", "Score of the film, 0 to 1."),
        text("operating_point", "youden, sensitivity_90 or specificity_90."),
        real("threshold", "Its threshold, of validation.", null_meaning="the run has none stored"),
        integer("n_regions", "Boxes.", null_meaning="no threshold, or no maps"),
        text("selection_reason", "What the selection rule says of the film."),
        moment("written_datetime", "When it was scored.", is_volatile=True),
    ),
)

MODEL_EXPORTS = Table(
    name="model_exports",
    meaning="One run's network as an ONNX file, known by its bytes.",
    primary_key=("file_sha256",),
    columns=(
        text("file_sha256", "SHA-256 of the file."),
        text("run_id", "Run."),
        integer("n_bytes", "Size of the file."),
        integer("opset", "ONNX operator set."),
        real("largest_difference", "Largest difference of an output from torch's, as checked."),
        text("code_version", "Version of Ribline and git commit.", is_volatile=True),
        moment("exported_datetime", "When it was written.", is_volatile=True),
    ),
)
