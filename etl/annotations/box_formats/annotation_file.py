"""An annotation file, read once and parsed by the kind of its content."""

from __future__ import annotations

import codecs
import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException
from pydicom.dataset import Dataset

from etl.films.dicom_header import UnusableFileError, open_dataset
from etl.films.film_reading import silent_parser
from warehouse_schema.errors import InputError

MAX_FILE_BYTES = 1024 * 2**20
DICOM_PREFIX = slice(128, 132)
BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
AGAIN = "Export it again from the annotation tool."


class AnnotationFile:
    """One file.

    Args:
        path: Where it lies.
        name: How a message names it; never its path, which may hold a patient's name.
    """

    def __init__(self, path: Path, *, name: str = "file") -> None:
        self.path = path
        self.name = name

    @cached_property
    def content(self) -> bytes:
        """All bytes.

        Raises:
            InputError: It cannot be read, is empty or too large.
        """
        try:
            size = self.path.stat().st_size
            content = self.path.read_bytes() if size <= MAX_FILE_BYTES else b""
        except (OSError, ValueError):
            raise InputError(
                f"{self.name}: the annotation file cannot be read. Give the path of a file or of "
                "a folder of annotation files."
            ) from None
        if size > MAX_FILE_BYTES:
            raise InputError(
                f"{self.name}: the annotation file has {size >> 20} MiB; at most "
                f"{MAX_FILE_BYTES >> 20} are read. Export it in parts."
            )
        if not content.strip():
            raise InputError(f"{self.name}: the annotation file is empty. {AGAIN}")
        return content

    @property
    def is_film(self) -> bool:
        """True for a DICOM image, which lies beside its annotations in a folder of a study."""
        return self.kind == "dicom" and "PixelData" in self.dataset

    @property
    def sha256(self) -> str:
        """SHA-256 of the content."""
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def kind(self) -> str:
        """dicom, xml, json or text, by its first characters."""
        if self.content[DICOM_PREFIX] == b"DICM":
            return "dicom"
        start = self.text[:1000].lstrip()
        if start.startswith("<"):
            return "xml"
        return "json" if start.startswith(("{", "[")) else "text"

    @cached_property
    def text(self) -> str:
        """The content as text: by its byte order mark, else UTF-8, else Windows-1252."""
        for mark, encoding in BOMS.items():
            if self.content.startswith(mark):
                return self.content.decode(encoding, "replace")
        try:
            return self.content.decode("utf-8")
        except UnicodeDecodeError:
            return self.content.decode("cp1252", "replace")

    @cached_property
    def json(self) -> Any:
        """The content as JSON.

        Raises:
            InputError: It is not JSON.
        """
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            raise InputError(f"{self.name}: the annotation file is not JSON. {AGAIN}") from None

    @cached_property
    def root(self) -> Element:
        """The root of the XML document; entities and document types are refused.

        Raises:
            InputError: It is not XML, or declares a document type or an entity.
        """
        try:
            return ElementTree.fromstring(self.content, forbid_dtd=True)  # type: ignore[no-any-return]
        except DefusedXmlException:
            raise InputError(
                f"{self.name}: the annotation file declares a document type or entities, which "
                f"are never expanded. {AGAIN}"
            ) from None
        except (ParseError, ValueError, LookupError, RecursionError):
            raise InputError(f"{self.name}: the annotation file is not XML. {AGAIN}") from None

    @cached_property
    def dataset(self) -> Dataset:
        """The DICOM data set.

        Raises:
            InputError: It is not DICOM, or damaged.
        """
        try:
            with silent_parser():
                return open_dataset(self.content)
        except UnusableFileError as error:
            raise InputError(f"{self.name}: {error}. Send it again from the PACS.") from None

    def release(self) -> None:
        """Let go of what was read; it is read again where it is asked for again."""
        for name in ("content", "kind", "text", "json", "root", "dataset"):
            self.__dict__.pop(name, None)

    def wrong(self, expected: str) -> InputError:
        """The error of a file that is not in the format it is read as."""
        return InputError(f"{self.name}: the annotation file is no {expected}. {AGAIN}")


class AnnotationFolder:
    """A folder that is one annotation set as a whole (YOLO).

    Args:
        path: The folder.
        name: How a message names it.
    """

    def __init__(self, path: Path, *, name: str = "folder") -> None:
        self.path = path
        self.name = name

    @cached_property
    def files(self) -> dict[str, Path]:
        """Regular files by relative path; links that leave the folder are not followed."""
        root = self.path.resolve()
        return {
            path.relative_to(root).as_posix(): path
            for path in sorted(root.rglob("*"))
            if path.is_file() and path.resolve().is_relative_to(root)
        }

    def release(self) -> None:
        """Nothing to let go of: its files are read one at a time."""

    @property
    def sha256(self) -> str:
        """SHA-256 over names and content of its text files."""
        digest = hashlib.sha256()
        for name, path in self.files.items():
            if path.suffix in {".txt", ".names", ".yaml", ".yml"}:
                digest.update(f"{name}\n".encode(errors="surrogatepass"))
                digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()
