"""Prefect flow train-aals: supervised pre-training, then AALS, evaluated and compared."""

from __future__ import annotations

from prefect import flow

from flows import tasks
from flows.artifacts import publish_results
from flows.experiment import SUPERVISED, initial_run_of
from flows.recipe_parameters import (
    AdaptiveCentre,
    BatchMix,
    Centre,
    Fold,
    MethodName,
    PFraction,
    RecipeName,
    RecordNegative,
    Seed,
    Strength,
    TierWeights,
    UncertainTarget,
    changes_of,
)
from flows.run_names import training_name


@flow(
    name="train-aals",
    flow_run_name=training_name,
    validate_parameters=True,
    persist_result=True,
    result_serializer="json",
)
def train_aals(  # noqa: PLR0917 - Prefect shows parameters in this order
    fold: Fold = 0,
    seed: Seed = None,
    recipe: RecipeName = None,
    method: MethodName = "aals",
    t: Centre = None,
    a0: Strength = None,
    p_fraction: PFraction = None,
    adaptive_t: AdaptiveCentre = None,
    record_negative: RecordNegative = None,
    batch_mix: BatchMix = None,
    tier_weights: TierWeights = None,
    uncertain_target: UncertainTarget = None,
) -> list[str]:
    """Train the supervised run and the method's run on one fold; returns their run_ids."""
    changes = changes_of(
        t=t,
        a0=a0,
        p_fraction=p_fraction,
        adaptive_t=adaptive_t,
        record_negative=record_negative,
        batch_mix=batch_mix,
        tier_weights=tier_weights,
        uncertain_target=uncertain_target,
    )
    run_ids: list[str] = []
    for name in (SUPERVISED, method):
        initial = initial_run_of(name, run_ids)
        run_id = tasks.train(name, fold, seed, recipe, initial, changes=changes)
        tasks.predict(run_id)
        tasks.evaluate(run_id)
        run_ids.append(run_id)
    tasks.compare(*run_ids)
    report = tasks.write_report(run_ids)
    publish_results("train-aals", title=f"{method}, fold {fold}", run_ids=run_ids, report=report)
    return run_ids
