"""PadChest of February 2019: a table with lists in cells, and 16-bit PNGs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etl.public_datasets.padchest import import_padchest
from etl.public_datasets.published_import import ImportSummary
from warehouse_schema.errors import ArgumentError, InputError
from warehouse_schema.pixel_shards import read_film
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGE_PIXELS, IMAGES
from warehouse_schema.tables.labels import IMAGE_LABELS, LABEL_EVIDENCE
from warehouse_schema.tables.records import IMAGE_SOURCES

HEADER = (
    *("ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth"),
    *("PatientSex_DICOM", "ViewPosition_DICOM", "Projection", "Modality_DICOM"),
    *("Manufacturer_DICOM", "PhotometricInterpretation_DICOM", "SpatialResolution_DICOM"),
    *("ReportID", "Report", "MethodLabel", "Labels", "Localizations"),
)
TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz"
# Labels, and what they say of a rib fracture and of a clavicle fracture.
CASES = (
    ("['rib fracture', ' pneumonia']", "positive", "negative"),
    ("['callus rib fracture']", "excluded", "negative"),
    ("['callus rib fracture', 'rib fracture']", "positive", "negative"),
    ("['clavicle fracture']", "negative", "positive"),
    ("['fracture', 'unchanged']", "uncertain", "uncertain"),
    ("['vertebral fracture']", "negative", "negative"),
    ("['normal']", "negative", "negative"),
    ("['unchanged']", "excluded", "excluded"),
    ("['exclude', 'suboptimal study']", "excluded", "excluded"),
    ("[]", "excluded", "excluded"),
    ("", "excluded", "excluded"),
    ("[normal", "excluded", "excluded"),
    ("__import__('os')", "excluded", "excluded"),
)
Import = Callable[..., ImportSummary]


def entry(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "ImageID": f"{number}.png",
        "ImageDir": "0",
        "StudyDate_DICOM": "20140915",
        "StudyID": f"s{number}",
        "PatientID": f"p{number}",
        "PatientBirth": "1960.0",
        "PatientSex_DICOM": "F",
        "Projection": "PA",
        "Modality_DICOM": "CR",
        "PhotometricInterpretation_DICOM": "MONOCHROME2",
        "SpatialResolution_DICOM": "0.2",
        "Report": "fractur costal , izquierd .",
        "MethodLabel": "Physician",
        "Labels": "['normal']",
        **changes,
    }


@pytest.fixture
def run(store: Store, tmp_path: Path, key: str, table: Any, picture: Any) -> Import:
    """Imports the entries given; each has a 16-bit PNG."""

    def run(
        entries: list[dict[str, Any]], findings: Any = None, *, is_one_picture: bool = False
    ) -> ImportSummary:
        for number, each in enumerate(entries):
            if "/" not in each["ImageID"]:
                path = tmp_path / "pc" / each["ImageDir"] / each["ImageID"]
                picture(path, 0 if is_one_picture else number, np.uint16)
        table(tmp_path / "pc" / TABLE, HEADER, entries)
        return import_padchest(
            store=store,
            folder=tmp_path / "pc",
            findings=findings or ["rib fracture", "clavicle fracture"],
            size_px=64,
            pseudonym_key=key,
        )

    return run


def test_labels_in_every_case(store: Store, run: Import) -> None:
    summary = run([entry(number, Labels=case[0]) for number, case in enumerate(CASES)])
    assert summary.n_images == len(CASES)
    sources = {
        row["image_id"]: int(row["sop_instance_uid"].removesuffix(".png"))
        for row in store.read(IMAGE_SOURCES).to_pylist()
    }
    found = {
        (sources[row["image_id"]], row["finding"]): row["label"]
        for row in store.read(IMAGE_LABELS).to_pylist()
    }
    for number, (labels, rib, clavicle) in enumerate(CASES):
        assert found[number, "rib_fracture"] == rib, labels
        assert found[number, "clavicle_fracture"] == clavicle, labels
    evidence = store.read(LABEL_EVIDENCE).to_pylist()
    assert sum(row["polarity"] == "old" for row in evidence) == 1
    assert all(row["reason"].endswith("(labelled by Physician)") for row in evidence)


def test_views_dates_and_ages(store: Store, run: Import) -> None:
    views = ("PA", "AP", "AP_horizontal", "L", "COSTAL")
    run([entry(number, Projection=view) for number, view in enumerate(views)], ["normal"])
    images = store.read(IMAGES).to_pylist()
    frontal = sorted(each["view_position_code"] for each in images if each["is_frontal_chest"])
    assert frontal == ["AP", "AP", "PA"]
    assert {each["study_year"] for each in images} == {2014}
    assert {each["age_years"] for each in images} == {54.2}
    assert {each["pixel_spacing_mm"] for each in images} == {0.2}
    assert store.read(IMAGE_LABELS).num_rows == store.read(IMAGE_PIXELS).num_rows == 3


def test_monochrome1_is_inverted_and_the_range_is_spread(store: Store, run: Import) -> None:
    run(
        [entry(0), entry(1, PhotometricInterpretation_DICOM="MONOCHROME1")],
        ["normal"],
        is_one_picture=True,
    )
    sources = {
        row["image_id"]: row["sop_instance_uid"] for row in store.read(IMAGE_SOURCES).to_pylist()
    }
    films = {}
    for row in store.read(IMAGE_PIXELS).to_pylist():
        film = read_film(store.home.cache, row["shard_name"], row["shard_row"])
        left = row["pad_left_px"]
        films[sources[row["image_id"]]] = film[:, left : left + row["valid_width_px"]].astype(int)
    upright, inverted = films["0.png"], films["1.png"]
    assert upright.min() < 20
    assert upright.max() > 235
    assert np.abs(upright + inverted - 255).max() <= 1


def test_names_never_leave_the_folder(
    store: Store, run: Import, picture: Any, tmp_path: Path
) -> None:
    picture(tmp_path / "secret.png")
    names = ("../secret.png", "/etc/passwd", "a/../../../secret.png", f"{'x' * 300}/y.png")
    entries = [entry(0), *(entry(n, ImageID=name) for n, name in enumerate(names, start=1))]
    summary = run(entries, ["normal"])
    assert summary.n_images == 1
    assert summary.quarantine_reasons == {"the film is not in the folder": len(names)}


def test_a_finding_that_no_film_has(run: Import) -> None:
    with pytest.raises(ArgumentError, match=r"'gout'; PadChest has normal\. Give one or more"):
        run([entry(0)], ["gout"])


def test_a_missing_table_and_a_missing_column(store: Store, tmp_path: Path, table: Any) -> None:
    arguments: dict[str, Any] = {
        "store": store,
        "folder": tmp_path,
        "findings": ["normal"],
        "size_px": 64,
        "pseudonym_key": "0123456789abcdef",
    }
    with pytest.raises(InputError, match=r"160K_\*\.csv is missing in the folder given"):
        import_padchest(**arguments)
    table(tmp_path / TABLE, ("ImageID", "ImageDir"), [])
    with pytest.raises(InputError, match=r"\.csv\.gz: column PatientID is missing. It has: Image"):
        import_padchest(**arguments)
    (tmp_path / TABLE).write_bytes(b"\x1f\x8bno gzip")
    with pytest.raises(InputError, match="is unreadable or damaged"):
        import_padchest(**arguments)
