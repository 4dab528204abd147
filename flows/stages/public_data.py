"""Public datasets: labelled films, or MIMIC as the hospital."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flows.stages.counts import Counts, counts
from flows.stages.hospital import link
from flows.stages.labelling import build_cohort, definitions, label, mine
from flows.stages.opening import open_store
from warehouse_schema.errors import ArgumentError, CohortError
from warehouse_schema.progress import SILENT, Progress

if TYPE_CHECKING:
    from flows.settings import Settings

MIMIC = "mimic"
LABELLED = ("vindr-cxr", "nih-chestxray14", "padchest", "chexpert")
DATASETS = (MIMIC, *LABELLED)


def import_public(
    settings: Settings,
    *,
    dataset: str,
    folder: Path,
    findings: Sequence[str] = (),
    progress: Progress = SILENT,
) -> Counts:
    """A public dataset, up to the cohort of all that the home holds.

    Args:
        settings: Values in force.
        dataset: One of ``DATASETS``.
        folder: Its files as published.
        findings: Published findings of a labelled dataset; the defined ones by default. MIMIC is
            mined for the defined ones.
        progress: Listener.

    Raises:
        ArgumentError: The dataset is unknown, or findings are given for MIMIC.
    """
    if dataset not in DATASETS:
        raise ArgumentError(
            f"import-public: got {dataset!r}; known datasets are {', '.join(DATASETS)}."
        )
    if not folder.is_dir():
        raise ArgumentError(
            f"import-public: there is no folder {folder}. Give the folder of {dataset}'s files."
        )
    if dataset != MIMIC:
        imported = import_labelled(
            settings, dataset=dataset, folder=folder, findings=findings, progress=progress
        )
    elif findings:
        raise ArgumentError(
            "--finding: MIMIC's labels are mined from its records. Leave the option out, or name "
            "defined findings with RIBLINE_FINDINGS."
        )
    else:
        imported = import_mimic(settings, folder=folder, progress=progress)
        for name, stage in (("link", link), ("mine", mine), ("label", label)):
            imported[name] = stage(settings, progress=progress)
    return {**imported, "cohort": _cohort_so_far(settings, progress)}


def import_labelled(
    settings: Settings,
    *,
    dataset: str,
    folder: Path,
    findings: Sequence[str],
    progress: Progress = SILENT,
) -> Counts:
    """Films, labels and boxes of a dataset that was published with labels."""
    from etl.public_datasets.chexpert import import_chexpert
    from etl.public_datasets.nih_chestxray14 import import_nih_chestxray14
    from etl.public_datasets.padchest import import_padchest
    from etl.public_datasets.vindr_cxr import import_vindr_cxr

    importers = {
        "vindr-cxr": import_vindr_cxr,
        "nih-chestxray14": import_nih_chestxray14,
        "padchest": import_padchest,
        "chexpert": import_chexpert,
    }
    return counts(
        importers[dataset](
            store=open_store(settings, is_new_allowed=True),
            folder=folder,
            findings=findings or [definition.name for definition in definitions(settings)],
            size_px=settings.size_px,
            pseudonym_key=public_key(settings, dataset),
            n_processes=settings.n_processes,
            progress=progress,
        )
    )


def import_mimic(settings: Settings, *, folder: Path, progress: Progress = SILENT) -> Counts:
    """Records, matched notes, films and reports of MIMIC."""
    from etl.public_datasets.mimic import import_mimic as import_hospital
    from nlp_labeling.keywords import keyword_pattern

    return counts(
        import_hospital(
            store=open_store(settings, is_new_allowed=True),
            folder=folder,
            keyword_pattern=keyword_pattern(definitions(settings)),
            size_px=settings.size_px,
            pseudonym_key=public_key(settings, MIMIC),
            n_processes=settings.n_processes,
            progress=progress,
        )
    )


def public_key(settings: Settings, dataset: str) -> str:
    """The pseudonym key, or for published data one made of the dataset's name."""
    is_set = settings.pseudonym_key is not None or settings.pseudonym_key_file is not None
    key: str = settings.require("pseudonym_key") if is_set else f"public dataset {dataset}"
    return key


def _cohort_so_far(settings: Settings, progress: Progress) -> Counts | str:
    """The cohort of all sources, or why there is none before others are imported."""
    try:
        return build_cohort(settings, progress=progress)
    except CohortError as error:
        return f"not built. {error}"
