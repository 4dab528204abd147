"""Rows a second out of PostgreSQL: extraction's fast lane against its peers and the floor.

One JSON object: for a table of codes and one of notes of 1 KB the rows a second of the fast lane up
to Arrow batches as ``extract`` asks for them (ordered by identifier, in a snapshot), of the cursor
lane, of pandas.read_sql, of ConnectorX, and of COPY BINARY to nowhere, which is the floor; the
ratios; and how far the fast lane's memory grows over a table of each size. Every way runs in a
process of its own, in turn; rates are medians over the rounds, and a ratio is the median of the
rounds' own ratios, with the smallest and largest beside it. Targets: 5 times pandas.read_sql, 0.35
of the floor, growth below 300 MB at 5,000,000 rows. The server comes from Debian's package.

    python benchmarks/extraction_speed.py --json [--rows N] [--notes N] [--memory-rows N]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from etl.records.site_mapping import TableSection, load_site_mapping
from etl.records.source_database import SourceDatabase
from etl.records.source_tables import column_names

ROOT = Path(__file__).parents[1]
NOT_COUNTED = -1
Reading = tuple[int, float]  # rows, seconds
MAPPING = load_site_mapping("synthetic_hospital")
CODES, NOTES = MAPPING.diagnoses[0], MAPPING.notes[0]
# Rows of the synthetic hospital's own tables, made by the server, in the order of their patients.
CODE_ROWS = """
    CREATE UNLOGGED TABLE {table} AS SELECT
    'V' || lpad((i / 3)::text, 9, '0') AS visit_no, (i % 9)::int AS seq_no,
    'C' || lpad((i / 7)::text, 9, '0') AS chart_no,
    (ARRAY['ICD9CM', 'ICD10CM'])[1 + i % 2] AS code_system,
    (ARRAY['80703', '8100', 'S2241XA', '4019'])[1 + i % 4] AS icd_code,
    timestamp '2015-01-01' + i * interval '13 seconds' AS recorded_at,
    timestamp '2015-01-02' + i * interval '13 seconds' AS updated_at
    FROM generate_series(1, {rows}) i"""
NOTE_ROWS = """
    CREATE UNLOGGED TABLE clinical_note AS SELECT
    'N' || lpad(i::text, 9, '0') AS note_no, 'D' || i AS document_no, 1 AS version_no,
    'C' || lpad((i / 7)::text, 9, '0') AS chart_no,
    'V' || lpad((i / 3)::text, 9, '0') AS visit_no,
    (ARRAY['CXR', 'ER'])[1 + i % 2] AS note_kind, 'final' AS note_status,
    CASE WHEN i % 2 = 0 THEN 'A' || i END AS accession_no, 'Dr' AS author_code,
    timestamp '2015-01-01' + i * interval '13 seconds' AS written_at,
    timestamp '2015-01-02' + i * interval '13 seconds' AS signed_at,
    repeat(md5(i::text), 32) AS note_text,
    timestamp '2015-01-03' + i * interval '13 seconds' AS updated_at
    FROM generate_series(1, {rows}) i"""


def section_of(table: str) -> TableSection:
    """The section that reads a table of notes, or one of codes."""
    section: TableSection = NOTES if table == NOTES.table else CODES
    return section.model_copy(update={"table": table})


def select(table: str) -> str:
    """The columns of the section, for every peer."""
    return f"SELECT {', '.join(column_names(section_of(table)))} FROM {table}"


def read_lane(url: str, table: str, *, is_fast: bool) -> Reading:
    """Extraction's own stream, from a database that is open, as it is for every section."""
    section = section_of(table)
    with SourceDatabase(
        database_url=url, mapping=MAPPING, is_fast_lane_allowed=is_fast
    ) as database:
        database.check(section, table)
        begin = time.perf_counter()
        n_rows = sum(batch.n_rows for batch in database.stream(section))
        return n_rows, time.perf_counter() - begin


def read_pandas(url: str, table: str) -> Reading:
    """pandas.read_sql through SQLAlchemy, from a connection that is open."""
    import pandas as pd

    with sa.create_engine(url).connect() as connection:
        begin = time.perf_counter()
        n_rows = len(pd.read_sql(select(table), connection))
        return n_rows, time.perf_counter() - begin


def read_connectorx(url: str, table: str) -> Reading:
    """ConnectorX into one Arrow table; it opens its own connection."""
    import connectorx

    begin = time.perf_counter()
    n_rows = connectorx.read_sql(plain_url(url), select(table), return_type="arrow").num_rows
    return int(n_rows), time.perf_counter() - begin


def read_floor(url: str, table: str) -> Reading:
    """psql's COPY BINARY, every byte thrown away."""
    copy = f"COPY ({select(table)}) TO STDOUT (FORMAT binary)"
    begin = time.perf_counter()
    command = ["psql", plain_url(url), "-X", "-q", "-c", copy]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return NOT_COUNTED, time.perf_counter() - begin


def plain_url(url: str) -> str:
    """The URL without SQLAlchemy's driver."""
    return sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


WAYS: dict[str, Callable[[str, str], Reading]] = {
    "ribline": lambda url, table: read_lane(url, table, is_fast=True),
    "ribline_cursor": lambda url, table: read_lane(url, table, is_fast=False),
    "pandas_read_sql": read_pandas,
    "connectorx": read_connectorx,
    "floor": read_floor,
}


def work(way: str, url: str, table: str) -> dict[str, float]:
    """One reading, after a small one that brings everything into memory."""
    WAYS[way](url, "warm")
    before = memory_mb("VmRSS")
    n_rows, seconds = WAYS[way](url, table)
    return {"rows": n_rows, "seconds": seconds, "growth_mb": memory_mb("VmHWM") - before}


def memory_mb(name: str) -> float:
    """Resident memory of this process: VmRSS now, VmHWM at its peak."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split(f"{name}:")[1].split()[0]) / 1024


def run(way: str, url: str, table: str) -> dict[str, float]:
    """``work`` in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--way", way, "--url", url, "--table", table],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    result: dict[str, float] = json.loads(done.stdout)
    return result


def measure_table(url: str, table: str, n_rows: int, n_rounds: int) -> dict[str, Any]:
    """Median rows a second of each way, and the ratios to ours."""
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(n_rounds):
        for way in WAYS:
            result = run(way, url, table)
            assert result["rows"] in {n_rows, NOT_COUNTED}, "every way reads every row"
            rates[way].append(n_rows / result["seconds"])
    return {
        "rows": n_rows,
        "rounds": n_rounds,
        "rows_per_second": {way: round(statistics.median(found)) for way, found in rates.items()},
        "times_pandas": ratio(rates["ribline"], rates["pandas_read_sql"]),
        "times_connectorx": ratio(rates["ribline"], rates["connectorx"]),
        "share_of_floor": ratio(rates["ribline"], rates["floor"]),
    }


def ratio(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Median, smallest and largest of the ratios within a round."""
    ratios = sorted(one / other for one, other in zip(ours, theirs, strict=True))
    return {
        "median": round(statistics.median(ratios), 2),
        "min": round(ratios[0], 2),
        "max": round(ratios[-1], 2),
    }


def measure(n_rows: int, n_notes: int, n_memory: int, n_rounds: int) -> dict[str, Any]:
    """All figures."""
    sys.path.insert(0, str(ROOT / "tests"))
    from database_servers import postgresql_server

    with postgresql_server() as server:
        url = server.new_database()
        tables = {"warm": 1_000, CODES.table: n_rows, "large": n_memory}
        server.run(
            *(CODE_ROWS.format(table=name, rows=rows) for name, rows in tables.items()),
            NOTE_ROWS.format(rows=n_notes),
            *(f"CREATE INDEX ON {name} ({CODES.key})" for name in tables),
            f"CREATE INDEX ON {NOTES.table} ({NOTES.key})",
            "VACUUM ANALYZE",
            url=url,
        )
        large = run("ribline", url, "large")
        return {
            "benchmark": "extraction_speed",
            "codes": measure_table(url, CODES.table, n_rows, n_rounds),
            "notes": measure_table(url, NOTES.table, n_notes, n_rounds),
            "memory_growth_mb": {
                str(n_rows): round(run("ribline", url, CODES.table)["growth_mb"], 1),
                str(n_memory): round(large["growth_mb"], 1),
            },
        }


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")
    parser.add_argument("--rows", type=int, default=1_000_000, help="codes")
    parser.add_argument("--notes", type=int, default=150_000, help="notes of 1 KB")
    parser.add_argument("--memory-rows", type=int, default=2_000_000, help="codes for memory")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of every way in turn")
    for name in ("--way", "--url", "--table"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        print(json.dumps(work(given.way, given.url, given.table)))
        return 0
    figures = measure(given.rows, given.notes, given.memory_rows, given.rounds)
    print(json.dumps(figures, indent=None if given.json else 2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
