"""The annotation files that an import is given: single files, and folders of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from etl.annotations.box_formats.annotation_file import AnnotationFile, AnnotationFolder
from etl.annotations.box_formats.recognition import FOLDER_FORMAT
from etl.annotations.box_formats.yolo import PICTURES, is_yolo
from warehouse_schema.errors import InputError

Source = AnnotationFile | AnnotationFolder


def list_annotation_files(
    paths: Sequence[Path], *, format_name: str | None
) -> Iterator[tuple[str, Source]]:
    """Each file, or folder that is one set, with its name below what was given.

    A YOLO folder is one; any other folder is the files under it, links out of it, hidden files and
    pictures by their extension left out. The name is the last two parts of what was given and the
    path below.

    Raises:
        InputError: A folder holds no file that could be annotations.
    """
    for number, path in enumerate(paths, start=1):
        said = "file" if len(paths) == 1 else f"file {number}"
        # Tools call every export alike; the folder tells two of them apart.
        base = "/".join(path.resolve().parts[-2:])
        if not path.is_dir():
            yield base, AnnotationFile(path, name=said)
            continue
        folder = AnnotationFolder(path, name=said)
        if format_name == FOLDER_FORMAT or (format_name is None and is_yolo(folder)):
            yield base, folder
            continue
        names = [each for each in folder.files if _may_annotate(each)]
        if not names:
            raise InputError(
                f"{said}: the folder holds no annotation file. Give a folder of Pascal VOC, DICOM "
                "or other annotation files, or a YOLO folder with classes.txt beside the labels."
            )
        for place, name in enumerate(names, start=1):
            shown = f"{said}, file {place} of the folder"
            yield f"{base}/{name}", AnnotationFile(folder.files[name], name=shown)


def _may_annotate(name: str) -> bool:
    path = PurePosixPath(name)
    is_hidden = any(part.startswith(".") for part in path.parts)
    return not is_hidden and path.suffix.lower() not in PICTURES
