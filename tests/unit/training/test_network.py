"""The detector: shapes, backbones, weights and the prior."""

from __future__ import annotations

import hashlib

import pytest
import torch

from training.network import build_network, upsample
from training.recipe import recipe
from training.torchvision_operators import import_torchvision, non_maximum_suppression
from warehouse_schema.errors import ConfigurationError


@pytest.mark.parametrize(
    ("backbone", "n_levels"),
    [("light", 3), ("resnet18", 4), ("regnet_y_400mf", 4), ("mobilenet_v3_small", 4)],
)
def test_maps_are_at_stride_four_and_start_at_the_prior(backbone, n_levels):
    ours, source = build_network(
        recipe("demo", backbone=backbone, findings=("a", "b", "c")), seed=0
    )
    logits = ours.eval()(torch.zeros(1, 1, 64, 96))
    assert logits.shape == (1, 3, 16, 24)
    assert torch.sigmoid(logits).mean().item() == pytest.approx(0.01, rel=0.2)
    assert len(ours.laterals) == n_levels
    assert source == "random"


def test_weights_follow_the_seed_and_leave_the_global_state():
    before = torch.random.get_rng_state()
    one, same, other = (build_network(recipe("demo"), seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    first = [network.state_dict()["backbone.stages.0.0.weight"] for network in (one, same, other)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])


def test_weights_of_a_file_are_loaded_and_named_by_hash(tmp_path):
    model = import_torchvision().models.get_model("resnet18", weights=None)
    path = tmp_path / "ours.pth"
    torch.save(model.state_dict(), path)
    ours, source = build_network(recipe("demo", backbone="resnet18", weights=str(path)), seed=0)
    assert source == f"ours.pth sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert torch.equal(ours.backbone.blocks[0][0].weight, model.conv1.weight)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "resnet19"}, "backbone: got 'resnet19', allowed are 'light' and"),
        ({"backbone": "vit_b_16"}, "gives no maps at strides 4, 8 and 16"),
        ({"backbone": "resnet18", "weights": "absent.pth"}, "no file absent.pth"),
        ({"weights": "imagenet"}, "backbone 'light' has none to load"),
    ],
)
def test_what_cannot_be_built_is_refused(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        build_network(recipe("demo", **changes), seed=0)


def test_a_foreign_weights_file_is_refused(tmp_path):
    path = tmp_path / "foreign.pth"
    path.write_bytes(b"no weights")
    with pytest.raises(ConfigurationError, match=r"foreign\.pth cannot be loaded"):
        build_network(recipe("demo", backbone="resnet18", weights=str(path)), seed=0)
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, path)
    with pytest.raises(ConfigurationError, match=r"foreign\.pth is of another backbone"):
        build_network(recipe("demo", backbone="resnet18", weights=str(path)), seed=0)


def test_logits_are_upsampled_before_the_sigmoid():
    logits = torch.full((1, 1, 16, 16), -6.0)
    logits[0, 0, 8, 8] = 6.0
    late = torch.sigmoid(upsample(logits, 64)).max().item()
    early = upsample(torch.sigmoid(logits), 64).max().item()
    assert early == pytest.approx(0.77, abs=0.01)
    assert late > 0.95


def test_non_maximum_suppression_drops_what_overlaps_a_better_box():
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [0, 0, 10, 10.5]])
    scores = torch.tensor([0.8, 0.9, 0.1, 0.7])
    assert non_maximum_suppression(boxes, scores, 0.5).tolist() == [1, 2]
    assert non_maximum_suppression(boxes, scores, 0.96).tolist() == [1, 0, 3, 2]
    assert non_maximum_suppression(boxes[:0], scores[:0], 0.5).tolist() == []
