"""Read-only access to a hospital database, through the tables that a site mapping names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, TypeVar

import sqlalchemy as sa
import tenacity
from sqlalchemy.exc import SQLAlchemyError

from etl.privacy.opt_outs import OptOuts
from etl.records.site_mapping import SiteMapping, TableSection
from etl.records.source_batch import SourceBatch
from etl.records.source_engine import Reading, cause, is_dropped, make_engine, open_snapshot
from etl.records.source_lanes import FastLane, FastLaneError, cursor_batches
from etl.records.source_position import Position
from etl.records.source_tables import SourceTables, column_names
from warehouse_schema.errors import SourceError

# Oracle allows 1,000 values in one list.
KEYS_AT_ONCE = 500
# Drops in a row without a new row between them; any row starts the count again.
MAX_DROPS = 5
Result = TypeVar("Result")


class SourceDatabase:
    """The source, read in one snapshot where the dialect has them; a context manager.

    Args:
        database_url: SQLAlchemy URL.
        mapping: What the site's database looks like.
        opt_outs: Patients whose rows are passed over; None where nobody can opt out.
        is_fast_lane_allowed: False reads PostgreSQL by a cursor, as every other database.

    Raises:
        SourceError: The URL is malformed, or the database cannot be reached.
    """

    def __init__(
        self,
        *,
        database_url: str,
        mapping: SiteMapping,
        opt_outs: OptOuts | None = None,
        is_fast_lane_allowed: bool = True,
    ) -> None:
        self._mapping = mapping
        self._opt_outs = opt_outs
        self._engine = make_engine(database_url)
        self._connection: sa.Connection | None = None
        self._is_fast_lane_allowed = is_fast_lane_allowed
        try:
            self.tables = SourceTables(self._engine, mapping)
        except (SQLAlchemyError, OSError) as error:
            where = self._engine.url.render_as_string(hide_password=True)
            self._engine.dispose()
            raise SourceError(
                f"database_url: cannot read {where} ({cause(error)}). Check that the server "
                "runs, the name is right and the user may read, then: ribline doctor."
            ) from None

    def __enter__(self) -> SourceDatabase:
        return self

    def __exit__(self, *_: object) -> None:
        self._drop_connection()
        self._engine.dispose()

    @property
    def dialect_name(self) -> str:
        """SQLAlchemy's name of the kind of database."""
        return self._engine.dialect.name

    def check(self, section: TableSection, key: str) -> None:
        """Check that every table and column of a mapping section exists.

        Raises:
            SourceError: One does not; the message names the mapping key and what there is.
        """
        with Reading(self._mapping.name, section.table):
            self.tables.check(section, key)

    def count_rows(self, section: TableSection) -> int:
        """Rows of the section's table."""
        return int(self.rows(section, self.tables.count(section))[0][0])

    def rows(self, section: TableSection, statement: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        """All rows of a short answer about a section, read again where the connection drops.

        Raises:
            SourceError: The database failed while reading.
        """
        return self._retried(section, lambda: self._snapshot().execute(statement).fetchall())

    def fetch(
        self, section: TableSection, names: Sequence[str], keys: Sequence[object]
    ) -> Iterator[SourceBatch]:
        """Columns of the rows with one of these keys; None stands for rows without a key.

        Raises:
            SourceError: The database failed while reading.
        """
        given = [key for key in keys if key is not None]
        for start in range(0, len(given), KEYS_AT_ONCE):
            chosen = given[start : start + KEYS_AT_ONCE]
            statement = self.tables.select(section, names, keys=chosen)
            rows = self.rows(section, statement)
            for batch in _batches_of(names, rows, set(chosen), section.key):
                yield self._of_others(section, batch)
        if len(given) < len(keys):
            statement = self.tables.select(section, names, is_key_null=True)
            rows = self.rows(section, statement)
            for batch in _batches_of(names, rows, {None}, section.key):
                yield self._of_others(section, batch)

    def stream(
        self, section: TableSection, names: Sequence[str] | None = None
    ) -> Iterator[SourceBatch]:
        """Columns of a section in batches, in the order of its keys; rows without a key come last.

        A dropped connection is opened again, and the stream goes on after the last complete key.

        Args:
            section: A section of the mapping, checked before.
            names: Columns by the names that the mapping uses, all of the section's by default.

        Raises:
            SourceError: The database failed while reading.
        """
        wanted = column_names(section) if names is None else list(names)
        position = Position(section.key)
        drops, is_fast = 0, self._is_fast_lane_allowed
        with Reading(self._mapping.name, section.table):
            while True:
                try:
                    for batch in self._batches(section, wanted, position.start, is_fast=is_fast):
                        for part in position.take(batch):
                            drops = 0
                            yield self._of_others(section, part)
                    break
                except (SQLAlchemyError, FastLaneError) as error:
                    drops += 1
                    self._after_failure(error, drops)
                    position.restart()
                    is_fast = False
            for part in position.rest():
                yield self._of_others(section, part)
        yield from self.fetch(section, wanted, [None])

    def _of_others(self, section: TableSection, batch: SourceBatch) -> SourceBatch:
        """A batch without the rows of patients who have opted out."""
        if self._opt_outs is None:
            return batch
        return self._opt_outs.without(section, batch, self._mapping.encoding)

    def _batches(
        self, section: TableSection, names: Sequence[str], start: object, *, is_fast: bool
    ) -> Iterator[SourceBatch]:
        connection = self._snapshot()
        statement = self.tables.select(section, names, start=start)
        # A joined table may bring bound values, which COPY does not take.
        if not (is_fast and not section.joins and FastLane.is_for(connection)):
            yield from cursor_batches(connection, statement, names)
            return
        numerics = [name for name in names if self.tables.type(section, name) is sa.NUMERIC]
        with closing(FastLane(connection)) as lane:
            yield from lane.batches(statement, names, numerics)

    def _retried(self, section: TableSection, read: Callable[[], Result]) -> Result:
        with Reading(self._mapping.name, section.table):
            drops = 0
            while True:
                try:
                    return read()
                except SQLAlchemyError as error:
                    drops += 1
                    self._after_failure(error, drops)

    def _after_failure(self, error: Exception, drops: int) -> None:
        """Make ready for another attempt, or raise the error where none can help."""
        if isinstance(error, FastLaneError):
            # The cursor goes on; a server that refuses the lane once does so for every table.
            self._is_fast_lane_allowed = False
        elif not is_dropped(error) or drops > MAX_DROPS:
            raise error
        self._drop_connection()
        self._open_again()

    def _snapshot(self) -> sa.Connection:
        if self._connection is None:
            self._connection = open_snapshot(self._engine)
        return self._connection

    @tenacity.retry(
        retry=tenacity.retry_if_exception_type(SQLAlchemyError),
        stop=tenacity.stop_after_delay(60),
        wait=tenacity.wait_exponential(multiplier=0.05, max=10),
        reraise=True,
    )
    def _open_again(self) -> None:
        self._connection = open_snapshot(self._engine)

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            connection.close()
        except SQLAlchemyError:
            connection.invalidate()


def _batches_of(
    names: Sequence[str], rows: Sequence[sa.Row[Any]], keys: set[object], key: str
) -> Iterator[SourceBatch]:
    """The rows as a batch, without those that a database takes for a key's though another's."""
    number = list(names).index(key)
    exact = [row for row in rows if row[number] in keys]
    if exact:
        yield SourceBatch.from_rows(names, exact)
