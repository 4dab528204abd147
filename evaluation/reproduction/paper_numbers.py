"""What the paper reports: Wang et al., IPMI 2021 (doi 10.1007/978-3-030-78191-0_46).

AUROC and FROC score by row and finding; None where its tables have no number.
"""

PaperNumbers = dict[str, dict[str, tuple[float, float | None]]]

# Table 1, by method. Its row "supervised pre-training" is step 1 alone, "ours" is AALS.
TABLE1: PaperNumbers = {
    "chexnet": {"rib_fracture": (0.8867, None), "clavicle_fracture": (0.9555, None)},
    "retinanet": {"rib_fracture": (0.8609, 0.4654), "clavicle_fracture": (0.8610, 0.7985)},
    "fcos": {"rib_fracture": (0.8646, 0.5684), "clavicle_fracture": (0.8847, 0.8471)},
    "li-mil": {"rib_fracture": (0.8446, None), "clavicle_fracture": (0.9560, None)},
    "pi-model": {"rib_fracture": (0.8880, 0.7703), "clavicle_fracture": (0.9193, 0.8536)},
    "temporal-ensembling": {
        "rib_fracture": (0.8924, 0.7915),
        "clavicle_fracture": (0.9132, 0.8204),
    },
    "mean-teacher": {"rib_fracture": (0.9155, 0.8540), "clavicle_fracture": (0.9474, 0.8884)},
    "supervised": {"rib_fracture": (0.9025, 0.7267), "clavicle_fracture": (0.9174, 0.7967)},
    "aals": {"rib_fracture": (0.9318, 0.8914), "clavicle_fracture": (0.9646, 0.9265)},
}
# Table 2, by the centre t of the sharpening at a0 = 4.
TABLE2: PaperNumbers = {
    "0.2": {"rib_fracture": (0.9289, 0.8902), "clavicle_fracture": (0.9661, 0.9236)},
    "0.3": {"rib_fracture": (0.9261, 0.8888), "clavicle_fracture": (0.9611, 0.9168)},
    "0.4": {"rib_fracture": (0.9318, 0.8914), "clavicle_fracture": (0.9646, 0.9265)},
    "0.5": {"rib_fracture": (0.9271, 0.8848), "clavicle_fracture": (0.9577, 0.9106)},
}
# Table 3, by the largest strength a0 at t = 0.4; at a0 = 1 nothing is sharpened.
TABLE3: PaperNumbers = {
    "1": {"rib_fracture": (0.9222, 0.8783), "clavicle_fracture": (0.9550, 0.9036)},
    "4": {"rib_fracture": (0.9318, 0.8914), "clavicle_fracture": (0.9646, 0.9265)},
    "8": {"rib_fracture": (0.9283, 0.8884), "clavicle_fracture": (0.9606, 0.9090)},
    "16": {"rib_fracture": (0.9302, 0.8911), "clavicle_fracture": (0.9620, 0.9185)},
}
# Figure 3 is drawn, not tabulated; its ends are rows of Table 1.
FIGURE3: PaperNumbers = {"0": TABLE1["supervised"], "1": TABLE1["aals"]}
# How the paper's experiments were made (sections 2.3 and 3.1).
CONDITIONS = {
    "Data": "65,843 films of the trauma centre of Chang Gung Memorial Hospital, 2008 to 2016",
    "R, P, N": "808, 5,984, 59,051 films in all",
    "Input, pixels": "1024 x 1024",
    "Backbone": "ResNet-50 with a feature pyramid, ImageNet weights",
    "Batch size": "48",
    "Learning rate": "0.00004 (Adam)",
    "Epochs": "25",
    "Evaluation": "five-fold cross-validation",
}
