"""What to say when a device's memory does not hold a micro-batch."""

from __future__ import annotations

from collections.abc import Callable

import torch

from warehouse_schema.errors import TrainingError


def memory_error(attempt: Callable[[int], None], n_films: int) -> TrainingError:
    """The error to raise after ``n_films`` were too many: it names a number that fits.

    Args:
        attempt: One forward and backward pass of so many films, as in training; may raise
            ``torch.OutOfMemoryError``.
        n_films: Films that did not fit.
    """
    fitting = _largest_fitting(attempt, n_films)
    if fitting == 0:
        return TrainingError(
            f"memory: the device holds not even one film (micro-batch {n_films} was tried first). "
            "Lower image_size_px, set is_recomputing = true, or take a smaller backbone. The last "
            "good checkpoint is kept."
        )
    return TrainingError(
        f"memory: the device does not hold a micro-batch of {n_films} films; {fitting} fit. Set "
        f"micro_batch_size = {fitting} in recipe_overrides; batch_size stays as it is, and under "
        "norm 'frozen' or 'group' so do the gradients. The last good checkpoint is kept."
    )


def _largest_fitting(attempt: Callable[[int], None], n_films: int) -> int:
    """The largest of n / 2, n / 4 ... that fits; 0 where not even one does."""
    while n_films > 1:
        n_films //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        try:
            attempt(n_films)
        except torch.OutOfMemoryError:
            continue
        return n_films
    return 0
