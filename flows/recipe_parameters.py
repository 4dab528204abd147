"""Parameters of a training run that a flow takes: the paper's ablations and the options beyond it.

Types and limits are those of ``training.recipe``; None leaves what the recipe says.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

MethodName = Literal[
    "supervised",
    "aals",
    "chexnet",
    "retinanet",
    "fcos",
    "li-mil",
    "pi-model",
    "temporal-ensembling",
    "mean-teacher",
]
Fold = Annotated[int, Field(ge=0, description="Cross-validation fold.")]
Seed = Annotated[int | None, Field(ge=0, description="Seed; that of the settings by default.")]
RecipeName = Annotated[str | None, Field(description="Recipe; that of the settings by default.")]
Centre = Annotated[
    float | None, Field(ge=0.001, le=0.999, description="Centre t of the sharpening (Table 2).")
]
Strength = Annotated[
    float | None, Field(ge=1, le=1000, description="Largest strength a0 (Table 3).")
]
PFraction = Annotated[
    float | None, Field(gt=0, le=1, description="Share of P that takes part (Figure 3).")
]
AdaptiveCentre = Annotated[
    float | None,
    Field(ge=0.001, le=0.999, description="Beyond the paper: t is at most this share of y'max."),
]
RecordNegative = Annotated[
    Literal["zero", "ignore", "distill"] | None,
    Field(description="Beyond the paper: target of what the record denies on a positive film."),
]
BatchMix = Annotated[
    Literal["natural", "stratified"] | None,
    Field(description="Beyond the paper: stratified batches hold a fixed share of positives."),
]
TierWeights = Annotated[
    dict[str, float] | None,
    Field(description="Beyond the paper: weights of unboxed positives by visibility tier."),
]
UncertainTarget = Annotated[
    float | None, Field(ge=0, le=1, description="Beyond the paper: target of uncertain labels.")
]


def changes_of(**parameters: object) -> dict[str, object]:
    """The recipe's fields that a flow's parameters change: those that are given."""
    return {name: value for name, value in parameters.items() if value is not None}
