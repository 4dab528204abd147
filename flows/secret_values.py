"""Secrets: read from files, kept out of configuration files, masked when shown."""

from __future__ import annotations

import stat
from pathlib import Path
from urllib.parse import urlsplit

from warehouse_schema.errors import ConfigurationError

SQLITE = "sqlite:///"
MASK = "********"


def read_secret_file(name: str, path: Path) -> str:
    """The first line of a secret's file.

    Args:
        name: Setting that named the file, for the message.
        path: The file.

    Raises:
        ConfigurationError: It cannot be read, or is empty.
    """
    try:
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigurationError(
            f"{name}: cannot read {path} ({reason}). Write the secret there, readable by you alone."
        ) from None
    if not value:
        raise ConfigurationError(f"{name}: {path} is empty. Write the secret into its first line.")
    return value.splitlines()[0]


def is_readable_by_others(path: Path) -> bool:
    """True where group or others may read a secret's file."""
    return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))


def check_database_url(url: str, path: Path) -> str:
    """A database URL from a configuration file: no password in it, SQLite paths anchored.

    Args:
        url: SQLAlchemy URL.
        path: The configuration file.

    Raises:
        ConfigurationError: It holds a password.
    """
    if _password(url):
        raise ConfigurationError(
            f"{path}: database_url holds a password. Set RIBLINE_DATABASE_URL, or put the URL "
            "into a file and name it with database_url_file."
        )
    if url.startswith(SQLITE) and not url.startswith(SQLITE + "/"):
        return SQLITE + str(path.parent / url.removeprefix(SQLITE))
    return url


def masked_url(url: str) -> str:
    """A database URL with its password replaced by asterisks."""
    if not _password(url):
        return url.split("?", 1)[0]
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{parts.username or ''}:{MASK}@{host}{parts.path}"


def _password(url: str) -> str | None:
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if parts.password:
        return parts.password
    return parts.query if "password" in parts.query.lower() else None
