"""Mentions, evidence, image-level labels, their changes, and the cohort."""

from warehouse_schema.table import INTEGERS, Table, flag, integer, list_of, moment, real, text

LABELS = ("positive", "negative", "uncertain", "excluded")

NOTE_MENTIONS = Table(
    name="note_mentions",
    meaning="One mention of a finding in a note: offsets and rule ids, never text.",
    primary_key=("mention_id",),
    columns=(
        text("mention_id", "Hash of note, finding and span."),
        text("note_id", "Note."),
        text("patient_id", "Patient."),
        text("encounter_id", "Encounter.", null_meaning="the source names none"),
        text("accession_id", "Study reported on.", null_meaning="not an imaging report"),
        text("note_type", "As in notes."),
        moment("note_datetime", "As in notes."),
        text("finding", "Finding mentioned."),
        text("section", "indication, history, technique, comparison, findings, impression ..."),
        integer("start_char", "First character of the mention in the note as given."),
        integer("end_char", "One past the last character."),
        integer("cue_start_char", "First character of the deciding cue.", null_meaning="no cue"),
        integer("cue_end_char", "One past the cue.", null_meaning="no cue"),
        integer("scope_start_char", "First character of the cue's scope.", null_meaning="no cue"),
        integer("scope_end_char", "One past the cue's scope.", null_meaning="no cue"),
        text("assertion", "present, absent or uncertain."),
        text("temporality", "recent or historical."),
        text("experiencer", "patient, family or other."),
        flag("is_hypothetical", "True for conditions and recommendations."),
        text("acuity", "acute, healing, old or unknown."),
        text("laterality", "left, right or bilateral.", null_meaning="not stated"),
        flag("is_displaced", "Displacement as stated.", null_meaning="not stated"),
        list_of(INTEGERS, "rib_numbers", "Rib numbers as stated.", null_meaning="not stated"),
        text("rule_id", "Rule that found the mention."),
        text("cue_rule_id", "Rule of the deciding cue.", null_meaning="no cue"),
        text("edit", "Misspelling accepted, as 'kind@offset'.", null_meaning="spelt as listed"),
        text("definition_hash", "Hash of definitions and rules."),
        flag("is_synthetic", "SYNTHETIC data."),
    ),
)

LABEL_EVIDENCE = Table(
    name="label_evidence",
    meaning="One reason for or against a finding on an image.",
    primary_key=("evidence_id",),
    columns=(
        text("evidence_id", "Hash of image, finding and source row."),
        text("image_id", "Image."),
        text("finding", "Finding."),
        text("encounter_id", "Encounter the evidence was found in.", null_meaning="none"),
        text(
            "evidence_type",
            "code, chest_film_report, other_imaging_report, clinical_text or public_label.",
        ),
        text("diagnosis_id", "Diagnosis row.", null_meaning="the evidence is a mention"),
        text("mention_id", "Mention.", null_meaning="the evidence is a diagnosis"),
        text("polarity", "positive, negative, uncertain, old or ignored."),
        real("weight", "Reliability of this evidence type, from the definition."),
        text("rule_id", "Code-set entry or mention rule."),
        text("reason", "Why it has this polarity, in words."),
        text("definition_hash", "Hash of definitions and rules."),
    ),
)

IMAGE_LABELS = Table(
    name="image_labels",
    meaning="The label of one finding on one image.",
    primary_key=("image_id", "finding"),
    columns=(
        text("image_id", "Image."),
        text("finding", "Finding."),
        text("label", "positive, negative, uncertain or excluded.", allowed=LABELS),
        text("reason", "Row of the combination rule that decided."),
        text("acuity", "acute, healing, old or unknown.", null_meaning="not positive"),
        text(
            "visibility_tier",
            "chest_film_report, other_imaging, clinical_text or code_only: where a positive "
            "was seen.",
            null_meaning="not positive",
        ),
        text("encounter_id", "Linked encounter.", null_meaning="no encounter, or public label"),
        real("score", "Weighted sum of the evidence, positive minus negative."),
        integer("n_evidence", "Evidence rows considered."),
        flag("is_conflict", "True where evidence of both kinds met."),
        flag(
            "is_encounter_closed",
            "True where the linked encounter had ended the definition's number of days before.",
            null_meaning="public label",
        ),
        text("definition_hash", "Hash of definitions and rules."),
    ),
)

LABEL_CHANGES = Table(
    name="label_changes",
    meaning="One label that a labelling run changed.",
    primary_key=("labelling_id", "image_id", "finding"),
    columns=(
        text("labelling_id", "Labelling run: hash of its inputs' versions and definitions."),
        text("image_id", "Image."),
        text("finding", "Finding."),
        text("old_label", "Label before.", null_meaning="the image is new"),
        text("new_label", "Label now.", null_meaning="the image left"),
        text(
            "cause",
            "new_image, code, note, link, definition, time (the encounter closed) or removed.",
        ),
        moment("changed_datetime", "When the run was committed.", is_volatile=True),
    ),
)

LABEL_QUALITY = Table(
    name="label_quality",
    meaning="One measure of the labels by a chart review, weighted back to all labelled images.",
    primary_key=("review_id", "finding", "scope", "name", "metric"),
    columns=(
        text("review_id", "Hash of the sample's design and its verdicts."),
        integer("label_version", "Warehouse version whose labels were reviewed."),
        text("finding", "Finding."),
        text(
            "scope",
            "label (positive against negative), source (its positive evidence against silence), "
            "combination_row or evidence_rule.",
        ),
        text("name", "Evidence type, row of the combination rule or rule id; 'label' for label."),
        text(
            "metric",
            "sensitivity, specificity, ppv or npv.",
            allowed=("sensitivity", "specificity", "ppv", "npv"),
        ),
        real("value", "Weighted share, 0 to 1."),
        real("ci_low", "Lower bound of the 95 % interval."),
        real("ci_high", "Upper bound."),
        integer("n_reviewed", "Reviewed labels that the share is made of."),
        real("n_represented", "Labels in the warehouse that they stand for."),
    ),
)

COHORT = Table(
    name="cohort",
    meaning="The part an image plays in one cross-validation fold. Fold k tests on part k.",
    primary_key=("fold", "image_id"),
    columns=(
        integer("fold", "0 to 4."),
        text("image_id", "Image."),
        text("patient_id", "Patient; all images of a patient share a split."),
        text("subset", "R, P, N or excluded (paper, section 2)."),
        text("split", "train, validation or test.", null_meaning="excluded"),
        text("exclusion_reason", "Why it is excluded.", null_meaning="it is not"),
        text("source", "Site mapping or dataset."),
    ),
)

COHORT_FLOW = Table(
    name="cohort_flow",
    meaning="Attrition: one step from all instances to the cohort.",
    primary_key=("step_number", "reason"),
    columns=(
        integer("step_number", "Order of the step, from 1."),
        text("step", "What the step keeps."),
        text("reason", "Why images were dropped; 'kept' counts those left."),
        integer("n_kept", "Images kept after the step."),
        integer("n_dropped", "Images dropped for this reason."),
    ),
)

ANNOTATION_WORKLIST = Table(
    name="annotation_worklist",
    meaning="The seeded random sample of positives that readers annotate (the paper's 808).",
    primary_key=("image_id",),
    columns=(
        text("image_id", "Image to annotate."),
        integer("order_number", "Order in the worklist, from 1."),
        integer("seed", "Seed of the draw."),
    ),
)
