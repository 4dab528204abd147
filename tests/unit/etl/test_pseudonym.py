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


def test_a_short_key_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigurationError, match="pseudonym_key: 6 bytes") as caught:
        Pseudonymizer(key="secret", source="a")
    assert "secret" not in str(caught.value)
