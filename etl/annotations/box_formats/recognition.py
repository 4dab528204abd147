"""The annotation formats, and which of them a file is in, by its content."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from etl.annotations.box_formats import (
    coco,
    csv_table,
    cvat,
    dicom_sr,
    gsps,
    label_studio,
    pascal_voc,
    via,
    yolo,
)
from etl.annotations.box_formats.annotation_file import AnnotationFile, AnnotationFolder
from etl.annotations.box_formats.source_box import SourceEntry
from etl.films.film_reading import silent_parser
from warehouse_schema.errors import ArgumentError, InputError


@dataclass(frozen=True)
class FileFormat:
    """A format that is one file.

    Attributes:
        title: Name for messages.
        is_in: True where a file's content is in the format; may raise InputError on broken content.
        read: Its boxes and looks.
    """

    title: str
    is_in: Callable[[AnnotationFile], bool]
    read: Callable[[AnnotationFile], Iterator[SourceEntry]]


FORMATS: Mapping[str, FileFormat] = {
    "coco": FileFormat(coco.TITLE, coco.is_coco, coco.read_coco),
    "cvat": FileFormat(cvat.TITLE, cvat.is_cvat, cvat.read_cvat),
    "label_studio": FileFormat(
        label_studio.TITLE, label_studio.is_label_studio, label_studio.read_label_studio
    ),
    "via": FileFormat(via.TITLE, via.is_via, via.read_via),
    "pascal_voc": FileFormat(
        pascal_voc.TITLE, pascal_voc.is_pascal_voc, pascal_voc.read_pascal_voc
    ),
    "csv": FileFormat(csv_table.TITLE, csv_table.is_csv_table, csv_table.read_csv_table),
    "dicom_sr": FileFormat(dicom_sr.TITLE, dicom_sr.is_dicom_sr, dicom_sr.read_dicom_sr),
    "gsps": FileFormat(gsps.TITLE, gsps.is_gsps, gsps.read_gsps),
}
FOLDER_FORMAT = "yolo"
FORMAT_NAMES = (*FORMATS, FOLDER_FORMAT)


def check_format(name: str | None) -> None:
    """Refuse a format name that is not one of FORMAT_NAMES.

    Raises:
        ArgumentError: No such format.
    """
    if name is not None and name not in FORMAT_NAMES:
        raise ArgumentError(f"format: {name!r} is none of {', '.join(FORMAT_NAMES)}.")


def read_annotations(
    source: AnnotationFile | AnnotationFolder,
    *,
    format_name: str | None = None,
    beside: Sequence[AnnotationFile | AnnotationFolder] = (),
) -> tuple[str, list[SourceEntry]]:
    """The format of a file, by its content or as given, and its entries.

    Args:
        source: File, or folder that is one set.
        format_name: Name of its format; None sees it from the content.
        beside: What is read in the same import.

    Raises:
        InputError: No format fits, or the file cannot be read in its format.
    """
    if isinstance(source, AnnotationFolder):
        return FOLDER_FORMAT, list(yolo.read_yolo(source))
    if source.kind != "dicom":
        return _read(source, format_name, beside)
    try:
        with silent_parser():
            return _read(source, format_name, ())
    except InputError:
        raise
    except Exception:  # noqa: BLE001 - a damaged element may raise anything when it is read
        raise InputError(
            f"{source.name}: the DICOM object is damaged. Send it again from the PACS."
        ) from None


def _read(
    source: AnnotationFile,
    format_name: str | None,
    beside: Sequence[AnnotationFile | AnnotationFolder],
) -> tuple[str, list[SourceEntry]]:
    name = format_name or recognised(source)
    if name is None:
        raise InputError(
            f"{source.name}: its format is not known; it is {_seen(source)}. Known are "
            f"{', '.join(f'{name} ({each.title})' for name, each in FORMATS.items())} and "
            f"{FOLDER_FORMAT} ({yolo.TITLE}). Export one of them, or name it with --format."
        )
    if name == FOLDER_FORMAT:
        raise InputError(f"{source.name}: {yolo.TITLE} is wanted. Give the folder.")
    if name == "coco":
        return name, list(coco.read_coco(source, beside=beside))
    return name, list(FORMATS[name].read(source))


def recognised(file: AnnotationFile) -> str | None:
    """Name of the first format whose content a file has, or None.

    Raises:
        InputError: The file cannot be read, or is broken XML, JSON or DICOM.
    """
    return next((name for name, each in FORMATS.items() if each.is_in(file)), None)


def _seen(file: AnnotationFile) -> str:
    """What a file looks like, without any of its words."""
    if file.kind == "json":
        kind = "a list" if isinstance(file.json, list) else "an object"
        return f"JSON, {kind} without the keys of an annotation format"
    if file.kind == "xml":
        return "XML whose root is neither 'annotations' (CVAT) nor 'annotation' (Pascal VOC)"
    if file.kind == "dicom":
        return "a DICOM file that is neither a structured report nor a presentation state"
    head = file.text.partition("\n")[0]
    n_columns = max(head.count(each) for each in csv_table.DELIMITERS) + 1
    return f"text whose first line has {n_columns} columns and names no image, finding and box"
