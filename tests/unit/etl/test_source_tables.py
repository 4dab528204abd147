"""The statements that other dialects get: quoted names, bound values, no driver needed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mssql, mysql, oracle, postgresql, sqlite

from etl.records.site_mapping import SiteMapping, load_site_mapping
from etl.records.source_database import SourceDatabase
from etl.records.source_engine import make_engine
from etl.records.source_tables import SourceTables, column_names

DIALECTS = {
    "mssql": mssql.dialect(),
    "oracle": oracle.dialect(),
    "mysql": mysql.dialect(),
    "postgresql": postgresql.dialect(),
    "sqlite": sqlite.dialect(),
}
HOSTILE = "x'; DROP TABLE visit; --"


@pytest.fixture
def tables(make_database: Callable[..., str], site: SiteMapping) -> SourceTables:
    return SourceTables(make_engine(make_database()), site)


def compiled(statement: sa.Select, name: str) -> tuple[str, dict[str, object]]:
    done = statement.compile(dialect=DIALECTS[name], compile_kwargs={"render_postcompile": True})
    return " ".join(str(done).split()), done.params


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "mssql",
            "SELECT visit.came AS c0, visit.visit_no AS c1 FROM visit "
            "WHERE visit.visit_no >= :param_1 ORDER BY visit.visit_no",
        ),
        (
            "oracle",
            "SELECT visit.came AS c0, visit.visit_no AS c1 FROM visit "
            "WHERE visit.visit_no >= :param_1 ORDER BY visit.visit_no",
        ),
        (
            "mysql",
            "SELECT visit.came AS c0, visit.visit_no AS c1 FROM visit "
            "WHERE visit.visit_no >= %s ORDER BY visit.visit_no",
        ),
    ],
)
def test_a_stream_goes_on_from_a_bound_key(
    tables: SourceTables, site: SiteMapping, name: str, expected: str
) -> None:
    statement = tables.select(site.encounters, ["came", "visit_no"], start=HOSTILE)
    text, parameters = compiled(statement, name)
    assert text == expected
    assert list(parameters.values()) == [HOSTILE]


@pytest.mark.parametrize("name", DIALECTS)
def test_every_value_is_bound(tables: SourceTables, site: SiteMapping, name: str) -> None:
    for arguments in ({"start": HOSTILE}, {"keys": [HOSTILE, 7]}, {"is_key_null": True}, {}):
        statement = tables.select(site.notes[0], column_names(site.notes[0]), **arguments)
        text, parameters = compiled(statement, name)
        assert "DROP" not in text
        assert HOSTILE in parameters.values() or not {"start", "keys"} & set(arguments)


@pytest.mark.parametrize("name", ["mssql", "oracle", "mysql", "postgresql"])
@pytest.mark.parametrize("mapping_name", ["mimic_iv", "omop_cdm_5_4", "mimic_iii"])
def test_the_shipped_mappings_compile_with_schemas_and_joins(
    monkeypatch: pytest.MonkeyPatch, name: str, mapping_name: str
) -> None:
    mapping = load_site_mapping(mapping_name)
    tables = described(monkeypatch, mapping, DIALECTS[name])
    for section in mapping.sections.values():
        text, parameters = compiled(tables.select(section, column_names(section)), name)
        schema = section.database_schema or mapping.database_schema
        assert not schema or f"{schema}.{section.table}" in text
        assert text.count("LEFT OUTER JOIN") == len(section.joins)
        bound = [value for join in section.joins for value in join.where.values()]
        assert list(parameters.values()) == bound
    text, _ = compiled(tables.count(mapping.patients), name)
    assert text.startswith("SELECT count(*) AS count_1 FROM")


def described(
    monkeypatch: pytest.MonkeyPatch, mapping: SiteMapping, dialect: sa.engine.Dialect
) -> SourceTables:
    """The tables of a mapping as a server of that dialect would describe them."""
    columns: dict[str, set[str]] = {}
    for section in mapping.sections.values():
        for join in section.joins:
            inner = {*join.on.values(), *join.where}
            columns.setdefault(join.table, set()).update(inner)
            columns.setdefault(section.table, set()).update(join.on)
        for reference in column_names(section):
            table, _, column = reference.rpartition(".")
            columns.setdefault(table or section.table, set()).add(column)
    inspector = SimpleNamespace(
        get_table_names=lambda _: list(columns),
        get_view_names=lambda _: [],
        get_columns=lambda table, _: [
            {"name": name, "type": sa.VARCHAR(40)} for name in sorted(columns[table])
        ],
    )
    monkeypatch.setattr(sa, "inspect", lambda _: inspector)
    return SourceTables(SimpleNamespace(dialect=dialect), mapping)  # type: ignore[arg-type]


def test_sqlite_text_is_compared_as_text(tmp_path: Path, make_database: Callable[..., str]) -> None:
    """Text that is not UTF-8 is found again by its own bytes."""
    names = ["骨".encode("cp950"), "a", "b", 7, None, "a "]
    url = make_database(patient=[(name, "F", None) for name in names[1:]])
    with sqlite3.connect(tmp_path / "small.sqlite") as connection:
        connection.execute("INSERT INTO patient VALUES (CAST(? AS TEXT), 'M', NULL)", [names[0]])
    connection.close()
    mapping = SiteMapping.model_validate(
        {
            "name": "x",
            "meaning": "x",
            "patients": {"table": "patient", "patient": "no", "sex": "sex"},
            "encounters": {
                "table": "visit", "encounter": "visit_no", "patient": "no", "start": "came",
                "encounter_class": "kind",
            },
        }
    )  # fmt: skip
    with SourceDatabase(database_url=url, mapping=mapping) as database:
        found = [v for b in database.stream(mapping.patients) for v in b.values("no")]
        assert len(found) == len(names)
        fetched = [
            v for b in database.fetch(mapping.patients, ["no"], found) for v in b.values("no")
        ]
    assert sorted(map(repr, fetched)) == sorted(map(repr, found))
