"""Checkpoints: round trip, tampering, tearing and what stays on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from training.checkpoint import (
    checkpoint_paths,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)
from warehouse_schema.errors import CheckpointError, TrainingError

TENSORS = {
    "student/weight": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "student/count": torch.tensor(7),
    "optimizer/0/step": torch.tensor(3.0),
}


def save(folder: Path, number: int) -> Path:
    return save_checkpoint(folder, "last", number, TENSORS, {"number": number, "auroc": 0.1 + 0.2})


def test_round_trip(tmp_path):
    checkpoint = load_checkpoint(save(tmp_path, 1))
    assert checkpoint.state == {"number": 1, "auroc": 0.1 + 0.2}
    assert checkpoint.tensors.keys() == TENSORS.keys()
    assert all(torch.equal(checkpoint.tensors[name], TENSORS[name]) for name in TENSORS)
    assert checkpoint.part("student").keys() == {"weight", "count"}


def test_same_content_same_bytes(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert save(tmp_path / "a", 1).read_bytes() == save(tmp_path / "b", 1).read_bytes()


def test_two_newest_stay(tmp_path):
    for number in (1, 2, 3):
        save(tmp_path, number)
    names = [path.name for path in checkpoint_paths(tmp_path, "last")]
    assert names == ["last-00000003.safetensors", "last-00000002.safetensors"]
    assert len(list(tmp_path.iterdir())) == 4


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def change_the_state(path: Path) -> None:
    body = json.loads(path.with_suffix(".json").read_text())
    body["state"]["auroc"] = 0.99
    path.with_suffix(".json").write_text(json.dumps(body))


def tear_the_json(path: Path) -> None:
    path.with_suffix(".json").write_text("{")


def remove_the_tensors(path: Path) -> None:
    path.unlink()


def change_the_format(path: Path) -> None:
    body = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**body, "format": 99}))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (flip_a_byte, "was altered"),
        (change_the_state, "was altered"),
        (tear_the_json, "missing or torn"),
        (remove_the_tensors, "missing or torn"),
        (change_the_format, "format 99, this version reads format 2"),
    ],
)
def test_a_damaged_checkpoint_is_refused_and_the_one_before_taken(tmp_path, harm, message):
    save(tmp_path, 1)
    newest = save(tmp_path, 2)
    harm(newest)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(newest)
    before = newest_checkpoint(tmp_path, "last")
    assert before is not None
    assert before.state["number"] == 1


def test_none_where_there_is_none_and_an_error_where_all_are_damaged(tmp_path):
    assert newest_checkpoint(tmp_path, "last") is None
    flip_a_byte(save(tmp_path, 1))
    with pytest.raises(CheckpointError, match="was altered"):
        newest_checkpoint(tmp_path, "last")


def test_a_full_disk_leaves_the_one_before(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("warehouse_schema.durable_files.os.fsync", no_space)
    with pytest.raises(TrainingError, match="No space left on device"):
        save(tmp_path, 2)
    before = newest_checkpoint(tmp_path, "last")
    assert before is not None
    assert before.state["number"] == 1
    assert not list(tmp_path.glob(".*"))
