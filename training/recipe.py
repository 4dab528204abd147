"""A recipe: every choice that a training run's numbers depend on, in one frozen dataclass."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from training.normalisation import Norm
from warehouse_schema.errors import ConfigurationError

Optimizer = Literal["adam", "adamw"]
Schedule = Literal["constant", "cosine"]
BatchMix = Literal["natural", "stratified"]
RecordNegative = Literal["zero", "ignore", "distill"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of a training run; where the paper names a value, `paper` has it.

    Attributes:
        name: Name of the recipe, kept in training_runs.
        findings: One output channel each, in this order.
        backbone: `light`, or a convolutional classification model of torchvision.
        weights: `random`, `imagenet` (from torchvision's cache), or a weights file of the backbone.
        pyramid_width: Channels of the feature pyramid.
        image_size_px: Side of the network's input, a multiple of 32. Cached films of another size
            are resized.
        crop_px: Side of the windows that step 1 trains on, a multiple of 32: around a box in R,
            anywhere in N. None: whole films, as in the paper and always in step 2.
        batch_size: Films in one optimiser step.
        micro_batch_size: Films in one forward and backward pass; gradients add up to those of
            the batch, BatchNorm's statistics aside. None: the whole batch.
        n_epochs: Epochs, each over R and N in step 1, over R, P and N in step 2.
        passes_per_epoch: Passes of step 1 over its films in one epoch; more than one where passes
            are so short that validation would take the time. Step 2 makes one.
        steps_per_epoch: Optimiser steps of an epoch. None: as many as its passes take; the protocol
            sets it where a method is to take as many steps as another.
        step2_batch_size: Batch size of step 2, that is of every run that starts from another run's
            best epoch. None: as in step 1; so with the next two.
        step2_n_epochs: Epochs of step 2.
        step2_learning_rate: Learning rate of step 2.
        optimizer: `adam` adds the weight decay to the gradient, `adamw` applies it to the weights.
        learning_rate: Step size at the start.
        weight_decay: As the optimiser takes it.
        schedule: `constant`, or `cosine` down to zero at the last step after a linear rise.
        warmup_steps: Steps of that rise, in the cosine schedule only.
        positive_weight: Weight of box pixels in the cross-entropy; 1 is eq. 1.
        alpha: EMA coefficient per 48 images (eq. 2), used when ema_epochs is None.
        ema_epochs: EMA horizon 1 / (1 - alpha) in epochs; for runs too short for alpha.
        a0: Largest sharpening strength (eq. 7).
        t: Centre of the sharpening (eq. 6).
        adaptive_t: Beyond the paper: the centre of the sharpening is at most this share of y'max,
            so that AALS is active on every positive. None: t alone.
        tier_weights: Beyond the paper: weights of positives without boxes by visibility_tier, in
            losses that learn from the record; 1 where a tier is not named.
        uncertain_target: Beyond the paper: a finding of uncertain label has this target in
            `chexnet` and `li-mil`; `aals` distils it without sharpening, with this weight. None:
            no loss.
        consistency_weight: Weight of the mean squared difference in `pi-model`, `mean-teacher` and
            `temporal-ensembling`, after its rise.
        consistency_rise: Share of the run's steps over which that weight rises.
        ensemble_alpha: Momentum of `temporal-ensembling`.
        mil_box_weight: Weight of boxed films in `li-mil`.
        record_negative: Target of a finding that the record denies on a film positive for another:
            `zero`, `ignore` (no loss) or `distill` (the teacher's map, not sharpened).
        p_fraction: Share of P that takes part (Figure 3), drawn by seed.
        batch_mix: `natural` or `stratified` (every batch holds positive_share of positives).
        positive_share: Share of R (step 1) or R and P (step 2) in a stratified batch.
        max_rotation_deg: Rotation is uniform between plus and minus this.
        is_flipping: Flip left to right with probability one half.
        max_intensity: Offset added to grey levels in [0, 1], uniform between plus and minus this.
        max_contrast: Contrast is multiplied by 1 plus or minus up to this, about mid-grey.
        max_zoom: Magnification by 1 plus or minus up to this; 0 is the paper's augmentation.
        norm: `batch`, `frozen` or `group` (``training.normalisation``); with the last two,
            micro-batches and processes have the gradients of the whole batch.
        is_mixed_precision: bfloat16 autocast with float32 losses, on devices where it is faster.
        is_compiled: The student goes through torch.compile; measure before use.
        is_recomputing: Activation checkpointing: the backbone's maps are computed again in the
            backward pass, which saves memory; not with norm `batch`, whose statistics would move
            twice.
        n_cpu_threads: Threads of torch on a CPU, fixed because float sums depend on it.
    """

    name: str
    findings: tuple[str, ...] = ("rib_fracture", "clavicle_fracture")
    backbone: str = "resnet50"
    weights: str = "imagenet"
    pyramid_width: int = 256
    image_size_px: int = 1024
    crop_px: int | None = None
    batch_size: int = 48
    micro_batch_size: int | None = None
    n_epochs: int = 25
    passes_per_epoch: int = 1
    steps_per_epoch: int | None = None
    step2_batch_size: int | None = None
    step2_n_epochs: int | None = None
    step2_learning_rate: float | None = None
    optimizer: Optimizer = "adam"
    learning_rate: float = 4e-5
    weight_decay: float = 1e-4
    schedule: Schedule = "constant"
    warmup_steps: int = 0
    positive_weight: float = 1.0
    alpha: float = 0.999
    ema_epochs: float | None = None
    a0: float = 4.0
    t: float = 0.4
    adaptive_t: float | None = None
    tier_weights: tuple[tuple[str, float], ...] = ()
    uncertain_target: float | None = None
    consistency_weight: float = 100.0
    consistency_rise: float = 0.2
    ensemble_alpha: float = 0.6
    mil_box_weight: float = 5.0
    record_negative: RecordNegative = "zero"
    p_fraction: float = 1.0
    batch_mix: BatchMix = "natural"
    positive_share: float = 0.25
    max_rotation_deg: float = 10.0
    is_flipping: bool = True
    max_intensity: float = 0.1
    max_contrast: float = 0.2
    max_zoom: float = 0.0
    norm: Norm = "batch"
    is_mixed_precision: bool = True
    is_compiled: bool = False
    is_recomputing: bool = False
    n_cpu_threads: int = 2

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ConfigurationError: A value is outside its range.
        """
        for field, (is_allowed, allowed) in _RULES.items():
            value = getattr(self, field)
            if not is_allowed(value):
                raise ConfigurationError(
                    f"recipe {self.name}, {field}: got {value!r}, allowed is {allowed}."
                )
        if self.is_recomputing and self.norm == "batch":
            raise ConfigurationError(
                f"recipe {self.name}, is_recomputing: got true with norm 'batch', whose running "
                "statistics would move twice a step; allowed are 'frozen' and 'group'."
            )

    def to_json(self) -> str:
        """All fields as canonical JSON; of a weights file the name alone, never its folder."""
        fields = dataclasses.asdict(self)
        fields["weights"] = Path(self.weights).name
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))

    def changes_to_json(self) -> str:
        """The fields that differ from their defaults, as canonical JSON: what a run's id hashes.

        An option that is added later, off by default, leaves the ids of runs without it alone.
        """
        fields = json.loads(self.to_json())
        defaults = {
            field.name: field.default
            for field in dataclasses.fields(self)
            if field.default is not dataclasses.MISSING
        }
        plain = json.loads(json.dumps(defaults))
        changed = {name: value for name, value in fields.items() if value != plain.get(name)}
        return json.dumps(changed, sort_keys=True, separators=(",", ":"))

    def for_step(self, step: int) -> Recipe:
        """The recipe of step 1, or of step 2: whole films, and the step2 fields put in place."""
        chosen: dict[str, object] = {
            "batch_size": self.step2_batch_size or self.batch_size,
            "n_epochs": self.step2_n_epochs or self.n_epochs,
            "learning_rate": self.step2_learning_rate or self.learning_rate,
            "crop_px": None,
            "passes_per_epoch": 1,
        }
        cleared = dict.fromkeys(("step2_batch_size", "step2_n_epochs", "step2_learning_rate"))
        changes = cleared if step == 1 else chosen | cleared
        return dataclasses.replace(self, **changes)

    def with_random_weights(self) -> Recipe:
        """The same recipe, for a network whose weights come from a checkpoint."""
        return dataclasses.replace(self, weights="random")

    @staticmethod
    def from_json(text: str) -> Recipe:
        """The recipe that ``to_json`` wrote."""
        return Recipe(**_in_tuples(json.loads(text)))


Rule = tuple[Callable[..., bool], str]


def _number(low: float, high: float, *, is_low_open: bool = False) -> Rule:
    def is_allowed(value: object) -> bool:
        return (
            isinstance(value, int | float)
            and math.isfinite(value)
            and (low < value if is_low_open else low <= value)
            and value <= high
        )

    return is_allowed, f"a number from {low:g}{' (excluded)' if is_low_open else ''} to {high:g}"


def _whole(low: int) -> Rule:
    return lambda value: isinstance(value, int) and value >= low, f"a whole number, at least {low}"


def _choice(kind: object) -> Rule:
    allowed = get_args(kind)
    return lambda value: value in allowed, " or ".join(allowed)


def _optional(rule: Rule) -> Rule:
    return lambda value: value is None or rule[0](value), f"none, or {rule[1]}"


def _are_findings(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and bool(value)
        and all(isinstance(finding, str) and finding for finding in value)
        and len(set(value)) == len(value)
    )


_TIERS = ("chest_film_report", "other_imaging", "clinical_text", "code_only")


def _are_tier_weights(value: object) -> bool:
    is_weight, _ = _number(0, 100)
    return isinstance(value, tuple) and all(
        isinstance(pair, tuple) and len(pair) == 2 and pair[0] in _TIERS and is_weight(pair[1])
        for pair in value
    )


_SIDE: Rule = (
    lambda value: isinstance(value, int) and value >= 64 and value % 32 == 0,
    "a multiple of 32, at least 64",
)
_RULES: dict[str, Rule] = {
    "findings": (_are_findings, "a tuple of distinct findings"),
    "pyramid_width": _whole(1),
    "image_size_px": _SIDE,
    "crop_px": _optional(_SIDE),
    "batch_size": _whole(1),
    "micro_batch_size": _optional(_whole(1)),
    "n_epochs": _whole(1),
    "passes_per_epoch": _whole(1),
    "steps_per_epoch": _optional(_whole(1)),
    "step2_batch_size": _optional(_whole(1)),
    "step2_n_epochs": _optional(_whole(1)),
    "step2_learning_rate": _optional(_number(0, 1, is_low_open=True)),
    "optimizer": _choice(Optimizer),
    "learning_rate": _number(0, 1, is_low_open=True),
    "weight_decay": _number(0, 1),
    "schedule": _choice(Schedule),
    "warmup_steps": _whole(0),
    "positive_weight": _number(0, 1000, is_low_open=True),
    "alpha": _number(0, 0.9999999),
    "ema_epochs": _optional(_number(0, 1000, is_low_open=True)),
    "a0": _number(1, 1000),
    "t": _number(0.001, 0.999),
    "adaptive_t": _optional(_number(0.001, 0.999)),
    "tier_weights": (_are_tier_weights, f"weights from 0 to 100 of {', '.join(_TIERS)}"),
    "uncertain_target": _optional(_number(0, 1)),
    "consistency_weight": _number(0, 100_000),
    "consistency_rise": _number(0, 1),
    "ensemble_alpha": _number(0, 0.9999),
    "mil_box_weight": _number(0, 1000),
    "record_negative": _choice(RecordNegative),
    "p_fraction": _number(0, 1, is_low_open=True),
    "batch_mix": _choice(BatchMix),
    "positive_share": _number(0, 0.9, is_low_open=True),
    "max_rotation_deg": _number(0, 180),
    "max_intensity": _number(0, 1),
    "max_contrast": _number(0, 0.95),
    "max_zoom": _number(0, 0.5),
    "norm": _choice(Norm),
    "n_cpu_threads": _whole(1),
}

_LIGHT: dict[str, object] = {
    "backbone": "light",
    "weights": "random",
    "pyramid_width": 32,
    "image_size_px": 256,
    "crop_px": 96,
    "batch_size": 16,
    "batch_mix": "stratified",
    "positive_share": 0.5,
    "positive_weight": 2.0,
    "passes_per_epoch": 3,
    "ema_epochs": 1.0,
    "optimizer": "adamw",
    "learning_rate": 4e-3,
    "step2_batch_size": 8,
    "step2_learning_rate": 1e-3,
    "schedule": "cosine",
    "warmup_steps": 30,
}

RECIPES: dict[str, dict[str, object]] = {
    "paper": {},
    "demo": {**_LIGHT, "n_epochs": 14, "step2_n_epochs": 6},
    "nih": {**_LIGHT, "n_epochs": 14, "step2_n_epochs": 6, "findings": ("Pneumonia",)},
    "table1": {**_LIGHT, "n_epochs": 8, "passes_per_epoch": 2, "step2_n_epochs": 3},
    "table1_gpu": {
        "weights": "random",
        "image_size_px": 512,
        "batch_size": 32,
        "optimizer": "adamw",
        "learning_rate": 5e-4,
        "step2_learning_rate": 2e-4,
        "schedule": "cosine",
        "warmup_steps": 200,
        "batch_mix": "stratified",
        "ema_epochs": 1.0,
        "n_epochs": 20,
        "step2_n_epochs": 10,
    },
}


def recipe(name: str, **overrides: object) -> Recipe:
    """A recipe by name, with some fields changed.

    Args:
        name: `paper` (the paper's own values), `demo` (two cores, minutes), `nih` (the 400 real
            films of NIH ChestX-ray14), or `table1` and `table1_gpu` (all methods on a synthetic
            hospital).
        overrides: Fields to change.

    Raises:
        ConfigurationError: Unknown recipe or field, or a value outside its range.
    """
    if name not in RECIPES:
        raise ConfigurationError(f"recipe: got '{name}', allowed are {', '.join(RECIPES)}.")
    known = {field.name for field in dataclasses.fields(Recipe)} - {"name"}
    unknown = sorted(set(overrides) - known)
    if unknown:
        raise ConfigurationError(
            f"recipe {name}: unknown field {', '.join(unknown)}; "
            f"allowed are {', '.join(sorted(known))}."
        )
    fields = {"name": name, **RECIPES[name], **overrides}
    return Recipe(**_in_tuples(fields))


def _in_tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """Lists and tables, as TOML and JSON have them, as the recipe's tuples."""
    changed = dict(fields)
    if isinstance(changed.get("findings"), list):
        changed["findings"] = tuple(changed["findings"])
    weights = changed.get("tier_weights")
    if isinstance(weights, dict):
        changed["tier_weights"] = tuple(sorted(weights.items()))
    elif isinstance(weights, list):
        changed["tier_weights"] = tuple(tuple(pair) for pair in weights)
    return changed
