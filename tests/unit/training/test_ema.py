"""The teacher against a per-parameter loop in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from training.ema import Teacher, alpha_of_horizon, alpha_per_update


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))


def test_averages_parameters_and_running_statistics():
    student = network()
    teacher = Teacher(student, alpha=0.9)
    expected = {name: value.clone().double() for name, value in student.state_dict().items()}
    for step in range(5):
        student.train()
        student(torch.randn(4, 1, 8, 8) + step)
        with torch.no_grad():
            for parameter in student.parameters():
                parameter.add_(0.1)
        teacher.update(student)
        for name, value in student.state_dict().items():
            expected[name] = 0.9 * expected[name] + 0.1 * value.double()
    ours = teacher.network.state_dict()
    assert ours["1.num_batches_tracked"] == student.state_dict()["1.num_batches_tracked"] == 5
    for name in ours.keys() - {"1.num_batches_tracked"}:
        np.testing.assert_allclose(ours[name].numpy(), expected[name].numpy(), rtol=1e-5, atol=1e-6)
    assert not torch.equal(ours["1.running_mean"], torch.zeros(4))


def test_predicts_in_evaluation_mode_without_gradients():
    student = network().train()
    teacher = Teacher(student, alpha=0.5)
    before = {name: value.clone() for name, value in teacher.network.state_dict().items()}
    logits = teacher.predict(torch.randn(2, 1, 8, 8))
    assert not logits.requires_grad
    assert all(
        torch.equal(before[name], value) for name, value in teacher.network.state_dict().items()
    )


@pytest.mark.parametrize(("batch_size", "alpha"), [(48, 0.999), (24, 0.999**0.5), (96, 0.999**2)])
def test_alpha_holds_per_48_images(batch_size, alpha):
    assert alpha_per_update(alpha_per_48=0.999, batch_size=batch_size) == pytest.approx(alpha)


def test_horizon_is_the_memory_in_updates():
    assert alpha_of_horizon(n_updates=40) == pytest.approx(0.975)
    assert alpha_of_horizon(n_updates=0.5) == 0
