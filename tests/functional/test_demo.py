"""The demo, twice with one seed into two empty homes: the same tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from warehouse_schema.home import Home
from warehouse_schema.store import Store
from warehouse_schema.tables import TABLES

RIBLINE = Path(sys.executable).with_name("ribline")


@pytest.mark.soak
def test_two_demos_of_one_seed_leave_the_same_tables(tmp_path: Path) -> None:
    stores = []
    for name in ("first", "second"):
        home = tmp_path / name
        arguments = ["demo", "--out", str(home), "--patients", "120", "--seed", "3"]
        done = subprocess.run([RIBLINE, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert str(home / "report.html") in done.stdout
        stores.append(Store(Home(home)))
    for table in TABLES.values():
        first, second = (
            store.read(table).drop_columns(list(table.volatile_columns)) for store in stores
        )
        assert first.equals(second), table.name
