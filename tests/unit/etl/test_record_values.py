from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from etl.records.record_values import (
    MomentReader,
    UnreadableValueError,
    check_code,
    read_identifier,
    read_integer,
    read_text,
)
from etl.records.site_mapping import SiteMapping


def _reader(site: SiteMapping, **changes: object) -> MomentReader:
    return MomentReader(site.model_copy(update=changes))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("10/23/64 21:09", datetime(2164, 10, 23, 21, 9, tzinfo=UTC)),
        (b"2/29/80 0:00", datetime(2180, 2, 29, tzinfo=UTC)),
        ("1895-05-17 00:00:00", datetime(1895, 5, 17, tzinfo=UTC)),
        (date(2015, 3, 7), datetime(2015, 3, 7, tzinfo=UTC)),
        ("2/29/00 0:00", None),
        ("yesterday", None),
        (datetime(1, 1, 1), None),
    ],
)
def test_dates_are_read_as_the_mapping_says(
    site: SiteMapping, value: object, expected: datetime | None
) -> None:
    formats = ("%m/%d/%y %H:%M", "%Y-%m-%d %H:%M:%S")
    reader = _reader(site, datetime_formats=formats, two_digit_year_from=2100)
    if expected is None:
        with pytest.raises(UnreadableValueError, match="birth"):
            reader.read([value], "birth")
    else:
        assert reader.read([value], "birth") == expected


def test_the_first_value_that_is_not_empty_counts(site: SiteMapping) -> None:
    reader = _reader(site)
    assert reader.read([None, " ", "2015-03-07T10:00"], "note date") == datetime(
        2015, 3, 7, 10, tzinfo=UTC
    )
    assert reader.read([None, ""], "note date") is None


def test_local_time_becomes_utc(site: SiteMapping) -> None:
    reader = _reader(site, time_zone="Asia/Taipei")
    assert reader.read(["2015-03-07 10:00:00"], "x") == datetime(2015, 3, 7, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("code", "vocabulary", "is_read"),
    [
        ("807.03", "ICD9CM", True),
        ("80703", "ICD9CM", True),
        ("E8859", "ICD9CM", True),
        ("V5419", "ICD9CM", True),
        ("S22.41XA", "ICD9CM", False),
        ("S2241XA", "ICD10CM", True),
        ("S22.3XXD", "ICD10CM", True),
        ("s42.0", "ICD10CM", True),
        ("80703", "ICD10CM", False),
        ("rib fracture", "ICD10CM", False),
    ],
)
def test_codes_need_the_shape_of_their_vocabulary(
    code: str, vocabulary: str, is_read: bool
) -> None:
    if is_read:
        assert check_code(code, vocabulary) == code
    else:
        with pytest.raises(UnreadableValueError):
            check_code(code, vocabulary)


def test_numbers_lose_their_decimals_and_texts_their_spaces() -> None:
    assert read_identifier(142345.0, "utf-8") == "142345"
    assert read_identifier(Decimal(7), "utf-8") == "7"
    assert read_identifier("  00123 ", "utf-8") == "00123"
    assert read_identifier("   ", "utf-8") is None
    assert read_integer(b" 3 ", "utf-8", "position") == 3
    with pytest.raises(UnreadableValueError, match="position"):
        read_integer("first", "utf-8", "position")


def test_bytes_are_decoded_strictly() -> None:
    assert read_text("左側肋骨骨折".encode("cp950"), "cp950") == "左側肋骨骨折"
    with pytest.raises(UnreadableValueError, match="not valid utf-8"):
        read_text("左側肋骨骨折".encode("cp950"), "utf-8")
