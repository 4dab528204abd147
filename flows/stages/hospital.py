"""Stages that bring a hospital's records, films and boxes into the warehouse."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from flows.stages.counts import Counts, counts
from flows.stages.labelling import definitions
from flows.stages.opening import open_store
from flows.stages.pacs import image_source, pacs_address
from warehouse_schema.progress import SILENT, Progress

if TYPE_CHECKING:
    from etl.records.source_check import SourceCheck
    from flows.settings import Settings


def check_source(settings: Settings) -> SourceCheck:
    """What the site mapping finds in the hospital database."""
    from etl.records.site_mapping import load_site_mapping
    from etl.records.source_check import check_source as check

    return check(
        database_url=settings.require("database_url"),
        site_mapping=load_site_mapping(settings.site_mapping),
    )


def extract(settings: Settings, *, is_full: bool = False, progress: Progress = SILENT) -> Counts:
    """Hospital database into patients, encounters, diagnoses and matched notes."""
    from etl.records.extraction import extract_records
    from etl.records.site_mapping import load_site_mapping
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
    """Films into images, their geometry and the pixel cache; from a folder or from the PACS."""
    from etl.films.image_ingest import ingest_images as ingest
    from etl.records.site_mapping import load_site_mapping

    if image_source(settings) != "folder":
        return _ingest_from_pacs(settings, progress)
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


def prune_cache(settings: Settings, *, keep_days: int, is_history_kept: bool) -> Counts:
    """Cached films that no version of the warehouse names any more, removed."""
    from etl.films.cache_pruning import prune_cache as prune

    return counts(
        prune(
            store=open_store(settings),
            now=datetime.now(UTC),
            keep_days=keep_days,
            is_history_kept=is_history_kept,
        )
    )


def _ingest_from_pacs(settings: Settings, progress: Progress) -> Counts:
    from etl.pacs.pacs_ingest import PullRule, ingest_from_pacs
    from etl.records.site_mapping import load_site_mapping

    mapping = load_site_mapping(settings.site_mapping)
    return counts(
        ingest_from_pacs(
            store=open_store(settings),
            address=pacs_address(settings, image_source(settings)),
            rule=PullRule(
                pull_by=settings.pacs_pull_by,
                is_every_series=settings.pacs_is_every_series,
                instances_per_second=settings.pacs_instances_per_second,
                hours=settings.pacs_hours,
                is_kept=settings.pacs_is_kept,
            ),
            source=mapping.name,
            time_zone=mapping.time_zone,
            pseudonym_key=settings.require("pseudonym_key"),
            size_px=settings.size_px,
            n_processes=settings.n_processes,
            progress=progress,
        )
    )


def import_boxes(
    settings: Settings,
    *,
    files: Sequence[Path] | None = None,
    format_name: str | None = None,
    reader: str | None = None,
    status: str = "drawn",
    progress: Progress = SILENT,
) -> Counts:
    """Readers' boxes into annotations, from files or else ``box_file``; nothing without either."""
    from etl.annotations.box_import import import_boxes as import_files
    from etl.records.site_mapping import load_site_mapping

    given = files or ([] if settings.box_file is None else [settings.box_file])
    if not given:
        return {}
    progress.start("import-boxes", None)
    summary = import_files(
        store=open_store(settings),
        files=given,
        source=load_site_mapping(settings.site_mapping).name,
        pseudonym_key=settings.require("pseudonym_key"),
        findings=[definition.name for definition in definitions(settings)],
        format_name=format_name,
        reader=reader,
        status=status,
    )
    progress.finish()
    return counts(summary)


def measure_agreement(settings: Settings, *, progress: Progress = SILENT) -> Counts:
    """Agreement of the readers who share images into reader_agreement and box_matches."""
    from etl.annotations.reader_agreement import measure_agreement as measure

    progress.start("reader-agreement", None)
    summary = measure(
        store=open_store(settings), n_bootstrap=settings.n_bootstrap, seed=settings.seed
    )
    progress.finish()
    return counts(summary)


def link(settings: Settings, *, progress: Progress = SILENT) -> Counts:
    """Images to encounters, by the label definitions' rule and their widest window."""
    from etl.cohorts.linkage import LinkRule, link_images
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


def publish_results(settings: Settings, *, progress: Progress = SILENT) -> Counts:
    """Result tables into the hospital's reporting database."""
    from etl.publishing import publish_results as publish

    return counts(
        publish(
            store=open_store(settings),
            database_url=settings.require("publish_url"),
            progress=progress,
        )
    )
