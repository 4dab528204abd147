import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.pseudonym import Pseudonymizer, shift_datetime
from warehouse_schema.errors import ConfigurationError

KEY = "k" * 32


def test_a_pseudonym_depends_on_key_source_kind_and_identifier() -> None:
    base = Pseudonymizer(key=KEY, source="a").pseudonym("patient", "1")
    assert base == Pseudonymizer(key=KEY.encode(), source="a").pseudonym("patient", "1")
    others = {
        Pseudonymizer(key="j" * 32, source="a").pseudonym("patient", "1"),
        Pseudonymizer(key=KEY, source="b").pseudonym("patient", "1"),
        Pseudonymizer(key=KEY, source="a").pseudonym("encounter", "1"),
        Pseudonymizer(key=KEY, source="a").pseudonym("patient", "01"),
    }
    assert len(others | {base}) == 5


@given(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))
def test_source_and_identifier_never_run_together(a: str, b: str, c: str, d: str) -> None:
    first = Pseudonymizer(key=KEY, source=a).pseudonym("note", b)
    second = Pseudonymizer(key=KEY, source=c).pseudonym("note", d)
    assert (first == second) == ((a, b) == (c, d))


@given(st.text(max_size=20))
def test_dates_move_back_by_whole_days_within_a_year(identifier: str) -> None:
    days = Pseudonymizer(key=KEY, source="a").date_shift_days(identifier)
    moment = datetime(2016, 2, 29, 13, 5, tzinfo=UTC)
    shifted = shift_datetime(moment, days)
    assert -364 <= days <= -1
    assert shifted is not None
    assert (shifted.hour, shifted.minute) == (13, 5)
    assert (shifted - moment).days == days


@given(
    st.text(min_size=1, max_size=12),
    st.lists(st.datetimes(datetime(1900, 1, 1), datetime(2399, 1, 1)), min_size=2, max_size=6),
)
def test_intervals_between_a_patients_dates_stay(identifier: str, moments: list[datetime]) -> None:
    days = Pseudonymizer(key=KEY, source="a").date_shift_days(identifier)
    before = [each.replace(tzinfo=UTC) for each in moments]
    after = [shift_datetime(each, days) for each in before]
    assert [a - after[0] for a in after] == [b - before[0] for b in before]  # type: ignore[operator]
    assert all(a < b for a, b in zip(after, before, strict=True))  # type: ignore[operator]


def test_uids_are_valid_keyed_and_apart_from_pseudonyms() -> None:
    names = Pseudonymizer(key=KEY, source="a")
    uid = names.uid("1.2.3")
    assert re.fullmatch(r"2\.25\.[1-9][0-9]{1,38}", uid)
    assert uid == names.uid("1.2.3") != names.of_source("b").uid("1.2.3")
    assert len({names.uid(f"1.2.{n}") for n in range(1000)}) == 1000


def test_a_short_key_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigurationError, match="pseudonym_key: 6 bytes") as caught:
        Pseudonymizer(key="secret", source="a")
    assert "secret" not in str(caught.value)
