"""Every setting of an installation: ``ribline.toml``, ``RIBLINE_*`` variables, and their origin.

Secrets come from the environment or from a file that a setting names, never from ``ribline.toml``
itself. Stages know no settings: flows hand them down as plain keyword arguments.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, PrivateAttr, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from flows.secret_values import MASK, check_database_url, masked_url, read_secret_file
from warehouse_schema.errors import ConfigurationError

PREFIX = "RIBLINE_"
CONFIGURATION_NAME = "ribline.toml"
SECRET_NAMES = frozenset(
    {"database_url", "publish_url", "pseudonym_key", "pacs_password", "pacs_token"}
)
OTHER_VARIABLES = frozenset({"RIBLINE_CONFIG", "RIBLINE_SHARED_DATA", "RIBLINE_SHOW_ERRORS"})
NAMES = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """The values in force. Make it with ``load_settings``, which also says where each came from."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix="RIBLINE_UNUSED_")

    home: Path = Field(Path("ribline-home"), description="The one home folder.")
    site_mapping: str = Field("synthetic_hospital", description="Site mapping by name or file.")
    database_url: SecretStr | None = Field(None, description="Hospital database (SQLAlchemy URL).")
    database_url_file: Path | None = Field(None, description="File that holds database_url.")
    pseudonym_key: SecretStr | None = Field(None, description="Key of all pseudonyms.")
    pseudonym_key_file: Path | None = Field(None, description="File that holds pseudonym_key.")
    image_folder: Path | None = Field(None, description="DICOM files of the hospital.")
    image_source: Literal["folder", "dicomweb", "dimse"] | None = Field(
        None, description="Where films come from; what is configured by default."
    )
    pacs_url: str | None = Field(None, description="DICOMweb services of the PACS.")
    pacs_user: str | None = Field(None, description="User at the DICOMweb services.")
    pacs_password: SecretStr | None = Field(None, description="Password of pacs_user.")
    pacs_password_file: Path | None = Field(None, description="File that holds pacs_password.")
    pacs_token: SecretStr | None = Field(None, description="Bearer token instead of a user.")
    pacs_token_file: Path | None = Field(None, description="File that holds pacs_token.")
    pacs_ca_file: Path | None = Field(None, description="Authority of the PACS's certificate.")
    pacs_host: str | None = Field(None, description="Host of the PACS's DIMSE services.")
    pacs_port: int = Field(104, ge=1, le=65535, description="Port of its DIMSE services.")
    pacs_ae_title: str = Field("ANY-SCP", max_length=16, description="AE title of the PACS.")
    pacs_own_ae_title: str = Field("RIBLINE", max_length=16, description="Our AE title.")
    pacs_retrieve: Literal["c-get", "c-move"] = Field("c-get", description="How DIMSE fetches.")
    pacs_receiver_host: str = Field("127.0.0.1", description="Our receiver's address (C-MOVE).")
    pacs_receiver_port: int = Field(11112, ge=1, le=65535, description="Our receiver's port.")
    pacs_is_tls: bool = Field(False, description="DIMSE over TLS.")
    pacs_certificate_file: Path | None = Field(None, description="Our certificate for TLS.")
    pacs_key_file: Path | None = Field(None, description="Key of our certificate.")
    pacs_pull_by: Literal["patients", "accessions", "cohort"] = Field(
        "patients", description="What the PACS is asked for."
    )
    pacs_is_every_series: bool = Field(False, description="Fetch all CR and DX series.")
    pacs_instances_per_second: float | None = Field(None, gt=0, description="Rate limit.")
    pacs_hours: str | None = Field(None, description="Hours of the pull, as 22:00-06:00.")
    pacs_is_kept: bool = Field(False, description="Keep pulled files after they were read.")
    box_file: Path | None = Field(None, description="Readers' boxes, read by relabel.")
    findings: NAMES | None = Field(None, description="Findings to label; all by default.")
    rules_folder: Path | None = Field(None, description="Your own definitions and rules.")
    as_of: datetime | None = Field(None, description="Clock of the labels; now by default.")
    size_px: int = Field(1024, ge=64, le=4096, description="Side of the cached square film.")
    seed: int = Field(0, ge=0, description="Seed of folds, samples and training.")
    n_folds: int = Field(5, ge=3, le=20, description="Cross-validation folds.")
    external_test_sources: NAMES = Field((), description="Sources tested on in every fold.")
    recipe: str = Field("paper", description="Training recipe by name.")
    recipe_overrides: dict[str, Any] = Field({}, description="Fields of the recipe to change.")
    n_bootstrap: int = Field(2000, ge=100, description="Bootstrap samples of an interval.")
    prevalence: float | None = Field(
        None, gt=0, lt=1, description="Share of positive films that PPV and NPV are also given for."
    )
    publish_url: SecretStr | None = Field(
        None, description="Reporting database (SQLAlchemy URL) that results are published to."
    )
    publish_url_file: Path | None = Field(None, description="File that holds publish_url.")
    n_annotations: int = Field(808, ge=1, description="Images in the annotation worklist.")
    n_processes: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, description="Processes of ingest."
    )

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @field_validator("findings", "external_test_sources", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            tuple(filter(None, value.replace(",", " ").split()))
            if isinstance(value, str)
            else value
        )

    @field_validator("as_of")
    @classmethod
    def _in_utc(cls, value: datetime | None) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value

    @field_validator("recipe_overrides", mode="before")
    @classmethod
    def _parse(cls, value: object) -> object:
        return json.loads(value) if isinstance(value, str) else value

    def origin(self, name: str) -> str:
        """Where a value came from: an option, a variable, a file, or 'default'."""
        if self._is_from_secret_file(name):
            return f"{name}_file {getattr(self, f'{name}_file')}"
        return self._origins.get(name, "default")

    def shown(self, name: str) -> str:
        """A value as ``ribline doctor`` shows it: secrets masked."""
        value = getattr(self, name)
        if name in SECRET_NAMES and (value is not None or self._is_from_secret_file(name)):
            is_url = name in {"database_url", "publish_url"} and value is not None
            return masked_url(value.get_secret_value()) if is_url else MASK
        if isinstance(value, tuple):
            return ", ".join(value)
        return "-" if value is None else str(value)

    def require(self, name: str) -> Any:
        """A value that the stage at hand cannot do without; secrets come as plain text.

        Raises:
            ConfigurationError: It is not set, or the file that holds it cannot be read.
        """
        if self._is_from_secret_file(name):
            return read_secret_file(f"{name}_file", getattr(self, f"{name}_file"))
        value = getattr(self, name)
        if value is None:
            variable = PREFIX + name.upper()
            way = (
                f"Set {variable}, or {variable}_FILE to a file that holds it"
                if name in SECRET_NAMES
                else f"Set {variable}, or put {name} into {CONFIGURATION_NAME}"
            )
            raise ConfigurationError(
                f"{name} is not set. {way}; `ribline doctor` shows what is in force."
            )
        return value.get_secret_value() if isinstance(value, SecretStr) else value

    def _is_from_secret_file(self, name: str) -> bool:
        if name not in SECRET_NAMES or getattr(self, f"{name}_file") is None:
            return False
        is_file_variable = self._origins.get(f"{name}_file", "").startswith(PREFIX)
        is_variable = self._origins.get(name, "").startswith(PREFIX)
        return getattr(self, name) is None or (is_file_variable and not is_variable)

    def replaced(self, **values: object) -> Self:
        """The same settings with some values replaced by a command's options (None: keep)."""
        given = {name: value for name, value in values.items() if value is not None}
        current = {name: getattr(self, name) for name in type(self).model_fields}
        try:
            changed = type(self)(**{**current, **given})
        except ValidationError as error:
            raise _one_line(
                error, {name: f"--{name.replace('_', '-')}" for name in given}
            ) from None
        changed._origins.update(
            {**self._origins, **{name: f"--{name.replace('_', '-')}" for name in given}}
        )
        return changed

    def with_recipe_changes(self, changes: Mapping[str, object]) -> Self:
        """The same settings with more fields of the recipe changed."""
        if not changes:
            return self
        return self.replaced(recipe_overrides={**self.recipe_overrides, **changes})

    @classmethod
    def settings_customise_sources(  # type: ignore[override]
        cls, settings_cls: Any, init_settings: Any, **_: Any
    ) -> Any:
        """Only what ``load_settings`` collected counts, so that origins are exact."""
        return (init_settings,)


def load_settings(*, home: Path | None = None, is_environment_used: bool = True) -> Settings:
    """Read ``ribline.toml`` and the environment; variables win over the file.

    The file is RIBLINE_CONFIG, or ``ribline.toml`` in the working directory, or in the home
    folder. Relative paths in it are relative to its folder.

    Args:
        home: The ``--home`` option; wins over everything.
        is_environment_used: False reads the file alone (the demo must not depend on variables).

    Raises:
        ConfigurationError: The file is missing or malformed, a key is unknown, a value is not
            allowed, or a secret stands in the file.
    """
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    variables = _variables() if is_environment_used else {}
    path = configuration_file(home)
    if path is not None:
        for name, value in _file_values(path).items():
            values[name], origins[name] = value, str(path)
    for name, value in variables.items():
        values[name], origins[name] = value, PREFIX + name.upper()
    if home is not None:
        values["home"], origins["home"] = home, "--home"
    try:
        settings = Settings(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        raise _one_line(error, origins) from None
    settings._origins.update(origins)
    return settings


def configuration_file(home: Path | None = None) -> Path | None:
    """The ``ribline.toml`` in force, or None.

    Raises:
        ConfigurationError: RIBLINE_CONFIG names a file that does not exist.
    """
    named = os.environ.get("RIBLINE_CONFIG")
    if home is None and named:
        if not Path(named).is_file():
            raise ConfigurationError(
                f"RIBLINE_CONFIG: there is no file {named}. Name a ribline.toml, or unset it."
            )
        return Path(named).resolve()
    chosen = home or (Path(os.environ["RIBLINE_HOME"]) if os.environ.get("RIBLINE_HOME") else None)
    folders = [home] if home else [Path.cwd(), *([chosen] if chosen else [])]
    found = [folder / CONFIGURATION_NAME for folder in folders]
    return next((path.resolve() for path in found if path.is_file()), None)


def _variables() -> dict[str, str]:
    found = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    known = {PREFIX + name.upper(): name for name in Settings.model_fields}
    unknown = sorted(set(found) - set(known) - OTHER_VARIABLES)
    if unknown:
        raise _unknown("Environment: unknown variable", unknown, known)
    return {known[name]: value for name, value in found.items() if name in known and value}


def _file_values(path: Path) -> dict[str, object]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{path}: cannot be read as TOML: {error}.") from None
    unknown = sorted(set(values) - set(Settings.model_fields))
    if unknown:
        raise _unknown(f"{path}: unknown key", unknown, Settings.model_fields)
    for name in sorted(set(values) & SECRET_NAMES - {"database_url"}):
        raise ConfigurationError(
            f"{path}: {name} is a secret. Set {PREFIX}{name.upper()}, or name its file "
            f"with {name}_file."
        )
    if "database_url" in values:
        values["database_url"] = check_database_url(str(values["database_url"]), path)
    return {name: _anchored(name, value, path.parent) for name, value in values.items()}


def _unknown(what: str, unknown: Sequence[str], known: Iterable[str]) -> ConfigurationError:
    close = difflib.get_close_matches(unknown[0], list(known), n=1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}."
    return ConfigurationError(f"{what} {', '.join(unknown)}; {hint}")


def _anchored(name: str, value: object, folder: Path) -> object:
    annotation = Settings.model_fields[name].annotation
    is_path = annotation is Path or Path in get_args(annotation)
    is_mapping_file = name == "site_mapping" and str(value).endswith(".toml")
    if isinstance(value, str) and (is_path or is_mapping_file):
        anchored = folder / Path(value).expanduser()
        return str(anchored) if is_mapping_file else anchored
    return value


def _one_line(error: ValidationError, origins: dict[str, str]) -> ConfigurationError:
    problem = error.errors(include_url=False, include_context=False)[0]
    name = str(problem["loc"][0]) if problem["loc"] else "settings"
    got = "" if name in SECRET_NAMES else f" got {problem['input']!r};"
    return ConfigurationError(
        f"{name} (from {origins.get(name, 'default')}):{got} {problem['msg'].lower()}. "
        "`ribline.example.toml` shows every setting."
    )
