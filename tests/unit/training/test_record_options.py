"""Options beyond the paper on how far a record is believed; each is off by default."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from fabricated_films import FilmPlan

from training.aals import sharpen
from training.batches import Batch, BatchLoader
from training.film_dataset import UNCERTAIN, UNKNOWN, Role, load_films
from training.methods.aals import Aals
from training.methods.chexnet import CheXNet
from training.methods.li_mil import LiMil
from training.network import build_network
from training.recipe import recipe
from training.record_options import label_targets, record_weights
from warehouse_schema.errors import ConfigurationError

FINDINGS = ("rib_fracture", "clavicle_fracture")
POSITIVE, NEGATIVE, UNSURE = "positive", "negative", "uncertain"
PLANS = [
    FilmPlan("P", "train", (POSITIVE, NEGATIVE)),
    FilmPlan("P", "train", (POSITIVE, UNSURE)),
    FilmPlan("R", "train", (POSITIVE, NEGATIVE), (True, False)),
    FilmPlan("N", "train"),
]


@pytest.fixture
def films(make_store):
    return load_films(
        store=make_store(PLANS), fold=0, splits=["train"], findings=FINDINGS, image_size_px=64
    )


def test_everything_is_off_by_default(films, tiny_recipe):
    assert tiny_recipe.tier_weights == ()
    assert (tiny_recipe.uncertain_target, tiny_recipe.adaptive_t) == (None, None)
    assert (recipe("paper").batch_mix, recipe("paper").record_negative) == ("natural", "zero")
    assert (record_weights(films, tiny_recipe) == 1).all()
    assert films.labels.tolist() == [[1, 0], [1, UNCERTAIN], [1, 0], [0, 0]]
    assert films.roles[1].tolist() == [Role.DISTILL, Role.MASKED]


def test_a_tiers_weight_holds_for_positives_without_boxes_alone(films, tiny_recipe):
    chosen = dataclasses.replace(tiny_recipe, tier_weights=(("code_only", 0.25),))
    weights = record_weights(films, chosen)
    assert weights.tolist() == [[0.25, 1], [0.25, 1], [1, 1], [1, 1]]
    assert record_weights(dataclasses.replace(films, tiers=None), chosen).min() == 1
    loader = BatchLoader(films, chosen, seed=0, device=torch.device("cpu"))
    (batch,) = next(iter(loader.steps(1)))
    assert batch.weights.tolist() == weights[batch.rows].tolist()


@pytest.mark.parametrize(
    "wrong", [{"magic": 0.5}, {"code_only": -1}, {"code_only": "half"}, [["code_only"]], 0.5]
)
def test_wrong_tier_weights_are_refused(wrong):
    with pytest.raises(ConfigurationError, match=r"tier_weights: got .* allowed is weights from 0"):
        recipe("demo", tier_weights=wrong)


def batch_of(labels, roles, **more) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(
        films=torch.randn(len(labels), 1, 64, 64, generator=generator),
        targets=torch.zeros(len(labels), 2, 16, 16),
        valid_cells=torch.ones(len(labels), 1, 16, 16, dtype=torch.bool),
        roles=torch.tensor(roles, dtype=torch.int8),
        n_global=len(labels),
        labels=torch.tensor(labels, dtype=torch.int8),
        **more,
    )


P_ROLE = [(Role.DISTILL, Role.MASKED)]


def method_of(kind, settings):
    """A method whose teacher, where it has one, differs from the student."""
    students = [build_network(settings, seed=seed, kind=kind.network)[0] for seed in (1, 2)]
    for student in students:
        torch.nn.init.normal_(student.head.weight, std=0.5)
    return kind(settings, students[1], n_steps_per_epoch=1), students[0].eval()


@pytest.mark.parametrize("kind", [Aals, CheXNet, LiMil])
def test_losses_that_learn_from_the_record_are_weighted(tiny_recipe, kind):
    method, student = method_of(kind, tiny_recipe)

    def loss(**more) -> float:
        batch = batch_of([(1, UNKNOWN)], P_ROLE, **more)
        return float(method.losses(student, batch).total.detach())

    plain = loss()
    assert plain > 0
    assert loss(weights=torch.tensor([[0.25, 1.0]])) == pytest.approx(plain / 4, rel=1e-5)
    assert loss(weights=torch.ones(1, 2)) == pytest.approx(plain, rel=1e-6)


@pytest.mark.parametrize("kind", [Aals, CheXNet, LiMil])
def test_an_uncertain_finding_teaches_where_the_recipe_says_so(tiny_recipe, kind):
    def loss(target: float | None, label: int = UNCERTAIN) -> float:
        settings = dataclasses.replace(tiny_recipe, uncertain_target=target)
        method, student = method_of(kind, settings)
        batch = batch_of([(label, UNKNOWN)], [(Role.MASKED, Role.MASKED)])
        return float(method.losses(student, batch).total.detach())

    assert loss(None) == 0
    assert loss(0.7, label=UNKNOWN) == 0
    assert loss(0.7) > 0


def test_targets_of_labels(tiny_recipe):
    labels = torch.tensor([[1, 0], [UNCERTAIN, UNKNOWN]], dtype=torch.int8)
    targets, is_known = label_targets(labels, tiny_recipe)
    assert targets.tolist() == [[1, 0], [0, 0]]
    assert is_known.tolist() == [[True, True], [False, False]]
    smoothed, is_known = label_targets(
        labels, dataclasses.replace(tiny_recipe, uncertain_target=0.75)
    )
    assert smoothed.tolist() == [[1, 0], [0.75, 0]]
    assert is_known.tolist() == [[True, True], [True, False]]


def test_a_bag_of_uncertain_label_has_the_mixed_cross_entropy(tiny_recipe):
    method, student = method_of(LiMil, dataclasses.replace(tiny_recipe, uncertain_target=0.75))
    batch = batch_of([(UNCERTAIN, UNKNOWN)], [(Role.MASKED, Role.MASKED)])
    p = torch.sigmoid(student(batch.films).double())[0, 0]
    none = (1 - p).prod()
    expected = -(0.75 * torch.log(1 - none) + 0.25 * torch.log(none)) / 2
    found = float(method.losses(student, batch).total.detach())
    assert found == pytest.approx(float(expected.detach()), rel=1e-4)


def test_an_adaptive_centre_wakes_maps_below_t_and_leaves_the_rest_alone():
    z = torch.tensor([-2.0, 3.0])[:, None, None, None].expand(2, 1, 1, 1)
    valid = torch.ones(2, 1, 1, 1, dtype=torch.bool)
    plain = sharpen(z, valid, a0=4.0, t=0.4)
    adaptive = sharpen(z, valid, a0=4.0, t=0.4, t_share=0.5)
    assert plain.is_active.flatten().tolist() == [False, True]
    assert adaptive.is_active.flatten().tolist() == [True, True]
    assert adaptive.logits[1].item() == pytest.approx(plain.logits[1].item(), abs=1e-5)
    maximum = 1 / (1 + math.exp(2.0))
    centre = math.log(0.5 * maximum / (1 - 0.5 * maximum))
    gain = 3.0 * (1 - maximum)
    assert adaptive.logits[0].item() == pytest.approx(-2 + gain * (-2 - centre), abs=1e-5)


@pytest.mark.parametrize("level", [-60.0, 60.0])
def test_an_adaptive_centre_is_finite(level):
    z = torch.full((1, 1, 2, 2), level)
    result = sharpen(z, torch.ones(1, 1, 2, 2, dtype=torch.bool), a0=16.0, t=0.4, t_share=0.9)
    assert torch.isfinite(result.logits).all()
    assert (result.logits >= z).all()


def test_stratified_batches_hold_their_share(make_store, tiny_recipe):
    plans = [*[FilmPlan("P", "train", (POSITIVE, NEGATIVE))] * 3, *[FilmPlan("N", "train")] * 20]
    films = load_films(
        store=make_store(plans), fold=0, splits=["train"], findings=FINDINGS, image_size_px=64
    )
    settings = dataclasses.replace(tiny_recipe, batch_mix="stratified", positive_share=0.25)
    loader = BatchLoader(films, settings, seed=0, device=torch.device("cpu"))
    for (batch,) in loader.steps(1):
        is_positive = films.subsets[np.asarray(batch.rows)] == "P"
        assert is_positive.sum() == 2
