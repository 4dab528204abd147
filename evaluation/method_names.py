"""Names of the training methods as tables and figures show them."""

METHOD_NAMES = {
    "supervised": "Supervised",
    "aals": "AALS",
    "chexnet": "CheXNet",
    "retinanet": "RetinaNet",
    "fcos": "FCOS",
    "li-mil": "Li et al.",
    "pi-model": "Π-model",
    "temporal-ensembling": "Temporal ensembling",
    "mean-teacher": "Mean teacher",
}


def method_name(method: str) -> str:
    """A method's name in print; an unknown method keeps its own."""
    return METHOD_NAMES.get(method, method)
