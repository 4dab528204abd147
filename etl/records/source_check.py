"""What a site mapping finds in a database, counted before anything is extracted.

No value of a row leaves this module but dates of encounters, codings and notes (never of births)
and names of code systems: everything else is a count.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from etl.records.record_values import MomentReader, UnreadableValueError, read_identifier, read_text
from etl.records.site_mapping import SiteMapping, TableSection, Value
from etl.records.source_batch import SourceBatch
from etl.records.source_database import SourceDatabase
from etl.records.source_tables import needed
from warehouse_schema.errors import SourceError

SAMPLE_ROWS = 10_000
DATE_KEYS = ("start", "end", "recorded", "note_datetime")
DECODED = "decoded by the database"
VALUE_KEYS = ("sex", "encounter_class", "vocabulary", "note_type", "status")
# Names that may be shown; any other unmapped value might be a person's.
CODE_SYSTEM = re.compile(
    r"(ICD|ICD[- ]?O|ICPC|SNOMED([- ]CT)?|LOINC|CPT|HCPCS|DRG|OPCS|READ|ATC|RXNORM)"
    r"[- ]?\d{0,2}([- ]?(CM|PCS|GM|AM|CA|TW|WHO))?|\d{1,2}",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class DateRange:
    """Dates of one mapping key.

    Attributes:
        key: Key of the mapping.
        earliest: Earliest day, in the source's own time.
        latest: Latest day.
        n_unreadable: Values of the sample that are no date in the mapping's formats.
        is_sample: Whether earliest and latest are those of the sample alone.
    """

    key: str
    earliest: date | None
    latest: date | None
    n_unreadable: int
    is_sample: bool


@dataclass(frozen=True, kw_only=True)
class ValueCounts:
    """How many rows each outcome of a translated value has.

    Attributes:
        key: Key of the mapping.
        mapped: Rows by outcome.
        n_unmapped: Rows whose value the mapping does not name, and that no default catches.
        n_unmapped_values: Distinct values among them.
        unmapped_code_systems: Those values that are names of code systems, with their rows.
    """

    key: str
    mapped: dict[str, int]
    n_unmapped: int
    n_unmapped_values: int
    unmapped_code_systems: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class SectionCheck:
    """One section of the mapping.

    Attributes:
        section: Its key in the mapping.
        table: Its table.
        n_columns_found: Columns that the mapping names and the database has.
        missing: What the database lacks: a table, or ``key = column``.
        n_rows: Rows.
        n_without_identifier: Rows whose identifier is null.
        n_repeated_identifiers: Rows beyond the first with the same identifier.
        compared_by: How a night finds what differs.
        dates: Date ranges.
        values: Translated values.
        n_sampled: Rows looked at for encodings and dates.
        n_undecodable: Sampled rows with text that is not valid in its encoding.
        encodings: Sampled rows with text by encoding.
    """

    section: str
    table: str
    n_columns_found: int
    missing: tuple[str, ...]
    n_rows: int | None = None
    n_without_identifier: int | None = None
    n_repeated_identifiers: int | None = None
    compared_by: str = ""
    dates: tuple[DateRange, ...] = ()
    values: tuple[ValueCounts, ...] = ()
    n_sampled: int = 0
    n_undecodable: int = 0
    encodings: dict[str, int] | None = None


@dataclass(frozen=True, kw_only=True)
class SourceCheck:
    """What the mapping finds.

    Attributes:
        mapping: Its name.
        dialect: Kind of database.
        is_complete: Whether everything that the mapping names is there and patients have rows.
        sections: One for each section.
    """

    mapping: str
    dialect: str
    is_complete: bool
    sections: tuple[SectionCheck, ...]


def check_source(*, database_url: str, site_mapping: SiteMapping) -> SourceCheck:
    """Count what a mapping finds.

    Args:
        database_url: SQLAlchemy URL; a read-only user suffices.
        site_mapping: The site.

    Raises:
        SourceError: The database cannot be reached or read.
    """
    with SourceDatabase(database_url=database_url, mapping=site_mapping) as database:
        sections = tuple(
            _SectionReader(database, site_mapping, name, section).check()
            for name, section in site_mapping.sections.items()
        )
        return SourceCheck(
            mapping=site_mapping.name,
            dialect=database.dialect_name,
            is_complete=not any(each.missing for each in sections) and bool(sections[0].n_rows),
            sections=sections,
        )


class _SectionReader:
    def __init__(
        self, database: SourceDatabase, mapping: SiteMapping, name: str, section: TableSection
    ) -> None:
        self._database = database
        self._tables = database.tables
        self._mapping = mapping
        self._name = name
        self._section = section
        self._moments = MomentReader(mapping)

    def check(self) -> SectionCheck:
        section = self._section
        found, missing = self._found_and_missing()
        if missing:
            return SectionCheck(
                section=self._name,
                table=section.table,
                n_columns_found=found,
                missing=tuple(missing),
            )
        key = self._tables.column(section, section.key, section.table)
        counts = sa.select(
            sa.func.count(), sa.func.count(key), sa.func.count(sa.distinct(key))
        ).select_from(self._tables.table(section, section.table))
        is_own_key = "." not in section.key and section.scope[1] != ""
        n_rows, n_keys, n_distinct = self._database.rows(section, counts)[0]
        sample = self._sample()
        encodings, n_undecodable = self._encodings(sample)
        return SectionCheck(
            section=self._name,
            table=section.table,
            n_columns_found=found,
            missing=(),
            n_rows=n_rows,
            n_without_identifier=n_rows - n_keys,
            n_repeated_identifiers=n_keys - n_distinct if is_own_key else None,
            compared_by=f"{section.cursor} and identifiers" if section.cursor else "content hash",
            dates=tuple(self._dates(sample)),
            values=tuple(self._values()),
            n_sampled=sample.n_rows,
            n_undecodable=n_undecodable,
            encodings=encodings,
        )

    def _found_and_missing(self) -> tuple[int, list[str]]:
        section, found, missing = self._section, set(), []
        for name, reference in needed(section):
            try:
                self._tables.check_one(section, name, reference, self._name)
            except SourceError:
                missing.append(f"table {name}" if reference is None else f"{name} = {reference}")
            else:
                found.add(reference)
        # The columns of a table that is not there are not news.
        tables = [each for each in missing if each.startswith("table ")]
        return len(found - {None}), list(dict.fromkeys(tables or missing))

    def _sample(self) -> SourceBatch:
        section = self._section
        names = sorted({reference for _, reference in needed(section) if reference is not None})
        statement = self._tables.select(section, names).order_by(None).limit(SAMPLE_ROWS)
        return SourceBatch.from_rows(names, self._database.rows(section, statement))

    def _encodings(self, sample: SourceBatch) -> tuple[dict[str, int], int]:
        """Rows by the encoding of their text, and how many are not valid in it."""
        section, counts, n_undecodable = self._section, dict[str, int](), 0
        usual = getattr(section, "encoding", None) or self._mapping.encoding
        by_row = getattr(section, "encoding_column", None)
        text = getattr(section, "text", None)
        for number in range(sample.n_rows):
            encoding = usual
            try:
                if by_row is not None:
                    encoding = read_identifier(sample.value(by_row, number), "ascii") or usual
                for name in sample.columns:
                    own = encoding if name == text else self._mapping.encoding
                    read_text(sample.value(name, number), own)
            except (UnreadableValueError, LookupError):
                n_undecodable += 1
            is_bytes = any(isinstance(sample.value(each, number), bytes) for each in sample.columns)
            known = _known_encoding(encoding) if is_bytes else DECODED
            counts[known] = counts.get(known, 0) + 1
        return counts, n_undecodable

    def _dates(self, sample: SourceBatch) -> Iterator[DateRange]:
        for key in DATE_KEYS:
            columns: Sequence[str] = getattr(self._section, key, ())
            if not columns:
                continue
            days, n_unreadable = [], 0
            for number in range(sample.n_rows):
                values = [sample.value(column, number) for column in columns]
                try:
                    moment = self._moments.read(values, key)
                except UnreadableValueError:
                    n_unreadable += 1
                else:
                    days += [moment] if moment is not None else []
            whole = self._whole_range(columns)
            first, last = whole or (min(days, default=None), max(days, default=None))
            yield DateRange(
                key=key,
                earliest=_day(first),
                latest=_day(last),
                n_unreadable=n_unreadable,
                is_sample=whole is None and sample.n_rows >= SAMPLE_ROWS,
            )

    def _whole_range(self, columns: Sequence[str]) -> tuple[Any, Any] | None:
        """Smallest and largest value, where the database itself compares dates."""
        section = self._section
        if not all(
            issubclass(self._tables.type(section, column), sa.Date | sa.DateTime)
            for column in columns
        ):
            return None
        if self._database.dialect_name == "sqlite":
            return None
        found = [self._tables.column(section, column, section.table) for column in columns]
        first = found[0] if len(found) == 1 else sa.func.coalesce(*found)
        statement = sa.select(sa.func.min(first), sa.func.max(first))
        low, high = self._database.rows(
            section, statement.select_from(self._tables.origin(section))
        )[0]
        return low, high

    def _values(self) -> Iterator[ValueCounts]:
        for key in VALUE_KEYS:
            value: Value | None = getattr(self._section, key, None)
            if value is not None and value.constant is None:
                yield self._value_counts(key, value)

    def _value_counts(self, key: str, value: Value) -> ValueCounts:
        section = self._section
        columns = [self._tables.column(section, each, section.table) for each in value.column]
        statement = (
            sa.select(*columns, sa.func.count())
            .select_from(self._tables.origin(section))
            .group_by(*columns)
        )
        mapped: dict[str, int] = {}
        systems: dict[str, int] = {}
        n_unmapped, unmapped = 0, set()
        is_translated = bool(value.values or value.patterns)
        for *given, n_rows in self._database.rows(section, statement):
            parts = [_readable(part, self._mapping.encoding) for part in given]
            outcome = value.translate(parts)
            if outcome is None:
                n_unmapped += n_rows
                unmapped.add(tuple(parts))
                name = " | ".join(part or "" for part in parts).strip()
                if key == "vocabulary" and CODE_SYSTEM.fullmatch(name):
                    systems[name] = systems.get(name, 0) + n_rows
            else:
                # A column that is kept as it is may hold anything.
                shown = outcome if is_translated else "as in the source"
                mapped[shown] = mapped.get(shown, 0) + n_rows
        return ValueCounts(
            key=key,
            mapped=dict(sorted(mapped.items())),
            n_unmapped=n_unmapped,
            n_unmapped_values=len(unmapped),
            unmapped_code_systems=dict(sorted(systems.items())),
        )


def _readable(value: object, encoding: str) -> str | None:
    try:
        return read_identifier(value, encoding)
    except UnreadableValueError:
        return "\ufffd"


def _known_encoding(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "unknown to Python"


def _day(moment: date | None) -> date | None:
    return moment.date() if isinstance(moment, datetime) else moment
