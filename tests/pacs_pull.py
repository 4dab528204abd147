"""Pulls from the tests' Orthanc by each route, and the same films read from their folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from orthanc_server import AE_TITLE, OWN_AE_TITLE, PASSWORD, USER, OrthancServer

from etl.films.image_ingest import ingest_images
from etl.pacs.dicomweb_archive import DicomWebAddress
from etl.pacs.dimse_archive import DimseAddress
from etl.pacs.pacs_ingest import Address, PacsSummary, PullRule, ingest_from_pacs
from warehouse_schema.store import Store
from warehouse_schema.table import Table

KEY = "0123456789abcdef"
SOURCE = "synthetic_hospital"
ZONE = "Asia/Taipei"
SIZE_PX = 64
EVERY_SERIES = PullRule(is_every_series=True)


def addresses(server: OrthancServer) -> dict[str, Address]:
    dimse = DimseAddress(
        host="127.0.0.1",
        port=server.dicom_port,
        ae_title=AE_TITLE,
        own_ae_title=OWN_AE_TITLE,
        receiver_port=server.receiver_port,
    )
    return {
        "dicomweb": DicomWebAddress(url=server.url, user=USER, password=PASSWORD),
        "c-get": dimse,
        "c-move": replace(dimse, retrieve="c-move"),
    }


def pull(
    store: Store, address: Address, rule: PullRule = EVERY_SERIES, **changes: Any
) -> PacsSummary:
    arguments: dict[str, Any] = {
        "store": store,
        "address": address,
        "rule": rule,
        "source": SOURCE,
        "pseudonym_key": KEY,
        "size_px": SIZE_PX,
        "time_zone": ZONE,
        **changes,
    }
    return ingest_from_pacs(**arguments)


def from_folder(store: Store, folder: Path) -> None:
    ingest_images(
        store=store,
        folder=folder,
        source=SOURCE,
        pseudonym_key=KEY,
        size_px=SIZE_PX,
        time_zone=ZONE,
    )


def content(store: Store, table: Table, left_out: set[str]) -> pa.Table:
    columns = [name for name in table.schema.names if name not in left_out]
    return store.read(table, columns=[c for c in columns if c not in table.volatile_columns])
