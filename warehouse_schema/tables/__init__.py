"""All declared tables, by name."""

from warehouse_schema.table import Table
from warehouse_schema.tables import annotation, imaging, labels, pacs, records, runs

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        records.PATIENTS,
        records.ENCOUNTERS,
        records.DIAGNOSES,
        records.NOTES,
        records.IDENTITIES,
        records.SOURCE_ROWS,
        records.IMAGE_SOURCES,
        pacs.PACS_QUERIES,
        pacs.PACS_STUDIES,
        pacs.PACS_INSTANCES,
        records.OPT_OUTS,
        imaging.IMAGES,
        imaging.IMAGE_PIXELS,
        imaging.IMAGE_LINKS,
        imaging.ANNOTATIONS,
        annotation.IMAGE_READINGS,
        annotation.CONSENSUS_BOXES,
        annotation.READER_AGREEMENT,
        annotation.BOX_MATCHES,
        labels.NOTE_MENTIONS,
        labels.LABEL_EVIDENCE,
        labels.IMAGE_LABELS,
        labels.LABEL_CHANGES,
        labels.LABEL_QUALITY,
        labels.COHORT,
        labels.COHORT_FLOW,
        labels.ANNOTATION_WORKLIST,
        runs.TRAINING_RUNS,
        runs.TRAINING_EPOCHS,
        runs.PREDICTIONS,
        runs.EVALUATION_REPORTS,
        runs.ROC_POINTS,
        runs.FROC_POINTS,
        runs.RUN_COMPARISONS,
        runs.LINEAGE,
        runs.COMMITTED_RUNS,
        runs.QUARANTINE,
    )
}
