"""torchvision's detectors without the defaults that would distort a comparison."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.batches import Batch
from training.box_detectors import FcosDetector, RetinaNetDetector, paint_boxes
from training.film_dataset import Role
from training.methods.box_detection import FcosMethod, RetinaNetMethod, box_targets
from training.network import build_network
from training.recipe import recipe

KINDS = {"retinanet": RetinaNetDetector, "fcos": FcosDetector}
METHODS = {"retinanet": RetinaNetMethod, "fcos": FcosMethod}
N_ANCHORS = {"retinanet": 9, "fcos": 1}
NAMES = sorted(KINDS)


@pytest.fixture
def networks(tiny_recipe):
    return {name: build_network(tiny_recipe, seed=0, kind=kind)[0] for name, kind in KINDS.items()}


def films_of(n: int, size: int = 64) -> torch.Tensor:
    return torch.randn(n, 1, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [64, 96, 256])
def test_a_film_is_never_resized(networks, name, size):
    outputs = networks[name](films_of(1, size))
    places = sum((-(-size // stride)) ** 2 for stride in (4, 8, 16, 32, 64))
    assert outputs["cls_logits"].shape == (1, N_ANCHORS[name] * places, 2)
    anchors = torch.cat(networks[name]._anchors(size, torch.device("cpu")))
    assert len(anchors) == N_ANCHORS[name] * places
    # The stride of the coarsest level, not the side over the number of its cells (96 // 2 = 48).
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    n_coarsest = N_ANCHORS[name] * (-(-size // 64)) ** 2
    assert set(centres[-n_coarsest:].flatten().tolist()) <= set(range(0, size + 64, 64))


@pytest.mark.parametrize("name", NAMES)
def test_torchvisions_limits_are_undone(networks, name, tiny_recipe):
    detector = networks[name].detector
    assert detector.score_thresh == 0.0
    assert detector.detections_per_img > 10**6
    assert detector.transform.min_size == (tiny_recipe.image_size_px,)
    assert detector.transform.max_size == tiny_recipe.image_size_px


def targets_of(boxes: list[list[float]], labels: list[int]) -> dict[str, torch.Tensor]:
    return {"boxes": torch.tensor(boxes).reshape(-1, 4), "labels": torch.tensor(labels).long()}


@pytest.mark.parametrize("name", NAMES)
def test_the_losses_are_torchvisions_own(networks, name):
    network = networks[name].train()
    films = films_of(3)
    targets = [
        targets_of([[10, 10, 30, 22], [40, 40, 60, 62]], [0, 1]),
        targets_of([], []),
        targets_of([[5, 20, 20, 30]], [0]),
    ]
    network.detector.backbone.eval()
    papers = network.detector(list(films), targets)
    ours = network.losses(network(films), targets, torch.zeros(3, 2, dtype=torch.bool), size_px=64)
    assert ours.keys() == papers.keys()
    for key, value in papers.items():
        torch.testing.assert_close(ours[key], value)


@pytest.mark.parametrize("name", NAMES)
def test_films_without_boxes_teach_background(networks, name):
    network = networks[name]
    parts = network.losses(
        network(films_of(2)), [targets_of([], [])] * 2, torch.zeros(2, 2).bool(), size_px=64
    )
    assert parts["classification"] > 0
    assert parts["bbox_regression"] == 0
    parts["classification"].backward()
    assert sum(float(p.grad.abs().sum()) for p in network.parameters() if p.grad is not None) > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_silent_finding_has_no_loss_and_no_gradient(networks, name):
    outputs = networks[name](films_of(1))
    outputs["cls_logits"].retain_grad()
    silent = torch.tensor([[True, False]])
    parts = networks[name].losses(outputs, [targets_of([], [])], silent, size_px=64)
    parts["classification"].backward()
    gradients = outputs["cls_logits"].grad
    assert gradients[..., 0].abs().sum() == 0
    assert gradients[..., 1].abs().sum() > 0
    all_silent = networks[name].losses(
        networks[name](films_of(1)), [targets_of([], [])], torch.ones(1, 2).bool(), size_px=64
    )
    assert float(all_silent["classification"].detach()) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_every_detection_is_kept_and_findings_do_not_crowd_one_another(networks, name):
    network = networks[name].eval()
    outputs = network(films_of(1, 256))
    outputs["cls_logits"][..., 0] = 8.0
    outputs["cls_logits"][..., 1] = -8.0
    for finding in range(2):
        found = network._detections(outputs, finding, 256)[0]
        # torchvision's own limits: 300 and 100 together, none below 0.05 and 0.2.
        assert len(found["scores"]) > 300
        assert set(found["labels"].tolist()) == {0}
    assert float(found["scores"].max()) < 0.05


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_the_image_score_is_the_best_detection_and_the_padding_is_empty(networks, name):
    network = networks[name].eval()
    valid = torch.ones(2, 1, 64, 64, dtype=torch.bool)
    valid[..., :8] = False
    plain = network.score(films_of(2))
    assert plain.maps.shape == (2, 2, 64, 64)
    assert torch.equal(plain.maps.amax(dim=(-2, -1)), plain.images)
    assert network.score(films_of(2), valid).maps[..., :8].max() == 0
    alone = network.score(films_of(2), is_mapped=False)
    assert alone.maps is None
    assert torch.equal(alone.images, plain.images)


BOXES = st.lists(
    st.tuples(*[st.floats(0, 12)] * 4, st.floats(0.001, 1)).map(
        lambda v: (min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]), max(v[1], v[3]), v[4])
    ),
    max_size=8,
)


def touched(low: float, high: float) -> set[int]:
    """Pixels of a row that an interval touches, and always its middle's."""
    middle = min(int((low + high) / 2), 11)
    return {middle} | {pixel for pixel in range(12) if pixel < high and pixel + 1 > low}


@settings(deadline=None)
@given(BOXES)
def test_a_pixel_takes_the_highest_score_of_the_boxes_that_cover_it(found):
    painted = np.zeros((12, 12), dtype=np.float32)
    rows = np.array(found).reshape(-1, 5)
    paint_boxes(painted, rows[:, :4], rows[:, 4])
    expected = np.zeros((12, 12), dtype=np.float32)
    for x_min, y_min, x_max, y_max, score in found:
        for row in touched(y_min, y_max):
            for column in touched(x_min, x_max):
                expected[row, column] = max(expected[row, column], np.float32(score))
    np.testing.assert_array_equal(painted, expected)


def batch_of(roles: list[tuple[int, int]], boxes: list[list[torch.Tensor]], n_global: int) -> Batch:
    return Batch(
        films=films_of(len(roles)),
        targets=torch.zeros(len(roles), 2, 16, 16),
        valid_cells=torch.ones(len(roles), 1, 16, 16, dtype=torch.bool),
        roles=torch.tensor(roles, dtype=torch.int8),
        n_global=n_global,
        boxes=boxes,
    )


NONE = torch.zeros(0, 4)
BOX = torch.tensor([[10.0, 10.0, 30.0, 22.0]])
R, UNBOXED = (Role.BOXES, Role.RECORD_NEGATIVE), (Role.BOXES, Role.DISTILL)


@pytest.mark.parametrize("name", NAMES)
def test_the_student_learns_from_boxes_and_a_positive_without_boxes_is_not_background(
    networks, name, tiny_recipe
):
    method = METHODS[name](tiny_recipe, networks[name], n_steps_per_epoch=1)
    assert method.teacher is None
    losses = method.losses(networks[name], batch_of([R], [[BOX, NONE]], 1))
    losses.total.backward()
    assert all(float(losses.sums[key]) > 0 for key in losses.sums)
    heads = networks[name].detector.head
    for part in (heads.classification_head, heads.regression_head):
        assert sum(float(p.grad.abs().sum()) for p in part.parameters()) > 0
    whole = method.losses(networks[name], batch_of([R, R], [[BOX, NONE], [BOX, NONE]], 4))
    assert float(whole.total.detach()) == pytest.approx(
        sum(float(value) for key, value in whole.sums.items() if key != "loss"), rel=1e-5
    )
    ignoring = dataclasses.replace(tiny_recipe, record_negative="ignore")
    silent = METHODS[name](ignoring, networks[name], n_steps_per_epoch=1)
    for choice, roles in ((method, UNBOXED), (silent, R)):
        value = choice.losses(networks[name], batch_of([roles], [[BOX, NONE]], 1))
        assert value.sums["loss_classification"] < losses.sums["loss_classification"]


def test_a_wrapped_student_has_the_same_losses(networks, tiny_recipe):
    class Wrapped(torch.nn.Module):
        def __init__(self, module: torch.nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, films: torch.Tensor) -> dict[str, torch.Tensor]:
            return self.module(films)

    network = networks["fcos"].eval()
    method = FcosMethod(tiny_recipe, network, n_steps_per_epoch=1)
    batch = batch_of([R], [[BOX, NONE]], 1)
    plain, wrapped = method.losses(network, batch), method.losses(Wrapped(network), batch)
    torch.testing.assert_close(plain.total, wrapped.total)


def test_targets_leave_silent_findings_out():
    silent = torch.tensor([[False, False], [True, False], [False, False]])
    found = box_targets([[BOX, BOX + 1], [BOX, BOX], [NONE, NONE]], silent)
    assert [target["labels"].tolist() for target in found] == [[0, 1], [1], []]
    assert [target["boxes"].shape for target in found] == [(2, 4), (1, 4), (0, 4)]


def test_the_paper_recipe_has_torchvisions_strides():
    settings_ = recipe("paper", weights="random", pyramid_width=32)
    network, _ = build_network(settings_, seed=0, kind=RetinaNetDetector)
    assert network.strides == (8, 16, 32, 64, 128)
    assert network.detector.anchor_generator.sizes[0] == (32, 40, 50)
