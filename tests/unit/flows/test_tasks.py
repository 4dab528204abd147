"""What travels through Prefect: no messages of unexpected errors, retries only where safe."""

from types import SimpleNamespace

import pytest
from prefect.states import Completed, Failed

from flows.tasks import is_source_away, known_errors_only, relabel_stage, train
from warehouse_schema.errors import CohortError, FlowError, SourceError


def test_message_of_an_unexpected_error_is_withheld() -> None:
    @known_errors_only
    def leak(patient: str) -> None:
        raise KeyError(f"{patient} not found")

    with pytest.raises(FlowError) as error:
        leak("Wang, Mei-Ling")
    assert "Wang" not in str(error.value)
    assert "leak: internal error KeyError at tasks.py:" in str(error.value)
    assert "test_tasks.py:" in str(error.value)
    assert error.value.__suppress_context__


def test_a_users_mistake_is_told_as_it_is() -> None:
    @known_errors_only
    def refuse() -> None:
        raise CohortError("cohort: empty")

    with pytest.raises(CohortError, match="cohort: empty"):
        refuse()


@pytest.mark.parametrize(
    ("error", "is_retried"),
    [
        (SourceError("database_url: away"), True),
        (CohortError("cohort: empty"), False),
        (FlowError("internal"), False),
    ],
)
def test_only_an_absent_source_is_tried_again(error: Exception, is_retried: bool) -> None:
    state = Failed(data=error)
    run = SimpleNamespace()
    assert is_source_away(relabel_stage, run, state) is is_retried  # type: ignore[arg-type]


def test_a_success_is_not_tried_again() -> None:
    run = SimpleNamespace()
    assert not is_source_away(relabel_stage, run, Completed(data=1))  # type: ignore[arg-type]


def test_training_is_never_retried() -> None:
    assert train.retries == 0
    assert relabel_stage.retries == 3
