"""PostgreSQL and MariaDB servers for tests, from Debian's packages, on a free port of 127.0.0.1.

Both refuse to run as root: there they run as the user nobody.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

START_S = 60
_numbers = itertools.count(1)


@dataclass(frozen=True)
class DatabaseServer:
    """A server that is up.

    Attributes:
        url: Its administrator's URL; a new database has another name and the rest alike.
    """

    url: sa.URL
    _made: list[str] = field(default_factory=list)

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        name = f"hospital_{next(_numbers)}"
        self.run(f"CREATE DATABASE {name}")
        return self.url.set(database=name).render_as_string(hide_password=False)

    def run(self, *statements: str, url: str | None = None) -> None:
        """Run statements as the administrator, each at once."""
        engine = sa.create_engine(url or self.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement.replace("%", "%%"))
        engine.dispose()


@contextmanager
def postgresql_server() -> Iterator[DatabaseServer]:
    """PostgreSQL; skips where it is not installed."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        missing("postgresql")
    with server_folder("postgresql") as folder:
        data, port = folder / "data", free_port()
        initdb = [
            programs[-1], "-D", data, "-A", "trust", "-U", "admin", "-E", "UTF8", "--locale", "C",
            "--no-sync",
        ]  # fmt: skip
        ready(initdb, folder)
        command = [
            programs[-1].with_name("postgres"), "-D", data, "-p", str(port), "-h", "127.0.0.1",
            "-k", folder, "-c", "fsync=off", "-c", "max_wal_size=8GB",
        ]  # fmt: skip
        url = sa.make_url(f"postgresql+psycopg://admin@127.0.0.1:{port}/postgres")
        with running(command, folder, url, signal.SIGINT) as server:
            yield server


@contextmanager
def mariadb_server() -> Iterator[DatabaseServer]:
    """MariaDB; skips where it is not installed."""
    program = shutil.which("mariadbd", path="/usr/sbin:/usr/bin")
    install = shutil.which("mariadb-install-db", path="/usr/bin:/usr/sbin")
    if program is None or install is None:
        missing("mariadb-server")
    with server_folder("mariadb") as folder:
        data, port = folder / "data", free_port()
        plain = ["--no-defaults", f"--datadir={data}"]
        ready(
            [install, *plain, "--auth-root-authentication-method=normal", "--skip-test-db"], folder
        )
        setup = folder / "setup.sql"
        setup.write_text(
            "CREATE USER 'admin'@'127.0.0.1';\n"
            "GRANT ALL ON *.* TO 'admin'@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        setup.chmod(0o644)
        command = [
            program, *plain, f"--port={port}", "--bind-address=127.0.0.1", f"--init-file={setup}",
            f"--socket={folder}/s", f"--pid-file={folder}/pid", "--skip-name-resolve",
            "--innodb-flush-log-at-trx-commit=0", "--character-set-server=utf8mb4",
        ]  # fmt: skip
        url = sa.make_url(f"mysql+pymysql://admin@127.0.0.1:{port}/mysql?charset=utf8mb4")
        with running(command, folder, url, signal.SIGTERM) as server:
            yield server


def missing(package: str) -> Any:
    """Skip outside CI; inside it the packages are installed, so their absence is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"Debian package {package} is missing: make system-packages")
    pytest.skip(f"Debian package {package} is missing: make system-packages")


@contextmanager
def server_folder(name: str) -> Iterator[Path]:
    """A folder that the server's user owns; pytest's own are closed to other users."""
    folder = Path(tempfile.mkdtemp(prefix=f"ribline-{name}-"))
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unprivileged() -> dict[str, Any]:
    """Arguments for subprocess: another user where this one is root."""
    return {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}


def ready(command: list[str | Path], folder: Path) -> None:
    """Run a program that prepares the server's files."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, **unprivileged()
    )
    assert done.returncode == 0, done.stderr


@contextmanager
def running(
    command: list[str | Path], folder: Path, url: sa.URL, end: signal.Signals
) -> Iterator[DatabaseServer]:
    """The server process, from its first answer to the end of the block."""
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, stdout=output, stderr=output, **unprivileged()
        )
    try:
        wait_for_answer(url, process, log)
        yield DatabaseServer(url)
    finally:
        process.send_signal(end)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_answer(url: sa.URL, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server accepts a connection."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    limit = time.monotonic() + START_S
    while True:
        assert process.poll() is None, log.read_text(errors="replace")
        try:
            with engine.connect():
                return
        except sa.exc.OperationalError:
            assert time.monotonic() < limit, log.read_text(errors="replace")
            time.sleep(0.1)


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
