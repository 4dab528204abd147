"""Patients, encounters, diagnoses and (restricted) notes, as extracted from the hospital."""

from warehouse_schema.table import Table, flag, integer, moment, text

PATIENTS = Table(
    name="patients",
    meaning="One patient, under a pseudonym.",
    primary_key=("patient_id",),
    columns=(
        text("patient_id", "Keyed-HMAC pseudonym of source and the source's stable patient id."),
        text("source", "Name of the site mapping or public dataset the patient comes from."),
        text("sex_code", "F, M or O as recorded.", null_meaning="not recorded"),
        moment(
            "birth_datetime",
            "Date of birth, shifted by the patient's own offset.",
            null_meaning="not recorded, or the patient is over 89",
        ),
        flag("is_over_89", "True where the age at the last encounter is over 89."),
        flag("is_synthetic", "True for rows of the synthetic hospital: SYNTHETIC data."),
    ),
)

ENCOUNTERS = Table(
    name="encounters",
    meaning="One visit or stay of a patient.",
    primary_key=("encounter_id",),
    columns=(
        text("encounter_id", "Pseudonym of the source's encounter id."),
        text("patient_id", "Patient of the encounter."),
        text("source", "Site mapping or dataset."),
        text("encounter_class", "emergency, inpatient, outpatient or the site's own word."),
        moment("start_datetime", "Start, shifted."),
        moment("end_datetime", "End, shifted.", null_meaning="still open at extraction"),
        flag("is_synthetic", "SYNTHETIC data."),
    ),
)

DIAGNOSES = Table(
    name="diagnoses",
    meaning="One coded diagnosis row of an encounter, as the source gave it.",
    primary_key=("diagnosis_id",),
    columns=(
        text("diagnosis_id", "Pseudonym of encounter, position and code."),
        text("patient_id", "Patient."),
        text("encounter_id", "Encounter.", null_meaning="the source names none"),
        text("source", "Site mapping or dataset."),
        text("vocabulary", "ICD9CM, ICD10CM or ICD10, decided row by row."),
        text("diagnosis_code", "The code as given, trimmed."),
        integer("position", "1 is the principal diagnosis.", null_meaning="not recorded"),
        moment("recorded_datetime", "When it was recorded, shifted.", null_meaning="not recorded"),
        flag("is_synthetic", "SYNTHETIC data."),
    ),
)

NOTES = Table(
    name="notes",
    area="restricted",
    meaning="One keyword-matched clinical note with its text. Never leaves the hospital.",
    primary_key=("note_id",),
    columns=(
        text("note_id", "Pseudonym of the source's note id."),
        text("patient_id", "Patient."),
        text("encounter_id", "Encounter.", null_meaning="the source names none"),
        text("source", "Site mapping or dataset."),
        text(
            "note_type",
            "chest_film_report, other_imaging_report, triage, physician, discharge_summary, "
            "addendum or other.",
        ),
        text("note_series_id", "Versions of one document share it; the latest signed wins."),
        integer("note_version", "1 is the first version; an amendment is higher."),
        text("status", "preliminary, final, amended or retracted."),
        text(
            "accession_id",
            "Pseudonymous accession number of the imaging study reported on.",
            null_meaning="not an imaging report, or not recorded",
        ),
        moment("note_datetime", "Date and time of the note, shifted."),
        text("text", "The note as the source gave it, decoded."),
        text("text_sha256", "SHA-256 of the UTF-8 text."),
        flag("is_synthetic", "SYNTHETIC data."),
    ),
)

IDENTITIES = Table(
    name="identities",
    area="restricted",
    meaning="The id map: which source identifier a pseudonym stands for.",
    primary_key=("kind", "pseudonym"),
    columns=(
        text(
            "kind",
            "patient, imaging_patient (the DICOM Patient ID, where it is another number), "
            "encounter, note, accession, study, series or image.",
        ),
        text("pseudonym", "Pseudonym as used in the warehouse."),
        text("source", "Site mapping or dataset."),
        text("source_identifier", "The identifier in the source."),
        integer(
            "date_shift_days",
            "Days added to every date of the patient.",
            null_meaning="not a patient row",
        ),
    ),
)

SOURCE_ROWS = Table(
    name="source_rows",
    area="restricted",
    meaning="One row of the hospital database as the last extraction has read it: hashes and what "
    "became of it, so that the next one reads only what differs.",
    primary_key=("source", "section", "key_hash", "row_number"),
    columns=(
        text("source", "Site mapping."),
        text("section", "Section of the mapping: patients, encounters, diagnoses[0], notes[0] ..."),
        integer("key_hash", "64-bit hash of the row's identifier."),
        integer("row_number", "From 0 among rows that share an identifier, by content hash."),
        integer("swept_hash", "64-bit hash of the columns that each night compares."),
        integer("content_hash", "64-bit hash of every column that is read."),
        moment(
            "changed_datetime",
            "Last change as the source gives it; not shifted.",
            null_meaning="the mapping names no such column, or it holds no time",
        ),
        text("patient_id", "Patient named by the row.", null_meaning="none is named"),
        text(
            "record_id",
            "Primary key of the warehouse row made from it.",
            null_meaning="set aside, or a note without a keyword",
        ),
        text(
            "quarantine_key",
            "Key in quarantine of the rows with this identifier.",
            null_meaning="nothing of the row was set aside",
        ),
        text("reading_hash", "SHA-256 of mapping, keywords and key that it was read with."),
    ),
)

IMAGE_SOURCES = Table(
    name="image_sources",
    area="restricted",
    meaning="Where an image came from: file and DICOM UIDs.",
    primary_key=("image_id",),
    columns=(
        text("image_id", "Image pseudonym."),
        text("sop_instance_uid", "SOP Instance UID (0008,0018)."),
        text("file_path", "Where the source file lay when it was read.", is_volatile=True),
        text("source_sha256", "SHA-256 of the source file."),
    ),
)

OPT_OUTS = Table(
    name="opt_outs",
    area="restricted",
    meaning="One patient identifier that is never read again: its patient was forgotten.",
    primary_key=("opt_out_id",),
    columns=(
        text("opt_out_id", "Keyed hash of the source's patient identifier, of a kind of its own."),
        text("source", "Site mapping or dataset."),
        moment("opted_out_datetime", "When the patient was forgotten.", is_volatile=True),
    ),
)
