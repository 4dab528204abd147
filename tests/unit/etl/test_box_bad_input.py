"""Hostile and broken annotation files: one clear line or one quarantine row, and nothing else."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydicom.dataset import Dataset
from unit.etl.box_samples import WRITERS
from unit.etl.conftest import image_row

from etl.annotations.box_formats.annotation_file import AnnotationFile
from etl.annotations.box_formats.recognition import read_annotations
from etl.annotations.box_formats.source_box import SourceBox
from etl.annotations.box_import import BoxImportSummary, import_boxes
from etl.annotations.box_placement import Placement, place_box
from etl.pseudonym import Pseudonymizer
from warehouse_schema.errors import ArgumentError, InputError
from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables.annotation import IMAGE_READINGS
from warehouse_schema.tables.imaging import ANNOTATIONS, IMAGES
from warehouse_schema.tables.runs import QUARANTINE

FINDINGS = ["rib_fracture", "clavicle_fracture"]
Import = Callable[..., BoxImportSummary]
HEAD = "file_name,finding,x,y,width,height,image_width,image_height,status,orientation\n"

LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE annotations [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;">]><annotations><meta>&c;</meta></annotations>'
)
OUTSIDE = (
    '<?xml version="1.0"?><!DOCTYPE annotation [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    "<annotation><filename>&x;</filename></annotation>"
)


@pytest.fixture
def bring(box_site: Store, key: str, tmp_path: Path) -> Import:
    """Imports texts or bytes, each as a file of its own."""

    def run(*contents: str | bytes, **options: Any) -> BoxImportSummary:
        paths = []
        for number, content in enumerate(contents):
            path = tmp_path / f"Wang_Mei-Ling_{number}"
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            paths.append(path)
        return _import(box_site, paths, key, **options)

    return run


def _import(store: Store, files: Sequence[Path], key: str, **options: Any) -> BoxImportSummary:
    return import_boxes(
        store=store, files=files, source="small", pseudonym_key=key, findings=FINDINGS, **options
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        (" \n\t", "is empty"),
        ("{", "is not JSON"),
        ('{"images": [], "annotations": ', "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        (f"[{'1' * 5000}]", "is not JSON"),
        ("<annotations><image>", "is not XML"),
        ("<annotations>\x00</annotations>", "is not XML"),
        ('<?xml version="1.0" encoding="no-such"?><annotations/>', "is not XML"),
        (LAUGHS, "declares a document type or entities"),
        (OUTSIDE, "declares a document type or entities"),
        ("{}", "it is JSON, an object without the keys"),
        ("[]", "it is JSON, a list without the keys"),
        ('[{"Wang": 1}]', "it is JSON, a list without the keys"),
        ("<html/>", "it is XML whose root is neither"),
        ("Wang;Mei;Ling\n1;2;3", "it is text whose first line has 3 columns"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "it is text whose first line has 1 columns"),
        (bytes(128) + b"DICM" + b"\x02\x00", "DICOM"),
        ('{"images": [], "annotations": []}', "no list 'categories'"),
        ('{"images": [1], "annotations": [], "categories": []}', "no list 'images'"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_line(
    box_site: Store, bring: Import, content: str | bytes, message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        bring(content)
    assert "Wang" not in str(error.value)
    assert box_site.read(QUARANTINE).num_rows == 0


def test_an_unknown_format_names_those_that_are_allowed(bring: Import) -> None:
    with pytest.raises(InputError, match=r"coco \(.*cvat.*label_studio.*via.*pascal_voc.*yolo"):
        bring("neither,this,nor,that")


def test_a_format_that_is_forced_says_what_is_wrong(bring: Import) -> None:
    for name, message in (
        ("coco", "is not JSON"),
        ("cvat", "is not XML"),
        ("label_studio", "is not JSON"),
        ("via", "it lacks a column"),
        ("pascal_voc", "is no Pascal VOC file"),
        ("csv", "no column for the image"),
        ("dicom_sr", "is no DICOM SR"),
        ("gsps", "is no DICOM presentation state"),
        ("yolo", "Give the folder"),
    ):
        with pytest.raises(InputError, match=message):
            bring("a,b\n1,2", format_name=name)
    with pytest.raises(ArgumentError, match="'word' is none of coco, cvat"):
        bring("a,b", format_name="word")
    with pytest.raises(ArgumentError, match="'maybe' is none of drawn, confirmed, rejected"):
        bring("a,b", status="maybe")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("3/film.dcm,pneumothorax,1,2,30,40,,,,", "its finding is not defined"),
        ("9/film.dcm,rib fracture,1,2,30,40,,,,", "its file name is that of several images"),
        ("other.dcm,rib fracture,1,2,30,40,,,,", "its image is not known"),
        ("../../../etc/passwd,rib fracture,1,2,30,40,,,,", "its image is not known"),
        ("/etc/passwd,rib fracture,1,2,30,40,,,,", "its image is not known"),
        ("C:\\Windows\\win.ini,rib fracture,1,2,30,40,,,,", "its image is not known"),
        ("a\0b,rib fracture,1,2,30,40,,,,", "its image is not known"),
        ("..,rib fracture,1,2,30,40,,,,", "its image is not known"),
        (f"{'a' * 5000},rib fracture,1,2,30,40,,,,", "its image is not known"),
        ("3/film.dcm,rib fracture,nan,2,30,40,,,,", "its box is not four numbers"),
        ("3/film.dcm,rib fracture,1,2,-inf,40,,,,", "its box is not four numbers"),
        ("3/film.dcm,rib fracture,1,2,1e400,40,,,,", "its box is not four numbers"),
        ("3/film.dcm,rib fracture,1,2,,40,,,,", "its box is not four numbers"),
        ("3/film.dcm,rib fracture,100,2,-30,40,,,,", "it has no area"),
        ("3/film.dcm,rib fracture,1,2,30,0,,,,", "it has no area"),
        ("3/film.dcm,rib fracture,900,2,30,40,,,,", "it lies outside its image"),
        ("3/film.dcm,rib fracture,-90,2,30,40,,,,", "it lies outside its image"),
        ("3/film.dcm,rib fracture,1,2,0.4,40,,,,", "it lies outside its image"),
        (
            "3/film.dcm,rib fracture,1,2,30,40,700,1000,,",
            "the annotated image has another shape than the source image",
        ),
        (
            "3/film.dcm,rib fracture,1,2,30,40,1000,800,,",
            "the annotated image is turned on its side, and the file does not say which way",
        ),
        (
            "3/film.dcm,rib fracture,1,2,30,40,-800,-1000,,",
            "the annotated image has a negative size",
        ),
        (
            "3/film.dcm,rib fracture,1,2,30,40,,,maybe,",
            "its status is not drawn, confirmed, rejected",
        ),
        ("3/film.dcm,rib fracture,1,2,30,40,,,,9", "its orientation is none of EXIF's 1 to 8"),
    ],
)
def test_a_box_that_cannot_be_used_costs_one_row(
    box_site: Store, bring: Import, row: str, reason: str
) -> None:
    summary = bring(HEAD + row + "\n3/film.dcm,rib fracture,1,2,30,40,,,,\n")
    assert dict(summary.quarantine_reasons) == {reason: 1}
    assert summary.n_boxes == 1
    (quarantined,) = box_site.read(QUARANTINE).to_pylist()
    assert quarantined["key"].startswith("Q-")
    assert not {"Wang", "passwd", "film"} & set(quarantined["key"].replace("#", " ").split())


def test_a_refused_box_is_no_vote_for_an_empty_image(box_site: Store, bring: Import) -> None:
    bring(HEAD + "3/film.dcm,rib fracture,1,2,-30,40,,,,\n3/film.dcm,rib fracture,9,9,,,,,,\n")
    (reading,) = box_site.read(IMAGE_READINGS).to_pylist()
    assert (reading["n_boxes"], reading["n_refused"]) == (0, 2)


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("cp1252"),
        lambda text: text.replace("\n", "\r\n").encode(),
    ],
)
def test_texts_are_read_in_the_encodings_that_tools_write(
    box_site: Store, bring: Import, key: str, encode: Callable[[str], bytes]
) -> None:
    table = "file,label,x,y,w,h,reader\n3/film.dcm,Rib fracture,1,2,30,40,Müller"
    assert bring(encode(table)).n_boxes == 1
    content = {
        "images": [{"id": 1, "sop_instance_uid": "1.2.4"}],
        "categories": [{"id": 1, "name": "rib fracture"}],
        "annotations": [
            {
                "image_id": 1,
                "category_id": 1,
                "bbox": [1, 2, 30, 40],
                "attributes": {"reader": "Müller"},
            }
        ],
    }
    assert bring(encode(json.dumps(content, ensure_ascii=False))).n_boxes
    wanted = Pseudonymizer(key=key, source="small").pseudonym("reader", "Müller")
    assert set(box_site.read(ANNOTATIONS)["reader_id"].to_pylist()) == {wanted}


def test_xml_is_read_in_its_declared_encoding(box_site: Store, bring: Import, key: str) -> None:
    document = (
        '<?xml version="1.0" encoding="iso-8859-1"?><annotation><filename>3/film.dcm</filename>'
        "<object><name>rib fracture</name><reader>Müller</reader><bndbox><xmin>1</xmin>"
        "<ymin>2</ymin><xmax>31</xmax><ymax>42</ymax></bndbox></object></annotation>"
    )
    assert bring(document.encode("iso-8859-1")).n_boxes == 1
    wanted = Pseudonymizer(key=key, source="small").pseudonym("reader", "Müller")
    assert box_site.read(ANNOTATIONS)["reader_id"].to_pylist() == [wanted]


def test_among_several_files_a_broken_one_costs_one_row(box_site: Store, bring: Import) -> None:
    good = HEAD + "3/film.dcm,rib fracture,1,2,30,40,,,,"
    summary = bring(good, "{", LAUGHS, "neither")
    assert (summary.n_boxes, summary.n_quarantined) == (1, 3)
    assert sorted(summary.quarantine_reasons) == [
        "its format is not known; it is text whose first line has 1 columns and names no image, "
        "finding and box",
        "the annotation file declares a document type or entities, which are never expanded",
        "the annotation file is not JSON",
    ]
    with pytest.raises(InputError, match="file 1: the annotation file is not JSON"):
        bring("{", "neither")


def test_quarantine_rows_stay_until_their_file_is_read_again(
    box_site: Store, key: str, tmp_path: Path
) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text(HEAD + "other,rib fracture,1,2,30,40,,,,")
    second.write_text(HEAD + "another,rib fracture,1,2,30,40,,,,")
    _import(box_site, [first], key)
    _import(box_site, [second], key)
    assert box_site.read(QUARANTINE).num_rows == 2
    first.write_text(HEAD + "3/film.dcm,rib fracture,1,2,30,40,,,,")
    _import(box_site, [first], key)
    assert box_site.read(QUARANTINE).num_rows == 1


def test_a_folder_is_read_file_by_file_and_links_out_of_it_are_not_followed(
    box_site: Store, key: str, tmp_path: Path, make_film: Callable[..., Dataset]
) -> None:
    folder = tmp_path / "set"
    WRITERS["gsps"](tmp_path, make_film)
    WRITERS["pascal_voc"](folder, make_film)
    (folder / "voc" / "a.png").write_bytes(b"a picture")
    (folder / "notes.md").write_text("read me")
    make_film().save_as(folder / "film.dcm", enforce_file_format=True)
    (folder / "report.dcm").symlink_to(tmp_path / "presentation_PIXEL.dcm")
    (folder / "up").symlink_to(tmp_path)
    summary = _import(box_site, [folder], key, reader="a")
    assert (dict(summary.n_files), summary.n_films) == ({"pascal_voc": 2}, 1)
    assert summary.n_quarantined == 1
    (tmp_path / "films").mkdir()
    for name in "ab":
        make_film().save_as(tmp_path / "films" / name, enforce_file_format=True)
    with pytest.raises(InputError, match="there are films and no annotations"):
        _import(box_site, [tmp_path / "films"], key)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="the folder holds no annotation file"):
        _import(box_site, [tmp_path / "empty"], key)


def test_a_damaged_dicom_object_costs_itself_alone(
    box_site: Store, key: str, tmp_path: Path, make_film: Callable[..., Dataset]
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    whole = WRITERS["dicom_sr"](folder, make_film)
    content = whole.read_bytes()
    for number, length in enumerate((140, 400, len(content) // 2, len(content) - 7)):
        (folder / f"torn_{number}.dcm").write_bytes(content[:length])
    summary = _import(box_site, [folder], key)
    assert summary.n_boxes == 3
    assert summary.n_files["dicom_sr"] >= 1
    assert summary.n_quarantined >= 3


def test_time_grows_as_the_number_of_boxes(tmp_path: Path, key: str) -> None:
    names = Pseudonymizer(key=key, source="small")
    seconds = []
    for n_boxes in (20_000, 100_000):
        store = Store(Home(tmp_path / f"home{n_boxes}"))
        uids = [f"1.2.{number}" for number in range(n_boxes // 20)]
        images = [image_row(names.pseudonym("image", uid)) for uid in uids]
        with store.commit(stage="test") as commit:
            commit.replace(IMAGES, pa.Table.from_pylist(images, schema=IMAGES.schema))
        lines = [
            f"{uids[n % len(uids)]},rib fracture,{n % 700},{n % 900},30,40,r{n % 3}"
            for n in range(n_boxes)
        ]
        path = tmp_path / "boxes.csv"
        path.write_text("\n".join(["sop_instance_uid,finding,x,y,width,height,reader", *lines]))
        started = time.process_time()
        summary = _import(store, [path], key)
        seconds.append(time.process_time() - started)
        assert summary.n_boxes + summary.n_quarantined == n_boxes
    # Five times the boxes: 25 times the seconds would be quadratic.
    assert seconds[1] < 10 * seconds[0]


@pytest.mark.parametrize("name", [name for name in WRITERS if name not in {"yolo", "pascal_voc"}])
def test_a_mutated_file_is_read_or_refused_and_never_more(
    tmp_path: Path, make_film: Callable[..., Dataset], name: str
) -> None:
    content = WRITERS[name](tmp_path, make_film).read_bytes()
    rng = np.random.default_rng(len(content))
    image = image_row("i")
    n_read = 0
    for _ in range(25):
        path = tmp_path / "mutated"
        path.write_bytes(_mutated(content, rng))
        try:
            _, entries = read_annotations(AnnotationFile(path))
        except InputError as error:
            assert "Canary" not in str(error)  # noqa: PT017
            continue
        n_read += 1
        for entry in entries:
            placed = place_box(entry, image) if isinstance(entry, SourceBox) else ""
            if isinstance(placed, Placement):
                assert all(map(math.isfinite, placed.box_px))
            assert "Canary" not in str(getattr(entry, "fault", ""))
    assert n_read


def _mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, a stretch lost or doubled, or digits replaced."""
    changed = bytearray(content)
    kind = rng.integers(4)
    start = int(rng.integers(len(content)))
    stop = min(start + int(rng.integers(1, 60)), len(content))
    if kind == 0:
        for place in rng.integers(0, len(content), 4):
            changed[int(place)] = int(rng.integers(256))
    elif kind == 1:
        del changed[start:stop]
    elif kind == 2:
        changed[start:start] = changed[start:stop]
    else:
        digits = [place for place, byte in enumerate(changed) if byte in b"0123456789"]
        for place in rng.choice(digits, 5):
            changed[int(place)] = ord("-9e.N"[int(rng.integers(5))])
    return bytes(changed)
