"""Checks what a run is to be trained on, before anything is written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from training.film_dataset import FilmSet, Role, load_films
from training.methods import method_named
from training.recipe import Recipe
from warehouse_schema.errors import CohortError
from warehouse_schema.pixel_shards import open_array
from warehouse_schema.store import Store

_STREAM = 3


@dataclass(frozen=True)
class RunInputs:
    """Training and validation films of a run.

    Attributes:
        train: Films that the method trains on.
        validation: Films that choose the best epoch.
        n_films_step1: Training films in R and N.
        n_films_step2: Training films in R, P and N, of P the recipe's share.
        fingerprint: SHA-256 over the films.
    """

    train: FilmSet
    validation: FilmSet
    n_films_step1: int
    n_films_step2: int
    fingerprint: str


def load_run_inputs(
    *, store: Store, recipe: Recipe, method: str, fold: int, seed: int
) -> RunInputs:
    """Films of a run, checked.

    Raises:
        CohortError: The fold is empty, or lacks boxes, negatives, P, or a class to validate on.
        WarehouseError: A file of the cache is missing or torn.
    """
    splits = {
        split: load_films(
            store=store,
            fold=fold,
            splits=[split],
            findings=recipe.findings,
            image_size_px=recipe.image_size_px,
        )
        for split in ("train", "validation")
    }
    train = _of_method(splits["train"], recipe, method, seed)
    _check_training_films(train, recipe, method, fold)
    _check_validation_films(splits["validation"], recipe, fold)
    digest = hashlib.sha256()
    for films in (train, splits["validation"]):
        for shard_name in sorted({name for name, _, _ in films.shards}):
            open_array(films.cache / shard_name)
        digest.update(films.fingerprint.encode())
    if recipe.tier_weights and train.tiers is not None:
        digest.update(str(train.tiers.tolist()).encode())
    n_p = splits["train"].count("P")
    n_films_step1 = len(splits["train"]) - n_p
    return RunInputs(
        train=train,
        validation=splits["validation"],
        n_films_step1=n_films_step1,
        n_films_step2=n_films_step1 + round(recipe.p_fraction * n_p),
        fingerprint=digest.hexdigest(),
    )


def _of_method(films: FilmSet, recipe: Recipe, method: str, seed: int) -> FilmSet:
    """R and N, with the recipe's share of P where the method uses P."""
    kept = films.subsets != "P"
    if method_named(method).uses_p:
        rows = np.flatnonzero(~kept)
        rng = np.random.default_rng(np.random.SeedSequence([seed, _STREAM]))
        kept[rng.permutation(rows)[: round(recipe.p_fraction * len(rows))]] = True
    return films.take(np.flatnonzero(kept))


def _check_training_films(films: FilmSet, recipe: Recipe, method: str, fold: int) -> None:
    where = f"cohort: the training split of fold {fold}"
    kind = method_named(method)
    for column, finding in enumerate(recipe.findings if kind.learns_from_boxes else ()):
        is_boxed = (films.roles[:, column] == Role.BOXES) & (films.labels[:, column] == 1)
        if not is_boxed.any():
            raise CohortError(
                f"{where} has no boxed positive of {finding}. Import boxes of it with "
                "`ribline import-boxes` and run `ribline build-cohort`, or leave it out of the "
                "recipe's findings."
            )
    if not films.count("N"):
        raise CohortError(
            f"{where} has no negatives (N). Check the labels, then run `ribline build-cohort`."
        )
    if method_named(method).uses_p and not (films.roles == Role.DISTILL).any():
        raise CohortError(
            f"{where} has no positives without boxes (P), which {method} learns from. "
            "Use --method supervised, or more records."
        )


def _check_validation_films(films: FilmSet, recipe: Recipe, fold: int) -> None:
    has_both = [
        {0, 1} <= set(films.labels[:, column].tolist()) for column in range(len(recipe.findings))
    ]
    if not any(has_both):
        raise CohortError(
            f"cohort: the validation split of fold {fold} has no finding with both positives and "
            f"negatives (findings: {', '.join(recipe.findings)}), so no best epoch can be chosen. "
            "Use more records, or another fold."
        )
