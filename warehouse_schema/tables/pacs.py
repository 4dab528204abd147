"""What was asked of the PACS, what it announced, and what arrived."""

from warehouse_schema.table import Table, integer, moment, text

PACS_QUERIES = Table(
    name="pacs_queries",
    area="restricted",
    meaning="One question put to the PACS: the studies of a patient, accession number or study.",
    primary_key=("kind", "pseudonym"),
    columns=(
        text("kind", "What was asked by.", allowed=("patient", "accession", "study")),
        text("pseudonym", "Pseudonym of the identifier that was sent."),
        text("source", "Site mapping."),
        text("patient_id", "Patient asked about."),
        moment("asked_datetime", "When it was answered last.", is_volatile=True),
        integer("n_studies", "Studies in the answer that are the patient's."),
    ),
)

PACS_STUDIES = Table(
    name="pacs_studies",
    area="restricted",
    meaning="One study that the PACS announced, and how much of it arrived.",
    primary_key=("study_id",),
    columns=(
        text("study_id", "Pseudonym of the Study Instance UID."),
        text("source", "Site mapping."),
        text("patient_id", "Patient."),
        text("study_uid", "Study Instance UID (0020,000D)."),
        moment("pulled_datetime", "When it was last looked into.", is_volatile=True),
        integer(
            "n_announced",
            "Number of Study Related Instances (0020,1208).",
            null_meaning="the PACS does not say",
        ),
        integer("n_series", "Series it lists."),
        integer("n_series_refused", "Series that the selection rule refused before any pixel."),
        integer("n_wanted", "Instances of the other series that the rule does not refuse."),
        integer("n_arrived", "Those that are here: in the spool, or read into the warehouse."),
        text(
            "state",
            "complete, or incomplete: the next run asks for the rest.",
            allowed=("complete", "incomplete"),
        ),
    ),
)

PACS_INSTANCES = Table(
    name="pacs_instances",
    area="restricted",
    meaning="One instance that arrived from the PACS.",
    primary_key=("image_id",),
    columns=(
        text("image_id", "Pseudonym of the SOP Instance UID; names the file in the spool."),
        text("source", "Site mapping."),
        text("patient_id", "Patient."),
        text("study_id", "Study."),
        text("sop_instance_uid", "SOP Instance UID (0008,0018)."),
        text("file_sha256", "SHA-256 of the file as it was written on arrival."),
        integer("n_bytes", "Size of that file."),
        moment("arrived_datetime", "When it arrived.", is_volatile=True),
        text(
            "state",
            "spooled: waits for ingest, or was set aside by it; kept: read, file kept; dropped: "
            "read, file removed.",
            allowed=("spooled", "kept", "dropped"),
        ),
    ),
)
