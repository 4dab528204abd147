"""The same boxes written in every annotation format, after each tool's documented layout.

Nothing here uses Ribline's readers; the DICOM objects are written by highdicom.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID

COLUMNS, ROWS = 800, 1000
READER = "Canary^Reader"
MOMENT = "2016-04-11T09:30:00+00:00"
# Finding, left, top, width, height on the film 1.2.3; the film 1.2.4 was read without finding.
BOXES = (
    ("Rib fracture", 100.0, 200.0, 50.0, 40.0),
    ("Rib fracture", 300.5, 120.25, 80.0, 60.5),
    ("Clavicle fracture", 500.0, 50.0, 120.0, 30.0),
)
FINDINGS = ("Rib fracture", "Clavicle fracture")
Film = Callable[..., Dataset]
EVIDENCE = {
    "series_instance_uid": "1.2.9.1",
    "series_number": 1,
    "sop_instance_uid": "1.2.9.2",
    "instance_number": 1,
    "manufacturer": "Test",
}


def write_coco(folder: Path, _: Film) -> Path:
    attributes = {"reader": READER, "date": MOMENT}
    content = {
        "images": [
            {"id": 7, "file_name": "3/film.dcm", "width": COLUMNS, "height": ROWS},
            {
                "id": 8,
                "file_name": "4/film.dcm",
                "width": COLUMNS,
                "height": ROWS,
                "readers": READER,
            },
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(FINDINGS)],
        "annotations": [
            {
                "id": number,
                "image_id": 7,
                "category_id": FINDINGS.index(finding),
                "bbox": box,
                "attributes": attributes,
            }
            for number, (finding, *box) in enumerate(BOXES)
        ],
    }
    return _write(folder / "instances_default.json", json.dumps(content))


def write_coco_results(folder: Path, _: Film) -> Path:
    results = [
        {"image_id": "1.2.3", "category_id": finding, "bbox": box, "score": 0.9}
        for finding, *box in BOXES
    ]
    return _write(folder / "results.json", json.dumps(results))


def write_cvat(folder: Path, _: Film) -> Path:
    shapes = "".join(
        f'<box label="{finding}" source="manual" occluded="0" xtl="{x:.2f}" ytl="{y:.2f}" '
        f'xbr="{x + w:.2f}" ybr="{y + h:.2f}" z_order="0"><attribute name="n">a</attribute></box>'
        for finding, x, y, w, h in BOXES
    )
    content = (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta><task>'
        f"<id>4</id><name>films</name><size>2</size><updated>{MOMENT}</updated>"
        f"<assignee><username>{READER}</username><email/></assignee></task></meta>"
        f'<image id="0" name="3/film.dcm" width="{COLUMNS}" height="{ROWS}">{shapes}</image>'
        f'<image id="1" name="4/film.dcm" width="{COLUMNS}" height="{ROWS}"></image></annotations>'
    )
    return _write(folder / "annotations.xml", content)


def write_label_studio(folder: Path, _: Film) -> Path:
    def result(number: int, finding: str, box: tuple[float, ...]) -> Mapping[str, object]:
        x, y, w, h = box
        return {
            "id": f"r{number}",
            "type": "rectanglelabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": COLUMNS,
            "original_height": ROWS,
            "image_rotation": 0,
            "value": {
                "x": x / COLUMNS * 100,
                "y": y / ROWS * 100,
                "width": w / COLUMNS * 100,
                "height": h / ROWS * 100,
                "rotation": 0,
                "rectanglelabels": [finding],
            },
        }

    def task(number: int, results: list[Mapping[str, object]]) -> Mapping[str, object]:
        annotation = {
            "id": number,
            "completed_by": {"id": 1, "email": READER},
            "was_cancelled": False,
            "created_at": "2016-04-11T09:30:00Z",
            "result": results,
        }
        return {
            "id": number,
            "data": {"image": f"/data/local-files/?d=films/{number}/film.dcm"},
            "annotations": [annotation],
            "predictions": [],
        }

    drawn = [result(number, finding, tuple(box)) for number, (finding, *box) in enumerate(BOXES)]
    # The folders of the path are those that the films lie in.
    return _write(folder / "project.json", json.dumps([task(3, drawn), task(4, [])]))


def write_via_json(folder: Path, _: Film) -> Path:
    regions = [
        {
            "shape_attributes": {"name": "rect", "x": x, "y": y, "width": w, "height": h},
            "region_attributes": {"finding": finding, "reader": READER, "date": MOMENT},
        }
        for finding, x, y, w, h in BOXES
    ]
    metadata = {
        "film.dcm1": {
            "filename": "3/film.dcm",
            "size": 1,
            "regions": regions,
            "file_attributes": {"image_width": COLUMNS, "image_height": ROWS},
        },
        "film.dcm2": {
            "filename": "4/film.dcm",
            "size": 1,
            "regions": [],
            "file_attributes": {"reader": READER},
        },
    }
    content = {"_via_settings": {}, "_via_img_metadata": metadata, "_via_attributes": {}}
    return _write(folder / "via_project.json", json.dumps(content))


def write_via_csv(folder: Path, _: Film) -> Path:
    head = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes"
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([*head.split(","), "region_attributes"])
    for number, (finding, x, y, w, h) in enumerate(BOXES):
        shape = {"name": "rect", "x": x, "y": y, "width": w, "height": h}
        attributes = {"finding": finding, "reader": READER, "date": MOMENT}
        cells = ["{}", len(BOXES), number, json.dumps(shape), json.dumps(attributes)]
        writer.writerow(["3/film.dcm", 1, *cells])
    writer.writerow(["4/film.dcm", 1, json.dumps({"reader": READER}), 0, 0, "{}", "{}"])
    return _write(folder / "via_region_data.csv", out.getvalue())


def write_pascal_voc(folder: Path, _: Film) -> Path:
    def document(name: str, objects: str) -> str:
        return (
            f"<annotation><folder>films</folder><filename>{name}</filename><source>"
            f"<database>Unknown</database></source><size><width>{COLUMNS}</width>"
            f"<height>{ROWS}</height><depth>1</depth></size><segmented>0</segmented>{objects}"
            "</annotation>"
        )

    objects = "".join(
        f"<object><name>{finding}</name><pose>Unspecified</pose><truncated>0</truncated>"
        f"<difficult>0</difficult><bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + w}</xmax>"
        f"<ymax>{y + h}</ymax></bndbox></object>"
        for finding, x, y, w, h in BOXES
    )
    _write(folder / "voc" / "a.xml", document("3/film.dcm", objects))
    _write(folder / "voc" / "b.xml", document("4/film.dcm", ""))
    return folder / "voc"


def write_yolo(folder: Path, _: Film) -> Path:
    lines = "".join(
        f"{FINDINGS.index(finding)} {(x + w / 2) / COLUMNS:.9f} {(y + h / 2) / ROWS:.9f} "
        f"{w / COLUMNS:.9f} {h / ROWS:.9f}\n"
        for finding, x, y, w, h in BOXES
    )
    _write(folder / "yolo" / "labels" / "1.2.3.txt", lines)
    _write(folder / "yolo" / "labels" / "1.2.4.txt", "")
    _write(folder / "yolo" / "classes.txt", "\n".join(FINDINGS) + "\n")
    return folder / "yolo"


def write_csv(folder: Path, _: Film) -> Path:
    lines = ["SOP Instance UID;Label;X min;Y min;X max;Y max;Rad ID;Date;Image width;Image height"]
    for finding, x, y, w, h in BOXES:
        box = f"{x};{y};{x + w};{y + h}".replace(".", ",")
        lines.append(f"1.2.3;{finding};{box};{READER};{MOMENT};{COLUMNS};{ROWS}")
    lines.append(f"1.2.4;No finding;;;;;{READER};{MOMENT};;")
    return _write(folder / "boxes.csv", "\n".join(lines))


def write_dicom_sr(folder: Path, film: Film) -> Path:
    images = [_film(film, uid) for uid in ("1.2.3", "1.2.4")]
    source = hd.sr.SourceImageForRegion(images[0].SOPClassUID, images[0].SOPInstanceUID)
    names = {
        "Rib fracture": hd.sr.CodedConcept("33737001", "SCT", "Fracture of rib"),
        "Clavicle fracture": hd.sr.CodedConcept("58150001", "SCT", "Fracture of clavicle"),
    }
    groups = [
        hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=hd.sr.TrackingIdentifier(hd.UID(), f"lesion {number}"),
            referenced_region=hd.sr.ImageRegion(
                hd.sr.GraphicTypeValues.POLYLINE, _closed(x, y, w, h), source
            ),
            finding_type=names[finding],
        )
        for number, (finding, x, y, w, h) in enumerate(BOXES)
    ]
    observer = hd.sr.ObserverContext(
        observer_type=codes.DCM.Person,
        observer_identifying_attributes=hd.sr.PersonObserverIdentifyingAttributes(READER),
    )
    report = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_person_context=observer),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=groups,
    )
    document = hd.sr.ComprehensiveSR(
        evidence=images, content=report[0], is_complete=True, **EVIDENCE
    )
    return _save(document, folder / "report.dcm")


def write_gsps(folder: Path, film: Film, *, units: str = "PIXEL") -> Path:
    images = [_film(film, uid) for uid in ("1.2.3", "1.2.4")]
    side = np.array([COLUMNS, ROWS]) if units == "DISPLAY" else np.array([1, 1])
    layer = hd.pr.GraphicLayer("FINDINGS", 1)
    annotations = [
        hd.pr.GraphicAnnotation(
            referenced_images=images[:1],
            graphic_layer=layer,
            graphic_objects=[
                hd.pr.GraphicObject("POLYLINE", _closed(x, y, w, h) / side, units=units)
            ],
            text_objects=[
                hd.pr.TextObject(finding, units="PIXEL", bounding_box=(x, y, x + 50, y + 20))
            ],
        )
        for finding, x, y, w, h in BOXES
    ]
    document = hd.pr.GrayscaleSoftcopyPresentationState(
        referenced_images=images,
        manufacturer_model_name="Test",
        software_versions="1",
        device_serial_number="1",
        content_label="FINDINGS",
        content_creator_name=READER,
        graphic_layers=[layer],
        graphic_annotations=annotations,
        **EVIDENCE,
    )
    return _save(document, folder / f"presentation_{units}.dcm")


def write_gsps_display(folder: Path, film: Film) -> Path:
    return write_gsps(folder, film, units="DISPLAY")


WRITERS: Mapping[str, Callable[[Path, Film], Path]] = {
    "coco": write_coco,
    "coco results": write_coco_results,
    "cvat": write_cvat,
    "label_studio": write_label_studio,
    "via": write_via_json,
    "via csv": write_via_csv,
    "pascal_voc": write_pascal_voc,
    "yolo": write_yolo,
    "csv": write_csv,
    "dicom_sr": write_dicom_sr,
    "gsps": write_gsps,
    "gsps display": write_gsps_display,
}


def _film(film: Film, uid: str) -> Dataset:
    pixels = np.zeros((ROWS, COLUMNS), np.uint8)
    return film(
        pixels,
        SOPInstanceUID=UID(uid),
        StudyInstanceUID=UID("1.2.8.1"),
        SeriesInstanceUID=UID("1.2.8.2"),
        StudyID="1",
        SeriesNumber=1,
        InstanceNumber=1,
        AccessionNumber="ACC",
        PatientBirthDate="19500101",
        PatientSex="F",
        ReferringPhysicianName="",
    )


def _closed(x: float, y: float, w: float, h: float) -> np.ndarray:
    return np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h], [x, y]])


def _write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def _save(document: Dataset, path: Path) -> Path:
    document.ContentDate, document.ContentTime = "20160411", "093000"
    document.PresentationCreationDate, document.PresentationCreationTime = "20160411", "093000"
    document.save_as(path)
    return path
