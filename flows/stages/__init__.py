"""One call per stage: settings in, the stage's plain function called, its summary out.

The command line, the demo and the Prefect tasks all come through here. Packages are imported when
a stage needs them, so that ``ribline --help`` stays quick.
"""

from flows.stages.counts import Counts, counts, flat_counts
from flows.stages.experiments import (
    compare,
    evaluate,
    newest_run,
    predict,
    recipe_overrides,
    require_run,
    summarise_folds,
    train,
    write_report,
    write_run_report,
)
from flows.stages.hospital import (
    check_source,
    extract,
    import_boxes,
    ingest_images,
    link,
    measure_agreement,
    prune_cache,
    publish_results,
)
from flows.stages.labelling import (
    build_cohort,
    definitions,
    diff_labels,
    draw_annotation_sample,
    label,
    label_notes,
    labelled_findings,
    list_codes,
    mine,
    preview_labels,
)
from flows.stages.opening import open_store
from flows.stages.pacs import image_source, pacs_address
from flows.stages.prediction import (
    check_model,
    deliver_results,
    export_model,
    predict_films,
    write_model_card,
)
from flows.stages.privacy import export_dicom, forget_patients
from flows.stages.public_data import import_public, public_key
from flows.stages.upkeep import (
    maintain_warehouse,
    migrate_warehouse,
    repair_warehouse,
    verify_warehouse,
)

__all__ = [
    "Counts",
    "build_cohort",
    "check_model",
    "check_source",
    "compare",
    "counts",
    "definitions",
    "deliver_results",
    "diff_labels",
    "draw_annotation_sample",
    "evaluate",
    "export_dicom",
    "export_model",
    "extract",
    "flat_counts",
    "forget_patients",
    "image_source",
    "import_boxes",
    "import_public",
    "ingest_images",
    "label",
    "label_notes",
    "labelled_findings",
    "link",
    "list_codes",
    "maintain_warehouse",
    "measure_agreement",
    "migrate_warehouse",
    "mine",
    "newest_run",
    "open_store",
    "pacs_address",
    "predict",
    "predict_films",
    "preview_labels",
    "prune_cache",
    "public_key",
    "publish_results",
    "recipe_overrides",
    "repair_warehouse",
    "require_run",
    "summarise_folds",
    "train",
    "verify_warehouse",
    "write_model_card",
    "write_report",
    "write_run_report",
]
