"""What an annotation file says, before it is matched and checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Box = tuple[float, float, float, float]
Unit = Literal["px", "fraction"]
UPRIGHT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceImage:
    """An image as an annotation file names and measures it; it may be named in several ways.

    Attributes:
        sop_instance_uid: SOP Instance UID (0008,0018).
        accession_number: Accession number of its study.
        file_sha256: SHA-256 of the source file.
        file_name: File name or relative path; never opened.
        width_px: Width of the image that was annotated, None where the file does not say it.
        height_px: Its height.
        orientation: EXIF orientation (1 to 8) in which the source was shown; 0 for any other text.
        readers: Who has looked at it, where the file says so of the image.
    """

    sop_instance_uid: str | None = None
    accession_number: str | None = None
    file_sha256: str | None = None
    file_name: str | None = None
    width_px: float | None = None
    height_px: float | None = None
    orientation: int = UPRIGHT
    readers: tuple[str, ...] = ()

    @property
    def only_reader(self) -> str | None:
        """Who drew a box that names nobody, where one reader has looked at the image."""
        return self.readers[0] if len(self.readers) == 1 else None


NO_IMAGE = SourceImage()


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceBox:
    """One box.

    Attributes:
        key: Key of the box in its file, fit for the quarantine table.
        fault: Why the file's own entry cannot be used, or None.
        image: The image it was drawn on.
        finding: Category name.
        box: Left, top, width and height in the annotated image.
        unit: Pixels of the annotated image, or fractions of its width and height.
        drawn_shape: What was drawn, where the box is the hull of another shape.
        reader: Who drew it.
        annotated: When, as the file says it, unshifted.
        status: drawn, confirmed or rejected; None where the file does not say it.
        is_occluded: As the tool marks it, None where it does not.
    """

    key: str
    fault: str | None = None
    image: SourceImage = NO_IMAGE
    finding: str = ""
    box: Box = (0.0, 0.0, 0.0, 0.0)
    unit: Unit = "px"
    drawn_shape: str = "rectangle"
    reader: str | None = None
    annotated: datetime | None = None
    status: str | None = None
    is_occluded: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceLook:
    """A reader has looked at an image, whether or not a box was drawn.

    Attributes:
        key: Key of the image in its file, fit for the quarantine table.
        image: The image.
        reader: Who looked, None where the file does not say it.
        is_implied: True where the file says it of no reader but only lists the image; other
            readers' boxes on the image then say who looked.
        annotated: When, unshifted.
        fault: Why the look does not count, or None.
    """

    key: str
    image: SourceImage
    reader: str | None = None
    is_implied: bool = False
    annotated: datetime | None = None
    fault: str | None = None


SourceEntry = SourceBox | SourceLook


def looks(
    key: str, image: SourceImage, *, reader: str | None = None, annotated: datetime | None = None
) -> Iterator[SourceLook]:
    """The looks at an image that a file lists: its own readers', else an implied one.

    Args:
        key: Key of the image in its file.
        image: The image.
        reader: Who looked where the image itself names nobody.
        annotated: When.
    """
    for own in image.readers:
        yield SourceLook(key=key, image=image, reader=own, annotated=annotated)
    if not image.readers:
        yield SourceLook(key=key, image=image, reader=reader, is_implied=True, annotated=annotated)
