"""Fixtures: fabricated warehouses, evaluated once."""

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from warehouse_schema.home import Home
from warehouse_schema.store import Store

_SPEC = importlib.util.spec_from_file_location(
    "fabricated_warehouse", Path(__file__).with_name("fabricated_warehouse.py")
)
assert _SPEC is not None
assert _SPEC.loader is not None
fabricated_warehouse = importlib.util.module_from_spec(_SPEC)
sys.modules["fabricated_warehouse"] = fabricated_warehouse
_SPEC.loader.exec_module(fabricated_warehouse)


@pytest.fixture(scope="session")
def fabricated_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home folder of a fabricated warehouse, to be copied, never written."""
    folder = tmp_path_factory.mktemp("fabricated")
    fabricated_warehouse.write_fabricated_warehouse(folder, n_images=96)
    return folder


@pytest.fixture
def store(fabricated_home: Path, tmp_path: Path) -> Store:
    """A fresh fabricated warehouse, predicted but not evaluated."""
    shutil.copytree(fabricated_home, tmp_path, dirs_exist_ok=True)
    return Store(Home(tmp_path))
