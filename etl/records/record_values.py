"""Raw database values as texts, identifiers, moments and codes.

Each function returns the value, or raises UnreadableValueError with a reason that quotes no data.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from math import isfinite

from etl.records.site_mapping import SiteMapping, find_time_zone

YEARS = range(1800, 2400)
# Shapes only: whether a code exists is for the label definitions to know. Dots are optional.
CODE_SHAPES = {
    "ICD9CM": re.compile(r"(\d{3}|V\d{2}|E\d{3})\.?\d{0,2}", re.IGNORECASE),
    "ICD10CM": re.compile(r"[A-Z]\d[0-9A-Z]\.?[0-9A-Z]{0,4}", re.IGNORECASE),
    "ICD10": re.compile(r"[A-Z]\d\d\.?[0-9A-Z]{0,4}", re.IGNORECASE),
}


class UnreadableValueError(ValueError):
    """A value that cannot be used; its text is the quarantine reason."""


def read_text(value: object, encoding: str) -> str | None:
    """Text of a value; bytes are decoded, and must be valid in the encoding."""
    if value is None:
        return None
    if isinstance(value, (bytes, bytearray, memoryview)):
        try:
            return bytes(value).decode(encoding)
        except UnicodeDecodeError:
            raise UnreadableValueError(f"text is not valid {encoding}") from None
    if isinstance(value, (float, Decimal)) and isfinite(value) and value == int(value):
        return str(int(value))
    return str(value)


def read_identifier(value: object, encoding: str) -> str | None:
    """A trimmed identifier; None where it is null or empty."""
    text = read_text(value, encoding)
    return (text.strip() or None) if text is not None else None


def read_integer(value: object, encoding: str, name: str) -> int | None:
    """A whole number; None where it is null or empty."""
    text = read_identifier(value, encoding)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise UnreadableValueError(f"{name} is not a whole number") from None


def check_code(code: str, vocabulary: str) -> str:
    """The trimmed code, when it has the shape of its vocabulary."""
    if not CODE_SHAPES[vocabulary].fullmatch(code):
        raise UnreadableValueError(f"the code does not have the shape of {vocabulary}")
    return code


class MomentReader:
    """Reads dates and times as a mapping writes them.

    Args:
        mapping: Gives formats, the century of two-digit years and the time zone.
    """

    def __init__(self, mapping: SiteMapping) -> None:
        self._formats = mapping.datetime_formats
        self._first_year = mapping.two_digit_year_from
        self._zone = find_time_zone(mapping.time_zone)
        self._encoding = mapping.encoding
        self._parse = lru_cache(maxsize=100_000)(self._parse_text)

    def read(self, values: Sequence[object], name: str) -> datetime | None:
        """UTC moment of the first value that is not empty; None where all are.

        Raises:
            UnreadableValueError: That value is no date in the mapping's formats.
        """
        for value in values:
            if isinstance(value, datetime):
                return self._checked(value, name)
            if isinstance(value, date):
                return self._checked(datetime(value.year, value.month, value.day), name)  # noqa: DTZ001
            text = read_identifier(value, self._encoding)
            if text is not None:
                moment = self._parse(text)
                if moment is None:
                    raise UnreadableValueError(f"{name} is no date in the mapping's formats")
                return self._checked(moment, name)
        return None

    def _checked(self, moment: datetime, name: str) -> datetime:
        if moment.year not in YEARS:
            raise UnreadableValueError(f"{name} is outside the years 1800 to 2399")
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self._zone)
        return moment.astimezone(UTC)

    def _parse_text(self, text: str) -> datetime | None:
        for each in self._formats:
            try:
                moment = datetime.strptime(text, each)  # noqa: DTZ007
                return self._in_century(moment) if "%y" in each else moment
            except ValueError:
                continue
        if self._formats:
            return None
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            return None

    def _in_century(self, moment: datetime) -> datetime:
        assert self._first_year is not None, "SiteMapping checks it"
        return moment.replace(year=self._first_year + (moment.year - self._first_year) % 100)
