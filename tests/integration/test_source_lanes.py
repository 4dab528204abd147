"""Both lanes: equal rows of every type, hostile names, 50 dropped connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from database_servers import DatabaseServer

from etl.records import source_database, source_lanes
from etl.records.record_values import MomentReader, read_text
from etl.records.row_hash import identifier_hash, row_hash
from etl.records.site_mapping import PatientMapping, SiteMapping
from etl.records.source_batch import SourceBatch
from etl.records.source_database import SourceDatabase
from etl.records.source_tables import column_names

VALUES = {
    "a_text": ("text", ["'rib'", "'肋骨骨折'", "''", "' a '", "E'a\\\\b\\'c%s;--'", "NULL"]),
    "a_varchar": ("varchar(20)", ["'V1'", "'é'", "NULL"]),
    "a_char": ("char(4)", ["'ab'", "NULL"]),
    "an_enum": ("mood", ["'good'", "NULL"]),
    "a_small": ("smallint", ["-5", "NULL"]),
    "an_int": ("integer", ["2147483647", "NULL"]),
    "a_big": ("bigint", ["9223372036854775807", "NULL"]),
    "a_numeric": ("numeric", ["807.03", "142345.00", "1.50", "12345678901234567890", "NULL"]),
    "a_money": ("numeric(12,2)", ["7", "0.1", "-0.01", "NULL"]),
    "a_real": ("real", ["1.1", "3", "NULL"]),
    "a_double": ("double precision", ["1.1", "3", "'NaN'", "NULL"]),
    "a_bool": ("boolean", ["true", "false", "NULL"]),
    "a_date": ("date", ["'2015-02-28'", "'1900-01-01'", "NULL"]),
    "a_stamp": ("timestamp", ["'2015-03-29 02:30:00.123456'", "'1969-12-31 23:59:59'", "NULL"]),
    "a_zoned": ("timestamptz", ["'2015-03-29 02:30+08'", "'2014-10-26 02:30+01'", "NULL"]),
    "a_time": ("time", ["'23:59:01.5'", "NULL"]),
    "an_interval": ("interval", ["'1 day 2 hours'", "NULL"]),
    "a_uuid": ("uuid", ["'e836aac1-f20e-4cc1-b890-7329d58c44a0'", "NULL"]),
    "a_bytea": ("bytea", ["'\\xe9aa80ff00'", "''", "NULL"]),
    "a_json": ("jsonb", ["""'{"a": [1, null]}'""", "NULL"]),
    "an_array": ("integer[]", ["'{1,2,NULL}'", "NULL"]),
}
DATES = ("a_date", "a_stamp", "a_zoned")


def site(section: dict[str, Any]) -> tuple[SiteMapping, PatientMapping]:
    """A mapping in which the patients' section alone is read."""
    mapping = SiteMapping.model_validate(
        {
            "name": "lanes",
            "meaning": "One table.",
            "patients": section,
            "encounters": {
                "table": section["table"],
                "encounter": section["patient"],
                "patient": section["patient"],
                "start": section["patient"],
                "encounter_class": section["patient"],
            },
        }
    )
    return mapping, mapping.patients


def read(
    url: str, mapping: SiteMapping, section: PatientMapping, *, is_fast: bool
) -> list[SourceBatch]:
    with SourceDatabase(
        database_url=url, mapping=mapping, is_fast_lane_allowed=is_fast
    ) as database:
        database.check(section, "patients")
        return list(database.stream(section))


def joined(batches: list[SourceBatch], name: str) -> list[Any]:
    return [value for batch in batches for value in batch.values(name)]


def hashes(batches: list[SourceBatch], names: list[str]) -> list[int]:
    return list(np.concatenate([row_hash(batch, names) for batch in batches]))


@pytest.fixture
def every_type(postgresql: DatabaseServer) -> str:
    url = postgresql.new_database()
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in VALUES.items())
    n_rows = max(len(values) for _, values in VALUES.values())
    rows = [
        f"({number}, {', '.join(values[number % len(values)] for _, values in VALUES.values())})"
        for number in range(n_rows)
    ]
    postgresql.run(
        "CREATE TYPE mood AS ENUM ('good')",
        f"CREATE TABLE t (no integer PRIMARY KEY, {columns})",
        f"INSERT INTO t VALUES {', '.join(rows)}",
        url=url,
    )
    return url


def test_both_lanes_give_equal_values_of_every_type(every_type: str) -> None:
    mapping, section = site(
        {"table": "t", "patient": "no", "sex": {"column": list(VALUES), "default": "O"}}
    )
    fast = read(every_type, mapping, section, is_fast=True)
    slow = read(every_type, mapping, section, is_fast=False)
    moments = MomentReader(mapping)
    for name in VALUES:
        left, right = joined(fast, name), joined(slow, name)
        if name in DATES:
            left = [moments.read([value], name) for value in left]
            right = [moments.read([value], name) for value in right]
        else:
            left = [read_text(value, "latin-1") for value in left]
            right = [read_text(value, "latin-1") for value in right]
        assert left == right, name
    assert hashes(fast, column_names(section)) == hashes(slow, column_names(section))
    for name in VALUES:
        ids = [
            np.concatenate([identifier_hash(batch.columns[name], "utf-8") for batch in batches])
            for batches in (fast, slow)
        ]
        assert list(ids[0]) == list(ids[1]), name


def test_the_fast_lane_is_the_one_taken(every_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> Iterator[SourceBatch]:
        raise AssertionError("the cursor was used")

    mapping, section = site({"table": "t", "patient": "no", "sex": "a_text"})
    monkeypatch.setattr(source_database, "cursor_batches", refused)
    assert len(joined(read(every_type, mapping, section, is_fast=True), "no")) == 6


def test_another_server_encoding_goes_by_the_cursor(postgresql: DatabaseServer) -> None:
    postgresql.run("CREATE DATABASE old ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    url = postgresql.url.set(database="old").render_as_string()
    postgresql.run("CREATE TABLE t (no integer, name text)", url=url)
    postgresql.run("INSERT INTO t VALUES (1, 'é')", url=url)
    mapping, section = site({"table": "t", "patient": "no", "sex": "name"})
    batches = read(url, mapping, section, is_fast=True)
    assert joined(batches, "name") == ["é"]
    assert isinstance(batches[0].columns["name"], list)


def test_a_server_that_refuses_the_lane_is_read_by_the_cursor(
    every_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = sa.func.pg_no_such_function
    monkeypatch.setattr(source_lanes.sa.func, "pg_export_snapshot", refused, raising=False)
    mapping, section = site({"table": "t", "patient": "no", "sex": "a_text"})
    batches = read(every_type, mapping, section, is_fast=True)
    assert len(joined(batches, "no")) == 6
    assert isinstance(batches[0].columns["no"], list)


HOSTILE_NAMES = [
    'pat"ient',
    "a; DROP TABLE b",
    "100%",
    "%(x)s",
    "it's",
    "`tick`",
    "colon:name",
    "ä b",
]


@pytest.mark.parametrize("server_name", ["postgresql", "mariadb"])
def test_hostile_names_are_quoted_and_hostile_values_bound(
    request: pytest.FixtureRequest, server_name: str
) -> None:
    server: DatabaseServer = request.getfixturevalue(server_name)
    url = server.new_database()
    engine = sa.create_engine(url)
    values = ["x'; DROP TABLE t; --", 'y"', "50%", "\\", "%s", ":no", "{}", "\u202e"]
    for number, name in enumerate(HOSTILE_NAMES):
        table = sa.Table(
            f"{name}{number}",
            sa.MetaData(),
            sa.Column(name, sa.String(40), primary_key=True),
            sa.Column("b", sa.Integer),
        )
        if server_name == "mariadb" and "`" in name:
            continue  # SQLAlchemy reflects it as it is quoted: such a column is refused as unknown
        table.create(engine)
        with engine.begin() as connection:
            connection.execute(table.insert(), [{name: value, "b": 1} for value in values])
        # A dot would name another table; no shipped database has one in a column.
        mapping, section = site({"table": table.name, "patient": name, "sex": "b"})
        for is_fast in (True, False):
            assert sorted(joined(read(url, mapping, section, is_fast=is_fast), name)) == sorted(
                values
            )
        with SourceDatabase(database_url=url, mapping=mapping) as database:
            fetched = list(database.fetch(section, column_names(section), values))
            assert sorted(joined(fetched, name)) == sorted(values)
        assert sa.inspect(engine).has_table(table.name)
    engine.dispose()


def dropping(
    server: DatabaseServer,
    section: PatientMapping,
    database: SourceDatabase,
    *,
    is_enough: Callable[[], bool],
) -> Iterator[SourceBatch]:
    """The stream, while every connection but the killer's is killed after each batch."""
    killer = sa.create_engine(server.url, isolation_level="AUTOCOMMIT")
    is_postgresql = killer.dialect.name == "postgresql"
    with killer.connect() as connection:
        own = connection.exec_driver_sql(
            "SELECT pg_backend_pid()" if is_postgresql else "SELECT connection_id()"
        ).scalar_one()
        for batch in database.stream(section):
            yield batch
            if is_enough():
                continue
            others = connection.exec_driver_sql(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
                if is_postgresql
                else "SELECT id FROM information_schema.processlist WHERE user = 'admin'"
            ).scalars()
            for pid in [each for each in others if each != own]:
                kill = f"SELECT pg_terminate_backend({pid})" if is_postgresql else f"KILL {pid}"
                with suppress(sa.exc.OperationalError):  # it has ended by itself
                    connection.exec_driver_sql(kill)
    killer.dispose()


@pytest.mark.parametrize(
    ("server_name", "is_fast", "n_drops", "row_bytes"),
    # What a server has sent before it dies still arrives: MariaDB sends 2 MB ahead of the cursor.
    [
        ("postgresql", True, 50, 3_000),
        ("postgresql", False, 50, 3_000),
        ("mariadb", False, 50, 12_000),
    ],
)
def test_fifty_dropped_connections_cost_no_row_and_double_none(  # noqa: PLR0917
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    server_name: str,
    is_fast: bool,
    n_drops: int,
    row_bytes: int,
) -> None:
    server: DatabaseServer = request.getfixturevalue(server_name)
    url = server.new_database()
    engine = sa.create_engine(url)
    table = sa.Table(
        "t", sa.MetaData(), sa.Column("no", sa.String(20), index=True), sa.Column("b", sa.Text)
    )
    table.create(engine)
    # Every seventh identifier stands three times, some differ in case only, and some are missing.
    names = [f"{'nN'[n % 2]}{n - n % 7 % 3:06d}" if n % 101 else None for n in range(12_000)]
    rows = [{"no": name, "b": f"{n} ".ljust(row_bytes, "x")} for n, name in enumerate(names)]
    with engine.begin() as connection:
        connection.execute(table.insert(), rows)
    engine.dispose()
    mapping, section = site({"table": "t", "patient": "no", "sex": "b"})
    undisturbed = read(url, mapping, section, is_fast=False)
    monkeypatch.setattr(source_lanes, "BATCH_ROWS", 100)
    monkeypatch.setattr(source_lanes, "BATCH_BYTES", 4_000)
    opened = count_calls(monkeypatch, SourceDatabase, "_open_again")
    with SourceDatabase(
        database_url=url, mapping=mapping, is_fast_lane_allowed=is_fast
    ) as database:
        disturbed = list(
            dropping(server, section, database, is_enough=lambda: len(opened) >= n_drops)
        )
    assert sorted(joined(disturbed, "b")) == sorted(row["b"] for row in rows)
    assert sorted(hashes(disturbed, ["b", "no"])) == sorted(hashes(undisturbed, ["b", "no"]))
    assert len(opened) == n_drops


def count_calls(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> list[str]:
    """A list that grows with each call of a method."""
    calls: list[str] = []
    method: Callable[..., Any] = getattr(owner, name)

    def counted(*arguments: object) -> Any:
        calls.append(name)
        return method(*arguments)

    monkeypatch.setattr(owner, name, counted)
    return calls
