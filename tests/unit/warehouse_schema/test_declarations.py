"""The declarations themselves, and the pages generated from them."""

from __future__ import annotations

import re
import runpy
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pyarrow as pa
import pytest

from warehouse_schema import errors
from warehouse_schema.tables import TABLES

ROOT = Path(__file__).parents[3]
PACKAGES = ["flows", "etl", "nlp_labeling", "training", "evaluation", "warehouse_schema"]


@pytest.mark.parametrize("name", TABLES)
def test_columns_follow_the_naming_rules(name: str) -> None:
    for column in TABLES[name].columns:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", column.name)
        assert column.meaning.endswith("."), column.name
        assert pa.types.is_boolean(column.type) == column.name.startswith(("is_", "has_"))
        assert pa.types.is_timestamp(column.type) == column.name.endswith("_datetime")


def test_generated_pages_are_current() -> None:
    pages = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()
    stale = [path.name for path, text in pages.items() if path.read_text("utf-8") != text]
    assert stale == [], "run `make docs`"


@pytest.mark.parametrize("package", PACKAGES)
def test_each_import_name_belongs_to_this_distribution_alone(package: str) -> None:
    owners = set(packages_distributions().get(package, ["ribline"]))
    assert owners == {"ribline"}
    assert distribution("ribline").metadata["License-Expression"] == "Apache-2.0"


def test_every_user_facing_error_has_an_exit_code_of_its_own_kind() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.RiblineError)
    ]
    assert len(kinds) > 8
    assert all(1 <= kind.exit_code < 64 for kind in kinds)
