"""Gradients of the methods, and which films they learn from."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from training.augmentation import AugmentationDraws, inverse_affine, warp
from training.batches import Batch
from training.film_dataset import Role
from training.methods import METHODS, method_named
from training.methods.aals import Aals
from training.methods.li_mil import LiMil, log_bag_probability
from training.methods.mean_teacher import MeanTeacher
from training.methods.pi_model import PiModel
from training.methods.supervised import Supervised
from training.methods.temporal_ensembling import TemporalEnsembling
from training.network import PatchDetector, build_network
from warehouse_schema.errors import ArgumentError


def batch_of(roles: list[tuple[int, int]]) -> Batch:
    generator = torch.Generator().manual_seed(0)
    targets = torch.zeros(len(roles), 2, 16, 16)
    targets[:, :, 4:8, 4:8] = 1
    boxed = torch.tensor(roles) == Role.BOXES
    return Batch(
        films=torch.randn(len(roles), 1, 64, 64, generator=generator),
        targets=targets * boxed[:, :, None, None],
        valid_cells=torch.ones(len(roles), 1, 16, 16, dtype=torch.bool),
        roles=torch.tensor(roles, dtype=torch.int8),
        n_global=len(roles),
        second_view=torch.randn(len(roles), 1, 64, 64, generator=generator),
        rows=torch.arange(len(roles)),
        geometry=torch.eye(2, 3).expand(len(roles), 2, 3),
        n_steps_done=10**6,
    )


def gradient(loss: torch.Tensor, network: torch.nn.Module) -> float:
    network.zero_grad()
    loss.backward()
    return sum(float(p.grad.abs().sum()) for p in network.parameters() if p.grad is not None)


R, P = (Role.BOXES, Role.RECORD_NEGATIVE), (Role.DISTILL, Role.RECORD_NEGATIVE)
MASKED = (Role.MASKED, Role.MASKED)


@pytest.fixture
def student(tiny_recipe):
    network, _ = build_network(tiny_recipe, seed=1)
    return network.train()


def aals(recipe, student, **changes) -> Aals:
    return Aals(dataclasses.replace(recipe, **changes), student, n_steps_per_epoch=10)


@pytest.mark.parametrize("roles", [[R, R], [P, P], [R, P]])
def test_student_learns_from_every_term_and_the_teacher_from_none(tiny_recipe, student, roles):
    # Another network as teacher: from its own copy the divergence would be flat at first.
    method = aals(tiny_recipe, build_network(tiny_recipe, seed=2)[0], record_negative="ignore")
    assert gradient(method.losses(student, batch_of(roles)).total, student) > 0
    assert all(p.grad is None and not p.requires_grad for p in method.teacher.network.parameters())


def test_distillation_alone_moves_the_student(tiny_recipe, student):
    method = aals(tiny_recipe, build_network(tiny_recipe, seed=2)[0], record_negative="ignore")
    losses = method.losses(student, batch_of([P, P]))
    assert losses.sums["loss_semi"] > 0
    assert losses.sums["loss_sup"] == 0
    assert gradient(losses.total, student) > 0


def test_masked_findings_move_nothing(tiny_recipe, student):
    for method in (
        aals(tiny_recipe, student),
        Supervised(tiny_recipe, student, n_steps_per_epoch=1),
    ):
        losses = method.losses(student, batch_of([MASKED, MASKED]))
        assert losses.total == 0
        assert gradient(losses.total, student) == 0


@pytest.mark.parametrize(
    ("choice", "has_supervised", "has_semi"),
    [("zero", True, False), ("ignore", False, False), ("distill", False, True)],
)
def test_record_negative(tiny_recipe, student, choice, has_supervised, has_semi):
    teacher = build_network(tiny_recipe, seed=2)[0]
    roles = [(Role.RECORD_NEGATIVE, Role.RECORD_NEGATIVE)] * 2
    sums = aals(tiny_recipe, teacher, record_negative=choice).losses(student, batch_of(roles)).sums
    assert (sums["loss_sup"] > 0, sums["loss_semi"] > 0) == (has_supervised, has_semi)
    assert sums["n_distilled"].tolist() == [0, 0]


def test_micro_batches_add_up_to_the_batch(tiny_recipe, student):
    student.eval()  # BatchNorm's statistics aside, as documented.
    whole = batch_of([R, P, R, P])
    method = aals(tiny_recipe, build_network(tiny_recipe, seed=2)[0])

    def part(rows: slice) -> Batch:
        fields = {
            name: getattr(whole, name)[rows]
            for name in ("films", "targets", "valid_cells", "roles")
        }
        return Batch(**fields, n_global=4)

    def gradients(batches: list[Batch]) -> list[torch.Tensor]:
        student.zero_grad()
        for batch in batches:
            method.losses(student, batch).total.backward()
        return [p.grad.clone() for p in student.parameters()]

    for one, two in zip(
        gradients([whole]), gradients([part(slice(0, 1)), part(slice(1, 4))]), strict=True
    ):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-7)


def test_telemetry_counts_positives_alone(tiny_recipe, student):
    losses = aals(tiny_recipe, student).losses(student, batch_of([R, P, P]))
    assert losses.sums["n_distilled"].tolist() == [2, 0]
    # An untrained network starts at the prior of 0.01, far below t: AALS does nothing yet.
    assert losses.sums["n_inactive"].tolist() == [2, 0]
    figures = aals(tiny_recipe, student).epoch_figures(
        {"n_distilled": [4, 0], "n_inactive": [1, 0], "boost": [0.2, 0], "maximum": [2, 0]}
    )
    assert figures == {
        "aals_inactive_share": [0.25, None],
        "aals_mean_boost": [0.05, None],
        "aals_mean_maximum": [0.5, None],
    }


def test_alpha_follows_the_recipe(tiny_recipe, student):
    assert aals(tiny_recipe, student).teacher.alpha == pytest.approx(0.9)
    by_images = aals(tiny_recipe, student, ema_epochs=None, batch_size=24)
    assert by_images.teacher.alpha == pytest.approx(0.999**0.5)


BASELINES = [PiModel, MeanTeacher, TemporalEnsembling]


def baseline(kind, recipe, student, folder, *, memory=0.9, **changes):
    """A baseline whose opinion differs from the student's: of another teacher or memory."""
    recipe = dataclasses.replace(recipe, **changes)
    method = kind(recipe, build_network(recipe, seed=2)[0], n_steps_per_epoch=10)
    method.open(folder=folder, n_films=4)
    method.begin_epoch(1)
    if kind is TemporalEnsembling and memory is not None:
        rows = np.arange(4)
        method._memory.remember(rows, np.full((4, 2, 16, 16), memory, dtype=np.float32))
        method.begin_epoch(2)
    return method


@pytest.mark.parametrize("kind", BASELINES)
def test_the_consistency_term_is_not_zero_and_moves_the_student_alone(
    tiny_recipe, student, tmp_path, kind
):
    method = baseline(kind, tiny_recipe, student, tmp_path)
    losses = method.losses(student, batch_of([P, P]))
    assert losses.sums["loss_sup"] == 0  # P is unlabelled, also where its record denies.
    assert losses.sums["loss_consistency"] > 0
    total = float(losses.total.detach())
    assert total == pytest.approx(100 * float(losses.sums["loss_consistency"]))
    assert gradient(losses.total, student) > 0
    if method.teacher is not None:
        assert all(p.grad is None for p in method.teacher.network.parameters())


@pytest.mark.parametrize("kind", BASELINES)
def test_boxes_and_what_the_record_denies_beside_them_are_labels(
    tiny_recipe, student, tmp_path, kind
):
    def supervised(roles, **changes):
        method = baseline(kind, tiny_recipe, student, tmp_path, **changes)
        return float(method.losses(student, batch_of(roles)).sums["loss_sup"])

    student.eval()
    assert supervised([R, P]) > supervised([R, P], record_negative="ignore") > 0
    assert supervised([P, P]) == supervised([MASKED, MASKED]) == 0


@pytest.mark.parametrize("kind", BASELINES)
def test_the_weight_rises_over_a_share_of_the_steps(tiny_recipe, student, tmp_path, kind):
    method = baseline(kind, tiny_recipe, student, tmp_path, n_epochs=10, consistency_rise=0.5)
    weights = [method.weight(step) for step in (0, 25, 50, 99)]
    assert weights == pytest.approx([100 * math.exp(-5), 100 * math.exp(-5 / 4), 100, 100])
    at_once = baseline(kind, tiny_recipe, student, tmp_path, consistency_rise=0.0)
    assert at_once.weight(0) == 100


def test_the_pi_model_learns_through_both_passes(tiny_recipe, student, tmp_path):
    batch = batch_of([P, P])
    method = baseline(PiModel, tiny_recipe, student, tmp_path)
    other, _ = method.opinion(student, batch, torch.zeros(2, 2, 16, 16))
    assert gradient(other.sum(), student) > 0
    same = dataclasses.replace(batch, second_view=batch.films)
    student.eval()
    assert method.losses(student, same).sums["loss_consistency"] == 0


def test_the_mean_teacher_is_asked_about_the_second_view_in_evaluation_mode(
    tiny_recipe, student, tmp_path
):
    batch = batch_of([R, P])
    method = baseline(MeanTeacher, tiny_recipe, student, tmp_path)
    teacher = method.teacher.network
    assert not teacher.training
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    other, has_opinion = method.opinion(student, batch, torch.zeros(2, 2, 16, 16))
    assert torch.equal(other, torch.sigmoid(teacher(batch.second_view)))
    assert has_opinion.all()
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())


def test_temporal_ensembling_has_no_opinion_of_films_it_has_not_seen(
    tiny_recipe, student, tmp_path
):
    method = baseline(TemporalEnsembling, tiny_recipe, student, tmp_path, memory=None)
    losses = method.losses(student, batch_of([P, P]))
    assert losses.sums["loss_consistency"] == 0
    method.begin_epoch(2)
    assert method.losses(student, batch_of([P, P, P])).sums["loss_consistency"] > 0
    _, is_known = method._memory.targets(np.arange(4))
    assert is_known.tolist() == [True, True, False, False]


@pytest.mark.parametrize("is_flipped", [False, True])
def test_maps_are_remembered_in_the_frame_of_the_plain_film(
    tiny_recipe, student, tmp_path, is_flipped
):
    method = baseline(TemporalEnsembling, tiny_recipe, student, tmp_path, memory=None)
    turn = np.deg2rad(np.float32([8.0]))
    flip = np.array([is_flipped])
    ones, none = np.ones(1, np.float32), np.zeros(1, np.float32)
    draws = AugmentationDraws(turn, flip, ones, ones, none, ones, none)
    geometry = torch.from_numpy(inverse_affine(draws))
    batch = dataclasses.replace(batch_of([P]), geometry=geometry)
    plain = torch.zeros(1, 2, 16, 16)
    plain[..., 4:7, 9:13] = 1.0
    seen = warp(plain, geometry, size_px=16)
    method.opinion(student, batch, seen)
    method.begin_epoch(2)
    mean, _ = method._memory.targets(np.array([0]))
    assert np.abs(mean - plain.numpy()).mean() < 0.03
    assert mean[..., 5, 10:12].min() > 0.6
    other, _ = method.opinion(student, batch, seen)
    assert (other - seen).abs().mean() < 0.03


def mil(recipe, logits, labels, roles, *, targets=None, box_weight=5.0) -> float:
    """Li et al.'s loss of patch logits that stand for a network's."""
    method = LiMil(
        dataclasses.replace(recipe, mil_box_weight=box_weight),
        torch.nn.Identity(),
        n_steps_per_epoch=1,
    )
    batch = dataclasses.replace(
        batch_of(roles), labels=torch.tensor(labels, dtype=torch.int8), targets=targets
    )
    return float(method.losses(lambda films: logits, batch).total)


def test_li_mil_is_the_loss_of_the_products_written_out(tiny_recipe):
    logits = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    p = torch.sigmoid(logits.double())
    targets = torch.zeros(4, 2, 24, 24)
    targets[0, 0, 2:5, 9:12] = 1.0  # touches the patch in row 0, column 1
    inside = torch.zeros(3, 3, dtype=torch.bool)
    inside[0, 1] = True
    labels = [(1, 0), (1, 0), (0, 0), (1, -1)]
    roles = [
        (Role.BOXES, Role.RECORD_NEGATIVE),
        P,
        (Role.BOXES, Role.BOXES),
        (Role.DISTILL, Role.MASKED),
    ]

    def none(k, c):
        return -torch.log((1 - p[k, c]).prod())

    def bag(k, c):
        return -torch.log(1 - (1 - p[k, c]).prod())

    boxed = -torch.log(torch.where(inside, p[0, 0], 1 - p[0, 0]).prod())
    expected = (
        5 * boxed + none(0, 1) + bag(1, 0) + none(1, 1) + none(2, 0) + none(2, 1) + bag(3, 0)
    ) / (2 * 4)
    found = mil(tiny_recipe, logits, labels, roles, targets=targets)
    assert found == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("level", [-30.0, -8.0, 0.0, 30.0])
def test_a_bags_probability_has_a_finite_logarithm_and_gradient(level):
    logits = torch.full((1, 1, 32, 32), level, requires_grad=True)
    value = log_bag_probability(logits)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad >= 0).all()


def test_patches_are_means_of_cells_and_share_the_detectors_weights(tiny_recipe, student):
    patches, _ = build_network(tiny_recipe, seed=1, kind=PatchDetector)
    films = batch_of([R]).films
    student.eval(), patches.eval()
    cells = student(films)
    assert patches(films).shape == (1, 2, 2, 2)
    torch.testing.assert_close(patches(films)[0, 0, 0, 1], cells[0, 0, :8, 8:].mean())


def test_names():
    assert {name: method.uses_p for name, method in METHODS.items()} == {
        "supervised": False,
        "aals": True,
        "chexnet": True,
        "retinanet": False,
        "fcos": False,
        "pi-model": True,
        "mean-teacher": True,
        "temporal-ensembling": True,
        "li-mil": True,
    }
    with pytest.raises(ArgumentError, match="method: got 'magic', allowed are supervised, aals"):
        method_named("magic")
