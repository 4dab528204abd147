"""Where the parts of a MIMIC copy lie, and what their columns mean.

Layouts: MIMIC-IV 2.2 to 3.1 (``hosp/``), MIMIC-IV-Note 2.2 (``note/``), MIMIC-IV-ED 2.2 (``ed/``,
optional), MIMIC-CXR 2.0.0 and 2.1.0 (``files/pNN/pNNNNNNNN/sNNNNNNNN/ID.dcm``, reports at
``files/pNN/pNNNNNNNN/sNNNNNNNN.txt``, ``cxr-record-list.csv.gz``) and MIMIC-CXR-JPG 2.0.0 and 2.1.0
(the same tree with ``ID.jpg``, and the tables ``mimic-cxr-2.0.0-*.csv.gz``). Columns are those of
mimic.mit.edu/docs/iv and of the projects' pages on PhysioNet.
"""

from __future__ import annotations

from etl.public_datasets.published_tables import Publication
from etl.records.site_mapping import (
    DiagnosisMapping,
    EncounterMapping,
    NoteMapping,
    PatientMapping,
    SiteMapping,
    Value,
)

SOURCE = "mimic_iv"
MIMIC_IV = Publication(title="MIMIC-IV", page="physionet.org/content/mimiciv")
MIMIC_IV_NOTE = Publication(title="MIMIC-IV-Note", page="physionet.org/content/mimic-iv-note")
MIMIC_IV_ED = Publication(title="MIMIC-IV-ED", page="physionet.org/content/mimic-iv-ed")
MIMIC_CXR = Publication(title="MIMIC-CXR", page="physionet.org/content/mimic-cxr")
MIMIC_CXR_JPG = Publication(title="MIMIC-CXR-JPG", page="physionet.org/content/mimic-cxr-jpg")

ICD = Value(column=("icd_version",), values={"9": "ICD9CM", "10": "ICD10CM"})
PATIENTS = PatientMapping(
    table="patients",
    patient="subject_id",
    sex=Value(column=("gender",), values={"M": "M", "F": "F"}),
    birth=("birth",),
)
ADMISSIONS = EncounterMapping(
    table="admissions",
    encounter="hadm_id",
    patient="subject_id",
    # A patient admitted through the emergency department was there before the admission.
    start=("edregtime", "admittime"),
    end=("dischtime",),
    encounter_class=Value(
        column=("admission_type",),
        patterns=(("EMER|URGENT|OBSERVATION", "emergency"),),
        default="inpatient",
    ),
)
DIAGNOSES = DiagnosisMapping(
    table="diagnoses_icd",
    patient="subject_id",
    encounter="hadm_id",
    code="icd_code",
    vocabulary=ICD,
    position="seq_num",
)
ED_STAYS = EncounterMapping(
    table="edstays",
    encounter="stay_id",
    patient="subject_id",
    start=("intime",),
    end=("outtime",),
    encounter_class=Value(constant="emergency"),
)
ED_DIAGNOSES = DiagnosisMapping(
    table="diagnosis",
    patient="subject_id",
    encounter="stay_id",
    code="icd_code",
    vocabulary=ICD,
    position="seq_num",
)
DISCHARGE = NoteMapping(
    table="discharge",
    note="note_id",
    patient="subject_id",
    encounter="hadm_id",
    text="text",
    note_type=Value(column=("note_type",), values={"AD": "addendum"}, default="discharge_summary"),
    note_datetime=("charttime",),
)
RADIOLOGY = NoteMapping(
    table="radiology",
    note="note_id",
    patient="subject_id",
    encounter="hadm_id",
    text="text",
    note_type=Value(
        column=("exam_name",),
        patterns=(
            (r"\b(CT|CTA|MR|MRI|MRA|US|PET|NM)\b|U\.S\.", "other_imaging_report"),
            (r"CHEST|RIB|CLAVICLE", "chest_film_report"),
        ),
        default="other_imaging_report",
    ),
    note_datetime=("charttime",),
)
CXR_REPORTS = NoteMapping(
    table="mimic_cxr_reports",
    note="study_id",
    patient="subject_id",
    text="text",
    note_type=Value(constant="chest_film_report"),
    note_datetime=("study_datetime",),
    accession="study_id",
)
# What extraction through a database would read under the same name, so that pseudonyms agree.
MIMIC_SITE = SiteMapping(
    name=SOURCE,
    meaning="MIMIC-IV with MIMIC-CXR, from the files as published.",
    patients=PATIENTS,
    encounters=ADMISSIONS,
    diagnoses=(DIAGNOSES, ED_DIAGNOSES),
    notes=(DISCHARGE, RADIOLOGY, CXR_REPORTS),
)
