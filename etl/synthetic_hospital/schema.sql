-- The synthetic hospital's own tables: one DDL for SQLite and PostgreSQL. SYNTHETIC data only.
-- Times are the hospital's wall clock (Asia/Taipei, no daylight saving), without a zone.

CREATE TABLE hospital (
    hospital_code VARCHAR(16) PRIMARY KEY,
    hospital_name VARCHAR(120) NOT NULL,
    data_kind VARCHAR(16) NOT NULL,
    time_zone VARCHAR(40) NOT NULL,
    seed BIGINT NOT NULL
);

CREATE TABLE patient (
    chart_no VARCHAR(12) PRIMARY KEY,
    patient_name VARCHAR(60) NOT NULL,
    patient_name_english VARCHAR(80) NOT NULL,
    sex VARCHAR(1),
    birth_date DATE,
    phone VARCHAR(20),
    address VARCHAR(200),
    is_synthetic SMALLINT NOT NULL,
    updated_at TIMESTAMP NOT NULL
);

-- visit_type: E emergency, I inpatient, O outpatient.
CREATE TABLE visit (
    visit_no VARCHAR(20) PRIMARY KEY,
    chart_no VARCHAR(12) NOT NULL REFERENCES patient (chart_no),
    visit_type VARCHAR(1) NOT NULL,
    department VARCHAR(20) NOT NULL,
    start_at TIMESTAMP NOT NULL,
    end_at TIMESTAMP,
    updated_at TIMESTAMP NOT NULL
);

-- code_system stands in every row: ICD9CM until the switch, ICD10CM after it, both around it.
CREATE TABLE visit_diagnosis (
    visit_no VARCHAR(20) NOT NULL REFERENCES visit (visit_no),
    seq_no INTEGER NOT NULL,
    chart_no VARCHAR(12) NOT NULL REFERENCES patient (chart_no),
    code_system VARCHAR(8) NOT NULL,
    icd_code VARCHAR(10) NOT NULL,
    recorded_at TIMESTAMP,
    updated_at TIMESTAMP NOT NULL,
    PRIMARY KEY (visit_no, seq_no)
);

CREATE TABLE radiology_order (
    accession_no VARCHAR(20) PRIMARY KEY,
    visit_no VARCHAR(20) NOT NULL REFERENCES visit (visit_no),
    chart_no VARCHAR(12) NOT NULL REFERENCES patient (chart_no),
    exam_code VARCHAR(12) NOT NULL,
    exam_name VARCHAR(80) NOT NULL,
    ordered_at TIMESTAMP NOT NULL,
    performed_at TIMESTAMP,
    updated_at TIMESTAMP NOT NULL
);

-- note_kind: TRIAGE, ER, CXR, XR, CT, DISCH, ADDEND, OPD, NURSE.
-- note_status: preliminary, final, amended, retracted. Versions of a note share document_no.
CREATE TABLE clinical_note (
    note_no VARCHAR(24) PRIMARY KEY,
    document_no VARCHAR(20) NOT NULL,
    version_no INTEGER NOT NULL,
    chart_no VARCHAR(12) NOT NULL REFERENCES patient (chart_no),
    visit_no VARCHAR(20) REFERENCES visit (visit_no),
    note_kind VARCHAR(8) NOT NULL,
    note_status VARCHAR(12) NOT NULL,
    accession_no VARCHAR(20) REFERENCES radiology_order (accession_no),
    author_code VARCHAR(12) NOT NULL,
    written_at TIMESTAMP NOT NULL,
    signed_at TIMESTAMP,
    note_text TEXT NOT NULL,
    updated_at TIMESTAMP NOT NULL,
    UNIQUE (document_no, version_no)
);

CREATE INDEX visit_by_patient ON visit (chart_no, start_at);
CREATE INDEX visit_by_update ON visit (updated_at);
CREATE INDEX diagnosis_by_update ON visit_diagnosis (updated_at);
CREATE INDEX note_by_update ON clinical_note (updated_at);
CREATE INDEX note_by_patient ON clinical_note (chart_no, written_at);
