"""Fixtures: fabricated stores of tiny films, and a recipe of seconds."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from training.recipe import Recipe, recipe
from warehouse_schema.store import Store

_SPEC = importlib.util.spec_from_file_location(
    "fabricated_films", Path(__file__).with_name("fabricated_films.py")
)
assert _SPEC is not None
assert _SPEC.loader is not None
fabricated_films = importlib.util.module_from_spec(_SPEC)
sys.modules["fabricated_films"] = fabricated_films
_SPEC.loader.exec_module(fabricated_films)


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., Store]:
    """Fabricates a store: ``make_store(plans, name)``."""

    def make(plans: list[object] | None = None, name: str = "home") -> Store:
        planned = fabricated_films.plan_cohort() if plans is None else plans
        store: Store = fabricated_films.fabricate(tmp_path / name, planned)
        return store

    return make


@pytest.fixture
def tiny_recipe() -> Recipe:
    """Seconds on one core."""
    return recipe(
        "demo",
        image_size_px=64,
        crop_px=None,
        batch_size=8,
        batch_mix="natural",
        n_epochs=2,
        passes_per_epoch=1,
        step2_n_epochs=None,
        warmup_steps=0,
        n_cpu_threads=1,
    )
