"""The paper's setting with public data: the commands, on made-up copies of the layouts."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import mimic_copy
import pytest
import vindr_copy

from etl.annotations.box_import import import_boxes
from etl.pseudonym import Pseudonymizer
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGE_LINKS, IMAGES
from warehouse_schema.tables.labels import COHORT, IMAGE_LABELS

KEY = "a key that is long enough"
FINDINGS = ("rib_fracture", "clavicle_fracture")
BOXED = (0, 3)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ribline) -> Path:
    """A folder with a configuration."""
    (tmp_path / "ribline.toml").write_text('home = "home"\nsize_px = 64\nn_processes = 1\n')
    monkeypatch.setenv("RIBLINE_PSEUDONYM_KEY", KEY)
    return tmp_path


def image_id(number: int) -> str:
    names = Pseudonymizer(key=KEY, source="mimic_iv")
    return names.pseudonym("image", mimic_copy.film(number))


def labels(store: Store) -> dict[str, tuple[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for row in store.read(IMAGE_LABELS).to_pylist():
        found.setdefault(row["image_id"], {})[row["finding"]] = row["label"]
    return {image: (each[FINDINGS[0]], each[FINDINGS[1]]) for image, each in found.items()}


def fold(store: Store, number: int = 0) -> list[dict[str, Any]]:
    return store.read(COHORT, where={"fold": number}).to_pylist()


def box_films(store: Store, folder: Path) -> None:
    """Readers' boxes for two films of MIMIC, by file name."""
    coco = {
        "images": [
            {"id": number, "file_name": f"{mimic_copy.film(number)}.jpg"} for number in BOXED
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(FINDINGS)],
        "annotations": [
            {"id": n, "image_id": n, "category_id": BOXED.index(n), "bbox": [9, 9, 20, 10]}
            for n in BOXED
        ],
    }
    (folder / "boxes.json").write_text(json.dumps(coco))
    summary = import_boxes(
        store=store, files=[folder / "boxes.json"], source="mimic_iv", pseudonym_key=KEY
    )
    assert summary.n_boxes == len(BOXED)


def test_mimic_then_vindr_then_one_cohort(ribline, site: Path) -> None:
    done = ribline("import-public", "mimic", mimic_copy.write_copy(site / "mimic"))
    assert done.code == 0, done.err
    store = Store(Home(site / "home"))
    expected = {
        image_id(number): (case.rib, case.clavicle) for number, case in enumerate(mimic_copy.CASES)
    }
    assert labels(store) == expected
    links = store.read(IMAGE_LINKS, where={"is_chosen": True}).to_pylist()
    assert Counter(row["reason"] for row in links) == {"contains": len(mimic_copy.CASES) + 1}
    positives = {name for name, pair in expected.items() if "positive" in pair}
    parts = Counter(row["subset"] for row in fold(store))
    assert parts == {"P": len(positives), "N": len(expected) - len(positives), "excluded": 1}

    # The stages of any hospital run on it unchanged.
    box_films(store, site)
    assert ribline("label").code == 0
    assert ribline("build-cohort").code == 0
    assert labels(store) == expected
    subsets = {row["image_id"]: row["subset"] for row in fold(store)}
    assert {name for name, subset in subsets.items() if subset == "R"} == set(map(image_id, BOXED))
    assert Counter(subsets.values())["P"] == len(positives) - len(BOXED)

    done = ribline("import-public", "vindr-cxr", vindr_copy.write_copy(site))
    assert done.code == 0, done.err
    sources = Counter((row["source"], row["subset"]) for row in fold(store))
    assert sources["mimic_iv", "R"] == len(BOXED)
    # Film a's readers drew boxes of which none is one of a majority; t1 has the consensus.
    assert (sources["vindr_cxr", "R"], sources["vindr_cxr", "P"]) == (1, 1)
    assert sources["vindr_cxr", "N"] == 2
    patients = store.read(IMAGES, columns=["patient_id", "source"]).to_pylist()
    assert len({row["patient_id"] for row in patients}) == len(mimic_copy.CASES) + 5

    done = ribline("build-cohort", "--external-test", "vindr_cxr")
    assert done.code == 0, done.err
    for number in range(5):
        rows = [row for row in fold(store, number) if row["source"] == "vindr_cxr"]
        published = {
            row["image_id"]: row["published_split"]
            for row in store.read(IMAGES, where={"source": "vindr_cxr"}).to_pylist()
        }
        external = [row for row in rows if published[row["image_id"]] == "test"]
        assert [row["split"] for row in external] == ["test", "test"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["imagenet", "."], 2, "known datasets are mimic, vindr-cxr, nih-chestxray14, padchest"),
        (["mimic", "nowhere"], 2, "there is no folder nowhere"),
        (["mimic", "."], 4, "files/p10 to files/p19 are missing in the folder given"),
        (["mimic", ".", "--finding", "Pneumonia"], 2, "MIMIC's labels are mined"),
        (["vindr-cxr", "."], 4, "annotations/image_labels_train.csv is missing"),
        (["padchest", "."], 4, "PADCHEST_chest_x_ray_images_labels_160K_*.csv is missing"),
        (["chexpert", "."], 4, "train.csv is missing in the folder given. It belongs to CheXpert"),
        (["nih-chestxray14", "."], 4, "Data_Entry_2017*.csv is missing"),
    ],
)
def test_a_folder_that_is_not_the_data_set(
    ribline, site: Path, arguments: list[str], code: int, message: str
) -> None:
    done = ribline("import-public", *arguments)
    assert "Traceback" not in done.err
    assert message in done.err.strip().splitlines()[-1]
    assert done.code == code
    assert not list((site / "home" / "warehouse" / "_manifests").glob("*.json"))


def test_an_external_source_without_images(ribline, site: Path) -> None:
    (site / "home" / "warehouse").mkdir(parents=True)
    done = ribline("build-cohort", "--external-test", "padchest")
    assert done.code in {2, 7}
    assert done.err.strip().splitlines()[-1].startswith("ribline: ")
