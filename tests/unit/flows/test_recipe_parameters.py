"""Parameters of a training run: one set of types for the flow, the recipe and the command."""

from __future__ import annotations

import inspect
from typing import get_args

import pytest
from prefect.exceptions import ParameterTypeError

from flows.commands.experiments import recipe_changes
from flows.recipe_parameters import MethodName, changes_of
from flows.train_aals import train_aals
from training.methods import METHODS
from training.recipe import Recipe, recipe
from warehouse_schema.errors import ArgumentError


def test_the_flow_knows_every_method_and_only_fields_of_the_recipe() -> None:
    assert set(get_args(MethodName)) == set(METHODS)
    parameters = set(inspect.signature(train_aals.fn).parameters)
    own = parameters - {"fold", "seed", "recipe", "method"}
    assert own <= set(Recipe.__dataclass_fields__)
    assert {"t", "a0", "p_fraction"} <= own


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "magic"},
        {"t": 1.5},
        {"a0": 0.5},
        {"p_fraction": 0},
        {"record_negative": "maybe"},
        {"fold": -1},
    ],
)
def test_wrong_parameters_are_refused_before_anything_runs(wrong: dict[str, object]) -> None:
    with pytest.raises(ParameterTypeError, match=next(iter(wrong))):
        train_aals.validate_parameters(wrong)


def test_only_given_parameters_change_the_recipe() -> None:
    changes = changes_of(t=0.3, a0=None, p_fraction=0.2)
    assert changes == {"t": 0.3, "p_fraction": 0.2}
    assert recipe("demo", **changes).t == 0.3


def test_assignments_of_the_command() -> None:
    changes = recipe_changes(
        ["record_negative=distill", "positive_share=0.5", 'tier_weights={"code_only": 0.5}'],
        t=0.2,
        a0=None,
    )
    assert changes == {
        "t": 0.2,
        "record_negative": "distill",
        "positive_share": 0.5,
        "tier_weights": {"code_only": 0.5},
    }
    for wrong in ("t", "=1", "t="):
        with pytest.raises(ArgumentError, match="--set: got"):
            recipe_changes([wrong])
