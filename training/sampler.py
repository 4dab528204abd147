"""Which films a step sees: a function of seed, epoch and step alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.recipe import Recipe

_STREAM = 2


def n_steps_per_epoch(recipe: Recipe, n_films: int) -> int:
    """Steps of one epoch over ``n_films``."""
    if recipe.steps_per_epoch is not None:
        return recipe.steps_per_epoch
    return recipe.passes_per_epoch * _steps_per_pass(recipe, n_films)


def _steps_per_pass(recipe: Recipe, n_films: int) -> int:
    return max(1, -(-n_films // recipe.batch_size))


def epoch_batches(
    recipe: Recipe, *, is_positive: NDArray[np.bool_], seed: int, epoch: int
) -> list[NDArray[np.intp]]:
    """Rows of each step's films in one epoch.

    ``natural``: a permutation for each pass, cut into equal parts (sizes differ by one at most, so
    that no step ends up with a handful of films); every film comes once in each pass.
    With ``steps_per_epoch`` films come in one endless chain of permutations instead.
    ``stratified``: as many steps, each with ``positive_share`` positives; each class walks through
    permutations of its own, and goes on in the next epoch where the last one stopped.

    Args:
        recipe: Batch size and mix.
        is_positive: True for R and P, (n,).
        seed: Seed of the run.
        epoch: From 1.
    """
    n_films, n_passes = len(is_positive), recipe.passes_per_epoch
    n_steps = n_steps_per_epoch(recipe, n_films)
    first = (epoch - 1) * n_steps
    if recipe.batch_mix == "natural" and recipe.steps_per_epoch is not None:
        return list(_walk(np.arange(n_films), first, n_steps, recipe.batch_size, seed, kind=0))
    if recipe.batch_mix == "natural":
        first_pass = (epoch - 1) * n_passes
        orders = [
            _permutation(n_films, seed, first_pass + number, kind=0) for number in range(n_passes)
        ]
        n_parts = _steps_per_pass(recipe, n_films)
        return [part for order in orders for part in np.array_split(order, n_parts)]
    n_positive = max(1, round(recipe.positive_share * recipe.batch_size))
    n_negative = max(1, recipe.batch_size - n_positive)
    positives = _walk(np.flatnonzero(is_positive), first, n_steps, n_positive, seed, kind=1)
    negatives = _walk(np.flatnonzero(~is_positive), first, n_steps, n_negative, seed, kind=2)
    return [np.concatenate(rows) for rows in zip(positives, negatives, strict=True)]


def _walk(
    rows: NDArray[np.intp], first_step: int, n_steps: int, n_each: int, seed: int, *, kind: int
) -> NDArray[np.intp]:
    """(n_steps, n_each) rows from an endless chain of permutations."""
    start, stop = first_step * n_each, (first_step + n_steps) * n_each
    rounds = range(start // len(rows), -(-stop // len(rows)))
    chain = np.concatenate(
        [rows[_permutation(len(rows), seed, number, kind=kind)] for number in rounds]
    )
    begin = start - rounds.start * len(rows)
    return chain[begin : begin + stop - start].reshape(n_steps, n_each)


def _permutation(n: int, seed: int, number: int, *, kind: int) -> NDArray[np.intp]:
    rng = np.random.Generator(
        np.random.Philox(np.random.SeedSequence([seed, _STREAM, kind, number]))
    )
    return rng.permutation(n)
