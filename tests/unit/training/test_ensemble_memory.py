"""The memory of temporal ensembling against its recursion written out, and after kills."""

from __future__ import annotations

import numpy as np
import pytest

from training.ensemble_memory import EnsembleMemory

SHAPE = (5, 2, 4, 4)
ALPHA = 0.6


def maps_of(epoch: int, rows: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(epoch)
    return rng.random(SHAPE, dtype=np.float32)[rows]


def rows_of(epoch: int) -> np.ndarray:
    """Films of an epoch: a stratified batch mix leaves some out."""
    return np.arange(SHAPE[0]) if epoch != 2 else np.array([0, 3])


def written_out(n_epochs: int) -> tuple[np.ndarray, np.ndarray]:
    mean, n_seen = np.zeros(SHAPE), np.zeros(SHAPE[0])
    for epoch in range(1, n_epochs + 1):
        rows = rows_of(epoch)
        mean[rows] = ALPHA * mean[rows] + (1 - ALPHA) * maps_of(epoch, rows)
        n_seen[rows] += 1
    return mean / (1 - ALPHA**n_seen)[:, None, None, None], n_seen > 0


def memory(folder) -> EnsembleMemory:
    return EnsembleMemory(folder=folder, shape=SHAPE, alpha=ALPHA)


def test_targets_are_the_bias_corrected_means(tmp_path):
    subject = memory(tmp_path)
    for epoch in range(1, 5):
        subject.begin_epoch(epoch)
        rows = rows_of(epoch)
        for part in np.array_split(rows, 2):
            subject.remember(part, maps_of(epoch, part))
    subject.begin_epoch(5)
    found, is_known = subject.targets(np.arange(SHAPE[0]))
    expected, expected_known = written_out(4)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.array_equal(is_known, expected_known)


def test_nothing_is_known_in_the_first_epoch(tmp_path):
    subject = memory(tmp_path)
    subject.begin_epoch(1)
    found, is_known = subject.targets(np.array([0, 1]))
    assert found.shape == (2, *SHAPE[1:])
    assert not is_known.any()


@pytest.mark.parametrize("killed_in", [1, 2, 3])
def test_a_killed_run_goes_on_with_the_same_means(tmp_path, killed_in):
    """Killed within an epoch and, going on, sees part of that epoch's films again."""
    plain, killed = memory(tmp_path / "plain"), memory(tmp_path / "killed")
    for epoch in range(1, 4):
        rows = rows_of(epoch)
        for subject in (plain, killed):
            subject.begin_epoch(epoch)
            subject.remember(rows[:2], maps_of(epoch, rows[:2]))
        if epoch == killed_in:
            killed = memory(tmp_path / "killed")
            killed.begin_epoch(epoch)
            killed.remember(rows[1:2], maps_of(epoch, rows[1:2]))
        for subject in (plain, killed):
            subject.remember(rows[2:], maps_of(epoch, rows[2:]))
    for subject in (plain, killed):
        subject.begin_epoch(4)
    for left, right in zip(*(s.targets(np.arange(5)) for s in (plain, killed)), strict=True):
        assert np.array_equal(left, right)


def test_a_run_may_return_to_the_epoch_before(tmp_path):
    subject = memory(tmp_path)
    for epoch in (1, 2, 3):
        subject.begin_epoch(epoch)
        subject.remember(rows_of(epoch), maps_of(epoch, rows_of(epoch)))
    subject.begin_epoch(4)
    expected = subject.targets(np.arange(5))[0]
    again = memory(tmp_path)
    again.begin_epoch(3)
    again.remember(rows_of(3), maps_of(3, rows_of(3)))
    again.begin_epoch(4)
    assert np.array_equal(again.targets(np.arange(5))[0], expected)


def test_files_of_long_past_epochs_go(tmp_path):
    subject = memory(tmp_path)
    for epoch in range(1, 7):
        subject.begin_epoch(epoch)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "count-4.npy",
        "count-5.npy",
        "mean-4.npy",
        "mean-5.npy",
        "seen-4.npy",
        "seen-5.npy",
        "seen-6.npy",
    ]
