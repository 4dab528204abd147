"""Films of the cohort as de-identified DICOM files, for research.

The header is cleaned by ``dicom_profile``. Pixel data are decoded and written plain, unused high
bits cleared, so that no comment in a code stream and no overlay in spare bits travels along; text
in the picture itself is looked for and flagged, not removed.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from etl.films.dicom_header import UnusableFileError, open_dataset
from etl.privacy.burnt_in_text import has_burnt_in_text
from etl.privacy.dicom_profile import Replacements, deidentify
from etl.privacy.value_loggers import silent_value_loggers
from etl.pseudonym import Pseudonymizer
from warehouse_schema.errors import ArgumentError, CohortError
from warehouse_schema.progress import SILENT, Progress
from warehouse_schema.store import Store
from warehouse_schema.tables.imaging import IMAGES
from warehouse_schema.tables.labels import COHORT, IMAGE_LABELS
from warehouse_schema.tables.records import IDENTITIES, IMAGE_SOURCES

STAGE = "export-dicom"
SPLITS = ("train", "validation", "test")
SYNTHETIC = "SYNTHETIC: rendered, no patient"
FLAGGED = "text is burnt into the picture"


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """What one export wrote.

    Attributes:
        n_films: Films asked for.
        n_written: Files written.
        n_burnt_in: Films with text in the picture, written or not.
        left_out: How many were left out for each reason.
    """

    n_films: int
    n_written: int
    n_burnt_in: int
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ExportOrder:
    """One film to export.

    Attributes:
        source_path: Where the source file lay when it was read.
        source_sha256: Its hash then.
        target: File to write.
        patient_id: Pseudonym.
        shift_days: The patient's date shift.
        names: Pseudonyms of the film's source.
        is_synthetic: True where the film is made up.
        is_burnt_in_allowed: True writes a film with text in the picture too.
    """

    source_path: Path
    source_sha256: str
    target: Path
    patient_id: str
    shift_days: int
    names: Pseudonymizer
    is_synthetic: bool
    is_burnt_in_allowed: bool


def export_films(
    *,
    store: Store,
    folder: Path,
    pseudonym_key: bytes | str,
    finding: str | None = None,
    split: str | None = None,
    fold: int = 0,
    is_burnt_in_allowed: bool = False,
    n_processes: int = 1,
    progress: Progress = SILENT,
) -> ExportSummary:
    """Write films of the cohort as FOLDER/PATIENT/IMAGE.dcm, under their pseudonyms.

    Args:
        store: The store; restricted/ says where the source files lie.
        folder: Folder to write to.
        pseudonym_key: The key that the films were ingested with; it also gives the UIDs.
        finding: Only films that are positive for it; all by default.
        split: Only films of this split; all by default.
        fold: Fold whose splits are meant.
        is_burnt_in_allowed: True writes films with text in the picture too.
        n_processes: Worker processes.
        progress: Listener.

    Raises:
        ArgumentError: No such split, or n_processes below 1.
        CohortError: The cohort has no such film.
    """
    if split is not None and split not in SPLITS:
        raise ArgumentError(f"--split: got {split!r}; allowed are {', '.join(SPLITS)}.")
    if n_processes < 1:
        raise ArgumentError(f"n_processes is {n_processes}; give at least 1.")
    image_ids = _chosen(store, finding=finding, split=split, fold=fold)
    names = Pseudonymizer(key=pseudonym_key, source="")
    orders = list(_orders(store, image_ids, folder, names, is_burnt_in_allowed))
    progress.start(STAGE, len(orders))
    n_written, n_burnt_in, left_out = 0, 0, Counter[str]()
    left_out["the source file is not known"] = len(image_ids) - len(orders)
    for outcome, is_burnt_in in _export_all(orders, n_processes):
        n_written += outcome is None
        n_burnt_in += is_burnt_in
        if outcome is not None:
            left_out[outcome] += 1
        progress.advance()
    progress.finish()
    return ExportSummary(
        n_films=len(image_ids),
        n_written=n_written,
        n_burnt_in=n_burnt_in,
        left_out={reason: n for reason, n in left_out.most_common() if n},
    )


def _chosen(store: Store, *, finding: str | None, split: str | None, fold: int) -> set[str]:
    where = {"fold": fold, "split": list(SPLITS) if split is None else split}
    image_ids = set(store.read(COHORT, columns=["image_id"], where=where)["image_id"].to_pylist())
    if finding is not None:
        where = {"finding": finding, "label": "positive"}
        positive = store.read(IMAGE_LABELS, columns=["image_id"], where=where)
        image_ids &= set(positive["image_id"].to_pylist())
    if not image_ids:
        raise CohortError(
            "export-dicom: the cohort has no such film. Run `ribline build-cohort`, or ask for "
            "another finding, split or fold."
        )
    return image_ids


def _orders(
    store: Store, image_ids: set[str], folder: Path, names: Pseudonymizer, is_burnt_in_allowed: bool
) -> Iterator[ExportOrder]:
    where = {"image_id": sorted(image_ids)}
    sources = {row["image_id"]: row for row in store.read(IMAGE_SOURCES, where=where).to_pylist()}
    patients = store.read(IDENTITIES, where={"kind": "patient"}).to_pylist()
    shifts = {row["pseudonym"]: row["date_shift_days"] for row in patients}
    for image in store.read(IMAGES, where=where).to_pylist():
        source = sources.get(image["image_id"])
        shift_days = shifts.get(image["patient_id"])
        if source is not None and shift_days is not None:
            yield ExportOrder(
                source_path=Path(source["file_path"]),
                source_sha256=source["source_sha256"],
                target=folder / image["patient_id"] / f"{image['image_id']}.dcm",
                patient_id=image["patient_id"],
                shift_days=shift_days,
                names=names.of_source(image["source"]),
                is_synthetic=image["is_synthetic"],
                is_burnt_in_allowed=is_burnt_in_allowed,
            )


def _export_all(orders: list[ExportOrder], n_processes: int) -> Iterator[tuple[str | None, bool]]:
    if n_processes == 1:
        yield from map(export_film, orders)
        return
    # A fork server has no threads or locks of the parent.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["etl.privacy.dicom_export"])
    with ProcessPoolExecutor(n_processes, mp_context=context) as pool:
        yield from pool.map(export_film, orders, chunksize=8)


def export_film(order: ExportOrder) -> tuple[str | None, bool]:
    """Export one film.

    Returns:
        Why it was left out, or None; and whether text is burnt into it.
    """
    try:
        content = order.source_path.read_bytes()
    except OSError:
        return "the source file is gone", False
    if hashlib.sha256(content).hexdigest() != order.source_sha256:
        return "the source file has changed since it was read", False
    try:
        with silent_value_loggers(), warnings.catch_warnings():
            # pydicom quotes values that it finds odd; an old film's odd values are kept.
            warnings.simplefilter("ignore")
            dataset = open_dataset(content)
            stored = stored_values(dataset)
            is_burnt_in = _is_burnt_in(dataset, stored)
            if is_burnt_in and not order.is_burnt_in_allowed:
                return FLAGGED, True
            _write(dataset, stored, is_burnt_in, order)
    except UnusableFileError as error:
        return str(error), False
    return None, is_burnt_in


def stored_values(dataset: Dataset) -> NDArray[np.integer]:
    """Stored pixel values (rows, columns) of a film, bits above Bits Stored cleared.

    Raises:
        UnusableFileError: The pixel data cannot be decoded, or are not one plane.
    """
    try:
        stored = np.asarray(dataset.pixel_array)
        n_unused = stored.dtype.itemsize * 8 - int(dataset.BitsStored)
    except Exception:  # noqa: BLE001 - decoders raise anything on damaged data
        raise UnusableFileError("the pixel data cannot be decoded") from None
    if stored.ndim != 2 or stored.dtype.kind not in "iu" or not 0 <= n_unused < 16:
        raise UnusableFileError("the pixel data are not one plane of integers")
    # Shifting back and forth clears the bits, and keeps the sign where there is one.
    cleared: NDArray[np.integer] = np.right_shift(np.left_shift(stored, n_unused), n_unused)
    return cleared


def _is_burnt_in(dataset: Dataset, stored: NDArray[np.integer]) -> bool:
    is_said = str(dataset.get("BurnedInAnnotation", "")).strip().upper() == "YES"
    return is_said or has_burnt_in_text(stored)


def _write(
    dataset: Dataset, stored: NDArray[np.integer], is_burnt_in: bool, order: ExportOrder
) -> None:
    deidentify(
        dataset,
        Replacements(patient_id=order.patient_id, shift_days=order.shift_days, uid=order.names.uid),
    )
    values = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    dataset.PixelData = values + b"\0" * (len(values) % 2)
    dataset["PixelData"].VR = "OW"
    dataset.BitsAllocated = stored.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    if is_burnt_in:
        dataset.BurnedInAnnotation = "YES"
    if order.is_synthetic:
        dataset.ImageComments = SYNTHETIC
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(str(dataset.SOPClassUID))
    meta.MediaStorageSOPInstanceUID = UID(str(dataset.SOPInstanceUID))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    plain = Dataset(dataset)
    plain.file_meta = meta
    order.target.parent.mkdir(parents=True, exist_ok=True)
    plain.save_as(order.target, enforce_file_format=True)
