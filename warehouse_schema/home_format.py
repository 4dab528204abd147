"""The format of a home, and the way from an older one to this code's.

A home says its format in ``warehouse/_manifests/format``; one without this file is of format 1.
Any code reads homes of its own format and of older ones. The first commit brings an older home up
to date, before its block begins, by the numbered migrations; ``ribline warehouse migrate`` does it
at once.
A home of a newer format is refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse_schema.durable_files import make_folder, write_named
from warehouse_schema.errors import WarehouseError
from warehouse_schema.manifest import FOLDER, list_versions

if TYPE_CHECKING:
    from warehouse_schema.store import Store

FORMAT = 2
FILE = "format"


def home_format(warehouse: Path) -> int:
    """Format of a home; that of this code where nothing was published yet.

    Raises:
        WarehouseError: The file that says it is damaged.
    """
    path = warehouse / FOLDER / FILE
    try:
        return int(json.loads(path.read_bytes())["format"])
    except FileNotFoundError:
        return 1 if list_versions(warehouse) else FORMAT
    except (ValueError, TypeError, KeyError):
        raise WarehouseError(
            f"{FOLDER}/{FILE} is torn or was edited. Run `ribline warehouse repair`."
        ) from None


def refuse_newer(warehouse: Path) -> None:
    """Refuse a home that this code does not know.

    Raises:
        WarehouseError: The home's format is newer.
    """
    found = home_format(warehouse)
    if found > FORMAT:
        raise WarehouseError(
            f"home: its warehouse has format {found}, this version of Ribline knows formats 1 to "
            f"{FORMAT}. Install the version that wrote it, or a newer one."
        )


def bring_up_to_date(store: Store) -> list[int]:
    """Apply the migrations that are missing; the caller holds the writer lock.

    Returns:
        Their numbers, rising.
    """
    from warehouse_schema.migrations import MIGRATIONS

    refuse_newer(store.home.warehouse)
    done = []
    for number in range(home_format(store.home.warehouse) + 1, FORMAT + 1):
        MIGRATIONS[number](store)
        write_format(store.home.warehouse, number)
        done.append(number)
    if not (store.home.warehouse / FOLDER / FILE).exists():
        write_format(store.home.warehouse, FORMAT)
    return done


def write_format(warehouse: Path, number: int) -> None:
    """Say a home's format, durably."""
    make_folder(warehouse / FOLDER)
    write_named(warehouse / FOLDER / FILE, json.dumps({"format": number}).encode())
