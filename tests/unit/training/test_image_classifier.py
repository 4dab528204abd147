"""CheXNet: image labels in, one probability and a class activation map out."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from training.batches import Batch
from training.film_dataset import Role
from training.image_classifier import ImageClassifier
from training.methods.chexnet import CheXNet
from training.network import build_network


@pytest.fixture
def network(tiny_recipe):
    return build_network(tiny_recipe, seed=0, kind=ImageClassifier)[0].eval()


FILMS = torch.randn(3, 1, 64, 64, generator=torch.Generator().manual_seed(0))


def batch_of(labels: list[tuple[int, int]]) -> Batch:
    return Batch(
        films=FILMS[: len(labels)],
        targets=torch.zeros(len(labels), 2, 16, 16),
        valid_cells=torch.ones(len(labels), 1, 16, 16, dtype=torch.bool),
        roles=torch.full((len(labels), 2), int(Role.DISTILL), dtype=torch.int8),
        n_global=len(labels),
        labels=torch.tensor(labels, dtype=torch.int8),
    )


@torch.no_grad()
def test_a_logit_is_the_mean_of_its_activation_map(network):
    features = network.backbone(FILMS)[-1].mean(dim=(-2, -1))
    pooled = torch.nn.functional.linear(features, network.head.weight.flatten(1), network.head.bias)
    torch.testing.assert_close(network(FILMS), pooled, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_scores_are_the_films_and_not_the_maps_maximum(network):
    network.head.weight.mul_(200)
    valid = torch.ones(3, 1, 64, 64, dtype=torch.bool)
    valid[..., 56:] = False
    scores = network.score(FILMS, valid)
    torch.testing.assert_close(scores.images, torch.sigmoid(network(FILMS)))
    assert scores.maps.shape == (3, 2, 64, 64)
    assert scores.maps[..., 56:].max() == 0
    assert (scores.maps.amax(dim=(-2, -1)) > scores.images).all()
    assert not network.has_comparable_maps
    assert network.score(FILMS, is_mapped=False).maps is None


def test_the_loss_is_the_cross_entropy_of_known_labels(tiny_recipe, network):
    method = CheXNet(tiny_recipe, network, n_steps_per_epoch=1)
    labels = [(1, 0), (0, -1), (-1, -1)]
    losses = method.losses(network, batch_of(labels))
    p = torch.sigmoid(network(FILMS))
    expected = -(p[0, 0].log() + (1 - p[0, 1]).log() + (1 - p[1, 0]).log()) / (2 * 3)
    assert float(losses.total.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    losses.total.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.head.parameters())
    network.zero_grad()
    unknown = dataclasses.replace(batch_of(labels), labels=torch.full((3, 2), -1))
    method.losses(network, unknown).total.backward()
    assert sum(float(p.grad.abs().sum()) for p in network.parameters()) == 0
