"""`ribline import-boxes` and `ribline reader-agreement` as a hospital runs them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from small_hospital import blank

from etl.annotations.box_formats.recognition import FORMAT_NAMES
from etl.pseudonym import Pseudonymizer
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables.annotation import IMAGE_READINGS, READER_AGREEMENT
from warehouse_schema.tables.imaging import ANNOTATIONS, IMAGES

KEY = "a key that is long enough"
SOURCE = "synthetic_hospital"
HEAD = "sop_instance_uid,finding,x,y,width,height"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ribline) -> Store:
    """A home with four films, 1.2.0 to 1.2.3, of four patients."""
    (tmp_path / "ribline.toml").write_text('home = "home"\nn_bootstrap = 200\n')
    monkeypatch.setenv("RIBLINE_PSEUDONYM_KEY", KEY)
    names = Pseudonymizer(key=KEY, source=SOURCE)
    images = [
        blank(
            IMAGES,
            image_id=names.pseudonym("image", f"1.2.{number}"),
            patient_id=f"P{number}",
            source=SOURCE,
            rows_px=1000,
            columns_px=800,
        )
        for number in range(4)
    ]
    store = Store(Home(tmp_path / "home"))
    with store.commit(stage="test") as commit:
        commit.replace(IMAGES, pa.Table.from_pylist(images, schema=IMAGES.schema))
    return store


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([HEAD, *lines]))
    return path


def test_two_readers_and_their_agreement(ribline, store: Store, tmp_path: Path) -> None:
    first = write(
        tmp_path / "first" / "boxes.csv",
        "1.2.0,Rib fracture,10,10,100,100",
        "1.2.1,Rib fracture,10,10,100,100",
        "1.2.2,,,,,",
        "1.2.3,,,,,",
    )
    second = write(
        tmp_path / "second" / "boxes.csv",
        "1.2.0,Rib fracture,30,10,100,100",
        "1.2.1,,,,,",
        "1.2.2,,,,,",
        "1.2.3,,,,,",
    )
    done = ribline("import-boxes", first, "--reader", "Canary A", "--format", "csv")
    assert done.code == 0, done.err
    assert ribline("import-boxes", second, "--reader", "Canary B").code == 0
    assert store.read(IMAGE_READINGS).num_rows == 8
    done = ribline("reader-agreement")
    assert done.code == 0, done.err
    assert "Canary" not in done.out + done.err
    (fleiss,) = (line for line in done.out.splitlines() if "fleiss kappa" in line)
    assert fleiss.split()[:2] == ["rib", "fracture"]
    # Of four films both called one positive and two negative: (0.75 - 0.531) / (1 - 0.531).
    assert "0.467" in fleiss
    iou = [line for line in done.out.splitlines() if "mean iou" in line]
    assert len(iou) == 2
    assert all("0.667" in line for line in iou)
    assert store.read(READER_AGREEMENT).num_rows == 7


def test_an_adjudicator_and_a_file_that_is_broken(ribline, store: Store, tmp_path: Path) -> None:
    good = write(tmp_path / "a" / "boxes.csv", "1.2.0,Rib fracture,10,10,100,100")
    bad = tmp_path / "a" / "broken.json"
    bad.write_text("{")
    done = ribline("import-boxes", good, bad, "--reader", "Chief", "--status", "confirmed")
    assert done.code == 0, done.err
    assert "the annotation file is not JSON" in done.out
    assert store.read(ANNOTATIONS)["status"].to_pylist() == ["confirmed"]
    assert ribline("import-boxes", tmp_path / "a").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("none.csv",), 4, "file: the annotation file cannot be read"),
        (("boxes.csv", "--format", "tiff"), 2, "format: 'tiff' is none of coco"),
        (("boxes.csv", "--status", "new"), 2, "status: 'new' is none of drawn"),
        (("boxes.csv", "--format", "coco"), 4, "file: the annotation file is not JSON"),
    ],
)
def test_mistakes_end_in_one_line(  # noqa: PLR0917 - a table of cases
    ribline, store: Store, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    write(tmp_path / "boxes.csv", "1.2.0,Rib fracture,10,10,100,100")
    done = ribline("import-boxes", *arguments)
    assert (done.code, "Traceback" in done.err) == (code, False)
    assert message in done.err
    assert store.read(ANNOTATIONS).num_rows == 0


def test_help_names_every_format(ribline) -> None:
    shown = ribline("import-boxes", "--help").out
    assert all(name in shown for name in FORMAT_NAMES)


def test_no_readers_to_compare(ribline, store: Store) -> None:
    done = ribline("reader-agreement")
    assert done.code == 0
    assert "No image has been read by two named readers" in done.out
