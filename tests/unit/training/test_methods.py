"""Gradients of the methods, and which films they learn from."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from training.batches import Batch
from training.film_dataset import Role
from training.methods import METHODS, method_named
from training.methods.aals import Aals
from training.methods.supervised import Supervised
from training.network import build_network
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


def test_names():
    assert {name: method.uses_p for name, method in METHODS.items()} == {
        "supervised": False,
        "aals": True,
    }
    with pytest.raises(ArgumentError, match="method: got 'magic', allowed are supervised, aals"):
        method_named("magic")
