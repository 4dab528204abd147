"""Training methods by name, one file each over one trainer."""

from __future__ import annotations

from training.methods.aals import Aals
from training.methods.box_detection import FcosMethod, RetinaNetMethod
from training.methods.chexnet import CheXNet
from training.methods.li_mil import LiMil
from training.methods.mean_teacher import MeanTeacher
from training.methods.method import Method
from training.methods.pi_model import PiModel
from training.methods.supervised import Supervised
from training.methods.temporal_ensembling import TemporalEnsembling
from warehouse_schema.errors import ArgumentError

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        Supervised,
        Aals,
        CheXNet,
        RetinaNetMethod,
        FcosMethod,
        LiMil,
        PiModel,
        TemporalEnsembling,
        MeanTeacher,
    )
}


def method_named(name: str) -> type[Method]:
    """The class of a method.

    Raises:
        ArgumentError: No such method.
    """
    if name not in METHODS:
        raise ArgumentError(f"method: got '{name}', allowed are {', '.join(METHODS)}.")
    return METHODS[name]
