"""Recipes: the paper's values, and what is refused."""

from __future__ import annotations

import dataclasses
import json

import pytest

from training.recipe import RECIPES, Recipe, recipe
from warehouse_schema.errors import ConfigurationError


def test_paper_has_the_papers_values():
    ours = recipe("paper")
    assert (ours.backbone, ours.weights, ours.image_size_px) == ("resnet50", "imagenet", 1024)
    assert (ours.optimizer, ours.learning_rate, ours.weight_decay) == ("adam", 4e-5, 1e-4)
    assert (ours.batch_size, ours.n_epochs, ours.schedule) == (48, 25, "constant")
    assert (ours.alpha, ours.ema_epochs, ours.a0, ours.t) == (0.999, None, 4.0, 0.4)
    assert (ours.positive_weight, ours.batch_mix) == (1.0, "natural")


def test_step_two_sees_whole_films_with_its_own_values():
    ours = recipe("demo", step2_n_epochs=3, step2_batch_size=5, step2_learning_rate=0.25)
    first, second = ours.for_step(1), ours.for_step(2)
    assert (first.n_epochs, first.batch_size, first.learning_rate, first.crop_px) == (
        ours.n_epochs,
        ours.batch_size,
        ours.learning_rate,
        ours.crop_px,
    )
    assert (second.n_epochs, second.batch_size, second.learning_rate) == (3, 5, 0.25)
    assert (second.crop_px, second.passes_per_epoch) == (None, 1)
    paper = recipe("paper")
    assert paper.for_step(1) == paper.for_step(2) == paper


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_json_and_back(name):
    ours = recipe(name)
    assert Recipe.from_json(ours.to_json()) == ours


def test_json_names_a_weights_file_without_its_folder():
    assert "private" not in recipe("paper", weights="/private/person/resnet50.pth").to_json()


def test_every_field_is_documented():
    text = str(Recipe.__doc__)
    assert [f.name for f in dataclasses.fields(Recipe) if f"\n        {f.name}: " not in text] == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("findings", ()),
        ("findings", ("rib_fracture", "rib_fracture")),
        ("image_size_px", 100),
        ("batch_size", 0),
        ("batch_size", 2.5),
        ("n_epochs", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("optimizer", "sgd"),
        ("t", 1.0),
        ("a0", 0.5),
        ("alpha", 1.0),
        ("p_fraction", 0.0),
        ("record_negative", "maybe"),
        ("micro_batch_size", 0),
    ],
)
def test_a_value_outside_its_range_is_refused_by_name(field, value):
    with pytest.raises(ConfigurationError, match=rf"recipe demo, {field}: got .* allowed is"):
        recipe("demo", **{field: value})


def test_unknown_recipe_and_field():
    with pytest.raises(ConfigurationError, match="got 'fast', allowed are paper, demo, nih"):
        recipe("fast")
    with pytest.raises(ConfigurationError, match="unknown field lr; allowed are a0"):
        recipe("demo", lr=1)


def test_an_option_that_is_off_does_not_touch_a_runs_id():
    changed = json.loads(recipe("paper").changes_to_json())
    assert changed == {"name": "paper"}
    aims = json.loads(recipe("demo", tier_weights={"code_only": 0.5}, t=0.3).changes_to_json())
    assert aims["tier_weights"] == [["code_only", 0.5]]
    assert aims["t"] == 0.3
    assert "a0" not in aims
