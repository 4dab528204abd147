"""Stages that bring a hospital's records, films and boxes into the warehouse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.stages.counts import Counts, counts
from flows.stages.labelling import definitions
from flows.stages.opening import open_store
from warehouse_schema.progress import SILENT, Progress

if TYPE_CHECKING:
    from etl.source_check import SourceCheck
    from flows.settings import Settings


def check_source(settings: Settings) -> SourceCheck:
    """What the site mapping finds in the hospital database."""
    from etl.site_mapping import load_site_mapping
    from etl.source_check import check_source as check

    return check(
        database_url=settings.require("database_url"),
        site_mapping=load_site_mapping(settings.site_mapping),
    )


def extract(settings: Settings, *, is_full: bool = False, progress: Progress = SILENT) -> Counts:
    """Hospital database into patients, encounters, diagnoses and matched notes."""
    from etl.extraction import extract_records
    from etl.site_mapping import load_site_mapping
    from nlp_labeling.keywords import keyword_pattern

    return counts(
        extract_records(
            store=open_store(settings, is_new_allowed=True),
            database_url=settings.require("database_url"),
            site_mapping=load_site_mapping(settings.site_mapping),
            keyword_pattern=keyword_pattern(definitions(settings)),
            pseudonym_key=settings.require("pseudonym_key"),
            is_full=is_full,
            progress=progress,
        )
    )


def ingest_images(settings: Settings, *, progress: Progress = SILENT) -> Counts:
    """DICOM files into images, their geometry and the pixel cache."""
    from etl.image_ingest import ingest_images as ingest
    from etl.site_mapping import load_site_mapping

    mapping = load_site_mapping(settings.site_mapping)
    return counts(
        ingest(
            store=open_store(settings, is_new_allowed=True),
            folder=settings.require("image_folder"),
            source=mapping.name,
            time_zone=mapping.time_zone,
            pseudonym_key=settings.require("pseudonym_key"),
            size_px=settings.size_px,
            n_processes=settings.n_processes,
            progress=progress,
        )
    )


def import_boxes(settings: Settings, *, progress: Progress = SILENT) -> Counts:
    """Readers' boxes (COCO) into annotations; nothing where no ``box_file`` is set."""
    from etl.box_import import import_boxes as import_file
    from etl.site_mapping import load_site_mapping

    if settings.box_file is None:
        return {}
    progress.start("import-boxes", None)
    summary = import_file(
        store=open_store(settings),
        file=settings.box_file,
        source=load_site_mapping(settings.site_mapping).name,
        pseudonym_key=settings.require("pseudonym_key"),
        findings=[definition.name for definition in definitions(settings)],
    )
    progress.finish()
    return counts(summary)


def link(settings: Settings, *, progress: Progress = SILENT) -> Counts:
    """Images to encounters, by the label definitions' rule and their widest window."""
    from etl.linkage import LinkRule, link_images
    from nlp_labeling.definition import shared_linkage

    linkage = shared_linkage(definitions(settings))
    rule = LinkRule(
        hours_before=linkage.hours_before_study,
        hours_after=linkage.hours_after_study,
        prefer=linkage.prefer,
        ties=linkage.ties,
    )
    progress.start("link", None)
    summary = link_images(store=open_store(settings), rule=rule)
    progress.finish()
    return counts(summary)
