"""Finds an image by the ways in which annotation files name it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath
from typing import Any

from etl.annotations.box_formats.source_box import SourceImage
from etl.pseudonym import Pseudonymizer
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGES
from warehouse_schema.tables.records import IDENTITIES, IMAGE_SOURCES

# What stands behind the name of a film or of a copy of it; a UID's last number is no extension.
EXTENSIONS = frozenset(
    {".dcm", ".dicom", ".ima", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"}
)
COLUMNS = [
    "image_id",
    "patient_id",
    "accession_id",
    "rows_px",
    "columns_px",
    "is_frontal_chest",
    "source_sha256",
]
NOT_KNOWN = "its image is not known"
SEVERAL_FILMS = "its accession number has several frontal films"
SEVERAL_NAMES = "its file name is that of several images"
Row = dict[str, Any]


class ImageFinder:
    """Images of one source by UID, hash, accession number and file name.

    A file name also finds an image where, extensions aside, it is the image's SOP Instance UID,
    pseudonym, accession number or hash: exported copies are often named so.

    Args:
        store: The store.
        names: Pseudonyms of the images' source.
    """

    def __init__(self, store: Store, names: Pseudonymizer) -> None:
        self.names = names
        images = store.read(IMAGES, columns=COLUMNS, where={"source": names.source}).to_pylist()
        self._found: dict[SourceImage, tuple[Row, str] | str] = {}
        self._images: dict[str, Row] = {image["image_id"]: image for image in images}
        self._by_sha256 = {image["source_sha256"]: image for image in images}
        self._by_accession: dict[str, list[Row]] = defaultdict(list)
        for image in images:
            if image["accession_id"] is not None and image["is_frontal_chest"]:
                self._by_accession[image["accession_id"]].append(image)
        self._by_name: dict[str, list[tuple[str, Row]]] = defaultdict(list)
        self._by_stem: dict[str, list[Row]] = defaultdict(list)
        for row in store.read(IMAGE_SOURCES, columns=["image_id", "file_path"]).to_pylist():
            image = self._images.get(row["image_id"])
            if image is not None:
                path = PurePosixPath(row["file_path"])
                self._by_name[path.name].append((row["file_path"], image))
                self._by_stem[_stem(path.name)].append(image)
        identities = store.read(
            IDENTITIES,
            columns=["pseudonym", "date_shift_days"],
            where={"source": names.source, "kind": "patient"},
        )
        self._shift_days = {
            row["pseudonym"]: row["date_shift_days"] for row in identities.to_pylist()
        }

    def shift_days(self, image: Row) -> int:
        """Days added to the dates of the image's patient."""
        return int(self._shift_days.get(image["patient_id"], 0))

    def find(self, named: SourceImage) -> tuple[Row, str] | str:
        """The image and what it was found by, or the reason why it is not known."""
        if named not in self._found:
            self._found[named] = self._look_up(named)
        return self._found[named]

    def _look_up(self, named: SourceImage) -> tuple[Row, str] | str:
        if named.sop_instance_uid and (image := self._by_uid(named.sop_instance_uid)):
            return image, "sop_instance_uid"
        if named.file_sha256 and (image := self._by_sha256.get(named.file_sha256.lower())):
            return image, "file_sha256"
        if named.accession_number:
            found = self._of_accession(named.accession_number)
            if len(found) == 1:
                return found[0], "accession_number"
            if found and not named.file_name:
                return SEVERAL_FILMS
        return self._find_by_name(named.file_name) if named.file_name else NOT_KNOWN

    def _by_uid(self, uid: str) -> Row | None:
        return self._images.get(self.names.pseudonym("image", uid))

    def _of_accession(self, number: str) -> list[Row]:
        return self._by_accession.get(self.names.pseudonym("accession", number), [])

    def _find_by_name(self, file_name: str) -> tuple[Row, str] | str:
        path = PurePosixPath(file_name.replace("\\", "/"))
        found = self._by_name.get(path.name, [])
        if len(found) > 1:
            ending = f"/{str(path).lstrip('/')}"
            found = [each for each in found if each[0].endswith(ending)]
        if len(found) > 1:
            return SEVERAL_NAMES
        return (found[0][1], "file_name") if found else self._find_by_stem(_stem(path.name))

    def _find_by_stem(self, stem: str) -> tuple[Row, str] | str:
        """An image whose identifier, or whose own file name but for the extension, is the stem."""
        if image := self._by_uid(stem):
            return image, "sop_instance_uid"
        if image := self._images.get(stem):
            return image, "image_id"
        if image := self._by_sha256.get(stem.lower()):
            return image, "file_sha256"
        found, matched_by, several = self._of_accession(stem), "accession_number", SEVERAL_FILMS
        if not found:
            found, matched_by, several = self._by_stem.get(stem, []), "file_name", SEVERAL_NAMES
        if len(found) > 1:
            return several
        return (found[0], matched_by) if found else NOT_KNOWN


def _stem(name: str) -> str:
    """A file name without the extensions of films and their copies."""
    path = PurePosixPath(name)
    while path.suffix.lower() in EXTENSIONS:
        path = path.with_suffix("")
    return path.name
