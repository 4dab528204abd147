"""Where films come from, and how the PACS is reached, out of the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse_schema.errors import ConfigurationError

if TYPE_CHECKING:
    from etl.pacs.pacs_ingest import Address
    from flows.settings import Settings


def image_source(settings: Settings) -> str:
    """folder, dicomweb or dimse: what image_source says, else the one that is configured.

    Raises:
        ConfigurationError: More than one is configured, and nothing says which.
    """
    if settings.image_source is not None:
        return settings.image_source
    configured = {
        "folder": settings.image_folder,
        "dicomweb": settings.pacs_url,
        "dimse": settings.pacs_host,
    }
    names = [name for name, value in configured.items() if value is not None]
    if len(names) > 1:
        raise ConfigurationError(
            f"image_source is not set, and films could come from {' or '.join(names)}. Set "
            "image_source, or give --from."
        )
    return names[0] if names else "folder"


def pacs_address(settings: Settings, route: str) -> Address:
    """Address and secrets of the PACS.

    Args:
        settings: Values in force.
        route: dicomweb or dimse.

    Raises:
        ConfigurationError: pacs_url or pacs_host is not set, or a secret's file cannot be read.
    """
    from etl.pacs.dicomweb_archive import DicomWebAddress
    from etl.pacs.dimse_archive import DimseAddress, TlsFiles

    if route == "dicomweb":
        return DicomWebAddress(
            url=settings.require("pacs_url"),
            user=settings.pacs_user,
            password=_secret(settings, "pacs_password"),
            token=_secret(settings, "pacs_token"),
            ca_file=settings.pacs_ca_file,
        )
    tls = TlsFiles(
        ca_file=settings.pacs_ca_file,
        certificate_file=settings.pacs_certificate_file,
        key_file=settings.pacs_key_file,
    )
    return DimseAddress(
        host=settings.require("pacs_host"),
        port=settings.pacs_port,
        ae_title=settings.pacs_ae_title,
        own_ae_title=settings.pacs_own_ae_title,
        retrieve=settings.pacs_retrieve,
        receiver_host=settings.pacs_receiver_host,
        receiver_port=settings.pacs_receiver_port,
        tls=tls if settings.pacs_is_tls else None,
    )


def _secret(settings: Settings, name: str) -> str | None:
    if settings.origin(name) == "default":
        return None
    secret: str = settings.require(name)
    return secret
