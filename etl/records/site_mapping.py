"""What a hospital database looks like, as one TOML file per site.

A hospital's quirks live in its mapping file and nowhere else. The format, by example (every key
that is not marked optional is required; the shipped files show three complete sites)::

    name = "my_hospital"             # the `source` of all its rows; lower case, no spaces
    meaning = "One line for people."
    is_synthetic = false             # optional; true marks every row SYNTHETIC
    database_schema = "emr"          # optional, also in a section; the SQL schema that holds the
                                     # tables; SQLite has none
    encoding = "utf-8"               # optional; text that the driver hands over as bytes
    time_zone = "Asia/Taipei"        # optional, default UTC; of dates without a zone
    datetime_formats = ["%Y-%m-%d %H:%M:%S"]   # optional; dates that arrive as text (strptime);
                                     # none: ISO 8601
    two_digit_year_from = 1930       # optional; %y then means 1930 to 2029
    changed_lag_hours = 24           # optional; see `changed` below

    [patients]
    table = "patient"
    patient = "patient_no"           # the identifier that the other tables use
    imaging_patient = "chart_no"     # optional; the DICOM Patient ID, where it is another number
    sex = { column = "sex", values = { "1" = "M", "2" = "F" } }    # optional
    birth = "birth_date"             # optional
    changed = "updated_at"           # optional, in every section; see below

    [encounters]
    table = "visit"
    encounter = "visit_no"
    patient = "patient_no"
    start = "admitted_at"
    end = "discharged_at"            # optional
    encounter_class = "visit_type"   # a value, see below

    [[diagnoses]]                    # one block per table of diagnosis rows
    table = "visit_diagnosis"
    diagnosis = "row_no"             # optional; a stable row identifier
    patient = "patient_no"
    encounter = "visit_no"           # optional
    code = "icd_code"
    vocabulary = { column = "icd_version", values = { "9" = "ICD9CM", "10" = "ICD10CM" } }
    position = "seq"                 # optional
    recorded = "coded_at"            # optional

    [[notes]]                        # one block per table of notes
    table = "report"
    note = "report_no"
    patient = "patient_no"
    encounter = "visit_no"           # optional
    text = "report_text"
    encoding = "cp950"               # optional; overrides the site's
    encoding_column = "charset"      # optional; overrides both, row by row
    note_type = { column = ["kind", "exam"], patterns = [["^RAD \\| CHEST", "chest_film_report"]],
                  default = "other" }
    note_datetime = ["signed_at", "created_at"]    # the first that is not null
    note_series = "document_no"      # optional; versions of one document share it
    note_version = "version"         # optional
    status = { constant = "final" }  # optional
    accession = "accession_no"       # optional

A *value* is a column name, or a table with ``column`` (a name, or several joined by " | "),
``values`` (exact, case ignored), ``patterns`` (regular expressions, tried in order after
``values``), ``default`` (for everything else; without one an unmapped row is quarantined), or with
``constant`` alone. A column of a joined table is written ``table.column``::

    joins = [{ table = "concept", on = { condition_source_concept_id = "concept_id" } },
             { table = "detail", on = { note_id = "note_id" }, where = { field_name = "exam" } }]

``changed`` names a column of the table (a date and time, or a row version) that takes another value
whenever a row is amended. A night then compares identifiers and this column alone, and reads again
what came, went or differs, and whatever changed within ``changed_lag_hours`` of the newest change:
there an amendment may bear the value that was read before. Without ``changed``, and where tables
are joined, a night reads every column and compares their hash.
"""

from __future__ import annotations

import codecs
import re
import tomllib
import zoneinfo
from abc import abstractmethod
from datetime import UTC, tzinfo
from importlib.resources import files
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from warehouse_schema.errors import ConfigurationError

NOTE_TYPES = (
    "chest_film_report",
    "other_imaging_report",
    "triage",
    "physician",
    "discharge_summary",
    "addendum",
    "other",
)
STATUSES = ("preliminary", "final", "amended", "retracted")
VOCABULARIES = ("ICD9CM", "ICD10CM", "ICD10")
SEXES = ("F", "M", "O")


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Columns = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Value(_Section):
    """A value taken from columns, translated, or a constant."""

    column: Columns = ()
    values: dict[str, str] = Field(default_factory=dict)
    patterns: tuple[tuple[str, str], ...] = ()
    default: str | None = None
    constant: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_column_name(cls, value: object) -> object:
        return {"column": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check(self) -> Value:
        if (self.constant is None) == (not self.column):
            raise ValueError("give either 'column' or 'constant'")
        for pattern, _ in self.patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(
                    f"pattern {pattern!r} is not a regular expression: {error}"
                ) from None
        object.__setattr__(
            self, "values", {key.casefold(): value for key, value in self.values.items()}
        )
        return self

    @property
    def outcomes(self) -> set[str]:
        """All values a translation can give; empty where the column's own value is kept."""
        if self.constant is not None:
            return {self.constant}
        known = {*self.values.values(), *(value for _, value in self.patterns)}
        return known | ({self.default} if self.default is not None else set())

    def translate(self, parts: list[str | None]) -> str | None:
        """The value for one row, given the columns' texts; None where nothing fits."""
        if self.constant is not None:
            return self.constant
        given = " | ".join((part or "").strip() for part in parts)
        if not self.values and not self.patterns:
            return given or self.default
        if (exact := self.values.get(given.casefold())) is not None:
            return exact
        for pattern, value in self.patterns:
            if re.search(pattern, given, re.IGNORECASE):
                return value
        return self.default


class Join(_Section):
    """A left outer join: ``on`` maps columns of the main table to columns of this one.

    ``where`` keeps rows of the joined table whose columns have these values.
    """

    table: str
    on: dict[str, str] = Field(min_length=1)
    where: dict[str, str | int] = Field(default_factory=dict)


class TableSection(_Section):
    """What every section says of its table."""

    kind: ClassVar[str]
    table: str
    patient: str
    joins: tuple[Join, ...] = ()
    changed: str | None = None
    database_schema: str | None = None

    @property
    @abstractmethod
    def key(self) -> str:
        """Column of the identifier by which rows are fetched; rows that share it are one group."""

    @property
    def scope(self) -> tuple[str, str]:
        """Sections of one scope share their groups: a key means the same rows in all of them."""
        return self.kind, self.table

    @property
    def cursor(self) -> str | None:
        """The ``changed`` column where it tells every amendment: a joined row has another one."""
        return None if self.joins else self.changed


class PatientMapping(TableSection):
    """Where patients are."""

    kind = "patients"
    imaging_patient: str | None = None
    sex: Value | None = None
    birth: Columns = ()

    @property
    def key(self) -> str:
        """The patient identifier."""
        return self.patient


class EncounterMapping(TableSection):
    """Where encounters are."""

    kind = "encounters"
    encounter: str
    start: Columns
    end: Columns = ()
    encounter_class: Value

    @property
    def key(self) -> str:
        """The encounter identifier."""
        return self.encounter


class DiagnosisMapping(TableSection):
    """Where one kind of diagnosis rows is."""

    kind = "diagnoses"
    diagnosis: str | None = None
    encounter: str | None = None
    code: str
    vocabulary: Value
    position: str | None = None
    recorded: Columns = ()

    @property
    def key(self) -> str:
        """The row identifier; the patient where rows have none."""
        return self.diagnosis or self.patient

    @property
    def scope(self) -> tuple[str, str]:
        """By table; rows without an identifier are told apart by their content alone."""
        return (self.kind, self.table) if self.diagnosis else (self.kind, "")


class NoteMapping(TableSection):
    """Where one kind of notes is."""

    kind = "notes"
    note: str
    encounter: str | None = None
    text: str
    encoding: str | None = None
    encoding_column: str | None = None
    note_type: Value
    note_datetime: Columns
    note_series: str | None = None
    note_version: str | None = None
    status: Value = Value(constant="final")
    accession: str | None = None

    @property
    def key(self) -> str:
        """The note identifier."""
        return self.note


class SiteMapping(_Section):
    """One site: which tables, columns, code systems, encodings and date formats it has."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    meaning: str
    is_synthetic: bool = False
    database_schema: str | None = None
    encoding: str = "utf-8"
    time_zone: str = "UTC"
    datetime_formats: tuple[str, ...] = ()
    two_digit_year_from: int | None = Field(default=None, ge=1800, le=2200)
    changed_lag_hours: float = Field(default=24, ge=3, le=24 * 366)
    patients: PatientMapping
    encounters: EncounterMapping
    diagnoses: tuple[DiagnosisMapping, ...] = ()
    notes: tuple[NoteMapping, ...] = ()

    @property
    def sections(self) -> dict[str, TableSection]:
        """Every section by its key in the file, in the order in which they are read."""
        return {
            "patients": self.patients,
            "encounters": self.encounters,
            **{f"diagnoses[{number}]": each for number, each in enumerate(self.diagnoses)},
            **{f"notes[{number}]": each for number, each in enumerate(self.notes)},
        }

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        return _checked_encoding(value)

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            find_time_zone(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"{value!r} is no IANA time zone on this machine") from None
        return value

    @model_validator(mode="after")
    def _check(self) -> SiteMapping:
        if any("%y" in each for each in self.datetime_formats) and self.two_digit_year_from is None:
            raise ValueError("datetime_formats has %y: set two_digit_year_from")
        for note in self.notes:
            if note.encoding is not None:
                _checked_encoding(note.encoding)
            _check_outcomes("notes.note_type", note.note_type, NOTE_TYPES)
            _check_outcomes("notes.status", note.status, STATUSES)
        for diagnosis in self.diagnoses:
            _check_outcomes("diagnoses.vocabulary", diagnosis.vocabulary, VOCABULARIES)
        if self.patients.sex is not None:
            _check_outcomes("patients.sex", self.patients.sex, SEXES)
        return self


def find_time_zone(name: str) -> tzinfo:
    """The zone of an IANA name; UTC needs no zone files on the machine."""
    return UTC if name == "UTC" else zoneinfo.ZoneInfo(name)


def _checked_encoding(value: str) -> str:
    try:
        codecs.lookup(value)
    except LookupError:
        raise ValueError(f"{value!r} is no text encoding that Python knows") from None
    return value


def _check_outcomes(key: str, value: Value, allowed: tuple[str, ...]) -> None:
    wrong = sorted(value.outcomes - set(allowed))
    if wrong:
        raise ValueError(f"{key}: {', '.join(wrong)} not allowed; use {', '.join(allowed)}")


def list_site_mappings() -> list[str]:
    """Names of the shipped mappings."""
    folder = files("etl.records").joinpath("site_mappings")
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_site_mapping(name_or_path: str | Path) -> SiteMapping:
    """Load a shipped mapping by name, or a site's own file by path.

    Raises:
        ConfigurationError: There is no such mapping, or the file is malformed.
    """
    given = str(name_or_path)
    shipped = files("etl.records").joinpath("site_mappings", f"{given}.toml")
    if re.fullmatch(r"[a-z0-9_]+", given) and shipped.is_file():
        content = shipped.read_text(encoding="utf-8")
    else:
        content = _read_own_file(given)
    try:
        return SiteMapping.model_validate(tomllib.loads(content))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"Site mapping {given} is not valid TOML: {error}. Correct the file."
        ) from None
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise ConfigurationError(
            f"Site mapping {given}: {faults}. The format is described in docs/real_hospital.md."
        ) from None


def _read_own_file(given: str) -> str:
    try:
        return Path(given).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError):
        raise ConfigurationError(
            f"Site mapping {given!r} is neither a readable UTF-8 file nor a shipped mapping "
            f"({', '.join(list_site_mappings())}). Give one of these names or the path of a "
            "TOML file."
        ) from None
