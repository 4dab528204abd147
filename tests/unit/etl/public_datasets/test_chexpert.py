"""CheXpert v1.0: one label for a fracture of any bone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etl.public_datasets.chexpert import import_chexpert
from etl.public_datasets.published_import import ImportSummary
from warehouse_schema.errors import ArgumentError, InputError
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGES
from warehouse_schema.tables.labels import IMAGE_LABELS
from warehouse_schema.tables.records import IMAGE_SOURCES

HEADER = (
    *("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", "No Finding"),
    *("Pleural Effusion", "Fracture", "Support Devices"),
)
# The published value, the label of any fracture, and that of a rib fracture.
CASES = (
    ("1.0", "positive", "uncertain"),
    ("-1.0", "uncertain", "uncertain"),
    ("0.0", "negative", "negative"),
    ("", "negative", "negative"),
)
Import = Callable[..., ImportSummary]


def entry(patient: int, name: str = "view1_frontal.jpg", **changes: Any) -> dict[str, Any]:
    return {
        "Path": f"CheXpert-v1.0-small/train/patient{patient:05d}/study1/{name}",
        "Sex": "Female",
        "Age": "68",
        "Frontal/Lateral": "Lateral" if "lateral" in name else "Frontal",
        "AP/PA": "" if "lateral" in name else "AP",
        **changes,
    }


@pytest.fixture
def run(store: Store, tmp_path: Path, key: str, table: Any, picture: Any) -> Import:
    def run(
        train: list[dict[str, Any]], findings: Any = ("fracture", "rib_fracture")
    ) -> ImportSummary:
        root = tmp_path / "cx" / "CheXpert-v1.0-small"
        valid = [entry(9, Path="CheXpert-v1.0-small/valid/patient64541/study1/view1_frontal.jpg")]
        for number, each in enumerate([*train, *valid]):
            picture(tmp_path / "cx" / each["Path"], number)
        table(root / "train.csv", HEADER, train)
        table(root / "valid.csv", HEADER, valid)
        return import_chexpert(
            store=store,
            folder=tmp_path / "cx",
            findings=findings,
            size_px=64,
            pseudonym_key=key,
        )

    return run


def test_a_fracture_of_any_bone_is_no_rib_fracture(store: Store, run: Import) -> None:
    run([entry(number, Fracture=case[0]) for number, case in enumerate(CASES)])
    patients = {
        row["image_id"]: row["sop_instance_uid"].split("/")[1]
        for row in store.read(IMAGE_SOURCES).to_pylist()
    }
    found = {
        (patients[row["image_id"]], row["finding"]): row["label"]
        for row in store.read(IMAGE_LABELS).to_pylist()
    }
    for number, (value, any_bone, rib) in enumerate(CASES):
        assert found[f"patient{number:05d}", "fracture"] == any_bone, value
        assert found[f"patient{number:05d}", "rib_fracture"] == rib, value


def test_patients_studies_splits_and_views(store: Store, run: Import) -> None:
    films = [
        entry(1),
        entry(1, "view2_lateral.jpg"),
        entry(2, **{"AP/PA": ""}),
        entry(3, **{"AP/PA": "LL"}),
    ]
    summary = run(films)
    assert (summary.n_images, summary.n_patients, summary.n_frontal) == (5, 4, 3)
    images = store.read(IMAGES).to_pylist()
    assert len({each["study_id"] for each in images}) == 4
    assert sorted(each["published_split"] for each in images) == ["train"] * 4 + ["validation"]
    assert {(each["age_years"], each["sex_code"]) for each in images} == {(68.0, "F")}


def test_published_labels_by_their_own_name(store: Store, run: Import) -> None:
    run([entry(1, **{"Pleural Effusion": "1.0"})], ["pleural effusion"])
    assert sorted(store.read(IMAGE_LABELS)["label"].to_pylist()) == ["negative", "positive"]


def test_a_damaged_film_is_set_aside(store: Store, run: Import, tmp_path: Path) -> None:
    films = [entry(1), entry(2)]
    run(films)
    path = tmp_path / "cx" / films[0]["Path"]
    path.write_bytes(path.read_bytes()[:60])
    root = tmp_path / "cx"
    summary = import_chexpert(
        store=store, folder=root, findings=["fracture"], size_px=64, pseudonym_key="k" * 16
    )
    assert summary.quarantine_reasons == {"the film is no readable PNG or JPEG": 1}


def test_an_unknown_label_and_a_missing_table(store: Store, run: Import, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"CheXpert v1.0 has clavicle_fracture, fracture, no_"):
        run([entry(1)], ["gout"])
    (tmp_path / "cx" / "CheXpert-v1.0-small" / "valid.csv").unlink()
    with pytest.raises(InputError, match=r"valid\.csv is missing .* CheXpert v1\.0, valid\.csv"):
        import_chexpert(
            store=store,
            folder=tmp_path / "cx",
            findings=["fracture"],
            size_px=64,
            pseudonym_key="0123456789abcdef",
        )
