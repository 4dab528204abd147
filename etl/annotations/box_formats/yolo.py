"""A YOLO folder: one text file an image, with the names of the classes beside them.

https://docs.ultralytics.com/datasets/detect/. Lines are ``class x y width height`` (centre and size
as fractions), with a confidence behind them, or a class and the points of a polygon. The image is
the one of the text file's name; its size comes from the warehouse, and is checked against the copy
that was annotated where that lies in the folder.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import yaml
from PIL import Image

from etl.annotations.box_formats.annotation_file import AnnotationFolder
from etl.annotations.box_formats.entry_fields import four, number
from etl.annotations.box_formats.shapes import hull_of_points, pairs
from etl.annotations.box_formats.source_box import Box, SourceBox, SourceEntry, SourceImage, looks
from warehouse_schema.errors import InputError

TITLE = "YOLO (folder)"
NAME_FILES = ("classes.txt", "obj.names", "data.yaml", "data.yml", "dataset.yaml")
# Lists that tools write beside the labels.
OTHER_FILES = ("train.txt", "val.txt", "valid.txt", "test.txt", "readme.txt")
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
MAX_TEXT_BYTES = 16 * 2**20
EXIF_ORIENTATION = 0x0112


def is_yolo(folder: AnnotationFolder) -> bool:
    """True where the folder holds label files and names its classes."""
    names = {PurePosixPath(name).name.lower() for name in folder.files}
    return bool(names & set(NAME_FILES)) and any(_is_label(name) for name in folder.files)


def read_yolo(folder: AnnotationFolder) -> Iterator[SourceEntry]:
    """Boxes and looks, label file by label file; an empty one is a look without finding.

    Raises:
        InputError: The folder names no classes, or holds no label file.
    """
    classes = _classes(folder)
    labels = [name for name in folder.files if _is_label(name)]
    if not labels:
        raise InputError(f"{folder.name}: the YOLO folder holds no label file (.txt).")
    pictures = {
        PurePosixPath(name).stem: path
        for name, path in folder.files.items()
        if path.suffix.lower() in PICTURES
    }
    for place, name in enumerate(labels, start=1):
        stem = PurePosixPath(name).stem
        yield from _read_labels(f"file {place}", folder.files[name], stem, pictures, classes)


def _is_label(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix == ".txt" and path.name.lower() not in NAME_FILES + OTHER_FILES


def _read_labels(
    key: str,
    path: Path,
    stem: str,
    pictures: Mapping[str, Path],
    classes: Mapping[int, str],
) -> Iterator[SourceEntry]:
    lines = _lines(path)
    if lines is None:
        yield SourceBox(key=key, fault="the label file cannot be read as text")
        return
    image = _image(stem, pictures.get(stem))
    yield from looks(key, image)
    for place, line in enumerate(lines, start=1):
        if line.strip():
            yield _box(f"{key} line {place}", line.split(), image, classes)


def _box(key: str, words: list[str], image: SourceImage, classes: Mapping[int, str]) -> SourceBox:
    hull, drawn_shape = _hull(words[1:])
    index = number(words[0])
    finding = classes.get(int(index)) if index is not None and index == int(index) else None
    fault = "its class is not among the folder's classes" if finding is None else None
    return SourceBox(
        key=key,
        fault="the line is not a class and a box in fractions" if hull is None else fault,
        image=image,
        finding=finding or "",
        box=hull or (0.0, 0.0, 0.0, 0.0),
        unit="fraction",
        drawn_shape=drawn_shape,
    )


def _hull(words: list[str]) -> tuple[Box | None, str]:
    if len(words) in {4, 5}:
        numbers = four(*words[:4])
        if numbers is None:
            return None, "rectangle"
        x, y, width, height = numbers
        return (x - width / 2, y - height / 2, width, height), "rectangle"
    numbers_ = [number(word) for word in words]
    known = [value for value in numbers_ if value is not None]
    if len(known) != len(words) or len(words) < 6 or len(words) % 2:
        return None, "polygon"
    # Four points are an oriented box.
    return hull_of_points(pairs(known)), "rotated_rectangle" if len(words) == 8 else "polygon"


def _image(stem: str, picture: Path | None) -> SourceImage:
    if picture is None:
        return SourceImage(file_name=stem)
    try:
        with warnings.catch_warnings():
            # Only the header is read; a large picture is no danger.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(picture) as opened:
                width_px, height_px = opened.size
                orientation = opened.getexif().get(EXIF_ORIENTATION, 1)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return SourceImage(file_name=stem)
    is_turned = orientation in {5, 6, 7, 8}
    return SourceImage(
        file_name=stem,
        width_px=height_px if is_turned else width_px,
        height_px=width_px if is_turned else height_px,
        orientation=orientation if orientation in range(1, 9) else 1,
    )


def _classes(folder: AnnotationFolder) -> Mapping[int, str]:
    """Class names by number."""
    for wanted in NAME_FILES:
        for name, path in folder.files.items():
            if PurePosixPath(name).name.lower() != wanted:
                continue
            lines = _lines(path) or []
            if wanted.endswith((".yaml", ".yml")):
                return _yaml_classes(folder, "\n".join(lines))
            return {place: line.strip() for place, line in enumerate(lines) if line.strip()}
    raise InputError(
        f"{folder.name}: the YOLO folder names no classes. Put classes.txt beside the labels, one "
        "finding a line."
    )


def _yaml_classes(folder: AnnotationFolder, content: str) -> Mapping[int, str]:
    try:
        names = yaml.safe_load(content).get("names")
    except (yaml.YAMLError, AttributeError, RecursionError, ValueError):
        names = None
    if isinstance(names, list):
        names = dict(enumerate(names))
    entries = names.items() if isinstance(names, dict) else ()
    classes = {
        place: name for place, name in entries if isinstance(place, int) and isinstance(name, str)
    }
    if not classes:
        raise InputError(f"{folder.name}: the YOLO folder's data.yaml has no list 'names'.")
    return classes


def _lines(path: Path) -> list[str] | None:
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            return None
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
