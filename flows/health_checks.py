"""What ``ribline doctor`` checks, in order."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from flows import stages
from flows.secret_values import is_readable_by_others
from flows.settings import SECRET_NAMES, Settings, configuration_file
from warehouse_schema.home import Home

Level = Literal["ok", "warn", "fail"]
FREE_GIB_WANTED = 20
FREE_GIB_NEEDED = 1
PREFECT_TOML_REMEDY = (
    "Work in a folder with Ribline's prefect.toml, or set PREFECT_PLUGINS_ENABLED=true and "
    "PREFECT_PLUGINS_ALLOW=ribline; until then write train-aals/train-aals."
)


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """One line of the doctor.

    Attributes:
        level: ok, warn (works, but look at it) or fail (a stage cannot run).
        subject: What was checked.
        message: What was found.
        remedy: What to do; empty where all is well.
    """

    level: Level
    subject: str
    message: str
    remedy: str = ""


Check = Callable[[Settings], Iterator[Diagnosis]]


def check_configuration(settings: Settings) -> Iterator[Diagnosis]:
    """The file in force, and secrets that others can read."""
    path = configuration_file(settings.home if settings.origin("home") == "--home" else None)
    yield Diagnosis(
        level="ok",
        subject="configuration",
        message=f"{path}" if path else "no ribline.toml; variables and defaults only",
    )
    for name in sorted(SECRET_NAMES):
        file = getattr(settings, f"{name}_file")
        if file is not None and file.is_file() and is_readable_by_others(file):
            yield Diagnosis(
                level="warn",
                subject=f"{name}_file",
                message=f"{file} is readable by others",
                remedy=f"chmod 600 {file}",
            )


def check_versions(settings: Settings) -> Iterator[Diagnosis]:
    """Python, and every dependency against what this release was made with."""
    is_python_right = sys.version_info[:2] == (3, 11)
    yield Diagnosis(
        level="ok" if is_python_right else "fail",
        subject="python",
        message=sys.version.split()[0],
        remedy="" if is_python_right else "Make the virtual environment with Python 3.11.",
    )
    wrong = _wrong_versions()
    yield Diagnosis(
        level="fail" if wrong else "ok",
        subject="dependencies",
        message="; ".join(wrong) or f"as locked for ribline {version('ribline')}",
        remedy="make install, from the lock file." if wrong else "",
    )


def _wrong_versions() -> list[str]:
    from packaging.requirements import Requirement

    wrong = []
    for line in requires("ribline") or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{requirement.name} {found} is not {requirement.specifier}")
    return wrong


def check_disk(settings: Settings) -> Iterator[Diagnosis]:
    """The home folder: writable, private where it must be, with room."""
    home = Home(settings.home)
    existing = next(path for path in (home.root, *home.root.resolve().parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK) or not existing.is_dir():
        yield Diagnosis(
            level="fail",
            subject="home",
            message=f"{existing} is not a folder you may write to",
            remedy="Point RIBLINE_HOME at one.",
        )
    else:
        state = "" if home.warehouse.is_dir() else " (no warehouse yet: ribline extract)"
        yield Diagnosis(level="ok", subject="home", message=f"{home.root}{state}")
    if home.restricted.is_dir() and stat.S_IMODE(home.restricted.stat().st_mode) != stat.S_IRWXU:
        yield Diagnosis(
            level="fail",
            subject="restricted",
            message=f"{home.restricted} is open to others; it holds note text",
            remedy=f"chmod 700 {home.restricted}",
        )
    free_gib = shutil.disk_usage(existing).free / 2**30
    yield Diagnosis(
        level="fail"
        if free_gib < FREE_GIB_NEEDED
        else "warn"
        if free_gib < FREE_GIB_WANTED
        else "ok",
        subject="disk",
        message=f"{free_gib:,.0f} GiB free",
        remedy="" if free_gib >= FREE_GIB_WANTED else "100,000 films of 1024 px take 100 GiB.",
    )


def check_warehouse(settings: Settings) -> Iterator[Diagnosis]:
    """The newest version: its manifest and all its data files."""
    from warehouse_schema.tables import TABLES

    if not Home(settings.home).warehouse.is_dir():
        return
    store = stages.open_store(settings)
    manifest = store.manifest()
    for name, entry in manifest.tables.items():
        store.data_files(TABLES[name], entry)
    yield Diagnosis(
        level="ok",
        subject="warehouse",
        message=f"version {manifest.version}, {len(manifest.tables)} tables, every file as written",
    )


def check_definitions(settings: Settings) -> Iterator[Diagnosis]:
    """Label definitions and recipe."""
    from training.recipe import recipe

    names = [definition.name for definition in stages.definitions(settings)]
    yield Diagnosis(level="ok", subject="findings", message=", ".join(names))
    chosen = recipe(settings.recipe, **settings.recipe_overrides)
    yield Diagnosis(
        level="ok",
        subject="recipe",
        message=f"{chosen.name}: {chosen.backbone}, {chosen.image_size_px} px, "
        f"{chosen.n_epochs} epochs",
    )


def check_pseudonym_key(settings: Settings) -> Iterator[Diagnosis]:
    """The key is there and long enough."""
    from etl.pseudonym import Pseudonymizer

    if settings.origin("pseudonym_key") == "default":
        yield _not_set("pseudonym_key", "RIBLINE_PSEUDONYM_KEY or RIBLINE_PSEUDONYM_KEY_FILE")
        return
    Pseudonymizer(key=settings.require("pseudonym_key"), source="doctor")
    yield Diagnosis(level="ok", subject="pseudonym_key", message="set, long enough")


def check_database(settings: Settings) -> Iterator[Diagnosis]:
    """The site mapping, the database, and every table and column that the mapping names."""
    from etl.records.site_mapping import load_site_mapping
    from etl.records.source_database import SourceDatabase

    mapping = load_site_mapping(settings.site_mapping)
    yield Diagnosis(
        level="ok", subject="site_mapping", message=f"{mapping.name}: {mapping.meaning}"
    )
    if settings.origin("database_url") == "default":
        yield _not_set("database_url", "RIBLINE_DATABASE_URL or RIBLINE_DATABASE_URL_FILE")
        return
    sections = mapping.sections
    with SourceDatabase(database_url=settings.require("database_url"), mapping=mapping) as database:
        for key, section in sections.items():
            database.check(section, key)
    yield Diagnosis(
        level="ok",
        subject="database",
        message=f"reachable, {len(sections)} mapped tables with all their columns",
    )


def check_pacs(settings: Settings) -> Iterator[Diagnosis]:
    """A sign of life of every PACS that is configured: a query or a C-ECHO."""
    from etl.pacs.pace import PullHours
    from etl.pacs.pacs_ingest import ping_archive

    if settings.pacs_hours is not None:
        PullHours.parse(settings.pacs_hours)
    for route, value in (("dicomweb", settings.pacs_url), ("dimse", settings.pacs_host)):
        if value is not None:
            found = ping_archive(stages.pacs_address(settings, route))
            yield Diagnosis(level="ok", subject=f"pacs {route}", message=found)


def check_image_folder(settings: Settings) -> Iterator[Diagnosis]:
    """The DICOM folder, where films come from one."""
    if stages.image_source(settings) != "folder":
        return
    folder: Path | None = settings.image_folder
    if folder is None:
        yield _not_set("image_folder", "RIBLINE_IMAGE_FOLDER, or give DIR to ingest-images")
        return
    is_readable = folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)
    yield Diagnosis(
        level="ok" if is_readable else "fail",
        subject="image_folder",
        message=f"{folder}" if is_readable else f"{folder} is not a readable folder",
        remedy="" if is_readable else "Mount it, or correct image_folder.",
    )


def check_erasure(settings: Settings) -> Iterator[Diagnosis]:
    """No patient is half forgotten."""
    from etl.privacy.patient_traces import JOURNAL

    if (Home(settings.home).restricted / JOURNAL).is_file():
        yield Diagnosis(
            level="fail",
            subject="forget-patient",
            message="was interrupted; the patient is not yet forgotten everywhere",
            remedy="ribline forget-patient, without arguments, finishes it.",
        )


def check_device(settings: Settings) -> Iterator[Diagnosis]:
    """What training runs on."""
    from training.device import describe_device

    device = describe_device()
    is_enough = device.is_gpu or settings.recipe != "paper"
    yield Diagnosis(
        level="ok" if is_enough else "warn",
        subject="device",
        message=device.text,
        remedy=""
        if is_enough
        else "The paper recipe needs a GPU; without one use recipe = 'demo'.",
    )


def check_prefect(settings: Settings) -> Iterator[Diagnosis]:
    """Prefect's plugin, its telemetry, and whether a server answers."""
    import httpx
    from prefect.client.orchestration import PrefectClient
    from prefect.settings import get_current_settings

    from flows.prefect_plugin import METHOD

    current = get_current_settings()
    is_wrapped = getattr(getattr(PrefectClient, METHOD, None), "is_bare_name_accepted", False)
    yield Diagnosis(
        level="ok" if is_wrapped else "warn",
        subject="prefect plugin",
        message="prefect deployment run train-aals works here"
        if is_wrapped
        else "`prefect deployment run train-aals` needs the full name here",
        remedy="" if is_wrapped else PREFECT_TOML_REMEDY,
    )
    is_told = bool(current.server.analytics_enabled)
    yield Diagnosis(
        level="warn" if is_told else "ok",
        subject="prefect telemetry",
        message="on" if is_told else "off",
        remedy="Set PREFECT_SERVER_ANALYTICS_ENABLED=false." if is_told else "",
    )
    url = current.api.url
    try:
        is_up = url is not None and httpx.get(f"{url}/health", timeout=3).is_success
    except httpx.HTTPError:
        is_up = False
    yield Diagnosis(
        level="ok" if is_up else "warn",
        subject="prefect server",
        message=f"{url} {'answers' if is_up else 'does not answer'}"
        if url
        else "no api url is set",
        remedy="" if is_up else "Only deployments need it: prefect server start.",
    )


def _not_set(subject: str, way: str) -> Diagnosis:
    return Diagnosis(
        level="warn", subject=subject, message="not set", remedy=f"For a hospital set {way}."
    )


CHECKS: Mapping[str, Check] = {
    "configuration": check_configuration,
    "versions": check_versions,
    "disk": check_disk,
    "warehouse": check_warehouse,
    "definitions": check_definitions,
    "pseudonym_key": check_pseudonym_key,
    "database": check_database,
    "image_folder": check_image_folder,
    "pacs": check_pacs,
    "erasure": check_erasure,
    "device": check_device,
    "prefect": check_prefect,
}
