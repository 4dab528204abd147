"""Real database servers, started once for the tests that ask for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from database_servers import DatabaseServer, mariadb_server, postgresql_server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[DatabaseServer]:
    with postgresql_server() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[DatabaseServer]:
    with mariadb_server() as server:
        yield server
